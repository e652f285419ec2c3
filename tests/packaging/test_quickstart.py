"""The quick starts in a fresh environment, typed as the pages say: installed with uv, then run.

Only the name of the distribution differs: nothing is published, so this checkout takes
its place. What the pages run is run by `tests/docs` in the environment of the tests as well.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.docs.session import Session
from tests.docs.snippets import RUN, snippets
from tests.packaging.release import ROOT

pytestmark = pytest.mark.timeout(600)

NAME = "prefect-ecs-pinned"


@pytest.mark.parametrize("major", [2, 3])
def test_a_newcomer_gets_to_the_end(
    major: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)  # would put this checkout first
    folder, tools = tmp_path / "empty", tmp_path / "tools"
    folder.mkdir()
    environment = {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "UV_TOOL_DIR": str(tools),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
        "UV_PYTHON": sys.executable,
    }
    page = [
        snippet
        for snippet in snippets(ROOT / "docs" / f"quickstart-prefect{major}.md")
        if snippet.language in RUN or snippet.title
    ]
    [install] = [snippet for snippet in page if snippet.text.startswith("uv tool install")]
    typed = install.text.replace(f"'{NAME}[local]'", f"'{NAME}[local] @ file://{ROOT}'")
    session = Session(folder, environment)
    try:
        session.run(replace(install, text=typed, mark=""))
        for snippet in page:
            if snippet.mark != "not run":
                session.run(snippet)
    finally:
        session.close()
    assert (tools / NAME / "bin" / "pinned-ecs").exists()
