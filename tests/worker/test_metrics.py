"""Metrics of real launches by a worker, read through the SDK, against the server's own counts."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import (
    OrchestrationResult,
    SetStateStatus,
    StateAcceptDetails,
    StateRejectDetails,
)
from prefect.states import Pending, Running

from prefect_ecs_pinned import metrics
from prefect_ecs_pinned.local.faults import Fault
from prefect_ecs_pinned.worker.claims import CLAIM_LABEL
from prefect_ecs_pinned.worker.handing_back import HandingBack
from tests.measured import Readings, measured
from tests.worker.test_many import Offline, offline
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
