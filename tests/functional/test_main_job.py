"""The main job through a real Prefect server, agents, workers and processes."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import pytest

from tests.functional.world import ENGINE, World

pytestmark = [pytest.mark.functional, pytest.mark.timeout(300)]

#: How a run ends that was cancelled in the queue.
NEVER_LAUNCHED = "cancelled while it waited; it was not launched"


@pytest.fixture(scope="module")
def agents(world: World) -> World:
    """An agent and a block worker for each of Prefect's two default commands."""
    world.build("agent-engine", "-q", "engine", "-ib", "pinned-ecs-task/default")
    for queue, settings in (("runner", {}), ("engine", ENGINE)):
        world.agent(queue, settings)
        world.worker(queue, settings)
    return world


DEPLOYMENTS = ["agent-runner", "agent-engine", "worker-runner", "worker-engine"]


def _run_on_all(world: World, seconds: float) -> list[str]:
    return [world.create_runs(name, 1, seconds=seconds)[0] for name in DEPLOYMENTS]


@dataclass(frozen=True)
class Cancelled:
    """Flow runs that were cancelled at the same moment, one of each way of running.

    Attributes:
        running: Their flow was running.
        provisioning: Their task was not.
        queued: There was no room for a task.
    """

    running: list[str]
    provisioning: list[str]
    queued: list[str]

    @property
    def all(self) -> list[str]:
        return [*self.running, *self.provisioning, *self.queued]


@pytest.fixture(scope="module")
def cancelled(agents: World) -> Cancelled:
    """Cancelled, and their ends have come to agents and workers, who could call them crashes."""
    running = _run_on_all(agents, 600.0)
    agents.until(lambda: agents.states(running), ["RUNNING"] * 4, running)
    agents.change(phases={"provisioning": 120.0})
    try:
        provisioning = _run_on_all(agents, 600.0)
        agents.until(lambda: [bool(pid) for pid in agents.pids(provisioning)], [True] * 4)
        agents.change(vcpu_quota=0)
        queued = _run_on_all(agents, 0.0)
        agents.until(lambda: agents.states(queued), ["PENDING"] * 4, queued)
        runs = Cancelled(running, provisioning, queued)
        for id_ in runs.all:
            agents.cancel(id_)
        agents.until(lambda: agents.states(runs.all), ["CANCELLED"] * 12, runs.all)
        agents.until(agents.live, 0)
        # Two of those that were queued were set Cancelled by Prefect's own agent and worker.
        agents.until(lambda: agents.ended(queued, [NEVER_LAUNCHED]), 4, queued)
        agents.until(lambda: agents.ended(runs.all), 12, runs.all)
    finally:
        agents.change(vcpu_quota=None, phases={"provisioning": 0.4})
    return runs


@pytest.fixture(scope="module")
def completed(agents: World, cancelled: Cancelled) -> list[str]:
    """Twelve that complete; they come after the others, whose agents have gone on since."""
    many = {"agent-engine": 5, "worker-engine": 5}  # the other command starts another interpreter
    ids = [id_ for name in DEPLOYMENTS for id_ in agents.create_runs(name, many.get(name, 1))]
    agents.until(lambda: agents.states(ids), ["COMPLETED"] * 12, ids)
    return ids


def test_every_way_of_running_uses_the_one_revision(agents: World, completed: list[str]) -> None:
    tasks = agents.launches(completed)
    assert len(tasks) == 12
    assert {task["startedBy"] for task in tasks} == set(completed)
    assert len({task["revision"] for task in tasks}) == 1
    assert [r["family"] for r in agents.stage.ecs("revisions")] == ["prefect-default"]
    assert agents.succeeded("RegisterTaskDefinition") == 1
    for pid in agents.pids(completed):
        assert pid is not None
        assert pid.startswith("arn:aws:ecs:us-east-1:123456789012:cluster/default::arn:aws:ecs:")


@pytest.mark.parametrize("line", ["sleeping for 0.0 s", "console.aws.amazon.com"])
def test_the_page_of_a_flow_run_has_its_task_and_its_lines(
    agents: World, completed: list[str], line: str
) -> None:
    """Prefect sends them in batches: the last of them after the run's last state."""
    agents.until(lambda: sum(line in agents.logs(id_) for id_ in completed), 12, completed)


@pytest.mark.usefixtures("completed")
@pytest.mark.parametrize("when", ["running", "provisioning", "queued"])
def test_a_cancelled_flow_run_stays_cancelled(
    agents: World, cancelled: Cancelled, when: str
) -> None:
    """Whatever its agent or worker has made of the end of its task, after twelve more runs."""
    assert agents.states(getattr(cancelled, when)) == ["CANCELLED"] * 4


def test_a_running_flow_run_is_cancelled(agents: World, cancelled: Cancelled) -> None:
    assert len(agents.launches(cancelled.running)) == 4
    assert all("sleeping for 600.0 s" in agents.logs(id_) for id_ in cancelled.running)


def test_a_provisioning_flow_run_is_cancelled(agents: World, cancelled: Cancelled) -> None:
    assert len(agents.launches(cancelled.provisioning)) == 4
    assert "sleeping" not in "".join(agents.logs(id_) for id_ in cancelled.provisioning)


@pytest.mark.usefixtures("completed")  # there has been room since
def test_a_queued_flow_run_is_cancelled_and_never_launched(
    agents: World, cancelled: Cancelled
) -> None:
    assert agents.launches(cancelled.queued) == []


@pytest.mark.usefixtures("completed")
def test_a_new_agent_registers_nothing(agents: World) -> None:
    before = agents.succeeded("RegisterTaskDefinition")
    os.killpg(agents.processes["agent-engine"], signal.SIGKILL)
    agents.agent("engine", ENGINE)
    ids = agents.create_runs("agent-engine", 2)
    agents.until(lambda: agents.states(ids), ["COMPLETED"] * 2, ids)
    assert agents.succeeded("RegisterTaskDefinition") == before
