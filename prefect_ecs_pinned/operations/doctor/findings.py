"""What a check can say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """Its result."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    #: It could not be looked at, or does not apply.
    SKIP = "SKIP"


@dataclass(frozen=True)
class Answer:
    """What one check says of one subject.

    Attributes:
        status: Its result.
        detail: In what way.
        hint: What a person can do about it; empty when there is nothing to do.
    """

    status: Status
    detail: str
    hint: str = ""


#: Name of a check, what was looked at, and what the check says.
Said = tuple[str, str, Answer]


@dataclass(frozen=True)
class Finding:
    """What one check says, and of which blocks and deployments.

    Attributes:
        check: Name of the check.
        subjects: Blocks, deployments, or what else was looked at.
        status: Its result.
        detail: In what way.
        hint: What a person can do about it.
    """

    check: str
    subjects: tuple[str, ...]
    status: Status
    detail: str
    hint: str


def ok(detail: str) -> Answer:
    """All is well."""
    return Answer(Status.OK, detail)


def warn(detail: str, hint: str) -> Answer:
    """It works, and may surprise."""
    return Answer(Status.WARN, detail, hint)


def fail(detail: str, hint: str) -> Answer:
    """A flow run would fail."""
    return Answer(Status.FAIL, detail, hint)


def skip(detail: str, hint: str = "") -> Answer:
    """It could not be looked at, or does not apply."""
    return Answer(Status.SKIP, detail, hint)


def put_together(said: Iterable[Said]) -> list[Finding]:
    """(check, subject, answer) of many subjects: those of whom the same is said, once."""
    subjects: dict[tuple[str, Answer], list[str]] = {}
    for check, subject, answer in said:
        names = subjects.setdefault((check, answer), [])
        if subject not in names:
            names.append(subject)
    return [
        Finding(check, tuple(names), answer.status, answer.detail, answer.hint)
        for (check, answer), names in subjects.items()
    ]
