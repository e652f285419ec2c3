"""The main job through a real Prefect server, agents, workers and processes."""

from __future__ import annotations

import os
import signal
import time

import pytest

from prefect_ecs_pinned.faces.following import LOOK_SECONDS
from tests.functional.world import ENGINE, World

pytestmark = [pytest.mark.functional, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def agents(world: World) -> World:
    """An agent and a block worker for each of Prefect's two default commands."""
    world.build("agent-engine", "-q", "engine", "-ib", "pinned-ecs-task/default")
    for queue, settings in (("runner", {}), ("engine", ENGINE)):
        world.agent(queue, settings)
        world.worker(queue, settings)
    return world


DEPLOYMENTS = ["agent-runner", "agent-engine", "worker-runner", "worker-engine"]


def test_every_way_of_running_uses_the_one_revision(agents: World) -> None:
    many = {"agent-engine": 5, "worker-engine": 5}  # the other command takes 8 s of CPU a run
    ids = [id_ for name in DEPLOYMENTS for id_ in agents.create_runs(name, many.get(name, 1))]
    agents.until(lambda: agents.states(ids), ["COMPLETED"] * 12, ids)
    tasks = agents.launches(ids)
    assert len(tasks) == 12
    assert {task["startedBy"] for task in tasks} == set(ids)
    assert len({task["revision"] for task in tasks}) == 1
    assert [r["family"] for r in agents.stage.ecs("revisions")] == ["prefect-default"]
    assert agents.succeeded("RegisterTaskDefinition") == 1
    for id_, pid in zip(ids, agents.pids(ids), strict=True):
        assert pid.startswith("arn:aws:ecs:us-east-1:123456789012:cluster/default::arn:aws:ecs:")
        page = agents.logs(id_)
        assert "sleeping for 0.0 s" in page
        assert "console.aws.amazon.com" in page


def _run_on_all(world: World, seconds: float) -> list[str]:
    return [world.create_runs(name, 1, seconds=seconds)[0] for name in DEPLOYMENTS]


def _cancel_all(world: World, ids: list[str]) -> None:
    for id_ in ids:
        world.cancel(id_)
    world.until(lambda: world.states(ids), ["CANCELLED"] * 4, ids)
    world.until(world.live, 0)
    time.sleep(3)  # for agents to hear of the end, and to call it a crash if they will
    assert world.states(ids) == ["CANCELLED"] * 4, "and so it stays"


def test_a_running_flow_run_is_cancelled(agents: World) -> None:
    ids = _run_on_all(agents, 600.0)
    agents.until(lambda: agents.states(ids), ["RUNNING"] * 4, ids)
    _cancel_all(agents, ids)


def test_a_provisioning_flow_run_is_cancelled(agents: World) -> None:
    agents.change(phases={"provisioning": 15.0})
    try:
        ids = _run_on_all(agents, 600.0)
        agents.until(lambda: [bool(pid) for pid in agents.pids(ids)], [True] * 4)
        _cancel_all(agents, ids)
    finally:
        agents.change(phases={"provisioning": 0.4})
    assert "sleeping" not in "".join(agents.logs(id_) for id_ in ids)


def test_a_queued_flow_run_is_cancelled_and_never_launched(agents: World) -> None:
    agents.change(vcpu_quota=0)
    try:
        ids = _run_on_all(agents, 0.0)
        agents.until(lambda: agents.states(ids), ["PENDING"] * 4, ids)
        _cancel_all(agents, ids)
        time.sleep(LOOK_SECONDS + 1)  # two were set Cancelled by Prefect's own agent and worker
    finally:
        agents.change(vcpu_quota=None)
    (after,) = agents.create_runs("agent-engine", 1)
    agents.until(lambda: agents.states([after]), ["COMPLETED"], [after])
    assert agents.launches(ids) == []


def test_a_new_agent_registers_nothing(agents: World) -> None:
    before = agents.succeeded("RegisterTaskDefinition")
    os.killpg(agents.processes["agent-engine"], signal.SIGKILL)
    agents.agent("engine", ENGINE)
    ids = agents.create_runs("agent-engine", 2)
    agents.until(lambda: agents.states(ids), ["COMPLETED"] * 2, ids)
    assert agents.succeeded("RegisterTaskDefinition") == before
