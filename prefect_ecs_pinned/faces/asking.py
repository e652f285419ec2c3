"""Calls of Prefect's API within bounds: of time, and of what is said of their failures.

Prefect's client repeats a call for two minutes by itself, or for as long as a server's
``Retry-After`` says (prefect 2.20, ``PrefectHttpxAsyncClient``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import httpx

from prefect_ecs_pinned.aws.calls.ports import Clock

T = TypeVar("T")

#: Seconds between the tries of a call that may be repeated. Prefect's client repeats 429, 502 and
#: 503 by itself before that, five times in a minute; a server that restarts also answers 500.
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0)


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine for a time; it is cancelled when that is over.

    Raises:
        asyncio.TimeoutError: It was over.
        ConnectionError: The coroutine was cancelled by itself, which must not affect its caller.
    """
    task = asyncio.ensure_future(work)
    timer = asyncio.ensure_future(clock.wait(seconds))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        if task.cancelled():
            raise ConnectionError("the call was cancelled")
        if task.done():
            return task.result()
        raise asyncio.TimeoutError
    finally:
        timer.cancel()
        task.cancel()
        task.add_done_callback(_retrieve)


async def retry(
    clock: Clock, call: Callable[[], Awaitable[T]], pauses: Sequence[float] = PAUSES
) -> T:
    """Make a call that may be repeated, again while the API fails in a way that may pass.

    Args:
        clock: Time.
        call: Makes it.
        pauses: Seconds between its tries.

    Raises:
        Exception: What the last try raised, or one that will not pass.
    """
    for pause in pauses:
        try:
            return await call()
        except Exception as exception:
            if not may_pass(exception):
                raise
        await clock.wait(pause)
    return await call()


def may_pass(exception: Exception) -> bool:
    """Whether a call of the API has failed in a way that another try may not."""
    if isinstance(exception, httpx.HTTPStatusError):
        code = exception.response.status_code
        passing = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS)
        return code >= httpx.codes.INTERNAL_SERVER_ERROR or code in passing
    return isinstance(exception, httpx.TransportError)


def _retrieve(task: asyncio.Future[Any]) -> None:
    """A failure that comes after the time is nobody's."""
    if not task.cancelled():
        task.exception()


def reason_of(exception: BaseException) -> str:
    """Why a call failed, in one or two words. Messages are left out: they show URLs and answers."""
    if isinstance(exception, httpx.HTTPStatusError):
        return f"HTTP {exception.response.status_code}"
    if isinstance(exception, (asyncio.TimeoutError, TimeoutError)):
        return "no answer in time"
    return type(exception).__name__
