"""Workers that die, stop or freeze: nothing is lost, doubled or reported wrongly.

Real `prefect worker start` processes, a real server and the embedded ECS. What waits for minutes
waits for seconds here, in the same proportions (`workers.SHORT`).
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun

from tests.worker.workers import worker
from tests.worker.world import World

NEVER = 1000.0

#: Seconds for anything that has to come.
PATIENCE = 120.0

pytestmark = pytest.mark.timeout(300)


async def seen(world: World, runs: Sequence[FlowRun]) -> list[FlowRun]:
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=[run.id for run in runs]))
    return await world.client.read_flow_runs(flow_run_filter=wanted, limit=200)


async def until(
    world: World, runs: Sequence[FlowRun], true: Callable[[list[FlowRun]], bool]
) -> list[FlowRun]:
    deadline = time.monotonic() + PATIENCE
    while not true(now := await seen(world, runs)):
        if time.monotonic() > deadline:
            launches = launched(world)
            each = [(r.state, r.infrastructure_pid, r.labels, launches[str(r.id)]) for r in now]
            raise AssertionError("\n".join(map(str, each)))
        await asyncio.sleep(0.5)
    return now


def with_pid(runs: Sequence[FlowRun]) -> int:
    return sum(bool(run.infrastructure_pid) for run in runs)


def launched(world: World) -> Counter[str]:
    """Flow run -> how often it was launched."""
    return Counter(str(launch["startedBy"]) for launch in world.ecs.launches)


def states(runs: Sequence[FlowRun]) -> Counter[str]:
    return Counter(run.state.type.value for run in runs if run.state is not None)


async def test_a_worker_that_is_killed_loses_nothing(world: World):
    """Its successor of the same name reports the tasks that fail, and launches what was queued."""
    world.poll_seconds = 1.0
    await world.make_pool()
    world.ecs.change(task_seconds=NEVER, vcpu_quota=6 * 0.25)
    deployment = await world.deployment(cpu=256, memory=512)
    runs = await world.schedule(deployment, 12)
    async with worker(world.pool, "one") as first:
        await until(world, runs, lambda now: with_pid(now) == 6 and states(now)["PENDING"] == 12)
        first.send(signal.SIGKILL)
        await first.gone()
    failed = [run for run in await seen(world, runs) if run.infrastructure_pid][:3]
    for run in failed:
        world.end(run, 1)
    async with worker(world.pool, "one"):
        await until(world, failed, lambda now: states(now)["CRASHED"] == 3)
        world.ecs.change(vcpu_quota=None)
        now = await until(world, runs, lambda now: with_pid(now) == 12)
        assert states(now) == {"CRASHED": 3, "PENDING": 9}
        assert {run.id for run in now if run.state.is_crashed()} == {run.id for run in failed}
    assert launched(world) == dict.fromkeys((str(run.id) for run in runs), 1)


async def test_a_worker_that_is_stopped_hands_back_what_it_has_not_launched(world: World):
    """It is gone within 10 s; a second worker finishes the rest; no task is stopped."""
    world.poll_seconds = 1.0
    await world.make_pool()
    world.ecs.change(task_seconds=NEVER, latencies={"*": 0.0, "RunTask": 0.5}, quota_scale=0.05)
    deployment = await world.deployment()
    runs = await world.schedule(deployment, 12)
    async with worker(world.pool, "one") as first:
        await until(world, runs, lambda now: with_pid(now) >= 3)
        first.send(signal.SIGTERM)
        seconds = await first.gone()
        assert seconds < 10, first.output()
        now = await seen(world, runs)
        assert with_pid(now) == len(world.ecs.launches) < 12
        assert states(now).keys() == {"PENDING", "SCHEDULED"}
        # Handed back at once; or, where a busy server is slow, by the second worker.
    assert world.live_tasks() == len(world.ecs.launches)
    world.ecs.change(latencies={"*": 0.0})  # polls use up the quota that looks share with them
    async with worker(world.pool, "two"):
        now = await until(world, runs, lambda now: with_pid(now) == 12)
    assert states(now) == {"PENDING": 12}
    assert launched(world) == dict.fromkeys((str(run.id) for run in runs), 1)
    assert world.live_tasks() == 12


async def test_a_worker_that_freezes_launches_nothing_that_others_have_taken(world: World):
    """Frozen for longer than others wait for it, beside a second worker."""
    world.poll_seconds = 1.0
    await world.make_pool()
    world.ecs.change(task_seconds=NEVER, vcpu_quota=0.0)
    deployment = await world.deployment(cpu=256, memory=512)
    runs = await world.schedule(deployment, 10)
    async with worker(world.pool, "one") as first:
        await until(world, runs, lambda now: states(now)["PENDING"] == 10)
        await until(world, runs, lambda _: world.calls("RunTask") > 0)
        first.send(signal.SIGSTOP)
        async with worker(world.pool, "two"):
            world.ecs.change(vcpu_quota=None)
            await until(world, runs, lambda now: with_pid(now) >= 3)
            first.send(signal.SIGCONT)
            await until(world, runs, lambda now: with_pid(now) == 10)
            await asyncio.sleep(5)  # for a second launch, if there were one
            assert states(await seen(world, runs)) == {"PENDING": 10}
    assert launched(world) == dict.fromkeys((str(run.id) for run in runs), 1)
    assert world.live_tasks() == 10
