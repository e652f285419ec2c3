"""What pruning decides by, and what it comes to: values, nothing is read or changed here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prefect_ecs_pinned.core.compare import Observed
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.operations.claims import Claim
from prefect_ecs_pinned.operations.prune.references import Reference


@dataclass(frozen=True)
class Rules:
    """What to keep, and how far to go.

    Attributes:
        keep: The newest ACTIVE revisions that are kept in any case; at least 1.
        min_age: A revision that is younger is kept.
        delete: Also delete deregistered revisions, permanently.
        referenced: What is kept because a person named it.
    """

    keep: int
    min_age: timedelta
    delete: bool = False
    referenced: Sequence[Reference] = ()

    def named(self, arn: str) -> str:
        """Which reference keeps a revision, as text; empty when none does."""
        found = next((r.text for r in self.referenced if r.covers(arn)), "")
        return f"named by --keep-referenced {found}" if found else ""


@dataclass(frozen=True)
class Verdict:
    """What is to become of one revision.

    Attributes:
        arn: The revision.
        active: It is ACTIVE, and not deregistered already.
        registered_at: When; None when it was not looked up.
        kept: Why it is kept; empty when it is to go.
    """

    arn: str
    active: bool
    registered_at: datetime | None
    kept: str
    observed: Observed | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Survey:
    """What is to become of a family.

    Attributes:
        family: Its name.
        region: AWS Region.
        verdicts: One for each revision, newest first.
    """

    family: str
    region: str
    verdicts: tuple[Verdict, ...]

    @property
    def doomed(self) -> tuple[Verdict, ...]:
        """Those to go, oldest first."""
        return tuple(verdict for verdict in reversed(self.verdicts) if not verdict.kept)


@dataclass
class Pruned:
    """What was done.

    Attributes:
        deregistered: ARNs.
        deleted: ARNs.
        spared: ARN -> why; somebody came to need it in the meantime.
        failures: ARN -> why AWS would not delete it.
    """

    deregistered: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    spared: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def fate(self, verdict: Verdict) -> tuple[str, str]:
        """What has become of a revision, and why."""
        if verdict.kept or verdict.arn in self.spared:
            return "kept", verdict.kept or self.spared[verdict.arn]
        if verdict.arn in self.failures:
            return "not deleted", self.failures[verdict.arn]
        return "deleted" if verdict.arn in self.deleted else "deregistered", ""


@dataclass(frozen=True)
class Needs:
    """Who needs what at one moment."""

    claims: Sequence[Claim] = ()
    live: Mapping[str, int] = field(default_factory=dict)
    services: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def of(self, revision: Observed, active: bool = True) -> str:
        """Why a revision is needed; empty when it is not."""
        names = sorted({claim.name for claim in self.claims if claim.covers(revision, active)})
        if names:
            return f"used by {', '.join(names)}"
        if tasks := self.live.get(revision.arn):
            return f"{tasks} live task{'s' if tasks > 1 else ''}"
        if users := self.services.get(revision.arn):
            return f"used by service {', '.join(sorted(users))}"
        return ""


#: Enough for centuries of seconds, and never too many for `timedelta`, in weeks.
_DIGITS = re.compile(r"[0-9]{1,8}")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def duration(text: str) -> timedelta:
    """Read ``30d``, ``12h``, ``45m``, ``10s`` or ``2w``.

    Raises:
        ConfigurationError: It is not one of these.
    """
    number, unit = text[:-1], text[-1:]
    if not _DIGITS.fullmatch(number) or unit not in _UNITS:
        raise ConfigurationError(
            f"cannot read the duration {text!r}", hint="write it as 30d, 12h, 45m or 10s"
        )
    return timedelta(seconds=int(number) * _UNITS[unit])


def ago(age: timedelta) -> str:
    """An age in words, such as ``3d ago``."""
    seconds = max(0, int(age.total_seconds()))
    for unit in ("d", "h", "m"):
        if seconds >= _UNITS[unit]:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"
