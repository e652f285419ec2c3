"""The quick starts in a fresh environment, typed as the pages say: installed with uv, then run.

Only the name of the distribution differs: nothing is published, so this checkout takes
its place. What the pages run is run by `tests/docs` in the environment of the tests as well.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.docs.session import Session
from tests.docs.snippets import RUN, Snippet, snippets
from tests.packaging.release import ROOT

pytestmark = pytest.mark.timeout(600)

NAME = "prefect-ecs-pinned"


def lines_for_uv(install: Snippet) -> str:
    """Those below ``# uv``, up to the next tool's."""
    found = re.search(r"^# uv\n(.+?)\n\n", install.text, re.DOTALL | re.MULTILINE)
    assert found, f"{install.place} has no lines for uv"
    return found[1]


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
    install, *rest = [
        snippet
        for snippet in snippets(ROOT / "docs" / f"quickstart-prefect{major}.md")
        if snippet.language in RUN or snippet.title
    ]
    typed = lines_for_uv(install).replace(f"'{NAME}[local]'", f"'{NAME}[local] @ file://{ROOT}'")
    session = Session(folder, environment)
    try:
        session.run(replace(install, text=f"{typed}\n", mark=""))
        for snippet in rest:
            if snippet.mark != "not run":
                session.run(snippet)
    finally:
        session.close()
    assert (tools / NAME / "bin" / "pinned-ecs").exists()
