"""A run with a host that is no Prefect: what it says to its host, and what it leaves behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import boto3
import pytest

from prefect_ecs_pinned.aws import control_plane, stopping
from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.aws.launching.handover import Launch
from prefect_ecs_pinned.aws.launching.outcomes import MayRun, NotStopped
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.errors import PinnedECSError, TaskFailedToStart
from prefect_ecs_pinned.local import LocalECS, Phases, Settings
from prefect_ecs_pinned.local.faults import Fault
from prefect_ecs_pinned.runs import launch as launching
from prefect_ecs_pinned.runs.ending import NO_EXIT_CODE, Ending
from prefect_ecs_pinned.runs.host import CANCELLED, UNWANTED, Host
from prefect_ecs_pinned.runs.run import run
from prefect_ecs_pinned.runs.spec import RunSpec
from prefect_ecs_pinned.runs.watch import Launched

FLOW_RUN = "00000000-0000-0000-0000-00000000000a"
NEVER = 1000.0
PULL = "CannotPullContainerError: pull image manifest has been retried 5 time(s)"


@dataclass
class Recorded:
    """A host that keeps what it is given.

    Attributes:
        supervised: See `Host`.
        identifiers: What `started` was called with.
        watched: States -> what is called for one of them; those that have ended are not there.
        reports: What was reported, by kind.
        shields: Its `shield` holds.
    """

    supervised: bool = True
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("tests.runs"))
    page: logging.Logger = field(default_factory=lambda: logging.getLogger("tests.runs.page"))
    identifiers: list[str] = field(default_factory=list)
    watched: dict[frozenset[str], Callable[[], object]] = field(default_factory=dict)
    reports: list[tuple[str, Any]] = field(default_factory=list)
    shields: bool = True

    def started(self, identifier: str) -> None:
        self.identifiers.append(identifier)

    def on_state(self, states: Collection[str], call: Callable[[], object]) -> Callable[[], object]:
        self.watched[frozenset(states)] = call
        return lambda: self.watched.pop(frozenset(states), None)

    def shield(self) -> AbstractContextManager[object]:
        return anyio.CancelScope(shield=self.shields)

    async def report_crash(self, reason: str) -> None:
        self.reports.append(("crash", reason))

    async def report_interruption(self, end: Snapshot) -> str:
        self.reports.append(("interruption", end.stop_code))
        return "it was interrupted"

    async def confirm_cancelled(self, reason: str) -> None:
        self.reports.append(("cancelled", reason))


@pytest.fixture(scope="module")
def _ecs() -> Iterator[LocalECS]:
    settings = Settings(
        quota_scale=None, latencies={"*": 0.0}, phases=Phases(0, 0, 0, 0, 0, 0), task_seconds=0.02
    )
    with LocalECS(settings) as ecs:
        yield ecs


@pytest.fixture
def ecs(_ecs: LocalECS) -> Iterator[LocalECS]:
    before = dict(vars(_ecs.settings))
    _ecs.reset()
    yield _ecs
    _ecs.faults()
    _ecs.model.start_failures.clear()
    _ecs.change(**before)


@pytest.fixture
def plane(ecs: LocalECS) -> Iterator[ControlPlane]:
    control_plane.forget_all()

    def session() -> Any:
        return boto3.Session(
            aws_access_key_id=ecs.access_key, aws_secret_access_key="x", region_name="us-east-1"
        )

    access = Access("runs", "us-east-1", session, lambda: {"endpoint_url": ecs.endpoint_url})
    yield control_plane.shared(access)
    control_plane.forget_all()


def spec(**fields: Any) -> RunSpec:
    given = {
        "image": "flows:1",
        "command": ["true"],
        "flow_run_id": FLOW_RUN,
        "task_watch_poll_interval": 0.05,
        **fields,
    }
    return RunSpec("prefect-runs", "run", **given)


def live(ecs: LocalECS) -> int:
    tasks = [str(launch["taskArn"]) for launch in ecs.launches]
    answer = ecs.model.answer("DescribeTasks", {"tasks": tasks}, "us-east-1")
    return sum(task["desiredStatus"] == "RUNNING" for task in answer["tasks"])


def calls(ecs: LocalECS, action: str) -> int:
    return int(ecs.calls.get(action, {"calls": 0})["calls"])


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - the other side is a server in another thread
        await asyncio.sleep(0.005)


async def test_a_run_goes_through(ecs, plane, caplog):
    """One identifier, the exit code, the flow run's id as startedBy, one line for its page."""
    caplog.set_level(logging.INFO, "tests.runs")
    host = Recorded()
    assert_is: Host = host  # what a host has to have
    result = await run(spec(), plane, assert_is)
    assert host.identifiers == [result.identifier]
    assert result.status_code == 0
    assert ecs.model.find(result.identifier.split("::")[1]).request["startedBy"] == FLOW_RUN
    assert (host.reports, host.watched) == ([], {})
    on_page = [r.getMessage() for r in caplog.records if r.name == "tests.runs.page"]
    assert len(on_page) == 1
    assert result.identifier.split("::")[1] in on_page[0]


async def test_a_crash_is_reported_to_a_supervisor(ecs, plane):
    """With its reason; nobody else is there to ask."""
    ecs.change(exit_code=3)
    host = Recorded()
    assert (await run(spec(), plane, host)).status_code == 3
    assert [kind for kind, _ in host.reports] == ["crash"]
    alone = Recorded(supervised=False)
    assert (await run(spec(), plane, alone)).status_code == 3
    assert alone.reports == []


@pytest.mark.parametrize("supervised", [True, False])
async def test_a_task_that_fails_to_start(ecs, plane, supervised):
    """-1 and a report under a supervisor; an error without."""
    ecs.model.start_failures.append(("TaskFailedToStart", PULL))
    host = Recorded(supervised)
    if supervised:
        assert (await run(spec(), plane, host)).status_code == NO_EXIT_CODE
        assert [kind for kind, _ in host.reports] == ["crash"]
    else:
        with pytest.raises(TaskFailedToStart, match="retried 5 time"):
            await run(spec(), plane, host)


async def test_an_interruption_is_reported(plane):
    """Exit code 0 of a task that was stopped from outside; nothing else."""
    host = Recorded()
    arn = "arn:aws:ecs:us-east-1:123456789012:task/c/t"
    task = Snapshot(arn, "c", "STOPPED", exit_code=0, ran=True)
    ending = Ending(spec(), plane, host)
    launched = Launched(Launch(), task, "c::t", Desired({}))
    assert await ending.finished(launched, replace(task, stop_code="SpotInterruption"))
    assert host.reports == [("interruption", "SpotInterruption")]
    assert await ending.finished(launched, replace(task, stop_code="EssentialContainerExited"))
    assert len(host.reports) == 1


@pytest.mark.parametrize("supervised", [True, False])
async def test_a_run_that_is_not_wanted_while_it_waits_is_never_launched(ecs, plane, supervised):
    """Its host gets the reason; without a supervisor its caller does."""
    ecs.change(vcpu_quota=0.0)
    host = Recorded(supervised)
    going = asyncio.create_task(run(spec(), plane, host))
    await until(lambda: calls(ecs, "RunTask") > 0)
    host.watched[UNWANTED]()
    if supervised:
        result = await going
        assert (result.identifier, result.status_code, host.identifiers) == ("", 0, [""])
        assert [kind for kind, _ in host.reports] == ["cancelled"]
    else:
        with pytest.raises(PinnedECSError, match="the flow run was cancelled"):
            await going
    assert ecs.launches == []
    assert host.watched == {}


async def test_a_run_that_is_cancelled_while_its_task_starts_is_stopped(ecs, plane):
    """By the run itself, as long as there is no process to do it."""
    ecs.change(phases=Phases(pending=NEVER))
    host = Recorded()
    going = asyncio.create_task(run(spec(), plane, host))
    await until(lambda: CANCELLED in host.watched)
    host.watched[CANCELLED]()
    result = await going
    assert (result.identifier, result.status_code) == (host.identifiers[0], 0)
    assert [kind for kind, _ in host.reports] == ["cancelled"]
    assert calls(ecs, "StopTask") == 1
    assert host.watched == {}


async def test_a_task_whose_stop_is_denied_is_not_said_to_be_stopped(ecs, plane, monkeypatch):
    """It ends by itself, and that is what is reported when it has ended."""
    monkeypatch.setattr(stopping, "REFUSED_PATIENCE", 0.05)
    ecs.change(phases=Phases(pending=NEVER), exit_code=3)
    denied = "User: arn:aws:iam::123456789012:root is not authorized to perform: ecs:StopTask"
    ecs.faults(Fault("error", action="StopTask", code="AccessDeniedException", message=denied))
    host = Recorded()
    going = asyncio.create_task(run(spec(), plane, host))
    await until(lambda: CANCELLED in host.watched)
    host.watched[CANCELLED]()
    await until(lambda: calls(ecs, "StopTask") > 0)
    assert host.reports == []
    ecs.change(phases=Phases(0, 0, 0, 0, 0, 0))
    arn = host.identifiers[0].split("::")[1]
    ecs.model.find(arn).phases = Phases(0, 0, 0, 0, 0, 0)
    assert (await going).identifier == host.identifiers[0]
    ((kind, said),) = host.reports
    assert kind == "cancelled"
    assert "the task ended by itself with exit code 3" in said
    assert "stopped" not in said


@pytest.mark.parametrize("kind", [MayRun, NotStopped])
async def test_a_run_whose_task_may_be_running_has_an_empty_identifier(plane, monkeypatch, kind):
    """An agent that got none would report the flow run as crashed."""
    launch = Launch()
    error = NotStopped("cannot launch", TASK) if kind is NotStopped else MayRun("a", "b", "c")
    launch.outcome.set_exception(error)
    monkeypatch.setattr(plane, "launch", lambda *_, **__: launch)
    host = Recorded()
    with pytest.raises(kind):
        await run(spec(), plane, host)
    assert (host.identifiers, host.reports) == ([""], [])


TASK = Snapshot("arn:aws:ecs:us-east-1:123456789012:task/c/t", "c", "STOPPED")


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (replace(TASK, stop_code="UserInitiated"), "before its task ran, and the task was stopped"),
        (
            replace(TASK, stop_code="UserInitiated", ran=True, exit_code=137),
            "while its task started, and the task was stopped",
        ),
        (
            replace(TASK, stop_code="EssentialContainerExited", ran=True, exit_code=0),
            "while its task started, and the task ended by itself with exit code 0",
        ),
        (
            replace(TASK, stop_code="EssentialContainerExited", ran=True),
            "while its task started, and the task ended by itself",
        ),
        (
            replace(TASK, stop_code="TaskFailedToStart"),
            "before its task ran, and the task failed to start",
        ),
        (
            replace(TASK, stop_code="SpotInterruption", ran=True),
            "while its task started, and the task has ended (SpotInterruption)",
        ),
        (
            replace(TASK, stop_code="SomethingNew"),
            "before its task ran, and the task has ended (SomethingNew)",
        ),
        (TASK, "before its task ran, and the task has ended"),
        (None, "before its task ran, and the task has ended"),
    ],
)
async def test_what_is_said_of_the_end_of_a_cancelled_run_is_so(plane, end, said):
    """ "Stopped" only if ECS says that somebody has stopped it."""
    host = Recorded()
    launched = Launched(Launch(), TASK, "c::t", Desired({}), unwanted=True)
    result = await Ending(spec(), plane, host).cancelled(launched, end)
    assert (result.identifier, result.status_code) == ("c::t", 0)
    assert host.reports == [("cancelled", f"The flow run was cancelled {said}.")]


# -- cancelling the coroutine ----------------------------------------------------------------------


@pytest.mark.parametrize("shields", [True, False])
async def test_a_scope_of_anyio_that_is_cancelled_leaves_no_task(ecs, plane, shields):
    """Prefect cancels by anyio, which cancels again whenever a task waits."""
    ecs.change(task_seconds=NEVER, latencies={"RunTask": 0.2, "StopTask": 0.2, "*": 0.0})
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(run, spec(), plane, Recorded(shields=shields))
            await until(lambda: calls(ecs, "RunTask") == 1)
            scope.cancel()
    assert len(ecs.launches) == 1
    assert live(ecs) == 0


async def test_a_run_that_is_cancelled_twice_leaves_no_task(ecs, plane):
    """An impatient caller gets its cancellation when it is certain that nothing runs."""
    ecs.change(task_seconds=NEVER, latencies={"RunTask": 0.3, "*": 0.0})
    going = asyncio.create_task(run(spec(), plane, Recorded()))
    await until(lambda: calls(ecs, "RunTask") == 1)
    for _ in range(3):
        going.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await going
    assert len(ecs.launches) == 1
    assert live(ecs) == 0


async def test_a_cancelled_run_waits_for_a_bounded_time(ecs, plane, caplog, monkeypatch):
    """It says that it does not know what became of the launch."""
    monkeypatch.setattr(launching, "WITHDRAW_SECONDS", 0.1)
    ecs.change(task_seconds=NEVER, latencies={"RunTask": 0.6, "*": 0.0})
    going = asyncio.create_task(run(spec(), plane, Recorded()))
    await until(lambda: calls(ecs, "RunTask") == 1)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert "run: The launch could not be withdrawn in time." in caplog.messages
    await until(lambda: calls(ecs, "StopTask") == 1)  # the control plane goes on
