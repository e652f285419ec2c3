"""Metrics of real launches by the block, read through the SDK, against the server's own counts."""

from __future__ import annotations

import asyncio

import pytest

from prefect_ecs_pinned import metrics
from prefect_ecs_pinned.errors import PinnedECSError
from prefect_ecs_pinned.local.faults import Fault
from tests.measured import Readings, measured

__all__ = ["measured"]

RUNS = 50
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/default"


async def test_fifty_runs_are_counted_as_the_server_counts_them(world, measured: Readings):
    """50 launches, 1 registration, and as many throttles as the server has made."""
    world.ecs.faults(Fault("throttle", "RunTask", times=7))
    block = world.block()
    await asyncio.gather(*(block.run() for _ in range(RUNS)))

    family = {metrics.FAMILY: world.family(block), metrics.REGION: "us-east-1"}
    of_cluster = {metrics.CLUSTER: CLUSTER, metrics.REGION: "us-east-1"}
    launched = frozenset({**family, **of_cluster, metrics.QUOTA: "FARGATE"}.items())
    assert measured.of("launches") == {launched: RUNS}
    assert measured.of("launch.duration") == {launched: RUNS}
    assert measured.of("registrations") == {frozenset(family.items()): 1}

    throttles = measured.of("throttles")
    run_task = {metrics.SERVICE: "ECS", metrics.METHOD: "RunTask", metrics.REGION: "us-east-1"}
    assert throttles == {frozenset(run_task.items()): 7}
    assert throttles[frozenset(run_task.items())] == world.ecs.calls["RunTask"]["throttled"]

    ended = frozenset({**of_cluster, metrics.OUTCOME: "completed"}.items())
    assert measured.of("tasks") == {ended: RUNS}
    assert measured.total("watch.lag") == RUNS
    assert measured.sum("watch.lag") < RUNS * 10.0


async def test_every_call_is_measured(world, measured: Readings):
    """Call durations add up to the calls that the server has counted, action by action."""
    await world.block().run()
    counted = {name: count["calls"] for name, count in world.ecs.calls.items()}
    seen = {name: measured.total("call.duration", {metrics.METHOD: name}) for name in counted}
    # A last look right before a registration is a part of it.
    assert counted.pop("DescribeTaskDefinition") - seen.pop("DescribeTaskDefinition") in (0, 1)
    assert seen == counted
    refused = measured.total("call.duration", {metrics.ERROR: "no_definition"})
    assert refused == 1


async def test_a_failed_launch_and_a_failed_task_say_why(world, measured: Readings):
    world.ecs.faults(Fault("error", "RunTask", times=1, code="AccessDeniedException"))
    with pytest.raises(PinnedECSError):
        await world.block().run()
    assert measured.total("launches", {metrics.ERROR: "denied"}) == 1
    world.ecs.faults()
    world.ecs.change(exit_code=3)
    await world.block().run()
    failed = {metrics.OUTCOME: "failed", metrics.ERROR: "EssentialContainerExited"}
    assert measured.total("tasks", failed) == measured.total("tasks") == 1


async def test_no_attribute_grows_with_the_runs(world, measured: Readings):
    """Neither a task nor a run nor a revision is among them, nor anything that the block hides."""
    blocks = [world.block(env={"TOKEN": "s3cret"}, name=f"run-{n}") for n in range(5)]
    await asyncio.gather(*(block.run() for block in blocks))
    known = {one.full_name: set(one.attributes) for one in metrics.TABLE}
    values = set()
    for name, attributes in measured.all():
        assert {key for key, _ in attributes} <= known[name]
        values |= {value for _, value in attributes}
    text = " ".join(map(str, values))
    hidden = ("s3cret", "run-", "/task/", ":task/", "task-definition/", world.ecs.access_key)
    assert [part for part in hidden if part in text] == []
