"""Exit code 0 of a task that was interrupted, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Paused,
    Pending,
    Retrying,
    Running,
    Scheduled,
    Suspended,
)

from prefect_ecs_pinned.block.interruptions import report_interruption
from prefect_ecs_pinned.core.task_state import INTERRUPTIONS, Snapshot, was_interrupted
from tests.aws.virtual import VirtualClock

ID = UUID(int=1)
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/default"
TASK = "arn:aws:ecs:us-east-1:123456789012:task/default/0123456789abcdef0123456789abcdef"
OTHER_TASK = TASK[:-1] + "0"


def end_of(stop_code: str = "SpotInterruption", exit_code: int | None = 0) -> Snapshot:
    return Snapshot(
        TASK,
        CLUSTER,
        "STOPPED",
        stop_code=stop_code,
        stopped_reason="Your Spot Task was interrupted.",
        exit_code=exit_code,
        ran=True,
    )


def flow_run(state: Any, pid: str | None = None, id_: UUID = ID) -> FlowRun:
    return FlowRun(id=id_, flow_id=uuid4(), state=state, infrastructure_pid=pid)  # type: ignore[call-arg]


def refused(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://prefect/api")
    return httpx.HTTPStatusError("", request=request, response=httpx.Response(status))


def not_found() -> ObjectNotFound:
    return ObjectNotFound(refused(404))


class Reported:
    """One interrupted run: what Prefect answers at each read (the last for ever), and what for."""

    def __init__(self, *answers: FlowRun | BaseException) -> None:
        self.answers: Sequence[FlowRun | BaseException] = answers
        self.clock = VirtualClock()
        self.read_at: list[float] = []
        self.reports: list[tuple[float, str, str]] = []

    async def read(self, flow_run_id: str) -> FlowRun:
        answer = self.answers[min(len(self.read_at), len(self.answers) - 1)]
        self.read_at.append(self.clock.now())
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def report(self, flow_run_id: str, reason: str) -> None:
        self.reports.append((self.clock.now(), flow_run_id, reason))

    async def run(self, end: Snapshot | None = None, flow_run_id: str = str(ID)) -> str:
        work = report_interruption(flow_run_id, end or end_of(), self.read, self.report, self.clock)
        return await self.clock.run(work)


@pytest.mark.parametrize("stop_code", sorted(INTERRUPTIONS))
async def test_a_run_that_is_still_running_a_minute_later_is_crashed(stop_code: str):
    """With the reason: stop code, AWS's words, and what helps."""
    reported = Reported(flow_run(Running(), f"default::{TASK}"))
    reason = await reported.run(end_of(stop_code))
    assert reported.reports == [(60.0, str(ID), reason)]
    assert reason.startswith(
        f"the task was interrupted ({stop_code}), and its flow did not end: "
        "Your Spot Task was interrupted.\nhint: "
    )
    assert reported.read_at == [0.0, 60.0]


@pytest.mark.parametrize("exit_code", [0, 1, 137, None])
@pytest.mark.parametrize(
    "stop_code",
    [
        "",
        "EssentialContainerExited",
        "TaskFailedToStart",
        "ServiceSchedulerInitiated",
        "UserInitiated",
    ],
)
def test_only_a_zero_of_an_interrupted_task_is_doubted(stop_code: str, exit_code: int | None):
    """All other runs end at once, and no call is made for them."""
    assert was_interrupted(end_of(stop_code, exit_code)) == (
        exit_code == 0 and stop_code == "UserInitiated"
    )


@pytest.mark.parametrize("final", [Completed, Cancelled, Crashed, Failed])
async def test_a_flow_that_has_ended_delays_nothing(final):
    """It was stopped while it exited, say."""
    reported = Reported(flow_run(final(), f"default::{TASK}"))
    assert await reported.run() == ""
    assert reported.read_at == [0.0]


@pytest.mark.parametrize(
    "state",
    [
        Completed(),
        Cancelled(),
        Cancelling(),
        Crashed(),
        Failed(),
        Paused(timeout_seconds=60),
        Suspended(timeout_seconds=60),
        Scheduled(),
        AwaitingRetry(),
        Pending(),
    ],
    ids=lambda state: state.name,
)
async def test_a_run_that_is_not_running_any_more_is_left_alone(state):
    """Its last state arrived within the minute."""
    reported = Reported(flow_run(Running()), flow_run(state))
    assert await reported.run() == ""
    assert reported.reports == []
    assert reported.read_at == [0.0, 60.0]


async def test_a_flow_that_was_retrying_in_its_process_is_crashed():
    """Retrying is Running by another name."""
    reported = Reported(flow_run(Retrying()))
    assert await reported.run()


@pytest.mark.parametrize(
    ("pid", "crashed"),
    [
        (None, True),
        ("", True),
        (f"default::{TASK}", True),
        (f"{CLUSTER}::{TASK}", True),
        (f"default::{OTHER_TASK}", False),
        ("4711", False),
        ("host:4711", False),
    ],
)
async def test_a_run_in_another_task_is_left_alone(pid: str | None, crashed: bool):
    """It was rescheduled within the minute, and runs."""
    reported = Reported(flow_run(Running(), f"default::{TASK}"), flow_run(Running(), pid))
    assert bool(await reported.run()) == crashed
    assert len(reported.reports) == crashed


@pytest.mark.parametrize(
    "odd",
    [
        refused(500),
        refused(429),
        httpx.ReadTimeout(""),
        ValueError("no JSON"),
        flow_run(None),
        not_found(),
    ],
    ids=["500", "429", "timeout", "no JSON", "no state", "not found"],
)
async def test_one_odd_answer_decides_nothing(odd):
    """Neither the first nor the second; the run is read again ten seconds later."""
    running = flow_run(Running())
    for answers, times in (((odd, running), [0, 60]), ((running, odd, running), [0, 60, 70])):
        reported = Reported(*answers)
        assert await reported.run()
        assert reported.read_at == times
    reported = Reported(flow_run(Running()), odd, flow_run(Completed()))
    assert await reported.run() == ""


async def test_a_deleted_run_is_left_alone():
    """When that has been answered twice."""
    reported = Reported(flow_run(Running()), not_found())
    assert await reported.run() == ""
    assert reported.read_at == [0.0, 60.0, 70.0]


async def test_it_ends_when_prefect_can_not_be_read(log):
    """After five minutes; reconcile finds what may be left."""
    reported = Reported(refused(503))
    assert await reported.run() == ""
    assert reported.read_at[-1] <= 60.0 + 300.0
    assert f"Could not read flow run {ID}" in log.text
    assert "(HTTP 503)" in log.text
    assert "pinned-ecs reconcile" in log.text


async def test_an_answer_that_does_not_come_is_given_up(log):
    """After half a minute each."""
    reported = Reported(flow_run(Running()))

    async def hangs(flow_run_id: str) -> FlowRun:
        never: asyncio.Future[FlowRun] = asyncio.get_running_loop().create_future()
        return await never

    reported.read = hangs  # type: ignore[method-assign]
    assert await reported.run() == ""
    assert reported.clock.now() <= 60.0 + 300.0 + 30.0 * 2
    assert "(no answer in time)" in log.text


async def test_what_is_no_flow_run_is_not_looked_for():
    """A variable of the block may be anything."""
    reported = Reported(flow_run(Running()))
    assert await reported.run(flow_run_id="no-uuid") == ""
    assert reported.read_at == []
