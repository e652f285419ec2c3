"""What runs in a worker in addition to its polls, put together once it is set up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Set
from typing import Any

from prefect.client.orchestration import PrefectClient

from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.aws.loop.control_loop import LoopClock
from prefect_ecs_pinned.runs.spec import RunSpec
from prefect_ecs_pinned.worker.adopting import Adopting
from prefect_ecs_pinned.worker.flow_runs import FlowRuns
from prefect_ecs_pinned.worker.handing_back import HandingBack
from prefect_ecs_pinned.worker.launches import Launches
from prefect_ecs_pinned.worker.leases import Leases
from prefect_ecs_pinned.worker.live_tasks import LiveTasks
from prefect_ecs_pinned.worker.pool_jobs import PoolJobs
from prefect_ecs_pinned.worker.pool_runs import Pool, PoolRun

#: What the states of runs say that are handed back.
_NO_SLOT = "Its concurrency slot had gone before its task was launched"
_STOPPED = "Worker {!r} stopped before it had launched its task"


class Services:
    """Belongs to the worker's event loop.

    Args:
        client: The worker's client.
        pool: Name of the work pool.
        name: The worker's.
        job_of: What a flow run of the pool asks for, and the control plane of its credentials.

    Attributes:
        flow_runs: What is read of flow runs, and reported.
        live: The tasks that are followed.
        launches: The launches.
        handing_back: Sets runs back that are not launched.
    """

    def __init__(
        self,
        client: PrefectClient,
        pool: str,
        name: str,
        job_of: Callable[[PoolRun], Awaitable[tuple[RunSpec, ControlPlane]]],
    ) -> None:
        clock = LoopClock()
        self._name = name
        self.flow_runs = FlowRuns(client, clock)
        self.live = LiveTasks(self.flow_runs, clock)
        leases = Leases(client, clock, self.flow_runs.claims.all)
        handing_back = HandingBack(client)
        self.launches = Launches(self.live, handing_back, leases)
        self.adopting = Adopting(
            client, Pool(client, pool), PoolJobs(job_of, clock), self.flow_runs, self.live, name
        )
        self._leases, self.handing_back = leases, handing_back
        self._running: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Begin what is done unasked."""
        self._run(self._leases.run())
        self._run(self.handing_back.run(_NO_SLOT))
        self._run(self.adopting.run())

    async def stop(self, submissions: Set[asyncio.Task[None]] | None, seconds: float) -> None:
        """Release everything: tasks run on, and nothing is reported.

        Args:
            submissions: Prefect's part of the launches, when those are to be handed back.
            seconds: For that.
        """
        for service in self._running:
            service.cancel()
        if submissions is not None:
            self.flow_runs.claims.end()
            for claim in self.flow_runs.claims.all():
                if claim.is_idle():  # Prefect's part of it may take longer than there is time
                    self.handing_back.add(claim)
            why = _STOPPED.format(self._name)
            await self.launches.stop(submissions, why, seconds)
        await self.flow_runs.claims.close_all()
        await self.live.close()

    def _run(self, service: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(service)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
