"""The control loop: one event loop in one daemon thread, where all shared state lives.

Callers run on loops of their own, come and go, and may be cancelled; shared work must not go
with them. So it runs here, and a caller awaits it from outside (`ControlLoop.run`) or is handed
its changes through a `ThreadsafeQueue`. Whatever goes from one loop to another goes by
`ThreadsafeCalls`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

from prefect_ecs_pinned.aws.loop.posting import LoopClosed, ThreadsafeCalls

__all__ = [
    "ControlLoop",
    "LoopClock",
    "LoopClosed",
    "ThreadsafeCalls",
    "ThreadsafeQueue",
    "first_of",
]

T = TypeVar("T")

#: Seconds that cancelled coroutines are given to end, and seconds between looks for new ones.
_CLOSE_SECONDS = 1.0
_CLOSE_STEP = 0.1


class ControlLoop:
    """A daemon thread with an event loop in it, started immediately.

    Whatever it has taken is settled: what is under way when it closes is cancelled, what was
    posted last is begun and cancelled, and nothing is taken any more.
    """

    def __init__(self, name: str = "pinned-ecs-control") -> None:
        self._loop = asyncio.new_event_loop()
        self._threadsafe = ThreadsafeCalls(self._loop)
        #: Outcomes of coroutines, not yet settled. A set of the loop's thread.
        self._open: set[concurrent.futures.Future[Any]] = set()
        self._closing = False
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._closing = True
            self._threadsafe.close()
            try:
                self._loop.run_until_complete(self._cancel_all())
            finally:
                self._loop.close()
                for future in list(self._open):  # of coroutines that do not end
                    _settle(future, None, LoopClosed("the event loop has closed"))

    async def _cancel_all(self) -> None:
        """Cancel what is under way, and what the last calls that were posted have begun."""
        await asyncio.sleep(0)
        until = self._loop.time() + _CLOSE_SECONDS
        known = {asyncio.current_task()}
        while (tasks := asyncio.all_tasks() - {asyncio.current_task()}) and (
            self._loop.time() < until
        ):
            for task in tasks - known:
                task.cancel()
            known |= tasks
            await asyncio.wait(tasks, timeout=_CLOSE_STEP)
        await asyncio.sleep(0)  # who waits for them is informed

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the control loop and await it on the caller's.

        Cancelling the caller cancels the coroutine; what it shares with others, it shields.

        Raises:
            LoopClosed: The control loop has closed, before the coroutine was done.
            Exception: Whatever the coroutine raises.
        """
        return await asyncio.wrap_future(self._begin(work))

    def call(self, work: Callable[[], object]) -> None:
        """Call a function on the control loop, after everything that was asked of it before.

        Raises:
            LoopClosed: The control loop has closed.
        """
        self._threadsafe.call_soon(work)

    def start(self, work: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine on the control loop, whatever becomes of the caller.

        Raises:
            LoopClosed: The control loop has closed.
        """
        self._begin(work)

    def close(self) -> None:
        """End the thread and the loop; what it was doing is cancelled."""
        with contextlib.suppress(RuntimeError):  # it is closed already
            self._threadsafe.call_soon(self._stop)

    def _stop(self) -> None:
        if not self._closing:  # anyone who closes it a second time stops nothing that ends it
            self._loop.stop()

    def _begin(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def begin() -> None:
            task = self._loop.create_task(work)
            self._open.add(future)
            task.add_done_callback(partial(self._ended, future))
            future.add_done_callback(partial(self._given_up, task))

        try:
            self._threadsafe.call_soon(begin)
        except RuntimeError:
            work.close()
            raise
        return future

    def _ended(self, future: concurrent.futures.Future[T], task: asyncio.Task[T]) -> None:
        self._open.discard(future)
        if not task.cancelled():
            error = task.exception()
            _settle(future, None if error else task.result(), error)
        elif self._closing:
            _settle(future, None, LoopClosed("the event loop has closed"))
        else:
            future.cancel()

    def _given_up(self, task: asyncio.Task[T], future: concurrent.futures.Future[T]) -> None:
        if future.cancelled():
            with contextlib.suppress(RuntimeError):  # closed: it has been cancelled
                self._loop.call_soon_threadsafe(task.cancel)


def _settle(
    future: concurrent.futures.Future[Any], result: object, error: BaseException | None
) -> None:
    with contextlib.suppress(concurrent.futures.InvalidStateError):  # its caller has gone
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


class LoopClock:
    """The real clock, for a running event loop (see `ports.Clock`)."""

    def now(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.monotonic()

    async def wait(self, seconds: float) -> None:
        """Let so many seconds pass."""
        await asyncio.sleep(seconds)


class ThreadsafeQueue(Generic[T]):
    """News from the control loop for one coroutine on the loop that made the queue.

    ``put`` may be called from any thread; ``get`` by one coroutine at a time. All fields belong
    to the receiving loop; a loop that has closed is ignored.
    """

    __slots__ = ("_items", "_threadsafe", "_waiting")

    def __init__(self) -> None:
        self._threadsafe = ThreadsafeCalls.here()
        self._items: deque[T] = deque()
        self._waiting: asyncio.Future[None] | None = None

    def put(self, item: T) -> None:
        """Hand an item over; from any thread."""
        with contextlib.suppress(RuntimeError):  # the receiver's loop has closed
            self._threadsafe.call_soon(partial(self._arrive, item))

    def _arrive(self, item: T) -> None:
        self._items.append(item)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def get(self) -> T:
        """The next item; waits for it, in the loop of the receiver."""
        while not self._items:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self._items.popleft()


async def first_of(*awaited: Awaitable[Any]) -> None:
    """Return when the first of these is done; the others, futures too, are cancelled."""
    futures = [asyncio.ensure_future(each) for each in awaited]
    try:
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in futures:
            future.cancel()
