"""Exit code 0 of a task that was interrupted: it may hide that the flow never came to its end.

A shell, or a process that handles SIGTERM by exiting, ends with 0 when its task is stopped from
outside. An agent does nothing about a 0, so the flow run would be Running forever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from enum import Enum, auto
from typing import Any

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.logging.loggers import get_logger

from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.loop.control_loop import LoopClock
from prefect_ecs_pinned.block.flow_runs import parse_id, report_crash
from prefect_ecs_pinned.block.prefect_api import PrefectApi
from prefect_ecs_pinned.core.arn import TaskIdentifier
from prefect_ecs_pinned.core.task_state import Snapshot, diagnose
from prefect_ecs_pinned.errors import PinnedECSError
from prefect_ecs_pinned.faces.asking import reason_of, within

#: Seconds after the end of a task within which its flow run's last state may still arrive.
GRACE_SECONDS = 60.0

#: Seconds for which the flow run is tried to be read after that, between two tries, and for one.
_PATIENCE_SECONDS = 300.0
_AGAIN_SECONDS = 10.0
_CALL_SECONDS = 30.0

#: So many answers of 404 mean that the flow run was deleted.
_NOT_FOUND = 2

_CLOCK = LoopClock()

#: Reads a flow run, as `PrefectApi.flow_run` does; reports a crash, as `report_crash` does.
Read = Callable[[str], Coroutine[Any, Any, FlowRun]]
Report = Callable[[str, str], Awaitable[object]]


async def report_interruption(
    flow_run_id: str,
    end: Snapshot,
    read: Read | None = None,
    report: Report = report_crash,
    clock: Clock = _CLOCK,
) -> str:
    """Report a flow run as Crashed if it is still Running a minute after its interrupted task.

    A flow run that is final is left alone immediately. One that is in any other state, or Running
    in another task, is left alone after that minute.

    Args:
        flow_run_id: UUID of the flow run.
        end: Its task, see `core.task_state.was_interrupted`.
        read: Reads the flow run; by default from Prefect's API.
        report: Reports the crash.
        clock: Time.

    Returns:
        The reason that was reported; empty if the flow run was not changed.
    """
    if parse_id(flow_run_id) is None:
        return ""
    last = _LastState(flow_run_id, end.task_arn, read or PrefectApi.here().flow_run, clock)
    if await last.read() is _Seen.FINAL:
        return ""
    await clock.wait(GRACE_SECONDS)
    until = clock.now() + _PATIENCE_SECONDS
    while (seen := await last.read()) is _Seen.NOTHING:
        if clock.now() + _AGAIN_SECONDS > until:
            get_logger(__name__).error(
                "Could not read flow run %s, whose task %s was interrupted (%s). If it stays "
                "Running, `pinned-ecs reconcile` ends it",
                *(flow_run_id, end.task_arn, last.failure),
            )
            return ""
        await clock.wait(_AGAIN_SECONDS)
    if seen is not _Seen.RUNNING:
        return ""
    reason = _reason(end)
    await report(flow_run_id, reason)
    return reason


class _Seen(Enum):
    """What was seen of a flow run whose task has ended."""

    FINAL = auto()
    RUNNING = auto()  # in that task, as far as Prefect has it
    ELSEWHERE = auto()  # paused, scheduled, cancelling …, or running in another task; or deleted
    NOTHING = auto()  # the answer was odd, or there was none


class _LastState:
    """Reads a flow run whose task has ended.

    Attributes:
        failure: Why it could not be read the last time.
    """

    def __init__(self, flow_run_id: str, task_arn: str, read: Read, clock: Clock) -> None:
        self._flow_run_id = flow_run_id
        self._task_arn = task_arn
        self._read = read
        self._clock = clock
        self._not_found = 0
        self.failure = ""

    async def read(self) -> _Seen:
        try:
            work = self._read(self._flow_run_id)
            return self._seen(await within(self._clock, _CALL_SECONDS, work))
        except ObjectNotFound:
            self.failure = "HTTP 404"
            self._not_found += 1
            return _Seen.ELSEWHERE if self._not_found >= _NOT_FOUND else _Seen.NOTHING
        except Exception as exception:  # noqa: BLE001 - unknown is not final
            self.failure = reason_of(exception)
            return _Seen.NOTHING

    def _seen(self, flow_run: FlowRun) -> _Seen:
        if flow_run.state is None:
            self.failure = "it has no state"
            return _Seen.NOTHING
        if flow_run.state.is_final():
            return _Seen.FINAL
        running = flow_run.state.type is StateType.RUNNING
        return _Seen.RUNNING if running and self._is_of_task(flow_run) else _Seen.ELSEWHERE

    def _is_of_task(self, flow_run: FlowRun) -> bool:
        """Whether the flow run's pid, if it has one, names the task: it may have another by now."""
        if not flow_run.infrastructure_pid:
            return True
        try:
            return TaskIdentifier.parse(flow_run.infrastructure_pid).task_arn == self._task_arn
        except ValueError:
            return False


def _reason(end: Snapshot) -> str:
    diagnosis = diagnose(replace(end, exit_code=None))  # the 0 is not what it ended of
    what = f"the task was interrupted ({end.stop_code}), and its flow did not end"
    return str(PinnedECSError(what, diagnosis.detail, diagnosis.hint))
