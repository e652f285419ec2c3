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
from email.utils import format_datetime
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.settings import (
    PREFECT_API_DATABASE_CONNECTION_URL,
    PREFECT_API_URL,
    temporary_settings,
)
from prefect.states import (
    Cancelled,
    Cancelling,
    Completed,
    Failed,
    Paused,
    Pending,
    Running,
    State,
)

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.core.arn import TaskIdentifier
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.faces.access import access_of
from prefect_ecs_pinned.local import LocalECS
from prefect_ecs_pinned.local.faults import Fault
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.clocks import Clock, steady_now
from prefect_ecs_pinned.operations.reconcile import Action, Limits, Outcome, Survey, carry_out
from prefect_ecs_pinned.operations.reconcile import survey as look
from prefect_ecs_pinned.operations.reconcile.evidence import Place
from prefect_ecs_pinned.operations.reconcile.facts import ByPid
from prefect_ecs_pinned.operations.reconcile.flow_runs import end, read_clock, unfinished
from tests.operations.authorising import AuthorisingFront
from tests.operations.fixtures import ACCOUNT, credentials
from tests.operations.shifted import ShiftedECS

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

    def launch(
        self, flow_run: UUID, cluster: str = "default", started_by: bool = True, api_url: str = ""
    ) -> str:
        """Start a task of a flow run; gives its ARN."""
        request: dict[str, Any] = {"startedBy": str(flow_run)} if started_by else {}
        variables = [{"name": "PREFECT__FLOW_RUN_ID", "value": str(flow_run)}]
        if api_url:
            variables.append({"name": "PREFECT_API_URL", "value": api_url})
        answer = self.client.run_task(
            cluster=cluster,
            taskDefinition="job",
            overrides={"containerOverrides": [{"name": "prefect", "environment": variables}]},
            **request,
        )
        return str(answer["tasks"][0]["taskArn"])

    async def run(
        self, state: State[Any], cluster: str = "default", api_url: str = ""
    ) -> tuple[UUID, str]:
        """A flow run with a pid in a state, and its live task."""
        (flow_run,) = await self.runs(1)
        arn = self.launch(flow_run, cluster, api_url=api_url)
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

    def live(self) -> set[str]:  # type: ignore[valid-type]
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
    states: list[State[Any]] = [Completed(), Cancelled()]
    ended = [await world.run(state) for state in states]
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


async def test_a_second_attempt_that_waits_right_after_the_first(world):
    """No clock is off: the first task was created and killed seconds before. Not crashed for it."""
    flow_run, arn = await world.run(Running())
    world.kill(arn)
    await world.set(flow_run, Pending())
    for minutes in (2, 24 * 60):
        (finding,) = (await look(now=later(minutes=minutes))).findings
        assert finding.action is LEAVE
        assert finding.reason == "its stopped task may be of an earlier attempt"


async def test_a_second_attempt_that_ran_and_was_killed(world):
    """Its pid names its task, which lived for minutes after the run had become Running again."""
    flow_run, arn = await world.run(Running())
    world.kill(arn)
    await world.set(flow_run, Pending())
    again = world.launch(flow_run)
    await world.set(flow_run, Running(), f"default::{again}")
    ecs_clock_behind(world.ecs, minutes=-5)
    world.kill(again)
    assert actions(await look(now=later(minutes=10))) == {flow_run: CRASH}


async def shifted(front: ShiftedECS | AuthorisingFront) -> None:
    """Have the block reach ECS through a front."""
    block = PinnedECSTask(
        aws_credentials=credentials(front.endpoint_url), image="flows:1", launch_timeout_seconds=900
    )
    await block.save("reconciled", overwrite=True)


@pytest.mark.parametrize("days", [-1, 0, 1])
async def test_the_clock_of_aws_is_a_day_off(world, ecs, days):
    """What is done is the same as if it were right: by each limit, to the second or so."""
    with ShiftedECS(ecs, timedelta(days=days)) as front:
        await shifted(front)
        states: list[State[Any]] = [Running(), Completed(), Running()]
        lost, ended, waiting = [await world.run(state) for state in states]
        for _, arn in (lost, waiting):
            world.kill(arn)
        await world.set(waiting[0], Pending())
        assert (await look(now=later(seconds=30))).todo == ()
        survey = await look(now=later(minutes=2))
        assert actions(survey) == {lost[0]: CRASH, ended[0]: STOP, waiting[0]: LEAVE}
        assert survey.problems == ()


async def test_aws_does_not_say_what_time_it_is(world, ecs):
    """A proxy leaves out the Date: nobody knows how long ago anything was, and all is left."""
    with ShiftedECS(ecs, None) as front:
        await shifted(front)
        flow_run, arn = await world.run(Running())
        world.kill(arn)
        survey = await look(now=later(days=3))
        assert (actions(survey), len(survey.problems)) == ({flow_run: LEAVE}, 1)
        assert survey.problems[0].why == "the answer of DescribeTasks has no Date"


async def test_a_restored_copy_is_refused(world):
    """A run that had failed here was launched again elsewhere: nothing at all is done."""
    failed, first = await world.run(Failed())
    world.kill(first)
    ended, _ = await world.run(Completed())
    lost, arn = await world.run(Running())
    world.kill(arn)
    assert actions(await look(now=later(minutes=2))) == {ended: STOP, lost: CRASH}
    ecs_clock_behind(world.ecs, minutes=-10)
    second = world.launch(failed)
    survey = await look(now=later(minutes=20))
    assert set(actions(survey).values()) == {LEAVE}
    assert await carry_out(survey) == ()
    (doubt,) = survey.doubts
    assert second in doubt.why
    assert "was created 10 min after the flow run had ended here" in doubt.why
    assert second in world.live()
    assert (await world.states())[lost][0] == "RUNNING"
    world.kill(second)  # by hand: it was the only server after all
    assert actions(await look(now=later(minutes=20))) == {ended: STOP, lost: CRASH}


async def test_a_staging_server_is_refused(world):
    """Its copy of a flow run was ended by somebody; the task reports to production."""
    url = "https://prefect.example.com/api"
    flow_run, arn = await world.run(Cancelled(), api_url=url)
    survey = await look(now=later(minutes=2))
    (doubt,) = survey.doubts
    assert (actions(survey), url in doubt.why) == ({flow_run: LEAVE}, True)
    assert f"--api-url {url}" in doubt.hint
    same = await look(now=later(minutes=2), api_urls=["http://prefect.example.com:80/api/"])
    assert done(await carry_out(same)) == {"stop": 1}
    assert arn not in world.live()


async def test_a_task_that_the_server_does_not_know_is_left(world):
    """Its flow run has ended, but the pid names another task, or none."""
    (without,) = await world.runs(1)
    world.launch(without)
    await world.set(without, Cancelled())
    other, first = await world.run(Completed())
    world.kill(first)
    world.launch(other)
    survey = await look(now=later(minutes=2))
    assert (set(actions(survey).values()), survey.doubts) == ({LEAVE}, ())


async def test_a_pid_that_names_another_runs_task(world):
    """A task says whose it is, and that counts."""
    mine, theirs = await world.runs(2, Running())
    arn = world.launch(theirs)
    await world.set(mine, Running(), f"default::{arn}")
    world.kill(arn)
    survey = await look(now=later(minutes=2))
    assert actions(survey)[mine] is LEAVE
    reason = next(f.reason for f in survey.findings if f.flow_run_id == mine)
    assert reason == "its pid names the task of another flow run"


async def test_the_date_of_a_proxy_is_not_believed_alone(world):
    """nginx replaces the Date. By the server's own reckoning it is an hour off."""
    await world.runs(1, Running())
    await world.runs(1)
    async with get_client() as client:

        async def proxy(response: httpx.Response) -> None:
            date = datetime.now(timezone.utc) + timedelta(hours=1)
            response.headers["date"] = format_datetime(date, usegmt=True)

        client._client.event_hooks = {"request": [], "response": [proxy]}
        clock = Clock()
        read_clock(client, clock)
        for subject in await unfinished(client, None, clock):
            assert subject.server_time is not None
            age = steady_now() - clock.ours(subject.since).latest
            assert timedelta(seconds=-1) < age < timedelta(minutes=1)


async def test_without_a_server_its_clock_is_this_machines(world):
    """The API runs in this process."""
    clock = Clock()
    with temporary_settings({PREFECT_API_URL: None}):
        read_clock(cast("PrefectClient", None), clock)
    now = datetime.now(timezone.utc)
    assert abs(clock.ours(now).latest - steady_now()) < timedelta(seconds=5)


@pytest.mark.parametrize("url", ["", "prefect", "http://localhost:4200/api", "ftp://x/api"])
async def test_urls_that_prove_nothing_are_refused(world, url, ecs):
    """Before anything is looked at."""
    ecs.reset()
    with pytest.raises(ConfigurationError, match="as the URL of a Prefect API"):
        await look(api_urls=[url])
    assert ecs.count("ListClusters") == 0


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
    place = Place(ACCOUNT, "us-east-1", Calls.of(access_of(credentials(ecs.endpoint_url))))
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
