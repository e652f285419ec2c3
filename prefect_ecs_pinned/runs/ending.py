"""The end of a run: what is logged, reported and returned."""

from __future__ import annotations

from dataclasses import dataclass, replace

from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.core.shown import plain, without
from prefect_ecs_pinned.core.task_state import Diagnosis, Snapshot, diagnose, was_interrupted
from prefect_ecs_pinned.errors import PinnedECSError, TaskFailedToStart
from prefect_ecs_pinned.runs.host import Host
from prefect_ecs_pinned.runs.spec import RunSpec
from prefect_ecs_pinned.runs.watch import Launched

#: Status code of a task whose container did not run, or reported no exit code. `ECSTask`'s.
NO_EXIT_CODE = -1


#: Reasons of a task that came to its end by itself: ECS's own words, without a quotation.
#: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
_QUOTE_NOTHING = ("Essential container in task exited",)


@dataclass(frozen=True)
class Result:
    """How a run has ended.

    Attributes:
        identifier: ``cluster::task-arn``; empty when nothing was launched.
        status_code: The exit code of its container; `NO_EXIT_CODE` without one.
    """

    identifier: str
    status_code: int


def _ended(end: Snapshot | None) -> str:
    """How a task came to its end, by its stop code: a stop may have been refused.

    Sources: API_Task, "stopCode"; ECS may have codes that are not known here.
    """
    if end is None or not end.stop_code:
        return "has ended"
    if end.stop_code == "UserInitiated":
        return "was stopped"
    if end.stop_code == "EssentialContainerExited":
        return "ended by itself" + (
            "" if end.exit_code is None else f" with exit code {end.exit_code}"
        )
    if end.stop_code == "TaskFailedToStart":
        return "failed to start"
    return f"has ended ({plain(end.stop_code)})"


class Ending:
    """Brings one run to its end."""

    def __init__(self, spec: RunSpec, plane: ControlPlane, host: Host) -> None:
        self._spec = spec
        self._plane = plane
        self._host = host
        self._log = host.log
        self._prefix = spec.log_prefix

    async def never_launched(self) -> Result:
        """The end of a run that was cancelled before it was launched."""
        if not self._host.supervised:
            raise PinnedECSError("nothing was launched", "the flow run was cancelled")
        self._host.started("")
        return await self._cancelled("", "cancelled while it waited; it was not launched")

    async def cancelled(self, launched: Launched, end: Snapshot | None) -> Result:
        """The task of a cancelled run has ended; not earlier.

        Args:
            launched: The task.
            end: How it has ended; None of one that never ran, and whose stop code is not at hand.
        """
        when = "while its task started" if end is not None and end.ran else "before its task ran"
        return await self._cancelled(
            launched.identifier, f"cancelled {when}, and the task {_ended(end)}"
        )

    async def finished(self, launched: Launched, end: Snapshot) -> Result:
        """The task has stopped."""
        end = self._without_quotes(launched, end)
        diagnosis = diagnose(end)
        if diagnosis.failed_to_start:
            error = TaskFailedToStart(diagnosis.summary, diagnosis.detail, diagnosis.hint)
            return await self.failed_to_start(launched, error)
        await self._report_exit(diagnosis)
        if was_interrupted(end) and (reason := await self._host.report_interruption(end)):
            self._log.error(f"{self._prefix}: {reason}")
        code = NO_EXIT_CODE if diagnosis.exit_code is None else diagnosis.exit_code
        return Result(launched.identifier, code)

    async def failed_to_start(self, launched: Launched, error: TaskFailedToStart) -> Result:
        """Raise without a supervisor; with one, say why on the flow run's page, and return -1."""
        if not self._host.supervised:
            raise error
        self._log.error(f"{self._prefix}: {error}")
        self._host.page.error(str(error))
        await self._host.report_crash(str(error))
        return Result(launched.identifier, NO_EXIT_CODE)

    async def _cancelled(self, identifier: str, how: str) -> Result:
        """The end of a flow run that was cancelled before a process could end it."""
        self._log.info(f"{self._prefix}: The flow run was {how}.")
        await self._host.confirm_cancelled(f"The flow run was {how}.")
        return Result(identifier, 0)

    def _without_quotes(self, launched: Launched, end: Snapshot) -> Snapshot:
        """The end of a task without what its reasons quote and may not show, as of the command."""
        quotes = end.stopped_reason not in ("", *_QUOTE_NOTHING)
        if not (quotes or end.container_reason or end.other_exits):
            return end
        hidden = self._spec.hidden(launched.desired.definition) | self._plane.hidden()
        return replace(
            end,
            stopped_reason=without(end.stopped_reason, hidden),
            container_reason=without(end.container_reason, hidden),
            other_exits=tuple(without(other, hidden) for other in end.other_exits),
        )

    async def _report_exit(self, diagnosis: Diagnosis) -> None:
        code, name = diagnosis.exit_code, self._spec.container_name
        if code == 0:
            self._log.info(f"{self._prefix}: Container {name!r} exited successfully.")
            return
        if code is None:
            self._log.error(
                f"{self._prefix}: Task exited without reporting an exit status for container "
                f"{name!r}. {diagnosis.detail}"
            )
        else:
            self._log.warning(
                f"{self._prefix}: Container {name!r} exited with non-zero exit "
                f"code {code}. {diagnosis.detail}"
            )
        if self._host.supervised:
            crash = PinnedECSError(diagnosis.summary, diagnosis.detail, diagnosis.hint)
            await self._host.report_crash(str(crash))
