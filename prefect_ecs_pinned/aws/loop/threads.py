"""Daemon threads that make blocking calls for an event loop.

`concurrent.futures` joins its threads at exit, so a call that hangs would keep an agent from
ending; and its size is fixed. These threads are daemons, come one by one as calls overlap, and
go after a while without work.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from prefect_ecs_pinned.aws.loop.control_loop import ThreadsafeCalls

T = TypeVar("T")

#: Seconds after which a thread without work ends.
IDLE_SECONDS = 10.0

#: How the names of all threads begin that make calls.
THREAD_NAMES = "pinned-ecs-"

_Job = tuple[Callable[[], Any], "asyncio.Future[Any]", ThreadsafeCalls]


class Threads:
    """A few daemon threads.

    ``_ready`` guards ``_jobs``, ``_count`` and ``_free``. A thread is free when its call has
    returned, before this is visible, until it takes the next job. So one is added when there are
    more jobs than free threads.

    Args:
        limit: The most threads at the same time; further calls queue, first in, first out.
        name: Name of the threads, after `THREAD_NAMES`.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._ready = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._count = 0
        self._free = 0
        self._closed = False

    async def run(self, call: Callable[[], T]) -> T:
        """Make a blocking call on a thread; cancelling the wait does not stop the call."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        with self._ready:
            self._jobs.append((call, future, ThreadsafeCalls.here()))
            more = self._count < self._limit and len(self._jobs) > self._free
            self._count += more
            self._free += more
            self._ready.notify()
        if more:
            self._grow()
        result: T = await future
        return result

    def _grow(self) -> None:
        try:
            threading.Thread(target=self._work, name=THREAD_NAMES + self._name, daemon=True).start()
        except RuntimeError:  # the process may not have more: those that there are do the work
            with self._ready:
                self._count -= 1
                self._free -= 1
                if self._count == 0:
                    self._jobs.clear()
                    raise

    def close(self) -> None:
        """End the threads: those without work immediately, the others when their calls return."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def _work(self) -> None:
        while (job := self._take()) is not None:
            self._do(*job)
            del job  # an idle thread keeps no answer alive

    def _take(self) -> _Job | None:
        with self._ready:
            while not self._jobs:
                woken = not self._closed and self._ready.wait(IDLE_SECONDS)
                if (self._closed or not woken) and not self._jobs:
                    self._count -= 1
                    self._free -= 1
                    return None
            self._free -= 1
            return self._jobs.popleft()

    def _do(
        self, call: Callable[[], object], future: asyncio.Future[Any], calls: ThreadsafeCalls
    ) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            try:
                result = call()
            except BaseException as exception:  # noqa: BLE001 - passed to the waiter
                self._returned()
                calls.call_soon(partial(_settle, future, None, exception))
            else:
                self._returned()
                calls.call_soon(partial(_settle, future, result, None))

    def _returned(self) -> None:
        with self._ready:
            self._free += 1


def _settle(future: asyncio.Future[Any], result: object, exception: BaseException | None) -> None:
    if future.done():
        return
    if exception is not None:
        future.set_exception(exception)
    else:
        future.set_result(result)
