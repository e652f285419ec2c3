"""Calls within bounds of time."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from prefect_ecs_pinned.faces.asking import may_pass, reason_of, retry, within
from tests.aws.virtual import VirtualClock


async def test_what_ends_in_time_gives_its_result():
    """Or its error."""
    clock = VirtualClock()

    async def fails() -> None:
        await clock.wait(5.0)
        raise KeyError("id")

    assert await clock.run(within(clock, 10.0, asyncio.sleep(0, "answer"))) == "answer"
    with pytest.raises(KeyError):
        await clock.run(within(clock, 10.0, fails()))


async def test_what_takes_longer_is_cancelled():
    """An error that it ends in then is nobody's."""
    clock, ended = VirtualClock(), []

    async def hangs() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(clock.now())
            raise KeyError("id")

    with pytest.raises(asyncio.TimeoutError):
        await clock.run(within(clock, 10.0, hangs()))
    await asyncio.sleep(0)
    assert ended == [10.0]


async def test_cancelling_the_caller_cancels_the_call():
    """And nothing is left behind."""
    clock = VirtualClock()
    call = asyncio.ensure_future(within(clock, 10.0, clock.wait(5.0)))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_call_that_is_cancelled_by_itself_does_not_cancel_its_caller():
    """A client whose task group breaks down, say."""

    async def cancelled() -> None:
        raise asyncio.CancelledError

    clock = VirtualClock()
    with pytest.raises(ConnectionError):
        await clock.run(within(clock, 10.0, cancelled()))


def test_a_reason_shows_no_url_and_no_answer():
    """Both may have secrets in them."""
    request = httpx.Request("GET", "http://user:s3cret@prefect/api")
    refused = httpx.HTTPStatusError(
        "s3cret", request=request, response=httpx.Response(503, text="s3cret", request=request)
    )
    assert reason_of(refused) == "HTTP 503"
    assert reason_of(asyncio.TimeoutError()) == reason_of(TimeoutError()) == "no answer in time"
    assert reason_of(httpx.ConnectError("s3cret")) == "ConnectError"


def refused(code: int) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://server/api")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(code))


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_may_answer_later(code):
    assert may_pass(refused(code))


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 410, 422])
def test_a_refusal_stays_one(code):
    assert not may_pass(refused(code))


def test_a_connection_that_fails_may_be_made_later():
    """Prefect's timeouts are httpx's. What is no failure of the API will not pass."""
    assert may_pass(httpx.ConnectError(""))
    assert may_pass(httpx.PoolTimeout(""))
    assert not may_pass(KeyError("id"))


async def test_a_call_is_repeated_after_each_pause():
    """And its last failure is raised, when none of the tries has been answered."""
    clock, tries = VirtualClock(), []

    async def call() -> None:
        tries.append(clock.now())
        raise refused(500)

    with pytest.raises(httpx.HTTPStatusError):
        await clock.run(retry(clock, call, (1.0, 2.0, 4.0)))
    assert tries == [0.0, 1.0, 3.0, 7.0]
