"""`pinned-ecs reconcile`: stdout, stderr and exit code apart."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from prefect import get_client
from prefect.server.database.dependencies import provide_database_interface
from prefect.states import Cancelled, Cancelling

from prefect_ecs_pinned.errors import PinnedECSError
from prefect_ecs_pinned.local import LocalECS
from prefect_ecs_pinned.local.faults import Fault


@pytest.fixture
def lost(save, deploy, ecs):
    """A Cancelling flow run whose task was killed ten minutes ago; gives its id."""
    ecs.model._epoch_offset -= timedelta(minutes=10).total_seconds()
    deploy("flow/lost", save("lost"))
    client = ecs.client("ecs")
    client.register_task_definition(
        family="job", containerDefinitions=[{"name": "prefect", "image": "flows:1", "memory": 64}]
    )
    task = client.run_task(taskDefinition="job")["tasks"][0]["taskArn"]
    flow_run = asyncio.run(_cancelling(f"default::{task}"))
    client.stop_task(task=task, reason="killed by hand")
    client.get_waiter("tasks_stopped").wait(tasks=[task], WaiterConfig={"Delay": 0.1})
    return flow_run


async def _cancelling(pid: str) -> str:
    async with get_client() as client:
        for run in await client.read_flow_runs():
            await client.delete_flow_run(run.id)
        deployment = await client.read_deployment_by_name("flow/lost")
        run = await client.create_flow_run_from_deployment(deployment.id)
        # In this order: Prefect makes Cancelled of a run without a pid at once.
        await client.update_flow_run(run.id, infrastructure_pid=pid)
        await client.set_flow_run_state(run.id, Cancelling(), force=True)
        return str(run.id)


async def _state(flow_run: str) -> str:
    async with get_client() as client:
        state = (await client.read_flow_run(flow_run)).state
        assert state is not None
        return str(state.type.value)


def test_a_dry_run_then_yes_then_nothing(pinned_ecs, lost):
    """The table is data; how many, what was left and what comes next are messages."""
    dry = pinned_ecs("reconcile")
    assert dry.code == 0
    heading, row = dry.out.splitlines()
    assert heading.split() == ["flow", "run", "name", "state", "fate", "why"]
    assert row.startswith(lost)
    assert "cancel " in row
    assert "killed by hand" in row
    assert dry.err.splitlines() == [
        "1 to cancel, 0 unchanged.",
        "Dry run: nothing was changed. Apply the changes with --yes.",
        "next: pinned-ecs reconcile --yes",
    ]
    assert asyncio.run(_state(lost)) == "CANCELLING"

    done = pinned_ecs("reconcile", "lost", "--yes")
    assert (done.code, done.err) == (0, "1 cancelled, 0 unchanged.\n")
    assert "cancelled " in done.out
    assert asyncio.run(_state(lost)) == "CANCELLED"

    again = pinned_ecs("reconcile", "--yes")
    assert (again.code, again.out, again.err) == (0, "", "nothing to do, 0 unchanged.\n")


def test_json(pinned_ecs, lost):
    """All flow runs that were looked at, with what is to be done."""
    said = pinned_ecs("reconcile", "--json")
    (run,) = json.loads(said.out)["flow_runs"]
    assert (said.code, run["flow_run_id"], run["action"], run["done"]) == (
        0,
        lost,
        "cancel",
        False,
    )
    assert (json.loads(said.out)["problems"], json.loads(said.out)["doubts"]) == ([], [])


def test_a_server_that_may_be_a_copy_is_refused(pinned_ecs, lost, ecs):
    """Nothing is done, not even what has nothing to do with it; one message, exit code 1."""
    ended, task = asyncio.run(_ended_before_its_task(ecs))
    said = pinned_ecs("reconcile", "--yes")
    assert (said.code, said.out) == (1, "")
    summary, left, other, error, hint, _ = said.err.splitlines()
    assert summary == "nothing to do, 2 unchanged."
    assert left.startswith("  1 left: its task was created 50 min after ")
    assert other == "  1 left: this Prefect server may be a copy of another"
    assert error.startswith(
        "error: refuses to reconcile with this Prefect server, which may be a copy of another: "
        "flow run "
    )
    assert (
        f"({ended}) is Cancelled and task {task} is live, but its task was created 50 min after "
        in error
    )
    assert hint.startswith("hint: this server's database may be a copy, ")
    assert asyncio.run(_state(lost)) == "CANCELLING"
    (doubt,) = json.loads(pinned_ecs("reconcile", "--json").out)["doubts"]
    assert set(doubt) == {"what", "why", "hint"}

    ecs.client("ecs").stop_task(task=task)
    assert pinned_ecs("reconcile", "--yes").err == "1 cancelled, 0 unchanged.\n"


async def _ended_before_its_task(ecs: LocalECS) -> tuple[str, str]:
    """A flow run that ended an hour ago, and a task of it that was created since."""
    async with get_client() as client:
        deployment = await client.read_deployment_by_name("flow/lost")
        run = await client.create_flow_run_from_deployment(deployment.id)
        await client.set_flow_run_state(run.id, Cancelled(), force=True)
    db = provide_database_interface()
    an_hour_ago = datetime.now(timezone.utc) - timedelta(hours=1)
    async with db.session_context(begin_transaction=True) as session:
        end = sa.update(db.FlowRunState).where(
            db.FlowRunState.flow_run_id == run.id, db.FlowRunState.type == "CANCELLED"
        )
        await session.execute(end.values(timestamp=an_hour_ago))
    answer = ecs.client("ecs").run_task(taskDefinition="job", startedBy=str(run.id))
    return str(run.id), answer["tasks"][0]["taskArn"]


def test_what_comes_next_repeats_the_options(pinned_ecs, lost):
    """As they were given."""
    options = "--never-launched-after 26h --api-url https://prefect.example.com/api"
    dry = pinned_ecs("reconcile", "lost", *options.split())
    assert dry.err.splitlines()[-1] == f"next: pinned-ecs reconcile lost {options} --yes"


def test_a_url_that_proves_nothing(pinned_ecs, lost):
    """One message and a hint, before anything is looked at."""
    said = pinned_ecs("reconcile", "--api-url", "http://localhost:4200/api")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: cannot use 'http://localhost:4200/api' as the URL of a ")
    assert "\nhint: give the PREFECT_API_URL of the tasks" in said.err


def test_a_failed_look_up_fails(pinned_ecs, lost, ecs):
    """Nothing is judged or done; one message and a hint, exit code 1."""
    ecs.faults(Fault("error", "DescribeTasks", code="AccessDeniedException", message="no"))
    said = pinned_ecs("reconcile", "--yes")
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines() == [
        "nothing to do, 1 unchanged.",
        "  1 left: the look-up failed",
        "error: cannot judge every flow run: cannot call DescribeTasks: AccessDeniedException: no",
        "hint: allow ecs:DescribeTasks to the credentials",
        f"see: {PinnedECSError('').page}",
    ]
    assert asyncio.run(_state(lost)) == "CANCELLING"


def test_a_limit_that_is_too_short(pinned_ecs, lost):
    """A launch may be waited for longer."""
    said = pinned_ecs("reconcile", "--never-launched-after", "10m")
    assert (said.code, said.out) == (1, "")
    assert "\nhint: give at least 1200s: launch_timeout_seconds and 300 s\nsee: " in said.err
