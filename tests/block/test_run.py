"""A run from its first log line to its result: `ECSTask`'s words, codes and identifiers."""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from types import SimpleNamespace
from uuid import uuid4

import prefect_aws.ecs
import pytest
from prefect._internal.compatibility.deprecated import PrefectDeprecationWarning

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.aws.output import streams as output
from prefect_ecs_pinned.aws.watching.trouble import PATIENCE, Trouble
from prefect_ecs_pinned.errors import (
    LaunchTimeout,
    TaskFailedToStart,
    TaskFateUnknown,
    TaskStartTimeout,
)
from prefect_ecs_pinned.faces import following
from prefect_ecs_pinned.faces.access import access_of
from prefect_ecs_pinned.local.faults import Fault
from prefect_ecs_pinned.local.settings import Phases
from tests.block.conftest import EXECUTION_ROLE, Status, World, messages, until
from tests.faults.prefect_side import PrefectSide, serving

NEVER = 1000.0


# -- identifier and result -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cluster", "start"),
    [
        (None, "arn:aws:ecs:us-east-1:123456789012:cluster/default::"),
        ("default", "default::"),
        (
            "arn:aws:ecs:us-east-1:123456789012:cluster/default",
            "arn:aws:ecs:us-east-1:123456789012:cluster/default::",
        ),
    ],
)
async def test_the_identifier_is_cluster_and_task(world: World, cluster, start):
    """The cluster as the block names it, as in `ECSTask`; else its ARN."""
    result = (await world.run(world.block(cluster=cluster))).result
    assert isinstance(result, prefect_aws.ecs.ECSTaskResult)
    assert result.identifier.startswith(start + "arn:aws:ecs:us-east-1:123456789012:task/default/")
    assert result.status_code == 0


async def test_a_patched_cluster_is_in_the_identifier(world: World):
    """A kill has to find the task where it runs."""
    world.ecs.client("ecs").create_cluster(clusterName="patched")
    patch = [{"op": "add", "path": "/cluster", "value": "patched"}]
    result = await world.block(cluster="default", task_customizations=patch).run()
    assert result.identifier.startswith("arn:aws:ecs:us-east-1:123456789012:cluster/patched::")


def test_it_runs_without_an_event_loop(world: World):
    """As a script calls it."""
    assert world.block().run().status_code == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("code", "result", "level", "words"),
    [
        (0, 0, logging.INFO, "Container 'prefect' exited successfully."),
        (3, 3, logging.WARNING, "Container 'prefect' exited with non-zero exit code 3."),
        (
            None,
            -1,
            logging.ERROR,
            "Task exited without reporting an exit status for container 'prefect'.",
        ),
    ],
)
async def test_exit_codes(world: World, log, code, result, level, words):
    """As `ECSTask` reports them."""
    world.ecs.change(exit_code=code)
    assert (await world.block().run()).status_code == result
    last = next(r for r in reversed(log.records) if "exit" in r.getMessage())
    assert (last.levelno, last.getMessage().startswith(f"ECSTask: {words}")) == (level, True)


async def test_a_task_that_was_never_seen_running_is_a_success(world: World):
    """It ran and stopped between two polls; `ECSTask` takes it for one that failed to start."""
    world.ecs.change(phases=Phases(provisioning=0.03, pending=0, activating=0), task_seconds=0.0)
    assert (await world.block().run()).status_code == 0


# -- log messages ----------------------------------------------------------------------------------


async def test_the_messages_are_ecs_tasks(world: World, log, monkeypatch):
    """Both are run: each line of `ECSTask` is the beginning of a line of ours, in its order."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", world.ecs.endpoint_url)
    world.ecs.change(phases=Phases(0.05, 0.05, 0.05, 0, 0, 0), task_seconds=0.2)
    # Prefect's own command: any other is hidden.
    fields = world.fields(name="purple-cat", command=["prefect", "flow-run", "execute"])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        original = prefect_aws.ecs.ECSTask(**fields, family=world.family(world.block()))
    await original.run()
    theirs = [m for m in messages(log) if ": Status is" not in m]
    log.clear()
    block = PinnedECSTask(**fields, family=world.family(world.block()))
    await block.run()
    lines = messages(log, logging.DEBUG)
    ours = [m for m in lines if m.startswith("ECSTask") and ": Status is" not in m]
    missing = f"{original._log_prefix}: Retrieving task definition"
    theirs = [m for m in theirs if not m.startswith(missing)]  # said for linked revisions only
    assert len(theirs) == 5, theirs
    assert [our[: len(their)] for our, their in zip(ours, theirs, strict=True)] == theirs
    assert f"{block._log_prefix}: Status is PROVISIONING." in lines
    assert f"{block._log_prefix}: Status is STOPPED." in lines


async def test_a_reused_pin_is_no_news(world: World, log):
    """INFO is for what has changed."""
    block = world.block()
    await block.run()
    assert any("Registering task definition" in m for m in messages(log))
    log.clear()
    await block.run()
    assert not any("task definition" in m for m in messages(log))
    assert any("Pinned task definition" in m for m in messages(log, logging.DEBUG))


async def test_a_run_that_goes_well_has_one_line_at_its_end(world: World, log):
    """What has not changed anything is DEBUG: a thousand runs are a thousand lines."""
    block = world.block()
    await block.run()
    log.clear()
    await block.run()
    (line,) = messages(log)
    assert line.endswith("exited successfully.")


async def test_no_value_of_a_variable_is_logged(world: World, log):
    """Not at DEBUG either, where `ECSTask` logs its whole payload."""
    await world.block(env={"TOKEN": "s3cret-value"}).run()
    everything = "\n".join(messages(log, logging.DEBUG))
    assert "Task run payload" in everything
    assert "TOKEN" in everything
    assert "s3cret-value" not in everything


# -- launching -------------------------------------------------------------------------------------


async def test_a_launch_for_which_there_is_no_room_waits(world: World, fresh):
    """The account has one vCPU: the second task starts when the first has stopped."""
    world.ecs.change(vcpu_quota=1.0, task_seconds=0.3)
    block = world.block()
    results = await asyncio.gather(block.run(), block.run())
    assert [result.status_code for result in results] == [0, 0]
    first, second = (launch["at"] for launch in world.ecs.launches)
    assert second - first >= 0.3


async def test_a_launch_for_which_there_is_never_room_ends(world: World, fresh):
    """When `launch_timeout_seconds` have passed since the first refusal; with AWS's words."""
    world.ecs.change(vcpu_quota=0.0)
    with pytest.raises(LaunchTimeout, match=r"limit on the number of vCPUs[\s\S]*hint: "):
        await world.block(launch_timeout_seconds=0).run()
    assert world.live_tasks() == 0


# -- starting --------------------------------------------------------------------------------------


async def test_started_is_said_when_ecs_has_accepted_the_task(world: World):
    """So that a run can be cancelled while it provisions; `ECSTask` waits for RUNNING."""
    world.ecs.change(phases=Phases(provisioning=NEVER))
    block, status = world.block(), Status()
    run = asyncio.create_task(block.run(status))
    pid = await status.identifier
    await block.kill(pid)
    result = await run
    assert (result.identifier, result.status_code) == (pid, -1)
    assert world.live_tasks() == 0


PULL = "CannotPullContainerError: pull image manifest has been retried 5 time(s)"


async def test_a_task_that_fails_to_start_raises_without_an_agent(world: World):
    """With AWS's reason, and a hint."""
    world.ecs.model.start_failures.append(("TaskFailedToStart", PULL))
    with pytest.raises(TaskFailedToStart, match=r"retried 5 time[\s\S]*hint: check that the image"):
        await world.block().run()


async def test_a_task_that_fails_to_start_is_minus_one_under_an_agent(world: World, log):
    """`started` was said already: an exception would leave the run alone."""
    world.ecs.model.start_failures.append(("TaskFailedToStart", PULL))
    status = Status()
    assert (await world.block().run(status)).status_code == -1
    assert any(PULL in m for m in messages(log, logging.ERROR))


@pytest.mark.parametrize("under_agent", [False, True])
async def test_a_task_that_does_not_start_in_time_is_stopped(world: World, under_agent, log):
    """No orphan runs on."""
    world.ecs.change(phases=Phases(pending=NEVER))
    block = world.block(task_start_timeout_seconds=1)
    words = "while watching task for status RUNNING: it is PENDING still, and was stopped"
    if under_agent:
        assert (await block.run(Status())).status_code == -1
        assert any(words in m for m in messages(log, logging.ERROR))
    else:
        with pytest.raises(TaskStartTimeout, match=words):
            await block.run()
    assert world.calls("StopTask") == 1
    assert world.live_tasks() == 0


# -- watching --------------------------------------------------------------------------------------


async def test_throttled_looks_do_not_reach_a_run(world: World):
    """They end a run of `ECSTask`."""
    world.ecs.faults(Fault("throttle", "DescribeTasks", times=1))
    assert (await world.block().run(Status())).status_code == 0
    assert world.refused("DescribeTasks") == 1


async def test_a_fate_that_cannot_be_known_raises(world: World, fresh, monkeypatch):
    """When that has lasted. The agent then leaves the run alone; it may be doing its work."""
    monkeypatch.setitem(PATIENCE, Trouble.NEVER_ALLOWED, 0.5)
    world.ecs.change(task_seconds=NEVER)
    world.ecs.faults(Fault("error", "DescribeTasks", code="AccessDeniedException", message="no"))
    with pytest.raises(TaskFateUnknown, match=r"cannot watch task arn:[\s\S]*ecs:DescribeTasks"):
        await world.block().run(Status())
    assert world.calls("StopTask") == 0
    assert world.live_tasks() == 1


# -- cancelling the coroutine ----------------------------------------------------------------------


async def test_a_run_that_is_cancelled_in_the_middle_of_run_task_leaves_no_task(world: World):
    """It awaits the answer, and stops the task."""
    world.ecs.change(task_seconds=NEVER, latencies={"RunTask": 0.3, "*": 0.0})
    run = asyncio.create_task(world.block().run())
    await until(lambda: world.calls("RunTask") == 1)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert len(world.ecs.launches) == 1
    assert world.live_tasks() == 0


async def test_a_run_that_is_cancelled_while_it_submits_leaves_no_task(world: World, log):
    """RunTask is called before the run has its own submission."""
    world.ecs.change(task_seconds=NEVER, latencies={"RunTask": 0.1, "*": 0.0})
    run = asyncio.create_task(world.block().run())
    while not any("Creating task run" in m for m in messages(log, logging.DEBUG)):  # noqa: ASYNC110
        await asyncio.sleep(0)
    await asyncio.sleep(0)  # to the point where the control loop has been asked
    for _ in range(1000):
        if world.calls("RunTask"):
            break
        time.sleep(0.005)  # noqa: ASYNC251 - the run's own event loop stands still
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert len(world.ecs.launches) == 1
    assert world.live_tasks() == 0


async def test_one_that_is_cancelled_in_prefect_in_the_middle_of_run_task_ends_with_its_task(
    world: World, monkeypatch, log
):
    """It was launched: Cancelled is reported when its task has stopped, not while it waits."""
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.1)
    latencies, phases = {"RunTask": 1.0, "*": 0.0}, Phases(0, 0, 0, 0.3, 0.3, 0.3)
    world.ecs.change(task_seconds=NEVER, latencies=latencies, phases=phases)
    side, flow_run_id, reported = PrefectSide(), str(uuid4()), []

    def on_state(_: str, state: str) -> None:
        arn = world.ecs.launches[0]["taskArn"]
        reported.append((state, world.ecs.model.call("DescribeTasks", {"tasks": [arn]})["tasks"]))

    side.on_state = on_state
    block, status = world.block(env={"PREFECT__FLOW_RUN_ID": flow_run_id}), Status()
    with serving(side):
        run = asyncio.create_task(block.run(status))
        await until(lambda: world.calls("RunTask") == 1)
        side.states[flow_run_id] = "CANCELLING"
        result = await run
    assert (result.status_code, result.identifier) == (0, await status.identifier)
    ((state, (task,)),) = reported
    assert (state, task["lastStatus"]) == ("CANCELLED", "STOPPED")
    assert any("and the task was stopped" in m for m in messages(log))
    assert not any("was not launched" in m for m in messages(log))


# -- output ----------------------------------------------------------------------------------------


async def test_output_is_streamed_to_stderr(world: World, capsys, monkeypatch, log):
    """Every line once, those included that arrive when the container has ended."""
    for name, seconds in (("READ_SECONDS", 0.05), ("TAIL_SECONDS", 0.2)):
        monkeypatch.setattr(output, name, seconds)
    world.ecs.change(phases=Phases(0.05, 0, 0, 0, 0, 0), task_seconds=NEVER)
    block, status = world.block(stream_output=True, execution_role_arn=EXECUTION_ROLE), Status()
    run = asyncio.create_task(block.run(status))
    pid = await status.identifier
    stream = f"{world.family(block)}/prefect/{pid.rsplit('/', 1)[-1]}"
    await until(
        lambda: any("Streaming output from container" in m for m in messages(log, logging.DEBUG))
    )
    put = world.ecs._moto.put_lines
    put("us-east-1", "prefect", stream, ["first line", "second line"])
    await until(lambda: world.calls("FilterLogEvents") > 1)
    put("us-east-1", "prefect", stream, ["last line"])
    world.ecs.change(task_seconds=0.0)
    await run
    lines = [line for line in capsys.readouterr().err.splitlines() if line.endswith(" line")]
    assert lines == ["first line", "second line", "last line"]


async def test_output_of_a_cancelled_run_is_not_read_on(world: World, monkeypatch):
    """Its task goes on, as with any run whose agent ends; nobody would see the lines."""
    monkeypatch.setattr(output, "READ_SECONDS", 0.05)
    world.ecs.change(phases=Phases(0.05, 0, 0, 0, 0, 0), task_seconds=NEVER)
    block = world.block(stream_output=True, execution_role_arn=EXECUTION_ROLE)
    run = asyncio.create_task(block.run(Status()))
    await until(lambda: world.calls("GetLogEvents") > 3)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert world.live_tasks() == 1

    async def nothing_more() -> None:
        before = -1
        while world.calls("GetLogEvents") != before:
            before = world.calls("GetLogEvents")
            await asyncio.sleep(0.6)

    await asyncio.wait_for(nothing_more(), 10)


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        (None, "Logging configuration not found on task. Output cannot be streamed."),
        ({"logDriver": "splunk"}, "Logging configuration uses unsupported driver 'splunk'"),
    ],
)
async def test_output_that_cannot_be_streamed_is_warned_of(world: World, log, logs, words):
    """And the run goes on."""
    container = {"name": "prefect", "image": "flows:1"}
    if logs:
        container["logConfiguration"] = logs
    block = world.block(
        stream_output=True,
        configure_cloudwatch_logs=False,
        task_definition={"containerDefinitions": [container]},
    )
    assert (await block.run()).status_code == 0
    assert any(words in m for m in messages(log, logging.WARNING))


# -- access ----------------------------------------------------------------------------------------


async def test_the_endpoint_of_the_credentials_is_used(world: World, monkeypatch, fresh):
    """`ECSTask` knows AWS_ENDPOINT_URL only."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert (await world.block().run()).status_code == 0


def test_all_client_parameters_are_handed_on(world: World):
    """Proxies, timeouts, verify."""
    credentials = world.credentials()
    credentials.aws_client_parameters.verify = False
    credentials.aws_client_parameters.config = {
        "proxies": {"https": "http://proxy:3128"},
        "read_timeout": 7,
    }
    parameters = access_of(credentials).client_parameters()
    assert parameters["verify"] is False
    assert parameters["config"].proxies == {"https": "http://proxy:3128"}
    assert parameters["config"].read_timeout == 7


def test_what_is_shared_is_keyed_by_all_that_counts(world: World, monkeypatch):
    """Equal credentials share; others do not; no key shows a secret."""
    one = world.credentials()
    assert access_of(one).key == access_of(world.credentials()).key
    keys = {access_of(one).key, access_of(world.credentials("eu-west-1")).key}
    keys.add(access_of(one.copy(update={"aws_access_key_id": "other"})).key)
    keys.add(access_of(one.copy(update={"profile_name": "other"})).key)
    keys.add(access_of(one.copy(update={"aws_session_token": "other"})).key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere")
    keys.add(access_of(one).key)
    assert len(keys) == 6
    assert world.ecs.access_key not in repr(access_of(one))


# -- what the parents would say for every flow run -------------------------------------------------


def deprecations(make) -> int:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make()
    return sum(issubclass(w.category, PrefectDeprecationWarning) for w in caught)


def test_no_deprecation_is_warned_of_for_a_flow_run(world: World):
    """`ECSTask` warns twice when it is made, and the agent makes one for each run."""
    fields = world.fields()
    flow_run = SimpleNamespace(id=uuid4(), name="purple-cat")
    assert deprecations(lambda: prefect_aws.ecs.ECSTask(**fields)) > 0
    assert deprecations(lambda: PinnedECSTask(**fields).prepare_for_flow_run(flow_run)) == 0
