"""Events of a control plane: plain values, which listeners turn into words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RevisionPinned:
    """A revision was found, adopted or registered; emitted once however many runs asked for it.

    Attributes:
        family: Its family.
        arn: The revision.
        how: ``found``, ``adopted`` or ``registered``.
        reason: For a registration, why.
        changed: For a registration, the members that differ from the newest revision before.
        instead_of: The revision that ECS called inactive; empty when there was none.
    """

    family: str
    arn: str
    how: str
    reason: str = ""
    changed: tuple[str, ...] = ()
    instead_of: str = ""


@dataclass(frozen=True)
class LaunchesQueued:
    """Launches wait for a quota; emitted every so often for as long as they do.

    Attributes:
        quota: FARGATE, FARGATE_SPOT or EC2.
        queued: Launches that wait for their turn, or for the answer to their call.
        launched: Tasks that this process has launched.
        live: Of these, those that have not stopped.
        pace: RunTask calls a second that are made at present.
        throttles: Calls that were throttled.
    """

    quota: str
    queued: int
    launched: int
    live: int
    pace: float
    throttles: int


@dataclass(frozen=True)
class LaunchesThrottled:
    """AWS has throttled RunTask; emitted at most every so often.

    Attributes:
        quota: FARGATE, FARGATE_SPOT or EC2.
        throttles: Calls that were throttled since the last such event.
        queued: As of `LaunchesQueued`.
        pace: As of `LaunchesQueued`.
    """

    quota: str
    throttles: int
    queued: int
    pace: float


Event = RevisionPinned | LaunchesQueued | LaunchesThrottled

#: Called with events, on the control loop's thread: it may not wait.
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener that does nothing."""
