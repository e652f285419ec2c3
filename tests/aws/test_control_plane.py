"""What the runs of a process share: made once, let go when nobody uses it, safe to fork."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import boto3
import psutil
import pytest

from prefect_ecs_pinned.aws import control_plane
from prefect_ecs_pinned.aws.calls import retrying
from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.aws.calls.faults import Fault as AwsFault
from prefect_ecs_pinned.aws.calls.faults import Kind
from prefect_ecs_pinned.aws.control_plane import shared
from prefect_ecs_pinned.aws.launching.handover import Launch
from prefect_ecs_pinned.aws.loop.control_loop import ControlLoop, LoopClosed, ThreadsafeQueue
from prefect_ecs_pinned.core.definition import DefinitionSpec
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.errors import AccessDenied, PinnedECSError, TaskFateUnknown, TaskNotFound
from prefect_ecs_pinned.local import LocalECS, Settings
from prefect_ecs_pinned.local.faults import Fault

QUIET: dict[str, Any] = {"quota_scale": None, "latencies": {"*": 0.0}, "task_seconds": 1000.0}


@pytest.fixture(scope="module")
def _ecs():
    with LocalECS(Settings(**QUIET)) as ecs:
        yield ecs


@pytest.fixture
def ecs(_ecs):
    control_plane.forget_all()
    _ecs.reset()
    yield _ecs
    _ecs.change(**QUIET)
    _ecs.faults()
    control_plane.forget_all()


def access(ecs: LocalECS, key: str = "a") -> Access:
    def session() -> Any:
        return boto3.Session(
            aws_access_key_id=ecs.key_of(key), aws_secret_access_key="x", region_name="us-east-1"
        )

    return Access(key, "us-east-1", session, lambda: {"endpoint_url": ecs.endpoint_url})


SPEC = DefinitionSpec(family="f", region="us-east-1", image="flows:1", launch_type="EC2")


async def launch(plane: control_plane.ControlPlane, **members: Any) -> Launch:
    desired = await plane.desired(SPEC)
    pin = await plane.pin(desired, True)
    request = {"taskDefinition": pin.arn, "launchType": "EC2", **members}
    return plane.launch(request, 900, desired, True)


async def until(true: Any, patience: float = 30.0) -> None:
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, "it does not happen"
        await asyncio.sleep(0.005)


def ours() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("pinned-ecs")]


# -- letting go ------------------------------------------------------------------------------------


async def test_idle_credentials_let_go_of_what_they_hold(ecs, monkeypatch):
    """Nobody asks for others meanwhile: those in use go on, the idle ones have no thread left."""
    monkeypatch.setattr(control_plane._planes, "_kept_seconds", 0.3)
    monkeypatch.setattr(control_plane, "_TIDY_SECONDS", 0.05)
    others = set(threading.enumerate())  # of other tests: they may end meanwhile
    used, idle = shared(access(ecs, "used")), shared(access(ecs, "idle"))
    for plane in (used, idle):
        await plane.desired(SPEC)
    begun = set(threading.enumerate()) - others
    loops = [thread for thread in begun if thread.name == "pinned-ecs-control"]
    assert len(loops) == 2
    gone = weakref.ref(idle)
    del plane, idle
    await until(lambda: gc.collect() is not None and gone() is None)
    await until(lambda: sum(thread.is_alive() for thread in loops) == len(loops) - 1)
    assert shared(access(ecs, "used")) is used


async def test_the_same_access_shares_one_control_plane(ecs):
    """Another does not."""
    one = shared(access(ecs))
    assert shared(access(ecs)) is one
    assert shared(access(ecs, "b")) is not one


async def test_one_that_nobody_uses_ends_its_threads_and_connections(ecs):
    """All of them: control loop, callers, files."""
    before, files = len(ours()), psutil.Process().num_fds()
    plane = shared(access(ecs))
    await (await launch(plane)).outcome
    assert len(ours()) > before
    control_plane._planes.clear()
    del plane
    gc.collect()
    await until(lambda: len(ours()) <= before)
    await until(lambda: psutil.Process().num_fds() <= files)


async def test_a_thousand_renewals_leak_nothing(ecs):
    """Other credentials each time: threads, files and control planes stay as they are."""
    threads, files = [], []
    for number in range(1000):
        await shared(access(ecs, f"key-{number}")).region()
        assert len(control_plane._planes) <= control_plane._KEPT_PLANES
        if 150 <= number < 200:
            threads.append(len(ours()))
            files.append(psutil.Process().num_fds())
    await until(lambda: len(ours()) <= min(threads) + 4)
    await until(lambda: psutil.Process().num_fds() <= min(files) + 12)


async def test_one_with_a_run_in_it_lives_until_that_has_ended(ecs):
    """Its key has changed long since: the run gets its task's end anyway."""
    plane = shared(access(ecs, "old"))
    task = await (await launch(plane)).outcome
    queue: ThreadsafeQueue[Any] = ThreadsafeQueue()
    plane.watch(task, 0.05, 600, queue)
    for number in range(100):
        shared(access(ecs, f"new-{number}"))
    gc.collect()
    await shared(access(ecs, "new-99")).stop("default", task.task_arn, "enough")
    while not (news := await asyncio.wait_for(queue.get(), 10)).final:
        pass
    assert news.stopped_reason == "enough"


async def test_a_launch_whose_runs_have_gone_is_withdrawn(ecs):
    """Its control plane is let go while RunTask is under way: the task is stopped."""
    ecs.change(latencies={"RunTask": 0.3, "*": 0.0})
    plane = shared(access(ecs))
    started = await launch(plane)
    await until(lambda: "RunTask" in ecs.calls)
    control_plane.forget_all()
    with pytest.raises(PinnedECSError, match="cancelled"):
        await started.outcome
    assert ecs.count("StopTask") == 1


# -- stopping --------------------------------------------------------------------------------------


async def test_a_task_is_stopped_by_another_process_and_twice(ecs):
    """Neither knows of the launch: the ARN is enough."""
    task = await (await launch(shared(access(ecs)))).outcome
    control_plane.forget_all()
    for _ in range(2):
        await shared(access(ecs, "another")).stop("default", task.task_arn, "cancelled")
    with pytest.raises(TaskNotFound):
        await shared(access(ecs)).stop("default", task.task_arn[:-4] + "0000", "cancelled")


async def test_a_stop_of_a_task_that_ecs_has_shown_outlasts_refusals(ecs):
    """A policy that IAM has not spread yet; of a task that it has not shown, a denial is final."""
    plane = shared(access(ecs))
    task = await (await launch(plane)).outcome
    no: dict[str, Any] = {
        "action": "StopTask",
        "code": "AccessDeniedException",
        "message": "no",
        "times": 2,
    }
    ecs.faults(Fault("error", **no))
    await plane.stop("default", task.task_arn, "cancelled", shown=True)
    other = await (await launch(plane)).outcome
    control_plane.forget_all()
    ecs.faults(Fault("error", **no))
    with pytest.raises(AccessDenied):
        await shared(access(ecs, "another")).stop("default", other.task_arn, "cancelled")
    ecs.faults()


async def test_stopping_never_waits_behind_launches(ecs):
    """A hundred launches that take a second each queue and are under way."""
    plane = shared(access(ecs))
    task = await (await launch(plane)).outcome
    ecs.change(latencies={"RunTask": 2.0, "*": 0.0})
    launches = [await launch(plane) for _ in range(100)]
    await until(lambda: ecs.calls["RunTask"]["calls"] >= 5)
    began = time.monotonic()
    await plane.stop("default", task.task_arn, "cancelled")
    assert time.monotonic() - began < 1.0
    assert not any(each.outcome.done() for each in launches)
    ecs.change(latencies={"*": 0.0})
    await asyncio.gather(*(plane.withdraw(each) for each in launches))


# -- forking ---------------------------------------------------------------------------------------

FORK = """
import asyncio, os, sys
import boto3
from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.aws.calls.faults import Fault as AwsFault
from prefect_ecs_pinned.aws.calls.faults import Kind
from prefect_ecs_pinned.aws.control_plane import shared
from prefect_ecs_pinned.core.definition import DefinitionSpec

def session():
    return boto3.Session(sys.argv[2], aws_secret_access_key="x", region_name="us-east-1")

access = Access("a", "us-east-1", session, lambda: {"endpoint_url": sys.argv[1]})
spec = DefinitionSpec(family="forked", region="us-east-1", image="flows:1", launch_type="EC2")

async def run():
    plane = shared(access)
    desired = await plane.desired(spec)
    pin = await plane.pin(desired, True)
    launch = plane.launch({"taskDefinition": pin.arn, "launchType": "EC2"}, 900, desired, True)
    return plane, await asyncio.wait_for(launch.outcome, 20)

plane, _ = asyncio.run(run())
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        mine, _ = asyncio.run(run())
        del plane  # the parent's, whose threads do not exist here
        os._exit(0 if shared(access) is mine else 1)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
again, _ = asyncio.run(run())
assert again is plane
print(codes)
"""


def test_a_fork_begins_afresh_and_leaves_the_parent_alone(ecs):
    """Four children of a process with a live control plane launch on their own; so does it."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, ecs.endpoint_url, ecs.access_key],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "[0, 0, 0, 0]", done.stderr
    assert len(ecs.launches) == 6
    assert ecs.count("RegisterTaskDefinition") == 1


# -- the loop --------------------------------------------------------------------------------------


async def test_a_closed_loop_cancels_what_it_was_doing():
    """Its caller, whom nobody has cancelled, gets an error; and its files are given back."""
    files = psutil.Process().num_fds()
    loop, began = ControlLoop("pinned-ecs-test"), threading.Event()

    async def hang() -> None:
        began.set()
        await asyncio.sleep(1000)

    work = asyncio.create_task(loop.run(hang()))
    await until(began.is_set)
    loop.close()
    with pytest.raises(LoopClosed):
        await work
    await until(lambda: psutil.Process().num_fds() <= files)
    loop.close()  # twice is once


@pytest.mark.parametrize("closed", [False, True])
async def test_who_asks_a_control_plane_that_closes_is_given_an_error(ecs, closed):
    """A launch and a watch in the very pass in which the loop stops, and after it has closed."""
    plane = shared(access(ecs))
    desired = await plane.desired(SPEC)
    task = Snapshot("arn:aws:ecs:us-east-1:123456789012:task/default/0", "default", "PENDING")
    queue: ThreadsafeQueue[Any] = ThreadsafeQueue()
    held, hold = threading.Event(), threading.Event()
    plane._loop.call(lambda: (held.set(), hold.wait()))  # type: ignore[func-returns-value]
    held.wait()
    plane._loop.close()
    if closed:
        hold.set()
        await until(lambda: plane._loop._loop.is_closed())
    launch = plane.launch({"taskDefinition": "f:1", "launchType": "EC2"}, 900, desired, True)
    plane.forget(plane.watch(task, 5.0, 60.0, ThreadsafeQueue()))
    plane.watch(task, 5.0, 60.0, queue)
    hold.set()
    with pytest.raises(PinnedECSError, match="the control plane has been closed"):
        await asyncio.wait_for(launch.outcome, 5)
    assert isinstance(await asyncio.wait_for(queue.get(), 5), TaskFateUnknown)


def test_a_mailbox_of_a_loop_that_has_closed_swallows_its_news():
    """Its run is gone."""

    async def make() -> ThreadsafeQueue[int]:
        return ThreadsafeQueue()

    asyncio.run(make()).put(1)


# -- looks for tasks -------------------------------------------------------------------------------

#: By what a task is looked for.
LOOKS: dict[str, Any] = {
    "arn": lambda plane, arn: plane.described("default", [arn]),
    "run": lambda plane, _: plane.tasks_of("default", started_by="run"),
    "family": lambda plane, _: plane.tasks_of("default", family="f"),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("kind", ["throttle", "server-error", "reset"])
async def test_a_look_for_a_task_is_repeated(ecs, look, kind, monkeypatch):
    """Where AWS is asked too often, or fails, five times in a row."""
    monkeypatch.setattr(retrying, "backoff", lambda _: 0.01)
    plane = shared(access(ecs))
    started = await launch(plane, startedBy="run")
    arn = (await started.outcome).task_arn
    action = "DescribeTasks" if look == "arn" else "ListTasks"
    ecs.faults(Fault(kind, action, times=5))
    found = await LOOKS[look](plane, arn)
    assert arn in [task["taskArn"] for task in found]


@pytest.mark.parametrize("look", LOOKS)
async def test_a_look_for_a_task_ends(ecs, look, monkeypatch):
    """Before whoever asks looks again."""
    monkeypatch.setattr(retrying, "backoff", lambda _: 0.01)
    monkeypatch.setattr(control_plane, "_LOOK_SECONDS", 0.1)
    ecs.faults(Fault("throttle"))
    with pytest.raises(AwsFault) as raised:
        await LOOKS[look](shared(access(ecs)), "arn")
    assert raised.value.kind is Kind.THROTTLED
