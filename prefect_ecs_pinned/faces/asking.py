"""Calls of Prefect's API within bounds: of time, and of what is said of their failures.

Prefect's client repeats a call for two minutes by itself, or for as long as a server's
``Retry-After`` says (prefect 2.20, ``PrefectHttpxAsyncClient``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import httpx

from prefect_ecs_pinned.aws.calls.ports import Clock

T = TypeVar("T")


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine for a time; it is cancelled when that is over.

    Raises:
        asyncio.TimeoutError: It was over.
        ConnectionError: The coroutine was cancelled by itself, which is no reason for its caller.
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


def _retrieve(task: asyncio.Future[Any]) -> None:
    """A failure that comes after the time is nobody's."""
    if not task.cancelled():
        task.exception()


def reason_of(exception: BaseException) -> str:
    """Why a call failed, in a word or two. Messages are left out: they show URLs and answers."""
    if isinstance(exception, httpx.HTTPStatusError):
        return f"HTTP {exception.response.status_code}"
    if isinstance(exception, (asyncio.TimeoutError, TimeoutError)):
        return "no answer in time"
    return type(exception).__name__
