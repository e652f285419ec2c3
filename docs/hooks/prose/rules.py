"""What a passage is held to: our vocabulary, short sentences, and proselint's checks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from proselint import checks
from proselint.config import DEFAULT
from proselint.registry import CheckRegistry
from proselint.tools import LintFile
from texts import PLACEHOLDER, Passage

#: Words of a sentence, at most: the limit of ASD-STE100 for descriptions (rule 6.3) and of GOV.UK's
#: content design guide. Docstrings and comments, which developers read with the code, get a few
#: more.
LONGEST_SENTENCE = 25
LONGEST_IN_CODE = 30
#: Where a sentence ends. A colon ends one as well: ASD-STE100 counts what follows it by itself.
_SENTENCE = re.compile(r"(?<=[.?!])[\"')]*\s+|(?<=[.?!]\))\s+|:\s+")
_WORD = re.compile(r"[\w’'./-]*\w")
#: Checks of proselint that do not fit: the typography of print, and dates of letters.
_OFF = ("typography", "dates_times", "annotations")
_CHECKS = {**DEFAULT["checks"], **dict.fromkeys(_OFF, False)}
CheckRegistry().register_many(checks.__register__)


@dataclass(frozen=True)
class Breach:
    """A place where a passage breaks a rule.

    Attributes:
        file: Path from the root of the repository.
        line: Line on which the passage begins.
        rule: ``sentence``, ``opening``, ``proselint``, ``spelling`` or a section of the vocabulary.
        found: The words that break it.
        advice: What to write instead.
    """

    file: str
    line: int
    rule: str
    found: str
    advice: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.found!r}: {self.advice}"


@dataclass(frozen=True)
class Phrase:
    """A phrase of the vocabulary that is to be avoided, and what to write instead."""

    rule: str
    pattern: re.Pattern[str]
    use: str
    kinds: frozenset[str]
    tests: bool


def vocabulary(path: Path) -> Sequence[Phrase]:
    """The phrases of a vocabulary file, by section."""
    return [
        Phrase(
            rule,
            re.compile(rf"(?<![\w-])(?:{entry['avoid']})(?![\w-])", re.I),
            entry["use"],
            frozenset(entry.get("in", ())),
            bool(entry.get("tests")),
        )
        for rule, entries in yaml.safe_load(path.read_text(encoding="utf-8")).items()
        for entry in entries
    ]


def check(file: str, passages: Sequence[Passage], phrases: Sequence[Phrase]) -> Iterator[Breach]:
    """All breaches of a file's passages; of a test, a few phrases in docstrings and comments."""
    if file.startswith("tests/"):
        of_tests = [phrase for phrase in phrases if phrase.tests]
        for passage in passages:
            if passage.kind in {"docstring", "comment"}:
                yield from _phrases(file, passage, of_tests)
        return
    for passage in passages:
        yield from _phrases(file, passage, phrases)
        yield from _sentences(file, passage)
    yield from _proselint(file, passages)


def _phrases(file: str, passage: Passage, phrases: Sequence[Phrase]) -> Iterator[Breach]:
    for phrase in phrases:
        if phrase.kinds and passage.kind not in phrase.kinds:
            continue
        for match in phrase.pattern.finditer(passage.text):
            yield Breach(file, passage.line, phrase.rule, match[0], f"write {phrase.use}")


def _sentences(file: str, passage: Passage) -> Iterator[Breach]:
    most = LONGEST_IN_CODE if passage.kind in {"docstring", "comment"} else LONGEST_SENTENCE
    for sentence in _SENTENCE.split(passage.text):
        words = len(_WORD.findall(sentence))
        if words > most:
            start = " ".join(sentence.split()[:6])
            advice = f"{words} words; at most {most}: make two sentences of it"
            yield Breach(file, passage.line, "sentence", start, advice)


def _proselint(file: str, passages: Sequence[Passage]) -> Iterator[Breach]:
    """Proselint's diagnostics, over the whole file: a call for each passage is slow."""
    text, starts = "", []
    for passage in passages:
        starts.append(len(text))
        text += f"{passage.text}\n\n\N{PILCROW SIGN}\n\n"
    if not text:
        return
    for result in LintFile(file, text).lint({"max_errors": 1000, "checks": _CHECKS}):
        start, end = (position - 1 for position in result.check_result.span)
        place = sum(each <= start for each in starts) - 1
        found = text[start:end].strip()
        if PLACEHOLDER in found.split():
            continue
        message = result.check_result.message
        yield Breach(file, passages[place].line, "proselint", found, message)
