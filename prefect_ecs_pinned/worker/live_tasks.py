"""The tasks of a worker that live, followed to their ends.

A worker's `run` returns when ECS has accepted the task. What becomes of it is followed here, with
the second half of a run (`runs.run.follow`), batched by the control plane: no queue, rule or
observer is needed. An end that the flow run did not report itself is reported on it.

A task ends, and its flow run is:

- final: all is well. This is nearly every run, and nothing is asked of Prefect for it but its
  state, two hundred runs a call.
- Pending or Running though the container failed, never started, or vanished: reported as Crashed.
- Pending though the container exited with 0: the flow was never run; reported as Crashed.
- Running though the container exited with 0 when it was stopped from outside: reported as Crashed.
- anything else: unchanged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from prefect.logging.loggers import get_logger

from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.core.task_state import Snapshot, diagnose
from prefect_ecs_pinned.errors import PinnedECSError, TaskFateUnknown
from prefect_ecs_pinned.faces.asking import reason_of
from prefect_ecs_pinned.runs.run import follow
from prefect_ecs_pinned.runs.spec import RunSpec
from prefect_ecs_pinned.runs.watch import Launched
from prefect_ecs_pinned.worker.attempt import Attempt, task_of
from prefect_ecs_pinned.worker.flow_runs import FlowRuns
from prefect_ecs_pinned.worker.host import WorkerHost

#: Seconds between two looks at flow runs whose containers have exited with 0.
LOOK_SECONDS = 10.0

#: Seconds after such an end within which a flow run's last state may still arrive.
GRACE_SECONDS = 20.0

#: Looks at a flow run whose state could not be read.
_MOST_LOOKS = 60

#: Seconds that what is cancelled at the end has to end.
_CLOSE_SECONDS = 2.0

logger = get_logger("workers.pinned-ecs.live-tasks")


@dataclass
class _Exited:
    """A run whose container has exited with 0.

    Attributes:
        attempt: The run's.
        since: When that was.
        interrupted: How the task ended, if it was stopped from outside.
        looks: So often its state was asked for, and not given.
    """

    attempt: Attempt
    since: float
    interrupted: Snapshot | None
    looks: int = 0


class LiveTasks:
    """Follows tasks on the worker's event loop, to which everything here belongs.

    Args:
        flow_runs: Where ends are reported.
        clock: Time.
    """

    def __init__(self, flow_runs: FlowRuns, clock: Clock) -> None:
        self._flow_runs = flow_runs
        self._clock = clock
        self._following: set[asyncio.Task[None]] = set()
        self._followed: set[str] = set()
        #: ARN of a task that is followed, or has been -> its flow run.
        self._known: dict[str, UUID] = {}
        self._reports: set[asyncio.Task[None]] = set()
        self._exited: list[_Exited] = []
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many tasks are followed."""
        return len(self._following)

    def knows(self, flow_run_id: UUID, pid: str) -> bool:
        """Whether the task of a flow run is followed, or was to its end.

        Args:
            flow_run_id: The flow run.
            pid: Its ``infrastructure_pid``; empty when it is not stored, perhaps not yet.
        """
        if pid:
            return task_of(pid) in self._known
        return flow_run_id in self._known.values()

    def remember(self, flow_run_ids: Collection[UUID]) -> None:
        """Remember tasks that have ended of these flow runs only, which have not."""
        self._known = {
            arn: flow_run_id
            for arn, flow_run_id in self._known.items()
            if flow_run_id in flow_run_ids or arn in self._followed
        }

    def follow(
        self,
        spec: RunSpec,
        plane: ControlPlane,
        host: WorkerHost,
        launched: Launched,
        let_go: Callable[[], object],
    ) -> None:
        """Follow a task that was just launched; nothing is awaited.

        Args:
            spec: The run's.
            plane: Where it was launched.
            host: The run's.
            launched: The task.
            let_go: Called once: when the task has ended, or nobody follows it any more.
        """
        if self._closed:
            plane.task_ended(launched.launch)
            let_go()
            return
        arn = launched.task.task_arn
        following = asyncio.create_task(self._follow(spec, plane, host, launched))
        self._following.add(following)
        self._known[arn] = host.attempt.flow_run_id
        self._followed.add(arn)

        def done(following: asyncio.Task[None]) -> None:
            self._following.discard(following)
            self._followed.discard(arn)
            let_go()

        following.add_done_callback(done)

    async def close(self) -> None:
        """Release all tasks: they run on, and nothing is reported."""
        self._closed = True
        looking = [self._looking] if self._looking is not None else []
        tasks = [*self._following, *self._reports, *looking]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)

    async def _follow(
        self, spec: RunSpec, plane: ControlPlane, host: WorkerHost, launched: Launched
    ) -> None:
        try:
            result = await follow(spec, plane, host, launched)
        except TaskFateUnknown as error:
            logger.error("Flow run %s: %s", host.attempt.flow_run_id, error)
            if error.vanished:
                host.crash = str(error)
            else:
                self._known.pop(launched.task.task_arn, None)  # it may be watched again
        except Exception as exception:  # no run ends the watch of another
            logger.exception("Flow run %s: %s", host.attempt.flow_run_id, type(exception).__name__)
        else:
            if result.status_code == 0 and not launched.unwanted:
                self._look_later(host)
        if host.crash:
            report = asyncio.create_task(self._report_crash(host.attempt, host.crash))
            self._reports.add(report)
            report.add_done_callback(self._reports.discard)

    async def _report_crash(self, attempt: Attempt, reason: str) -> None:
        if await self._flow_runs.report_crash(attempt, reason):
            logger.warning("Flow run %s: reported as crashed: %s", attempt.flow_run_id, reason)

    # -- exit code 0 ---------------------------------------------------------------------------

    def _look_later(self, host: WorkerHost) -> None:
        self._exited.append(_Exited(host.attempt, self._clock.now(), host.interrupted))
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        """Look at runs that should have ended by themselves, many together."""
        while self._exited:
            await self._clock.wait(LOOK_SECONDS)
            before = self._clock.now() - GRACE_SECONDS
            due = [exited for exited in self._exited if exited.since <= before]
            if due:
                self._exited = [exited for exited in self._exited if exited.since > before]
                await self._look_at(due)

    async def _look_at(self, due: list[_Exited]) -> None:
        states: Mapping[str, str] = {}
        try:
            states = await self._flow_runs.states([str(e.attempt.flow_run_id) for e in due])
        except Exception as exception:  # noqa: BLE001 - whatever it is, it is tried again
            logger.debug("Could not read %d flow runs: %s", len(due), reason_of(exception))
            for exited in due:
                exited.looks += 1
            self._exited += [exited for exited in due if exited.looks < _MOST_LOOKS]
            return
        reports = [self._judge(e, states.get(str(e.attempt.flow_run_id), "")) for e in due]
        await asyncio.gather(*reports)

    async def _judge(self, exited: _Exited, state: str) -> None:
        reason = None
        if state == "CANCELLING":
            reason = PinnedECSError("the container exited with code 0, and left it Cancelling")
        elif state == "PENDING":
            reason = PinnedECSError(
                "the container exited with code 0, and the flow was never run",
                "",
                "see what its command does, and whether it reaches the Prefect API",
            )
        elif state == "RUNNING" and exited.interrupted is not None:
            end = replace(exited.interrupted, exit_code=None)  # the 0 is not what it ended of
            diagnosis = diagnose(end)
            what = f"the task was interrupted ({end.stop_code}), and its flow did not end"
            reason = PinnedECSError(what, diagnosis.detail, diagnosis.hint)
        if reason is not None:
            await self._report_crash(exited.attempt, str(reason))
