"""Every code block and command of the README and the documentation works.

Those of Prefect 2 are run where Prefect 2 is installed, those of Prefect 3 where 3 is.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from prefect_ecs_pinned import majors
from prefect_ecs_pinned.operations.demo.stage import Stage
from tests.docs.session import Session
from tests.docs.snippets import PARSED, RUN, SHOWN, UNKNOWN, Snippet, snippets

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ALL = [snippet for page in PAGES for snippet in snippets(page)]
RUNNABLE = [s for s in ALL if s.language in RUN and s.mark != "not run"]
MAJOR = majors.prefect_major()
#: Files among them as well, which are written.
OURS = [s for s in ALL if s.major == MAJOR and (s in RUNNABLE or s.title)]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("snippet", ALL, ids=lambda s: s.place)
def test_every_block_says_what_it_is(snippet: Snippet) -> None:
    assert snippet.mark != UNKNOWN, "the comment above it is not understood"
    assert snippet.language in (*RUN, *PARSED, *SHOWN), "run, parse or mark it"
    if snippet.mark == "not run":
        assert len(snippet.argument) > 10, "a reason is missing"


#: Commands that install this package: a reader needs one of them.
INSTALLERS = ("uv tool install ", "pipx install ", "pip install ", "uv pip install ", "uv add ")


@pytest.mark.parametrize("snippet", [s for s in ALL if s.language in RUN], ids=lambda s: s.place)
def test_a_block_can_be_copied_as_a_whole(snippet: Snippet) -> None:
    """Its button copies all of it: a choice is made between blocks, such as those of tabs."""
    words = snippet.text.replace("uv pip install ", "uv add ").splitlines()
    used = {name for name in INSTALLERS for line in words if name in line and "pinned" in line}
    assert len(used) <= 1, used


@pytest.mark.parametrize("snippet", [s for s in ALL if s.language in PARSED], ids=lambda s: s.place)
def test_data_can_be_parsed(snippet: Snippet) -> None:
    parse = {"yaml": yaml.safe_load, "json": json.loads}
    assert parse[snippet.language](snippet.text) is not None  # type: ignore[operator]


@pytest.mark.parametrize(
    "snippet", [s for s in ALL if s.language == "python"], ids=lambda s: s.place
)
def test_python_compiles_even_if_it_is_not_run(snippet: Snippet) -> None:
    compile(snippet.text, snippet.place, "exec")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", sorted({s.page for s in OURS}), ids=_name)
def test_a_page_works_from_top_to_bottom(page: Path, stage: Stage, tmp_path: Path) -> None:
    # A deployment copies its whole folder: Prefect's home, where files come and go, is beside it.
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "healthcheck.py").write_bytes((stage.flows / "healthcheck.py").read_bytes())
    session = Session(folder, _environment(page, stage, tmp_path / "home"))
    try:
        for snippet in (s for s in OURS if s.page == page):
            session.run(snippet)
    finally:
        session.close()


def _environment(page: Path, stage: Stage, home: Path) -> dict[str, str]:
    """The stage's; for a quick start, what somebody has who has started nothing yet."""
    if not page.name.startswith("quickstart"):
        return stage.environment
    settings = {
        name: value
        for name, value in stage.environment.items()
        if not name.startswith("AWS_") and name != "PREFECT_API_URL"
    }
    return {**settings, "PREFECT_HOME": str(home)}


def test_most_of_what_can_be_run_is_run() -> None:
    code = [s for s in ALL if s.language in RUN]
    assert len(RUNNABLE) >= len(code) / 2, "more than half of the snippets are marked"
