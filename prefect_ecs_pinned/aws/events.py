"""Events of a control plane: plain values, which listeners turn into words and numbers."""

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


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call of AWS's API has been answered, or has failed; each try is one.

    Attributes:
        service: AWS's name of the service, such as ``ECS``.
        operation: The API action, such as ``RunTask``.
        region: Where it went.
        seconds: How long it took.
        error: What kind of fault it met; empty for none.
        throttled: AWS has throttled it.
    """

    service: str
    operation: str
    region: str
    seconds: float
    error: str = ""
    throttled: bool = False


@dataclass(frozen=True, slots=True)
class LaunchEnded:
    """A launch has a task, or has failed; emitted once for each.

    Attributes:
        quota: FARGATE, FARGATE_SPOT or EC2.
        cluster: Name or ARN.
        revision: The revision that was asked for last.
        seconds: Since it was queued.
        error: Why it has failed; empty when it has not.
    """

    quota: str
    cluster: str
    revision: str
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """A watched task has ended, or is not known to any more; emitted once for each.

    Attributes:
        cluster: Name or ARN.
        outcome: ``completed``, ``failed``, ``interrupted``, ``not_started`` or ``unknown``.
        error: ECS's stop code, or the name of our error; empty when it has completed.
        stopped_at: By the clock of ECS, in seconds since 1970; None when that is not known.
    """

    cluster: str
    outcome: str
    error: str = ""
    stopped_at: float | None = None


#: For people: log lines, and Prefect events.
Event = RevisionPinned | LaunchesQueued | LaunchesThrottled

#: For metrics.
Measured = CallEnded | LaunchEnded | TaskEnded | RevisionPinned

#: Called with events, on the control loop's thread: it may not wait.
Listener = Callable[[Event], None]


#: Called with what is measured, on the control loop's thread; it does not raise.
Measure = Callable[[Measured], None]


def ignore(event: object) -> None:
    """A listener that does nothing."""
