"""Tasks that other workers, or a former process of this one, have launched: found, and followed.

Watching needs no owner: several workers may follow one task, since each reads a flow run before it
reports on it (`flow_runs`). On start, and every few minutes, all runs of the pool are read that
Prefect holds Pending or Running, and

- the tasks that their pids name are followed;
- a run whose task has no pid stored is searched for, and its pid stored;
- a run that was never launched, and whose worker is gone, is reset (`rescuing`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound, PrefectSignal
from prefect.logging.loggers import get_logger
from prefect.states import AwaitingRetry, Pending
from prefect.utilities.engine import propose_state

from prefect_ecs_pinned import metrics
from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.launching.handover import Launch
from prefect_ecs_pinned.aws.loop.control_loop import LoopClock
from prefect_ecs_pinned.core.arn import TaskIdentifier, cluster_arn
from prefect_ecs_pinned.core.compare import Desired
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.faces.asking import reason_of
from prefect_ecs_pinned.runs.watch import Launched
from prefect_ecs_pinned.worker.attempt import Attempt
from prefect_ecs_pinned.worker.flow_runs import FlowRuns
from prefect_ecs_pinned.worker.host import WorkerHost
from prefect_ecs_pinned.worker.live_tasks import LiveTasks
from prefect_ecs_pinned.worker.pool_jobs import Job, PoolJobs
from prefect_ecs_pinned.worker.pool_runs import Pool, PoolRun, PoolWorker
from prefect_ecs_pinned.worker.rescuing import FENCED, Me, Step, is_abandoned, next_step
from prefect_ecs_pinned.worker.task_lookup import Task, describe, is_newest_attempt, search

#: Seconds between two rounds; and while there are runs that another worker has not launched yet.
EVERY_SECONDS = 120.0
AGAIN_SECONDS = 20.0

#: Seconds between two looks for a task: ListTasks is eventually consistent.
SECOND_LOOK_SECONDS = 5.0

#: Seconds after which a run that is Running should have its pid.
_PID_SECONDS = 60.0

logger = get_logger("workers.pinned-ecs.adopting")

#: For lines of a flow run's page, which its own worker writes.
_NO_PAGE = logging.getLogger("prefect_ecs_pinned.no_page")
_NO_PAGE.setLevel(logging.CRITICAL + 1)


class _Found(NamedTuple):
    run: PoolRun
    job: Job


class Adopting:
    """Finds tasks, and runs that nobody launches; belongs to the worker's event loop.

    Args:
        client: The worker's client.
        pool: The work pool.
        jobs: What its runs are configured to be.
        flow_runs: Where ends are reported.
        live: Follows tasks.
        name: The worker's.
        clock: Time.
    """

    def __init__(
        self,
        client: PrefectClient,
        pool: Pool,
        jobs: PoolJobs,
        flow_runs: FlowRuns,
        live: LiveTasks,
        name: str,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._pool = pool
        self._jobs = jobs
        self._flow_runs = flow_runs
        self._live = live
        self._name = name
        self._clock: Clock = clock or LoopClock()
        self._me: Me | None = None

    async def run(self) -> None:
        """Look around again and again, until it is cancelled."""
        while True:
            again = AGAIN_SECONDS
            try:
                again = await self.round()
            except Exception as exception:  # noqa: BLE001 - the next round may go better
                logger.warning("Could not look for tasks of the pool: %s", reason_of(exception))
            await self._clock.wait(again)

    async def round(self) -> float:
        """Look around once.

        Returns:
            Seconds until the next.
        """
        held = await self._pool.runs()
        now = self._pool.server_time()
        if self._me is None:
            self._me = Me(self._name, self._flow_runs.claims.process, now)
        self._live.remember({run.id for run in held})
        strange = [run for run in held if not self._is_known(run)]
        if not strange:
            return EVERY_SECONDS
        workers = {worker.name: worker for worker in await self._pool.workers()}
        with_jobs = [_Found(run, job) for run in strange if (job := await self._jobs.of(run))]
        left = await self._adopt_named(with_jobs)
        lost = [found for found in left if self._may_be_lost(found.run, workers, now)]
        lost = await self._adopt_found(lost)
        await self._rescue(lost, workers, now)
        return AGAIN_SECONDS if any(run.pending for run in strange) else EVERY_SECONDS

    def _is_known(self, run: PoolRun) -> bool:
        """Whether this process launches or follows it."""
        if run.id in self._flow_runs.claims:
            return True
        return self._live.knows(run.id, run.pid)

    def _may_be_lost(self, run: PoolRun, workers: Mapping[str, PoolWorker], now: datetime) -> bool:
        """Whether a run whose pid names no task of it is to be searched for."""
        assert self._me is not None
        if run.pending:
            return run.state_name == FENCED or is_abandoned(run, workers, self._me, now)
        return (now - run.state_at).total_seconds() >= _PID_SECONDS

    # -- tasks ---------------------------------------------------------------------------------

    async def _adopt_named(self, runs: Sequence[_Found]) -> list[_Found]:
        """Follow the tasks that pids name, of the newest attempts; the other runs are returned."""
        named = [found for found in runs if _region_of(found.run) == found.job.region]
        described = await describe(named)
        left = [found for found in runs if not found.run.pid]
        for found in named:
            if found.run.id not in described:
                continue  # not known now
            task = described[found.run.id]
            if task is not None and is_newest_attempt(found.run, task):
                self._follow(found, found.run.pid)
            else:
                left.append(found)
        return left

    async def _adopt_found(self, runs: Sequence[_Found]) -> list[_Found]:
        """Follow tasks that have to be searched for; those that do not have one are returned."""
        tasks = await search(runs)
        left = []
        for found in runs:
            if found.run.id not in tasks:
                continue  # not known now
            task = tasks[found.run.id]
            if task is not None:
                await self._store_and_follow(found, task)
            elif found.run.pending:
                left.append(found)
            elif found.run.pid:
                self._follow(found, found.run.pid)  # it has vanished, if that lasts
        return left

    async def _store_and_follow(self, found: _Found, task: Task) -> None:
        run = found.run
        identifier = str(TaskIdentifier(str(task.get("clusterArn")), str(task["taskArn"])))
        fresh = await self._pool.run(run.id)
        if fresh is None or (fresh.state_id, fresh.pid) != (run.state_id, run.pid):
            return  # the next round looks at it again
        await self._client.update_flow_run(run.id, infrastructure_pid=identifier)
        logger.info("Found the task of flow run %s: %s", run.id, identifier)
        self._follow(found, identifier)

    def _follow(self, found: _Found, identifier: str) -> None:
        """Follow a task from its first status on, whatever it is by now."""
        run, job = found
        if self._live.knows(run.id, identifier):
            return
        spec = job.of(run)
        cluster, arn = TaskIdentifier.parse(identifier)
        attempt = Attempt(run.id, run.name, run.state_at, identifier)
        host = WorkerHost(attempt, self._flow_runs, logger, _NO_PAGE)
        desired = Desired(spec.task_definition or {}, spec.container_name)
        task = Snapshot(arn, cluster, "PROVISIONING")
        launched = Launched(Launch(), task, identifier, desired)
        self._live.follow(spec, job.plane, host, launched, lambda: None)
        metrics.record(metrics.ADOPTED, 1, metrics.of_cluster(cluster_arn(cluster, arn)))

    # -- runs without a task -------------------------------------------------------------------

    async def _rescue(
        self, runs: Sequence[_Found], workers: Mapping[str, PoolWorker], now: datetime
    ) -> None:
        """Take runs away from workers that are gone, in two steps; see `rescuing`."""
        assert self._me is not None
        steps = {found.run.id: next_step(found.run, workers, self._me, now) for found in runs}
        why = f"Worker {self._name!r} has found its worker gone, before it had launched a task"
        for found in runs:
            if steps[found.run.id] is Step.FENCE:
                await self._propose(found.run, Pending(name=FENCED, message=why))
        back = [found for found in runs if steps[found.run.id] is Step.SET_BACK]
        if not back:
            return
        await self._clock.wait(SECOND_LOOK_SECONDS)
        for found in await self._adopt_found(back):
            state: State[Any] = AwaitingRetry(
                scheduled_time=datetime.now(timezone.utc), message=why
            )
            if await self._propose(found.run, state):
                logger.warning("Flow run %s is reset: %s", found.run.id, why)

    async def _propose(self, run: PoolRun, state: State[Any]) -> bool:
        """Propose a state for a run that is as it was; whether Prefect has accepted that."""
        try:
            fresh = await self._pool.run(run.id)
            if fresh is None or (fresh.state_id, fresh.pid) != (run.state_id, run.pid):
                return False
            await propose_state(self._client, state, flow_run_id=run.id)
        except (PrefectSignal, ObjectNotFound):
            return False
        return True


def _region_of(run: PoolRun) -> str:
    """The Region of the task that a run's pid names; empty when it names none."""
    try:
        arn = TaskIdentifier.parse(run.pid).task_arn.split(":")
    except ValueError:
        return ""
    return arn[3] if len(arn) > 3 and arn[0] == "arn" else ""
