"""Stopping: by `identifier` as the agent does, by `infrastructure_pid` as the worker does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound

from prefect_ecs_pinned.aws import control_plane, stopping
from prefect_ecs_pinned.errors import AccessDenied
from prefect_ecs_pinned.local.faults import Fault
from tests.block.conftest import Status, World, messages

UNKNOWN_TASK = "arn:aws:ecs:us-east-1:123456789012:task/default/" + "0" * 32


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """ "Not found" is asked for again at once: how long after is shown with a virtual clock."""
    monkeypatch.setattr(stopping, "NOT_FOUND_PAUSE", 0.05)


async def running(world: World, **fields: Any) -> tuple[Any, str, asyncio.Task[Any]]:
    """A block, the identifier of its task, and its run."""
    world.ecs.change(task_seconds=1000)
    block, status = world.block(**fields), Status()
    run = asyncio.create_task(block.run(status))
    return block, await status.identifier, run


@pytest.mark.parametrize(
    "how",
    [
        lambda pid: ((pid,), {}),
        lambda pid: ((), {"identifier": pid}),
        lambda pid: ((), {"infrastructure_pid": pid}),
        lambda pid: ((), {"infrastructure_pid": pid, "grace_seconds": 30}),
    ],
    ids=["positional", "identifier", "infrastructure_pid", "the block worker"],
)
async def test_a_task_is_stopped(world: World, how):
    """Its run ends with SIGKILL's code, and StopTask gets the reason."""
    block, pid, run = await running(world)
    arguments, keywords = how(pid)
    await block.kill(*arguments, **keywords)
    assert (await run).status_code == 137
    assert world.calls("StopTask") == 1
    task = world.ecs.model.find(pid.split("::")[1])
    assert task is not None
    assert task.stop_reason == "Cancelled in Prefect"


async def test_a_block_with_a_cluster_stops_what_runs_there(world: World):
    """The identifier names the cluster as the block does."""
    world.ecs.client("ecs").create_cluster(clusterName="etl")
    block, pid, run = await running(world, cluster="etl")
    assert pid.startswith("etl::arn:aws:ecs:")
    await block.kill(pid)
    assert (await run).status_code == 137


async def test_a_cluster_may_be_named_and_arned(world: World):
    """One and the same cluster; `ECSTask` compares the text."""
    _, pid, run = await running(world)
    cluster = "arn:aws:ecs:us-east-1:123456789012:cluster/default"
    await world.block(cluster=cluster).kill(pid)
    await run
    assert world.block(cluster="default")._has_access_to(cluster)


async def test_stopping_a_stopped_task_changes_nothing(world: World):
    """An agent may cancel twice."""
    block, pid, run = await running(world)
    await block.kill(pid)
    assert (await run).status_code == 137
    await block.kill(pid)
    assert (await run).status_code == 137


async def test_another_grace_period_is_warned_of(world: World, log):
    """ECS has a fixed one of its own."""
    block, pid, run = await running(world)
    await block.kill(pid, grace_seconds=5)
    await run
    assert any("Kill grace period of 5s requested, but AWS does not" in m for m in messages(log))


async def test_a_task_of_another_cluster_is_not_stopped(world: World):
    """The error is Prefect's own, with `ECSTask`'s words."""
    block = world.block(cluster="etl")
    with pytest.raises(
        InfrastructureNotAvailable,
        match="has access to cluster 'etl' but the task is running in cluster 'other'",
    ):
        await block.kill(f"other::{UNKNOWN_TASK}")
    assert world.calls("StopTask") == 0


async def test_a_patched_cluster_counts(world: World):
    """A run goes where the customized request says."""
    patch = [{"op": "add", "path": "/cluster", "value": "patched"}]
    block = world.block(cluster="etl", task_customizations=patch)
    with pytest.raises(InfrastructureNotAvailable):
        await block.kill(f"etl::{UNKNOWN_TASK}")


WHOLE = {"cluster": "patched", "taskDefinition": "etl:1"}


@pytest.mark.parametrize(
    ("patch", "cluster"),
    [
        ({"op": "add", "path": "", "value": WHOLE}, "patched"),
        ({"op": "test", "path": "/cluster", "value": "etl"}, "etl"),
        ({"op": "copy", "from": "/startedBy", "path": "/cluster"}, "any"),
        ({"op": "remove", "path": "/cluster"}, "any"),
        ({"op": "move", "from": "/cluster", "path": "/group"}, "any"),
        ({"op": "add", "path": "/cluster", "value": 7}, "any"),
    ],
)
def test_a_run_can_be_cancelled_wherever_its_patches_took_it(world: World, patch, cluster):
    """Whichever operation says so; what it makes of the cluster may be known to AWS alone."""
    block = world.block(cluster="etl", task_customizations=[patch])
    assert block._has_access_to(cluster)
    assert block._has_access_to("another") is (cluster == "any")


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        ("ClusterNotFoundException", "Cluster not found.", "the cluster 'default' could not be"),
        (
            "InvalidParameterException",
            "The referenced task was not found.",
            f"the task '{UNKNOWN_TASK}' could not be found in cluster 'default'",
        ),
        (
            "InvalidParameterException",
            f"Could not find task with arn {UNKNOWN_TASK}",
            f"the task '{UNKNOWN_TASK}' could not be found in cluster 'default'",
        ),
        (
            "InvalidParameterException",
            "Cluster default has no registered tasks",
            "the cluster 'default' has no tasks",
        ),
    ],
)
async def test_what_is_not_there_is_prefects_own_error(world: World, code, message, words):
    """The agent marks such a flow run cancelled."""
    world.ecs.faults(Fault("error", "StopTask", code=code, message=message))
    with pytest.raises(InfrastructureNotFound, match=f"Cannot stop ECS task: {words}"):
        await world.block().kill(f"default::{UNKNOWN_TASK}")


@pytest.mark.parametrize("pid", ["default::" + UNKNOWN_TASK, "nowhere::" + UNKNOWN_TASK])
async def test_ecs_itself_says_so(world: World, pid):
    """Unknown task, unknown cluster: without a fault switched on."""
    with pytest.raises(InfrastructureNotFound):
        await world.block().kill(pid)


async def test_a_throttled_stop_is_repeated(world: World):
    """Cancelling never fails for lack of quota."""
    block, pid, run = await running(world)
    world.ecs.faults(Fault("throttle", "StopTask", times=1))
    await block.kill(pid)
    assert (await run).status_code == 137
    assert world.calls("StopTask") == 2


async def test_other_refusals_are_passed_on(world: World):
    """With a hint, and not as if the task did not exist. The credentials have stopped no task yet:
    what has worked before is tried again for a while, since IAM is eventually consistent."""
    control_plane.forget_all()
    fault = Fault("error", "StopTask", code="AccessDeniedException", message="not authorized")
    world.ecs.faults(fault)
    with pytest.raises(AccessDenied, match=r"cannot stop task[\s\S]*hint: allow ecs:StopTask"):
        await world.block().kill(f"default::{UNKNOWN_TASK}")


@pytest.mark.parametrize("pid", ["", "nonsense", "::", "default::"])
async def test_what_is_no_identifier_is_refused(world: World, pid):
    """Before any call."""
    with pytest.raises(ValueError, match="is not of the form 'cluster::task-arn'"):
        await world.block().kill(pid)
    assert world.calls("StopTask") == 0
