"""The prose linter finds what it is for, and passes over everything that is there."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "docs" / "hooks" / "prose"


def words(count: int) -> str:
    """A sentence of so many different words."""
    return " ".join(f"{first}{second}o" for first in "bdfgklm" for second in "aeiou")[
        : 4 * count - 1
    ]


@pytest.fixture(scope="module")
def linter() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module("rules")
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def texts(linter) -> ModuleType:
    return sys.modules["texts"]


def breaches(linter, texts, text: str, kind: str = "text") -> list[str]:
    phrases = linter.vocabulary(FOLDER / "vocabulary.yml")
    passages = [texts.Passage(texts.plain(text), 1, kind)]
    return [breach.rule for breach in linter.check("page.md", passages, phrases)]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("It takes the place of the launch type.", "idiom"),
        ("`ECSTask` was spared.", "personification"),
        ("Nothing of AWS.", "idiom"),
        ("Polls become rarer.", "idiom"),
        ("No run hears of it.", "personification"),
        ("The time stands still while tasks run.", "personification"),
        ("Do it; without this, only show it.", "idiom"),
        ("`KEY` stands in env and in secrets.", "idiom"),
        ("The list is no JSON patch.", "inversion"),
        ("2 would go, 5 stay.", "idiom"),
        ("Repeat the command: what is done is done.", "idiom"),
        ("None are stated.", "inversion"),
        ("What is listed may be shown.", "opening"),
        ("Whoever asks gets an answer.", "archaism"),
        ("It is is here.", "proselint"),
        (words(26), "sentence"),
    ],
)
def test_each_habit_is_found(linter, texts, text, rule):
    """The examples that the vocabulary was made from, and one for each other rule."""
    assert rule in breaches(linter, texts, text)


@pytest.mark.parametrize(
    "text",
    [
        "A capacity provider replaces the launch type.",
        "What happens when AWS throttles?",
        "`tells`, `wants` and `whoever` are code.",
        "There is no such cluster.",
        "Set this if you want a public IP.",
        words(25),
        words(20) + ": " + words(20),
    ],
)
def test_plain_sentences_pass(linter, texts, text):
    assert breaches(linter, texts, text) == []


def test_a_docstring_may_have_longer_sentences(linter, texts):
    assert breaches(linter, texts, words(30), "docstring") == []
    assert breaches(linter, texts, words(31), "docstring") == ["sentence"]


def test_markdown_is_read_without_code(texts):
    page = """# A heading

A paragraph with `code`
on two lines.

```python
wants = "tells"
```

| head | other |
|---|---|
| cell | `x` |

!!! note "Title"
    Inside of a note.

- an entry

![A picture at once](picture.svg)
"""
    assert [(p.kind, p.text, p.line) for p in texts.markdown(page) if p.text not in ("", "X")] == [
        ("heading", "A heading", 1),
        ("text", "A paragraph with X on two lines.", 3),
        ("cell", "head", 10),
        ("cell", "other", 10),
        ("cell", "cell", 12),
        ("text", "Inside of a note.", 14),
        ("text", "an entry", 17),
        ("text", "A picture at once", 19),
    ]


def test_python_is_read_by_kind(texts):
    module = '''"""A module.

Args:
    name: What it is
        called. It ends with 1. Then more.
"""
# A comment on
# two lines.
NAME = "not-prose"
TEXT = f"cannot launch {NAME}: it is gone"
NEXT = 1  # noqa: S101 - no prose


def f():
    """An example::

        wants(tells)

    It ends.
    """
'''
    assert [(p.kind, p.text) for p in texts.python(module)] == [
        ("docstring", "A module."),
        ("docstring", "What it is called. It ends with 1. Then more."),
        ("message", "cannot launch X: it is gone"),
        ("docstring", "An example::"),
        ("docstring", "It ends."),
        ("comment", "A comment on two lines."),
    ]


@pytest.mark.parametrize(
    ("text", "kind", "rules"),
    [
        ("No run hears of it.", "docstring", ["personification"]),
        ("It is told at once.", "comment", ["personification"]),
        ("No run hears of it.", "message", []),
        ("It takes the place of the launch type.", "docstring", []),
    ],
)
def test_few_rules_are_for_tests(linter, texts, text, kind, rules):
    """Their messages may be data."""
    phrases = linter.vocabulary(FOLDER / "vocabulary.yml")
    found = linter.check("tests/test_it.py", [texts.Passage(text, 1, kind)], phrases)
    assert [breach.rule for breach in found] == rules


def test_each_exception_has_a_reason():
    """That it matches something is checked by the linter itself."""
    for each in yaml.safe_load((FOLDER / "exceptions.yml").read_text()):
        assert len(each["reason"].split()) > 3, each
