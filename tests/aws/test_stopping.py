"""Stopping: what is said of a stop is so, and a stop that failed goes on."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import pytest

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.stopping import (
    NOT_FOUND_SECONDS,
    REFUSED_PATIENCE,
    STOP_PATIENCE,
    STOP_SECONDS,
    Outcome,
    Stopping,
)

THROTTLED = Fault(Kind.THROTTLED, "StopTask", "ThrottlingException", "Rate exceeded")
DENIED = Fault(Kind.DENIED, "StopTask", "AccessDeniedException", "not authorized")
NO_TASK = Fault(Kind.NO_TASK, "StopTask", "InvalidParameterException", "was not found")
REFUSED = Fault(Kind.REFUSED, "StopTask", "InvalidParameterException", "taskId length")
NO_CLUSTER = Fault(Kind.NO_CLUSTER, "StopTask", "ClusterNotFoundException", "Cluster not found.")
SKEWED = Fault(Kind.BAD_SIGNATURE, "StopTask", "InvalidSignatureException", "Signature expired")


class Api:
    """`ports.StopApi`: refuses with ``fault`` until ``until``."""

    def __init__(self, clock):
        self.clock = clock
        self.calls: Counter[str] = Counter()
        self.fault: Exception | None = None
        self.until = float("inf")
        self.hold: asyncio.Event | None = None

    async def stop_task(self, cluster, task, reason):
        self.calls[task] += 1
        await self.clock.wait(0.1)
        if self.hold is not None:
            await self.hold.wait()
        if self.fault is not None and self.clock.now() < self.until:
            raise self.fault


@pytest.fixture
def api(clock):
    return Api(clock)


@pytest.fixture
async def stopping(api, clock):
    return Stopping(api, clock)


async def test_a_stop_that_ecs_accepts(api, clock, stopping):
    """One call, and certain."""
    result = await clock.run(stopping.stop("c", "t", "enough"))
    assert (result.outcome, result.certain, api.calls["t"]) == (Outcome.ACCEPTED, True, 1)
    assert stopping.under_way() == 0


@pytest.mark.parametrize("fault", [THROTTLED, DENIED, NO_CLUSTER, REFUSED, SKEWED, KeyError("x")])
async def test_any_fault_of_a_task_that_ecs_has_shown_is_repeated(api, clock, stopping, fault):
    """For thirty seconds a caller that waits gets no error; none of it is final."""
    api.fault, api.until = fault, 30.0
    result = await clock.run(stopping.stop("c", "t", "enough", though_refused=True))
    assert result.outcome is Outcome.ACCEPTED
    assert 30 <= clock.now() <= STOP_PATIENCE


@pytest.mark.parametrize("fault", [DENIED, NO_CLUSTER, REFUSED])
async def test_what_does_not_pass_by_itself_is_said_after_ten_seconds(api, clock, stopping, fault):
    """UNKNOWN, with the refusal, to those who ask later at once; the stop goes on for the hour."""
    api.fault, api.until = fault, 1800.0
    patient = asyncio.create_task(
        stopping.stop("c", "t", "enough", patience=STOP_SECONDS, though_refused=True)
    )
    result = await clock.run(stopping.stop("c", "t", "enough"))
    assert (result.outcome, result.fault) == (Outcome.UNKNOWN, fault)
    assert REFUSED_PATIENCE <= clock.now() <= 2 * REFUSED_PATIENCE
    asked_at = clock.now()
    assert (await clock.run(stopping.stop("c", "t", "enough"))).outcome is Outcome.UNKNOWN
    assert clock.now() == asked_at
    assert (await clock.run(patient)).outcome is Outcome.ACCEPTED
    assert 1800 <= clock.now() <= 1861


@pytest.mark.parametrize("passing", [THROTTLED, NO_TASK, ValueError("odd")])
async def test_an_answer_that_may_pass_begins_the_ten_seconds_anew(api, clock, stopping, passing):
    """A policy that IAM has not spread everywhere, a throttle between two denials."""
    denials = iter([DENIED, DENIED, passing, DENIED, DENIED])

    async def stop_task(cluster, task, reason):
        await clock.wait(3.0)
        if (fault := next(denials, None)) is not None:
            raise fault

    api.stop_task = stop_task
    result = await clock.run(stopping.stop("c", "t", "enough"))
    assert result.outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("fault", [THROTTLED, SKEWED, ValueError("odd")])
async def test_unknown_after_the_patience_and_it_goes_on(api, clock, stopping, fault, caplog):
    """The caller gets UNKNOWN after a minute; the stop is accepted later, with one WARNING."""
    api.fault, api.until = fault, 1800.0
    result = await clock.run(stopping.stop("c", "t", "enough"))
    assert (result.outcome, result.certain) == (Outcome.UNKNOWN, False)
    assert clock.now() == STOP_PATIENCE
    await clock.pass_time(1800 + 61 - STOP_PATIENCE)
    assert stopping.under_way() == 0
    assert api.calls["t"] <= 70
    warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1


async def test_a_stop_is_given_up_after_an_hour(api, clock, stopping, caplog):
    """And what may run on is named."""
    api.fault = DENIED
    await clock.run(stopping.stop("c", "arn-of-t", "enough"))
    await clock.pass_time(STOP_SECONDS)
    calls = api.calls["arn-of-t"]
    await clock.pass_time(STOP_SECONDS)
    assert (stopping.under_way(), api.calls["arn-of-t"]) == (0, calls)
    assert "arn-of-t could not be stopped, and may run" in caplog.text


async def test_not_found_of_a_fresh_task_may_mean_not_yet(api, clock, stopping):
    """StopTask, too, is eventually consistent: ten seconds of it do not count."""
    api.fault, api.until = NO_TASK, 10.0
    result = await clock.run(stopping.stop("c", "t", "enough"))
    assert result.outcome is Outcome.ACCEPTED


async def test_not_found_for_good_is_an_end(api, clock, stopping):
    """After two minutes without another answer."""
    api.fault = NO_TASK
    result = await clock.run(stopping.stop("c", "t", "enough", patience=300))
    assert (result.outcome, result.fault) == (Outcome.ENDED, NO_TASK)
    assert NOT_FOUND_SECONDS <= clock.now() <= 2 * NOT_FOUND_SECONDS


async def test_a_task_that_ecs_has_not_shown_must_be_missing_twice(api, clock, stopping):
    """Some seconds apart."""
    api.fault = NO_TASK
    result = await clock.run(stopping.stop("c", "t", "enough", shown=False))
    assert (result.outcome, result.fault, api.calls["t"]) == (Outcome.ENDED, NO_TASK, 2)
    assert 3 <= clock.now() <= 5


@pytest.mark.parametrize("fault", [DENIED, NO_CLUSTER, REFUSED])
async def test_of_a_task_that_ecs_has_not_shown_a_final_fault_is_final(api, clock, stopping, fault):
    """One call; nothing goes on."""
    api.fault = fault
    result = await clock.run(stopping.stop("c", "t", "enough", shown=False))
    assert (result.outcome, result.fault, api.calls["t"]) == (Outcome.REFUSED, fault, 1)
    assert stopping.under_way() == 0


async def test_a_code_that_nobody_knows_is_final_after_two_minutes(api, clock, stopping):
    """Of a task that ECS has not shown: the caller gets UNKNOWN before, and it goes on a while."""
    api.fault = Fault(Kind.UNKNOWN, "StopTask", "SomethingNew", "")
    result = await clock.run(stopping.stop("c", "t", "enough", shown=False))
    assert (result.outcome, stopping.under_way()) == (Outcome.UNKNOWN, 1)
    await clock.pass_time(150)
    assert stopping.under_way() == 0


async def test_stops_of_one_task_are_shared(api, clock, stopping):
    """Ten callers, one call."""
    results = await clock.run(
        asyncio.gather(*(stopping.stop("c", "t", "enough") for _ in range(10)))
    )
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert api.calls["t"] == 1


async def test_a_caller_that_is_cancelled_does_not_end_the_stop(api, clock, stopping):
    """The task is stopped all the same."""
    api.fault, api.until = THROTTLED, 20.0
    caller = asyncio.create_task(stopping.stop("c", "t", "enough"))
    await clock.pass_time(1)
    caller.cancel()
    await clock.pass_time(60)
    assert stopping.under_way() == 0
    assert api.calls["t"] > 2


async def test_a_task_that_was_seen_stopped_ends_the_stop(api, clock, stopping):
    """At once for who waits, and nothing is repeated."""
    api.fault = DENIED
    caller = asyncio.create_task(stopping.stop("c", "t", "enough"))
    await clock.pass_time(10)
    stopping.ended("t")
    result = await clock.run(caller, limit=1)
    assert (result.outcome, result.certain) == (Outcome.ENDED, True)
    calls = api.calls["t"]
    await clock.pass_time(300)
    assert api.calls["t"] == calls


async def test_a_stop_that_nobody_wants_any_more(api, clock, stopping):
    """It ends before the next call; while one caller of two wants it, it goes on."""
    api.fault = DENIED
    wanted = {"a": True, "b": True}
    callers = [
        asyncio.create_task(
            stopping.stop("c", "t", "r", though_refused=True, wanted=lambda who=who: wanted[who])
        )
        for who in "ab"
    ]
    await clock.pass_time(5)
    wanted["a"] = False
    await clock.pass_time(20)
    assert stopping.under_way() == 1
    wanted["b"] = False
    for caller in callers:
        assert (await clock.run(caller)).outcome is Outcome.UNWANTED


async def test_closing_awaits_calls_and_settles_the_rest(api, clock, stopping):
    """A call under way gets its answer; a stop between two calls is unknown."""
    api.hold = asyncio.Event()
    caller = asyncio.create_task(stopping.stop("c", "t", "enough"))
    await clock.pass_time(1)
    closing = asyncio.create_task(stopping.close())
    await clock.pass_time(1)
    assert not closing.done()
    api.hold.set()
    await closing
    assert (await clock.run(caller)).outcome is Outcome.ACCEPTED
