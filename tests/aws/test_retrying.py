"""Patience: what is repeated, for how long, and what is logged."""

from __future__ import annotations

import logging

import pytest

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.calls.retrying import retry, warn_of_unknown
from tests.aws.virtual import VirtualClock


def fault(kind: Kind, code: str = "Code", message: str = "words") -> Fault:
    return Fault(kind, "DescribeTasks", code, message)


class Calls:
    """Each takes a while, and ends as the next of ``faults`` says; None is an answer."""

    def __init__(self, clock: VirtualClock, *faults: Fault | None, seconds: float = 0.1) -> None:
        self.clock, self.faults, self.seconds, self.made = clock, list(faults), seconds, 0

    async def __call__(self) -> str:
        self.made += 1
        await self.clock.wait(self.seconds)
        found = self.faults.pop(0) if len(self.faults) > 1 else self.faults[0]
        if found is not None:
            raise found
        return "answer"


@pytest.mark.parametrize("patience", [10.0, 60.0, 120.0, 600.0])
@pytest.mark.parametrize(
    "kind", [Kind.THROTTLED, Kind.OUTCOME_UNKNOWN, Kind.UNREACHABLE, Kind.UNKNOWN]
)
async def test_a_fault_that_lasts_is_raised_when_patience_ends(clock, kind, patience):
    """A code that no table knows after two minutes, however long the patience."""
    calls = Calls(clock, fault(kind))
    with pytest.raises(Fault) as raised:
        await clock.run(retry(calls, clock, patience))
    assert raised.value.kind is kind
    limit = min(patience, 120.0) if kind is Kind.UNKNOWN else patience
    assert limit - 20.1 <= clock.now() <= limit + 0.1
    assert calls.made >= 5


@pytest.mark.parametrize(
    "kind", [k for k in Kind if not Fault(k, "x").passing], ids=lambda kind: kind.name
)
async def test_a_lasting_fault_is_raised_at_once(clock, kind):
    """One call."""
    calls = Calls(clock, fault(kind))
    with pytest.raises(Fault):
        await clock.run(retry(calls, clock))
    assert calls.made == 1


@pytest.mark.parametrize("kind", [Kind.EXPIRED, Kind.BAD_SIGNATURE, Kind.DENIED])
async def test_what_has_worked_before_is_repeated(clock, kind):
    """It passes after a few seconds, and the caller gets the answer."""
    passing = fault(kind)
    passing.worked = True
    calls = Calls(clock, passing, passing, passing, None)
    assert await clock.run(retry(calls, clock)) == "answer"
    assert calls.made == 4


async def test_throttles_have_a_patience_of_their_own(clock):
    """A command: ten seconds for anything else, two minutes for throttles."""
    throttled, lost = fault(Kind.THROTTLED), fault(Kind.OUTCOME_UNKNOWN)
    with pytest.raises(Fault, match="words"):
        await clock.run(retry(Calls(clock, lost), clock, 10.0, 120.0))
    assert clock.now() <= 10.1
    started = clock.now()
    calls = Calls(clock, *[throttled] * 6, None)
    assert await clock.run(retry(calls, clock, 10.0, 120.0)) == "answer"
    assert clock.now() - started > 10.1
    started = clock.now()
    with pytest.raises(Fault):
        await clock.run(retry(Calls(clock, throttled), clock, 10.0, 120.0))
    assert 99.9 <= clock.now() - started <= 120.1


async def test_a_throttle_ends_a_series_of_other_failures(clock):
    """AWS was reached: the ten seconds begin anew, the two minutes do not."""
    throttled, lost = fault(Kind.THROTTLED), fault(Kind.OUTCOME_UNKNOWN)
    calls = Calls(clock, *[throttled] * 5, lost, None)
    assert await clock.run(retry(calls, clock, 30.0, 120.0)) == "answer"
    calls = Calls(clock, *[throttled, lost] * 1000)
    started = clock.now()
    with pytest.raises(Fault):
        await clock.run(retry(calls, clock, 30.0, 120.0))
    assert clock.now() - started <= 120.1


async def test_a_call_that_hangs_for_longer_than_the_patience_is_not_repeated(clock):
    """The patience counts from when the call was made."""
    calls = Calls(clock, fault(Kind.UNREACHABLE), seconds=12.0)
    with pytest.raises(Fault):
        await clock.run(retry(calls, clock, 10.0, 120.0))
    assert calls.made == 1


async def test_an_unknown_code_is_logged_once_per_action_and_code(clock, caplog):
    """However many calls get it, and again only after a while."""
    unknown = fault(Kind.UNKNOWN, "SomethingNew")
    for _ in range(20):
        await clock.run(retry(Calls(clock, unknown, unknown, None), clock))
    other = fault(Kind.UNKNOWN, "OtherNew")
    await clock.run(retry(Calls(clock, other, None), clock))
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "DescribeTasks: SomethingNew: words" in caplog.messages[0]
    assert "120 s" in caplog.messages[0]
    await clock.pass_time(900.0)
    await clock.run(retry(Calls(clock, unknown, None), clock))
    assert len(caplog.records) == 3


async def test_nothing_else_is_logged(clock, caplog):
    """Throttles and lost answers are nothing new."""
    for kind in Kind:
        if kind is not Kind.UNKNOWN:
            warn_of_unknown(fault(kind), clock)
    assert not caplog.records


async def test_what_is_remembered_of_codes_is_bounded(clock, caplog):
    """AWS, or somebody in between, makes a new code each time."""
    from prefect_ecs_pinned.aws.calls import retrying

    for number in range(1000):
        warn_of_unknown(fault(Kind.UNKNOWN, f"New{number}"), clock)
    assert len(retrying._logged[clock]) == 256
