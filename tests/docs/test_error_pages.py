"""Each error has a page with its causes and cures, and its message links to it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from prefect_ecs_pinned import errors

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "errors"

CLASSES = [
    name
    for name, found in vars(errors).items()
    if isinstance(found, type) and issubclass(found, errors.PinnedECSError)
]


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "error_pages", ROOT / "docs" / "hooks" / "error_pages.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_class_has_a_page_and_each_page_a_class() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == {*CLASSES, "index"}


@pytest.mark.parametrize("name", CLASSES)
def test_a_page_says_cause_and_cure(name: str, hook: ModuleType) -> None:
    """A message as it is seen, what becomes of the flow run, and at least three causes."""
    text = hook.filled((FOLDER / f"{name}.md").read_text(), f"errors/{name}.md")
    assert text.startswith(f"# {name}\n")
    assert "```{ .text .wrap }\n" in text
    assert "**The flow run.** " in text
    table = text.partition("| cause | cure |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    assert len(table) >= 3
    assert all(len(cell) > 5 for row in table for cell in re.split(r" ?\| ?", row)[1:-1])
    assert f"`prefect_ecs_pinned.errors.{name}` is a kind of" in text
    assert "generated" not in text


def test_the_overview_names_each_class(hook: ModuleType) -> None:
    text = hook.filled((FOLDER / "index.md").read_text(), "errors/index.md")
    assert re.findall(r"^\| \[`(\w+)`\]\(\1\.md\) \| .+\. \|$", text, re.M) == CLASSES
    assert "PinnedECSError (RuntimeError)\n ├── WrongPrefect (ImportError)\n ├── Conf" in text


def test_the_address_is_that_of_the_site() -> None:
    """It is written in two places: in the package and in the configuration of the site."""
    (site,) = re.findall(r"^site_url: (\S+)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert site + "latest/" == errors.DOCS
