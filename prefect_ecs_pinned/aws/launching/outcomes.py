"""How a launch ends without a task: the errors, and what they say."""

from __future__ import annotations

from prefect_ecs_pinned.aws.calls.faults import Fault, as_error
from prefect_ecs_pinned.core import kinds
from prefect_ecs_pinned.core.reaction import NO_ROOM
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.errors import LaunchTimeout, PinnedECSError, TaskFateUnknown


class MayRun(LaunchTimeout):
    """An answer was lost, and nobody can find out whether it has started a task."""


class NotStopped(TaskFateUnknown):
    """A task that nobody needs, and that could not be stopped.

    Attributes:
        task: As RunTask answered it.
    """

    def __init__(self, what: str, task: Snapshot) -> None:
        super().__init__(
            what,
            f"the flow run was cancelled, and task {task.task_arn} could not be stopped: it may be "
            "running",
            "stop it, or allow ecs:StopTask to the credentials",
        )
        self.task = task


#: A task of the launch may be running: it was neither cancelled nor not launched.
MAY_RUN = (MayRun, NotStopped)


def cancelled(what: str) -> PinnedECSError:
    """Withdrawn before it was launched, or its task was stopped."""
    return PinnedECSError(what, "the flow run was cancelled")


def may_run(what: str, unknown: Fault) -> MayRun:
    """An answer was lost, and whether its task runs cannot be known."""
    cause = as_error(unknown, what)
    why = f"the answer to a call was lost, so it may be running; looking for it: {cause.why}"
    return MayRun(what, why, cause.hint)


def refused(what: str, fault: Fault) -> PinnedECSError:
    """Refused permanently."""
    error = as_error(fault, what)
    error.__cause__ = fault
    return error


def out_of_time(
    what: str, fault: Fault, budget: float, refusals: int, held_back: int
) -> PinnedECSError:
    """Refused, or not answered, for as long as there was patience.

    Args:
        what: What cannot be done.
        fault: The last answer.
        budget: Seconds that it waited.
        refusals: How often it was refused for lack of room itself.
        held_back: Refusals of other requests, as large or smaller, for which it waited.
    """
    why = f"{fault.message or fault.code}, for {budget:.0f} s"
    hint = as_error(fault, "").hint
    if fault.kind in NO_ROOM:
        times = "once" if refusals == 1 else f"{refusals} times"
        why += (
            f"; refused {times} itself, and held back by {held_back} refusals "
            "of requests that are as large or smaller"
        )
        hint = "ask AWS for a higher quota, add capacity, or raise launch_timeout_seconds"
    error = LaunchTimeout(what, why, hint)
    error.__cause__ = fault
    return error


def error_type(withdrawn: bool, error: Exception) -> str:
    """Why a launch has failed, as the attribute ``error.type``: AWS's answer, or our error."""
    if withdrawn:
        return "cancelled"
    if isinstance(fault := error.__cause__, Fault):
        return kinds.error_type(fault.kind)
    return type(error).__name__
