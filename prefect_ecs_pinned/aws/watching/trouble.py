"""What keeps a task from being seen, and for how long that is waited out.

No single answer ends a watch: not a refusal, which may be a policy that IAM has not spread yet or
a proxy's page, nor absence, which eventual consistency explains. What has lasted does.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from prefect_ecs_pinned.aws.calls.faults import PASSING, Fault, Kind, as_error
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.errors import TaskFateUnknown


class Trouble(Enum):
    """A cause that may last; each has a time of its own."""

    MISSING = "ECS does not find the task"
    NEVER_ALLOWED = "DescribeTasks is not allowed, and has not been answered before"
    REFUSED = "ECS refuses to describe the task"
    UNREADABLE = "ECS's description of the task cannot be read"
    UNDELIVERABLE = "the run does not accept updates"
    CREDENTIALS = "AWS does not accept the credentials"


#: Seconds for which a refusal to describe tasks that ECS has shown is waited out.
LASTING_SECONDS = 900.0

#: Seconds for which a denial is waited out where no DescribeTasks has been answered before: a
#: permission is missing, or IAM has not spread it yet.
NEVER_ALLOWED_SECONDS = 120.0

#: Seconds in which MISSING means "not yet", or "ask again" (eventual consistency).
MISSING_GRACE = 120.0

#: Seconds for which tasks are asked for with credentials that AWS does not accept any more: they
#: may be renewed where the agent runs. Then the fate of the tasks is unknown.
EXPIRED_SECONDS = 4 * 3600.0

#: Seconds for which each is waited out, from its first answer without a good one since.
PATIENCE: Mapping[Trouble, float] = {
    Trouble.MISSING: MISSING_GRACE,
    Trouble.NEVER_ALLOWED: NEVER_ALLOWED_SECONDS,
    Trouble.REFUSED: LASTING_SECONDS,
    Trouble.UNREADABLE: LASTING_SECONDS,
    Trouble.UNDELIVERABLE: LASTING_SECONDS,
    Trouble.CREDENTIALS: EXPIRED_SECONDS,
}


def trouble_of(failure: Exception, answered: bool) -> Trouble | None:
    """What the failure of a DescribeTasks call is; None when it passes by itself, however long.

    Args:
        failure: A `Fault`, or what an answer that cannot be read has raised.
        answered: Whether a call like it has been answered before.
    """
    if not isinstance(failure, Fault):
        return Trouble.UNREADABLE
    if failure.kind in PASSING:
        return None
    if failure.kind in (Kind.EXPIRED, Kind.BAD_SIGNATURE):
        return Trouble.CREDENTIALS
    if failure.kind is Kind.DENIED and not (answered or failure.worked):
        return Trouble.NEVER_ALLOWED
    return Trouble.REFUSED


def fate_unknown(task: Snapshot, trouble: Trouble, cause: Exception | None) -> TaskFateUnknown:
    """The error of a watch whose trouble has lasted.

    Args:
        task: As it was last seen.
        trouble: What has lasted.
        cause: The newest refusal, or what could not be read.
    """
    if isinstance(cause, Fault):
        known = as_error(cause, f"cannot watch task {task.task_arn}")
        error = TaskFateUnknown(known.what, known.why, known.hint)
    else:
        gone = trouble is Trouble.MISSING
        why = f"{trouble.value}{' any more' if gone else ''}; it was last seen {task.status}"
        error = TaskFateUnknown(
            f"cannot find out the result of task {task.task_arn}",
            f"{why} ({cause})" if cause is not None else why,
            "ECS deletes tasks an hour after they have stopped: see the flow run's own logs"
            if gone
            else "see the flow run's own logs, and the task in the ECS console",
        )
    error.__cause__ = cause
    error.vanished = trouble is Trouble.MISSING
    return error


def not_stopped(task: Snapshot, fault: Fault | None) -> TaskFateUnknown:
    """The error of a watch whose task did not start in time, and could not be stopped either.

    Args:
        task: As it was last seen.
        fault: Why not; None when ECS has accepted the stop.
    """
    why = "it did not start in time, and "
    why += f"could not be stopped ({fault})" if fault else "was not seen STOPPED"
    error = TaskFateUnknown(
        f"cannot find out the result of task {task.task_arn}",
        f"{why}; it was last seen {task.status}",
        "it may still start: stop it in the ECS console, and allow ecs:StopTask to the credentials",
    )
    error.__cause__ = fault
    return error
