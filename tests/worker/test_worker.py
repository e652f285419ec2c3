"""The worker with a real Prefect server and the embedded ECS: launches, ends, cancellations."""

from __future__ import annotations

import traceback

import pytest
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.states import Cancelling, Completed, Pending, Running, Scheduled

from prefect_ecs_pinned.connections import LIMITS
from prefect_ecs_pinned.local.faults import Fault
from prefect_ecs_pinned.runs.watch import CANCELLED_REASON
from prefect_ecs_pinned.worker import flow_runs, live_tasks, pinned_ecs_worker
from tests.worker.world import World, live, submit, true

NEVER = 1000.0
PULL = "CannotPullContainerError: pull image manifest has been retried 5 time(s)"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a flow run to end by itself does not wait for long."""
    monkeypatch.setattr(live_tasks, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(live_tasks, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(flow_runs, "_AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(flow_runs, "PID_SECONDS", 1.0)


async def test_a_run_is_launched(world: World):
    """With Prefect's pid of `ECSWorker`'s form, its labels as tags, and its own id in it."""
    world.ecs.change(task_seconds=NEVER)
    async with world.worker() as worker:
        run = await world.one_run(worker, cluster="default", env={"A": "1"})
        cluster, arn = (run.infrastructure_pid or "").split("::")
        assert cluster == "default"
        request = world.ecs.model.find(arn).request
        variables = {
            v["name"]: v["value"]
            for v in request["overrides"]["containerOverrides"][0]["environment"]
        }
        assert (variables["PREFECT__FLOW_RUN_ID"], variables["A"]) == (str(run.id), "1")
        assert request["startedBy"] == str(run.id)
        tags = {tag["key"]: tag["value"] for tag in request["tags"]}
        assert tags["prefect.io/flow-run-id"] == str(run.id)
        assert tags["prefect.io/work-pool-name"] == world.pool
        assert run.state is not None
        assert run.state.name == "Submitting"
        await true(lambda: len(live(worker)) == 1)
    assert world.live_tasks() == 1  # a worker that stops lets its tasks run on


async def test_its_client_keeps_connections_and_outlives_its_runs(world: World, monkeypatch):
    """It is the one that everything of the worker uses, made before the parent's."""
    asked, called = [], []

    def noted(**settings: object) -> PrefectClient:
        asked.append(settings)
        return get_client(**settings)  # type: ignore[arg-type]

    monkeypatch.setattr(pinned_ecs_worker, "get_client", noted)
    async with world.worker() as worker:
        client = worker.client

        async def late() -> None:
            called.append(await client.hello())

        assert worker._runs_task_group is not None
        worker._runs_task_group.start_soon(late)  # it begins when the worker waits for its runs
    assert asked == [{"httpx_settings": {"limits": LIMITS}}]
    assert [answer.status_code for answer in called] == [200]
    with pytest.raises(RuntimeError, match="closed"):
        await client.hello()


@pytest.mark.functional
@pytest.mark.timeout(900)
async def test_a_hundred_runs_over_twenty_deployments_register_once(world: World):
    """Their definitions are equal; sizes and environment are sent with each launch."""
    world.ecs.change(task_seconds=NEVER)
    async with world.worker() as worker:
        for number in range(20):
            deployment = await world.deployment(
                f"d{number}", cpu=256 * (1 + number % 2), memory=1024, env={"N": str(number)}
            )
            await world.schedule(deployment, 5)
        assert len(await submit(worker)) == 100
        await true(lambda: len(live(worker)) == 100)
    assert len(world.ecs.launches) == 100
    assert world.calls("RegisterTaskDefinition") == 1
    families = {d["family"] for d in world.ecs.model.definitions("us-east-1").all()}
    assert f"prefect_{world.pool}" in families


@pytest.mark.parametrize("state", [None, Running()])
async def test_a_container_that_fails_is_reported_with_its_reason(world: World, state):
    """While the flow run is Pending, or Running."""
    world.ecs.change(task_seconds=NEVER)
    async with world.worker() as worker:
        run = await world.one_run(worker)
        if state is not None:
            await world.set(run, state)
        world.end(run, 137)
        assert "exited with code 137" in await world.crashed(run)


async def test_a_task_that_can_not_start_is_reported_with_its_reason(world: World):
    world.ecs.model.start_failures.append(("TaskFailedToStart", PULL))
    async with world.worker() as worker:
        [run] = await world.schedule(await world.deployment())
        await submit(worker)
        assert PULL in await world.crashed(run)


async def test_a_run_that_was_never_run_is_reported(world: World, soon):
    """Its container exited with 0, and the flow run is still Pending."""
    async with world.worker() as worker:
        [run] = await world.schedule(await world.deployment())
        await submit(worker)
        assert "the flow was never run" in await world.crashed(run)


async def test_an_end_that_the_flow_run_reported_itself_is_left_alone(world: World, soon):
    """Whatever the container's exit code; and so is one that is paused, or scheduled again."""
    world.ecs.change(task_seconds=NEVER)
    async with world.worker() as worker:
        run = await world.one_run(worker)
        await world.set(run, Completed())
        world.end(run, 1)
        await true(lambda: len(live(worker)) == 0)
        assert (await world.read(run)).state.is_completed()


async def test_the_end_of_an_old_attempt_does_not_crash_a_new_one(world: World, soon):
    """While the new one is Pending, Prefect still has the pid of the old one."""
    world.ecs.change(task_seconds=NEVER)
    async with world.worker() as worker:
        run = await world.one_run(worker)
        await world.set(run, Scheduled())
        await world.set(run, Pending())
        world.end(run, 1)
        await true(lambda: len(live(worker)) == 0)
        seen = await world.read(run)
        assert seen.infrastructure_pid == run.infrastructure_pid
        assert seen.state.is_pending()


async def test_a_pid_that_was_lost_is_stored(world: World, soon, monkeypatch):
    """Then the end is reported: without a pid, nothing is."""
    world.ecs.change(task_seconds=0.3, exit_code=1)
    async with world.worker() as worker:
        update = worker.client.update_flow_run
        lost = []

        async def lose(flow_run_id, **values):
            if not lost:
                lost.append(values)
                raise ConnectionError
            await update(flow_run_id, **values)

        monkeypatch.setattr(worker.client, "update_flow_run", lose)
        [run] = await world.schedule(await world.deployment())
        await submit(worker)
        assert "exited with code 1" in await world.crashed(run)
        assert (await world.read(run)).infrastructure_pid == lost[0]["infrastructure_pid"]


# -- cancelling ------------------------------------------------------------------------------------


async def cancel(world: World, run) -> None:
    await world.client.set_flow_run_state(run.id, Cancelling())


async def test_a_run_that_waits_is_never_launched_when_it_is_cancelled(world: World, monkeypatch):
    """Prefect's worker-side cancelling is off, as by default."""
    monkeypatch.setattr("prefect_ecs_pinned.faces.following.LOOK_SECONDS", 0.1)
    world.ecs.change(vcpu_quota=0.0)
    async with world.worker() as worker:
        [run] = await world.schedule(await world.deployment())
        await submit(worker)
        await true(lambda: world.calls("RunTask") > 0)
        await cancel(world, run)
        await world.until(run, lambda seen: seen.state.is_cancelled())
        world.ecs.change(vcpu_quota=None)
    assert world.ecs.launches == []


async def test_a_run_that_provisions_is_stopped_when_it_is_cancelled(world: World, monkeypatch):
    monkeypatch.setattr("prefect_ecs_pinned.faces.following.LOOK_SECONDS", 0.1)
    from prefect_ecs_pinned.local.settings import Phases

    world.ecs.change(phases=Phases(NEVER, 0, 0, 0, 0, 0))
    async with world.worker() as worker:
        run = await world.one_run(worker)
        await cancel(world, run)
        seen = await world.until(run, lambda seen: seen.state.is_cancelled())
        assert "the task was stopped" in seen.state.message
    assert world.live_tasks() == 0
    task = world.ecs.model.find(run.infrastructure_pid.split("::")[1])
    assert CANCELLED_REASON in str(vars(task))


@pytest.mark.parametrize("code", [137, 0])
async def test_a_run_whose_process_ends_without_ending_it_is_cancelled(
    world: World, soon, code: int
):
    """Cancelled when its task ran already, and its process had not begun; not after 300 s."""
    world.ecs.change(task_seconds=1.0, exit_code=code)
    async with world.worker() as worker:
        run = await world.one_run(worker)
        await cancel(world, run)
        seen = await world.until(run, lambda seen: seen.state.is_cancelled())
        assert f"code {code}" in seen.state.message


async def test_the_log_of_a_run_that_was_not_launched_is_short(world: World, caplog):
    """Prefect logs the traceback; the message and its hint are not below what led to it."""
    world.ecs.faults(Fault("error", "RunTask", code="AccessDeniedException", message="no"))
    async with world.worker() as worker:
        [run] = await world.schedule(await world.deployment())
        await submit(worker)
        await world.crashed(run)
    [record] = [r for r in caplog.records if r.exc_info and "Failed to submit" in r.message]
    lines = "".join(traceback.format_exception(*record.exc_info)).splitlines()
    assert "AccessDenied: cannot launch" in "\n".join(lines)
    assert any(line.startswith("hint: allow ecs:RunTask") for line in lines)
    assert len(lines) <= 12
