"""The calls of commands: a person is waiting."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.errors import AccessDenied, AwsError, PinnedECSError, Unavailable
from prefect_ecs_pinned.operations.calls import Calls
from tests.aws.virtual import VirtualClock


class Caller:
    """`operations.calls.Caller`: ends as the next of ``answers`` says, the last one for ever."""

    def __init__(self, clock: VirtualClock, *answers: Any) -> None:
        self.clock, self.answers, self.made = clock, list(answers), 0

    async def call(self, service: str, operation: str, purpose: str = "", **params: Any) -> Any:
        self.made += 1
        await self.clock.wait(0.1)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Fault):
            raise answer
        return answer

    async def region(self) -> str:
        return "us-east-1"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def fault(kind: Kind, worked: bool = False) -> Fault:
    return Fault(kind, "ListTasks", "Code", "words", worked=worked)


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (fault(Kind.OUTCOME_UNKNOWN), Unavailable),
        (fault(Kind.UNREACHABLE), Unavailable),
        (fault(Kind.UNKNOWN), AwsError),
        (fault(Kind.DENIED, worked=True), AccessDenied),
    ],
    ids=lambda value: getattr(getattr(value, "kind", None), "name", ""),
)
async def test_what_may_pass_is_waited_for_ten_seconds(clock, refusal, error):
    """Not for minutes, as a run does."""
    caller = Caller(clock, refusal)
    with pytest.raises(error):
        await clock.run(Calls(caller, clock).call("ecs", "ListTasks", cluster="c"))
    assert caller.made >= 3
    assert 3.7 <= clock.now() <= 10.1  # four pauses of at least 0.25, 0.5, 1 and 2 s


async def test_what_passes_within_ten_seconds_is_not_raised(clock):
    """One odd answer of each kind."""
    answers = [fault(k) for k in (Kind.OUTCOME_UNKNOWN, Kind.UNREACHABLE, Kind.UNKNOWN)]
    calls = Calls(Caller(clock, *answers, {"taskArns": ["a"]}), clock)
    assert await clock.run(calls.call("ecs", "ListTasks")) == {"taskArns": ["a"]}


async def test_throttles_are_waited_out_for_two_minutes(clock):
    """A command makes as many calls as its account has revisions."""
    caller = Caller(clock, *[fault(Kind.THROTTLED)] * 6, {"taskArns": []})
    assert await clock.run(Calls(caller, clock).call("ecs", "ListTasks")) == {"taskArns": []}
    assert clock.now() > 10.0
    started = clock.now()
    with pytest.raises(Unavailable):
        await clock.run(Calls(Caller(clock, fault(Kind.THROTTLED)), clock).call("ecs", "ListTasks"))
    assert 99.0 <= clock.now() - started <= 121.0


@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.EXPIRED, Kind.REFUSED, Kind.NO_CLUSTER])
async def test_what_is_final_is_raised_immediately(clock, kind):
    """After one call."""
    caller = Caller(clock, fault(kind))
    with pytest.raises(PinnedECSError):
        await clock.run(Calls(caller, clock).call("ecs", "ListTasks"))
    assert caller.made == 1


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("ListTasks", {"taskArns": []}),
        ("DescribeTasks", {"tasks": []}),
        ("StopTask", {"task": {}}),
        ("DescribeTaskDefinition", {"taskDefinition": {}}),
        ("DeregisterTaskDefinition", {"taskDefinition": {}}),
        ("GetCallerIdentity", {"Account": "1"}),
    ],
)
async def test_a_proxys_page_is_no_answer(clock, operation, answer):
    """boto3 reads it as an answer without members: it is asked again, then returned."""
    caller = Caller(clock, {}, {}, answer)
    assert await clock.run(Calls(caller, clock).call("ecs", operation)) == answer
    with pytest.raises(Unavailable):
        await clock.run(Calls(Caller(clock, {}), clock).call("ecs", operation))
    pages = Calls(Caller(clock, {}), clock).pages("ecs", "ListTasks", "taskArns")
    with pytest.raises(Unavailable):
        await clock.run(anext(pages))
