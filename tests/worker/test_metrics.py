"""Metrics of real launches by a worker, read through the SDK, against the server's own counts."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Sequence
from datetime import datetime, timezone
from types import FrameType
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import (
    OrchestrationResult,
    SetStateStatus,
    StateAcceptDetails,
    StateRejectDetails,
)
from prefect.states import Pending, Running

from prefect_ecs_pinned import metrics
from prefect_ecs_pinned.aws.loop.control_loop import LoopClock
from prefect_ecs_pinned.aws.measuring import Measuring
from prefect_ecs_pinned.local.faults import Fault
from prefect_ecs_pinned.worker.adopting import Adopting
from prefect_ecs_pinned.worker.claims import CLAIM_LABEL
from prefect_ecs_pinned.worker.flow_runs import FlowRuns
from prefect_ecs_pinned.worker.handing_back import HandingBack
from prefect_ecs_pinned.worker.live_tasks import LiveTasks
from prefect_ecs_pinned.worker.pool_jobs import PoolJobs
from prefect_ecs_pinned.worker.pool_runs import PoolRun, PoolWorker
from prefect_ecs_pinned.worker.spec import run_spec
from tests.measured import Readings, measured
from tests.worker.jobs import POOL
from tests.worker.test_many import NEVER, Client, Offline, offline
from tests.worker.world import true

__all__ = ["measured", "offline"]

RUNS = 50


async def test_fifty_runs_are_counted_as_the_server_counts_them(
    offline: Offline, measured: Readings
):
    """50 launches, 1 registration, and as many throttles as the server has made."""
    offline.ecs.faults(Fault("throttle", "RunTask", times=7))
    await asyncio.gather(*(offline.run(number) for number in range(RUNS)))
    await true(lambda: len(offline.live) == 0)

    cluster = "arn:aws:ecs:us-east-1:123456789012:cluster/default"
    of_cluster = {metrics.CLUSTER: cluster, metrics.REGION: "us-east-1"}
    assert measured.total("launches", {**of_cluster, metrics.FAMILY: offline.family}) == RUNS
    assert measured.total("launches") == measured.total("launch.duration") == RUNS
    assert measured.total("registrations") == 1
    throttled = offline.ecs.calls["RunTask"]["throttled"]
    assert measured.total("throttles", {metrics.METHOD: "RunTask"}) == throttled == 7
    assert measured.total("tasks", {metrics.OUTCOME: "completed"}) == RUNS
    assert measured.total("watch.lag") == RUNS


async def test_live_tasks_are_observed(offline: Offline, measured: Readings):
    """As many as are watched at the moment; with none, the cluster has no value any more."""
    offline.ecs.change(task_seconds=1000.0)
    identifiers = await asyncio.gather(*(offline.run(number) for number in range(3)))
    await true(lambda: sum(measured.now("live_tasks").values()) == 3)
    assert list(measured.now("queued_runs").values()) == [0]
    assert list(measured.now("queue.age").values()) == [0]
    for identifier in identifiers:
        task = identifier.split("::")[1]
        offline.ecs.model.answer("StopTask", {"task": task}, "us-east-1")
    await true(lambda: sum(measured.now("live_tasks").values()) == 0)
    assert measured.total("tasks", {metrics.OUTCOME: "interrupted"}) == 3


class Prefect:
    """Holds flow runs Pending; takes two back, and one of them is already Running."""

    def __init__(self, runs: list[FlowRun]) -> None:
        self.runs = {run.id: run for run in runs}

    async def read_flow_runs(self, **_: Any) -> list[FlowRun]:
        return list(self.runs.values())

    async def set_flow_run_state(
        self, flow_run_id: UUID, state: State[Any], **_: Any
    ) -> OrchestrationResult[Any]:
        if self.runs[flow_run_id].name == "gone":
            return OrchestrationResult(
                state=Running(),
                status=SetStateStatus.REJECT,
                details=StateRejectDetails(reason="it runs"),
            )
        return OrchestrationResult(
            state=state, status=SetStateStatus.ACCEPT, details=StateAcceptDetails()
        )


class Taken:
    """A claim, as far as it is read here."""

    state_id = None

    def __init__(self, run: FlowRun) -> None:
        self.flow_run_id = run.id
        self.id = run.labels[CLAIM_LABEL]


async def test_runs_that_were_handed_back_are_counted(measured: Readings):
    """Those that Prefect has set back, and no others."""
    runs = [
        FlowRun(
            flow_id=UUID(int=1),
            name=name,
            state=Pending(),
            labels={CLAIM_LABEL: name},
        )
        for name in ("one", "two", "gone")
    ]
    handing_back = HandingBack(Prefect(runs))  # type: ignore[arg-type]
    back = await handing_back.hand_back([Taken(run) for run in runs], "stopped")  # type: ignore[misc]
    assert back == measured.total("worker.handed_back") == 2


class PoolOf:
    """A work pool whose flow runs are Running, and have pids."""

    def __init__(self, runs: list[PoolRun]) -> None:
        self._runs = runs

    def server_time(self) -> datetime:
        return datetime.now(timezone.utc)

    async def runs(self) -> Sequence[PoolRun]:
        return self._runs

    async def workers(self) -> Sequence[PoolWorker]:
        return []


async def test_tasks_of_another_process_are_counted_once_when_they_are_adopted(
    offline: Offline, measured: Readings
):
    """Three of another process: 3, and none more in the next round. One's own do not count."""
    offline.ecs.change(task_seconds=NEVER)
    identifiers = await asyncio.gather(*(offline.run(number) for number in range(3)))
    assert measured.total("worker.adopted") == 0
    configuration = await offline.configuration()
    job = run_spec(configuration, POOL), offline.worker._plane(configuration)

    async def job_of(_run: PoolRun) -> Any:
        return job

    now = datetime.now(timezone.utc)
    runs = [
        PoolRun(UUID(int=number), "run", UUID(int=9), "s", "RUNNING", "Running", now, pid=pid)
        for number, pid in enumerate(identifiers, 1)
    ]
    clock = LoopClock()
    client: Any = Client()
    flow_runs = FlowRuns(client, clock)
    live = LiveTasks(flow_runs, clock)
    pool: Any = PoolOf(runs)
    other = Adopting(client, pool, PoolJobs(job_of, clock), flow_runs, live, "other")
    try:
        await other.round()
        cluster = "arn:aws:ecs:us-east-1:123456789012:cluster/default"
        attributes = {metrics.CLUSTER: cluster, metrics.REGION: "us-east-1"}
        adopted = {frozenset(attributes.items()): 3}
        assert measured.of("worker.adopted") == adopted
        assert len(live) == 3
        await other.round()
        assert measured.of("worker.adopted") == adopted
    finally:
        await live.close()


class Calls:
    """Counts calls of functions, in Python and in C, on the threads where it is the profile."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _frame: FrameType, event: str, _argument: Any) -> None:
        self.count += event in ("call", "c_call")


async def test_metrics_are_two_percent_of_the_work_at_most(
    offline: Offline, measured: Readings, monkeypatch: pytest.MonkeyPatch
):
    """With an SDK. Work is counted in calls of functions: time would differ from run to run.

    Of a run's work all is counted but that of the thread of the control loop, which has begun
    before; so the share is less than what is computed here.
    """
    measuring, working = Calls(), Calls()
    measure = Measuring.__call__

    def counted(self: Measuring, event: Any) -> None:
        sys.setprofile(measuring)
        measure(self, event)
        sys.setprofile(None)

    def of_a_worker(frame: FrameType, event: str, argument: Any) -> None:
        if threading.current_thread().name.startswith("pinned-ecs-"):
            working(frame, event, argument)

    monkeypatch.setattr(Measuring, "__call__", counted)
    threading.setprofile(of_a_worker)  # those of its clients begin with the first run
    try:
        sys.setprofile(working)
        await asyncio.gather(*(offline.run(number) for number in range(RUNS)))
        sys.setprofile(None)
        await true(lambda: len(offline.live) == 0)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    assert measured.total("launches") == measured.total("tasks") == RUNS
    assert 100 * RUNS < measuring.count <= 0.02 * (working.count + measuring.count)
