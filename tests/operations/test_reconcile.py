"""`reconcile`: what it does to flow runs on a Prefect API and tasks of an embedded ECS."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import get_client
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
from prefect.states import Cancelled, Cancelling, Completed, Paused, Pending, Running, State

from prefect_ecs_pinned.core.arn import TaskIdentifier
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.local import LocalECS
from prefect_ecs_pinned.local.faults import Fault
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.reconcile import Action, Limits, Outcome, Survey, carry_out
from prefect_ecs_pinned.operations.reconcile import survey as look
from prefect_ecs_pinned.operations.reconcile.evidence import Place
from prefect_ecs_pinned.operations.reconcile.flow_runs import end
from prefect_ecs_pinned.operations.reconcile.verdict import ByPid
from tests.operations.fixtures import ACCOUNT, credentials

LEAVE, CRASH, CANCEL, STOP = Action.LEAVE, Action.CRASH, Action.CANCEL, Action.STOP
TASKS = f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/"
DENIED = Fault("error", "DescribeTasks", code="AccessDeniedException", message="not allowed")


def later(**duration: float) -> Callable[[], datetime]:
    """The time of day, some time from now."""
    return lambda: datetime.now(timezone.utc) + timedelta(**duration)


class World:
    """Flow runs of one deployment, and their tasks."""

    def __init__(self, ecs: LocalECS, deployment: str) -> None:
        self.ecs = ecs
        self.deployment = deployment
        self.client = ecs.client("ecs")

    async def runs(self, count: int, state: State[Any] | None = None) -> list[UUID]:
        """Make flow runs, Pending as an agent makes them."""
        async with get_client() as client:
            deployment = await client.read_deployment_by_name(self.deployment)
            made = []
            for _ in range(count):
                run = await client.create_flow_run_from_deployment(deployment.id)
                await client.set_flow_run_state(run.id, state or Pending(), force=True)
                made.append(run.id)
            return made

    def launch(self, flow_run: UUID, cluster: str = "default", started_by: bool = True) -> str:
        """Start a task of a flow run; gives its ARN."""
        request: dict[str, Any] = {"startedBy": str(flow_run)} if started_by else {}
        variable = {"name": "PREFECT__FLOW_RUN_ID", "value": str(flow_run)}
        answer = self.client.run_task(
            cluster=cluster,
            taskDefinition="job",
            overrides={"containerOverrides": [{"name": "prefect", "environment": [variable]}]},
            **request,
        )
        return str(answer["tasks"][0]["taskArn"])

    async def run(self, state: State[Any], cluster: str = "default") -> tuple[UUID, str]:
        """A flow run with a pid in a state, and its live task."""
        (flow_run,) = await self.runs(1)
        arn = self.launch(flow_run, cluster)
        async with get_client() as client:
            await client.update_flow_run(flow_run, infrastructure_pid=f"{cluster}::{arn}")
            await client.set_flow_run_state(flow_run, state, force=True)
        return flow_run, arn

    async def set(self, flow_run: UUID, state: State[Any], pid: str | None = None) -> None:
        async with get_client() as client:
            await client.set_flow_run_state(flow_run, state, force=True)
            if pid is not None:
                await client.update_flow_run(flow_run, infrastructure_pid=pid)

    def kill(self, arn: str) -> None:
        """Kill a task from outside, and wait until it has stopped."""
        cluster = arn.split("/")[1]
        self.client.stop_task(cluster=cluster, task=arn, reason="killed by hand")
        self.client.get_waiter("tasks_stopped").wait(
            cluster=cluster, tasks=[arn], WaiterConfig={"Delay": 0.1, "MaxAttempts": 300}
        )

    async def states(self) -> dict[UUID, tuple[str, str]]:
        """Flow run -> type of its state, and message."""
        async with get_client() as client:
            runs = await client.read_flow_runs()
        return {r.id: (r.state.type.value, r.state.message or "") for r in runs if r.state}

    def live(self) -> set[str]:
        return set(self.client.list_tasks()["taskArns"])


@pytest.fixture
async def world(save, deploy, ecs):
    """A deployment on a saved block, no flow runs."""
    block = await asyncio.to_thread(save, "reconciled", launch_timeout_seconds=900)
    await asyncio.to_thread(deploy, "flow/reconciled", block)
    ecs.client("ecs").register_task_definition(
        family="job", containerDefinitions=[{"name": "prefect", "image": "flows:1", "memory": 64}]
    )
    async with get_client() as client:
        for run in await client.read_flow_runs():
            await client.delete_flow_run(run.id)
    return World(ecs, "flow/reconciled")


def actions(survey: Survey) -> dict[UUID, Action]:
    return {finding.flow_run_id: finding.action for finding in survey.findings}


def done(outcomes: tuple[Outcome, ...]) -> Counter[str]:
    return Counter(outcome.finding.action.value for outcome in outcomes if outcome.done)


def launched_by_a_killed_agent(block: str, runs: list[UUID]) -> None:
    """Have an agent launch flow runs, and SIGKILL it once they run."""
    environment = {
        **os.environ,
        "PREFECT_API_DATABASE_CONNECTION_URL": str(PREFECT_API_DATABASE_CONNECTION_URL.value()),
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
    }
    agent = subprocess.Popen(
        [sys.executable, "-m", "tests.operations.stand_in_agent", block, *map(str, runs)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "ready\n"
    finally:
        agent.send_signal(signal.SIGKILL)
        agent.communicate(timeout=30)
    assert agent.returncode == -signal.SIGKILL


@pytest.mark.walkthrough
async def test_after_an_agent_was_killed(world, ecs):
    """Of 50 runs 20 lost their task and 5 were never launched: 20 and 5 Crashed, 25 untouched."""
    launched, waiting = await world.runs(45), await world.runs(5)
    await asyncio.to_thread(launched_by_a_killed_agent, "reconciled", launched)
    task_of = {UUID(launch["flow_run_id"]): launch["taskArn"] for launch in ecs.launches}
    assert set(task_of) == set(launched)
    killed, untouched = launched[:20], launched[20:]
    for flow_run in killed:
        world.kill(task_of[flow_run])
    before = await world.states()

    ecs.faults(DENIED)
    limits = Limits(never_launched=timedelta(hours=2))
    blind = await look(limits=limits, now=later(hours=3))
    assert (set(actions(blind).values()), len(blind.problems)) == ({LEAVE}, 1)
    assert await carry_out(blind) == ()
    assert await world.states() == before

    ecs.faults()
    ecs.reset()
    early = await look(limits=limits, now=later(minutes=2))
    assert ecs.count("DescribeTasks") == 2  # 25 live ones, 20 stopped ones
    assert ecs.count("ListTasks") == 2  # live ones, stopped ones: not one for each that waits
    assert done(await carry_out(early)) == {"crash": 20}
    states = await world.states()
    assert {states[flow_run][0] for flow_run in killed} == {"CRASHED"}
    assert all("killed by hand" in states[flow_run][1] for flow_run in killed)
    assert {states[flow_run][0] for flow_run in waiting} == {"PENDING"}

    late = await look(limits=limits, now=later(hours=2, minutes=1))
    assert done(await carry_out(late)) == {"crash": 5}
    states = await world.states()
    assert {states[flow_run][0] for flow_run in waiting} == {"CRASHED"}
    assert all("never launched" in states[flow_run][1] for flow_run in waiting)
    assert {f: states[f] for f in untouched} == {f: before[f] for f in untouched}
    assert world.live() == {task_of[flow_run] for flow_run in untouched}

    again = await look(limits=limits, now=later(minutes=2))
    assert (len(again.findings), again.todo, again.problems) == (25, (), ())
    assert await world.states() == states


async def test_a_cancelling_run_becomes_cancelled(world):
    """Its task has stopped, and nobody was there to say so."""
    flow_run, arn = await world.run(Cancelling())
    world.kill(arn)
    assert done(await carry_out(await look(now=later(minutes=2)))) == {"cancel": 1}
    assert (await world.states())[flow_run][0] == "CANCELLED"


async def test_a_task_whose_flow_run_has_ended_is_stopped(world):
    """Once that was over 60 s ago; a task of a running run, or of a stranger, runs on."""
    ended = [await world.run(state) for state in (Completed(), Cancelled())]
    running = await world.run(Running())
    stranger = world.launch(uuid4())
    assert (await look(now=later(seconds=50))).todo == ()
    survey = await look(now=later(seconds=70))
    assert done(await carry_out(survey)) == {"stop": 2}
    assert world.live() == {running[1], stranger}
    (first, _), *_ = ended
    assert (await world.states())[first][0] == "COMPLETED"
    assert (await look(now=later(seconds=70))).todo == ()


async def test_a_run_that_changes_after_the_survey_is_spared(world):
    """A final, a paused and a rescheduled run keep their states; so does a new attempt."""
    runs = [await world.run(Running()) for _ in range(4)]
    for _, arn in runs:
        world.kill(arn)
    survey = await look(now=later(minutes=2))
    assert set(actions(survey).values()) == {CRASH}
    (ended, _), (paused, _), (resumed, _), (relaunched, _) = runs
    await world.set(ended, Completed())
    await world.set(paused, Paused())
    await world.set(resumed, Pending())
    async with get_client() as client:
        arn = world.launch(relaunched)
        await client.update_flow_run(relaunched, infrastructure_pid=f"default::{arn}")
    before = await world.states()
    outcomes = await carry_out(survey)
    assert ([o.done for o in outcomes], all(o.spared for o in outcomes)) == ([False] * 4, True)
    assert await world.states() == before


async def test_a_final_run_is_protected_by_the_server_too(world):
    """Between reading and writing: Crashed is proposed, never forced."""
    flow_run, arn = await world.run(Running())
    world.kill(arn)
    (finding,) = (await look(now=later(minutes=2))).findings
    await world.set(flow_run, Completed())
    async with get_client() as client:
        assert "ABORT" in await end(client, finding.subject, CRASH, "too late")
    assert (await world.states())[flow_run][0] == "COMPLETED"


async def test_pids_of_elsewhere_are_not_judged(world, ecs):
    """Another account, another Region, a process, a container: no call is made for them."""
    task = f"{TASKS}default/" + "0" * 32
    pids = (
        f"default::{task.replace(ACCOUNT, '999999999999')}",
        f"default::{task.replace('us-east-1', 'eu-west-1')}",
        "host:4711",
        "docker::c0ffee",
    )
    runs = await world.runs(4, Running())
    for flow_run, pid in zip(runs, pids, strict=True):
        await world.set(flow_run, Running(), pid)
    ecs.reset()
    survey = await look(now=later(days=3))
    assert set(actions(survey).values()) == {LEAVE}
    assert ecs.count("DescribeTasks") == 0


async def test_a_task_that_vanished(world, ecs):
    """ECS has forgotten it, nothing is found by startedBy: Crashed, but not at once."""
    flow_run, arn = await world.run(Running())
    world.kill(arn)
    ecs.change(retention_seconds=-1.0)
    assert (await look(now=later(minutes=9))).todo == ()
    survey = await look(now=later(minutes=11))
    assert done(await carry_out(survey)) == {"crash": 1}
    assert "vanished" in (await world.states())[flow_run][1]


async def test_a_launch_whose_pid_was_never_written(world):
    """The agent was killed in between: its task is found by startedBy, in whatever cluster."""
    world.client.create_cluster(clusterName="other")
    live, lost = await world.runs(2)
    world.launch(live, "other")
    world.kill(world.launch(lost, "other"))
    for now in (later(minutes=2), later(days=3)):
        survey = await look(now=now)
        assert actions(survey) == {live: LEAVE, lost: CRASH}
        reason = next(f.reason for f in survey.findings if f.flow_run_id == lost)
        assert "killed by hand" in reason


async def test_a_resumed_run_that_waits_for_its_launch(world):
    """It still has the pid of its earlier attempt, whose task stopped long before."""
    ecs_clock_behind(world.ecs, minutes=10)
    flow_run, arn = await world.run(Running())
    world.kill(arn)
    await world.set(flow_run, Pending())
    assert actions(await look(now=later(minutes=5))) == {flow_run: LEAVE}
    assert actions(await look(now=later(hours=26))) == {flow_run: CRASH}


def ecs_clock_behind(ecs: LocalECS, **duration: float) -> None:
    """All that ECS has seen was longer ago."""
    ecs.model._epoch_offset -= timedelta(**duration).total_seconds()


async def test_a_failed_search_allows_no_verdict(world, ecs):
    """On a run without a task; whether or not DescribeTasks works."""
    (flow_run,) = await world.runs(1)
    for action in ("ListTasks", "ListClusters"):
        ecs.faults(Fault("error", action, code="AccessDeniedException", message="no"))
        survey = await look(now=later(days=3))
        assert (actions(survey), len(survey.problems)) == ({flow_run: LEAVE}, 1)
    ecs.faults(DENIED)
    world.launch(flow_run)  # is to be described, so that the look-up can fail
    assert actions(await look(now=later(days=3))) == {flow_run: LEAVE}


async def test_a_block_whose_tasks_cannot_be_searched_for(world, save):
    """Its customizations replace startedBy: a run without a task is left alone for ever."""
    patch = [{"op": "replace", "path": "/startedBy", "value": "nightly"}]
    await asyncio.to_thread(save, "reconciled", task_customizations=patch)
    (flow_run,) = await world.runs(1)
    assert actions(await look(now=later(days=3))) == {flow_run: LEAVE}


async def test_one_block_only(world, save, deploy):
    """Flow runs of the deployments on other blocks are not looked at."""
    other = await asyncio.to_thread(save, "other")
    await asyncio.to_thread(deploy, "flow/elsewhere", other)
    mine, theirs = await world.runs(1), await World(world.ecs, "flow/elsewhere").runs(1)
    assert set(actions(await look("reconciled", now=later(days=3)))) == set(mine)
    await asyncio.to_thread(save, "unused")
    assert actions(await look("unused", now=later(days=3))) == {}
    assert set(actions(await look(now=later(days=3)))) == {*mine, *theirs}


async def test_batches_of_a_hundred(ecs):
    """A hundred and one lost tasks cost two DescribeTasks calls."""
    place = Place(ACCOUNT, "us-east-1", Calls.of(credentials(ecs.endpoint_url)))
    pids = [TaskIdentifier("default", f"{TASKS}default/{n:032x}") for n in range(101)]
    assert await place.by_pid(pids) == dict.fromkeys(pids, ByPid.MISSING)
    assert ecs.count("DescribeTasks") == 2


async def test_a_limit_that_is_shorter_than_a_launch_wait_is_refused(world):
    """launch_timeout_seconds is 900; 5 minutes more is the least."""
    with pytest.raises(ConfigurationError) as caught:
        await look(limits=Limits(never_launched=timedelta(seconds=1199)))
    assert "at least 1200s" in caught.value.hint
    await look(limits=Limits(never_launched=timedelta(seconds=1200)))


async def test_no_saved_block_is_an_error(prefect):
    """There are no credentials to look with."""
    with pytest.raises(ConfigurationError, match="no block of type 'pinned-ecs-task' is saved"):
        await look()
