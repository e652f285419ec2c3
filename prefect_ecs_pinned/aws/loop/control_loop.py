"""The control loop: one event loop in one daemon thread, where all shared state lives.

Callers run on loops of their own, come and go, and may be cancelled; shared work must not go
with them. So it runs here, and a caller awaits it from outside (`ControlLoop.run`) or is handed
its changes through a `ThreadsafeQueue`. Whatever goes from one loop to another goes by
`ThreadsafeCalls`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")

#: Seconds that cancelled coroutines are given to end.
_CLOSE_SECONDS = 1.0


#: The `ThreadsafeCalls` of the event loop that this thread ran last.
_here = threading.local()


class ThreadsafeCalls:
    """Has functions called on an event loop, by other threads, in the order of their posting.

    ``call_soon_threadsafe`` wakes its loop by a system call each time, which costs more than
    most of what is handed over here. Of many that are posted together only the first does.

    ``_lock`` guards ``_calls``: who finds it empty wakes the loop, and who is woken empties it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._lock = threading.Lock()
        self._calls: list[Callable[[], object]] = []

    @staticmethod
    def here() -> ThreadsafeCalls:
        """That of the running event loop."""
        loop = asyncio.get_running_loop()
        calls: ThreadsafeCalls | None = getattr(_here, "calls", None)
        if calls is None or calls._loop() is not loop:
            calls = _here.calls = ThreadsafeCalls(loop)
        return calls

    def call_soon(self, call: Callable[[], object]) -> None:
        """Call a function on the loop, soon.

        Raises:
            RuntimeError: The loop has closed.
        """
        loop = self._loop()
        with self._lock:  # waking, too: nothing that is posted later may overtake
            if loop is None or loop.is_closed():
                self._calls.clear()
                raise RuntimeError("the event loop has closed")
            self._calls.append(call)
            if len(self._calls) == 1:
                try:
                    loop.call_soon_threadsafe(self._deliver, loop)
                except RuntimeError:
                    self._calls.clear()
                    raise

    def _take(self) -> list[Callable[[], object]]:
        with self._lock:
            calls, self._calls = self._calls, []
        return calls

    def _deliver(self, loop: asyncio.AbstractEventLoop) -> None:
        for call in self._take():
            try:
                call()
            except (Exception, asyncio.CancelledError) as exception:
                # Without the call's arguments: they may be answers with secrets in them.
                name = getattr(getattr(call, "func", call), "__qualname__", "a call")
                message = f"Exception in {name}, which another thread has posted"
                loop.call_exception_handler({"message": message, "exception": exception})


class ControlLoop:
    """A daemon thread with an event loop in it, started at once."""

    def __init__(self, name: str = "pinned-ecs-control") -> None:
        self._loop = asyncio.new_event_loop()
        self._threadsafe = ThreadsafeCalls(self._loop)
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self._loop.run_until_complete(asyncio.wait(tasks, timeout=_CLOSE_SECONDS))
            self._loop.close()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the control loop and await it on the caller's.

        Cancelling the caller cancels the coroutine; what it shares with others, it shields.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop has closed
            work.close()
            raise
        return await asyncio.wrap_future(future)

    def call(self, work: Callable[[], object]) -> None:
        """Call a function on the control loop, after everything that was asked of it before."""
        self._threadsafe.call_soon(work)

    def start(self, work: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine on the control loop, whatever becomes of the caller."""
        asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """End the thread and the loop; what it was doing is cancelled."""
        with contextlib.suppress(RuntimeError):  # it is closed already
            self._loop.call_soon_threadsafe(self._loop.stop)


class LoopClock:
    """The real clock, for a running event loop (see `ports.Clock`)."""

    def now(self) -> float:
        return time.monotonic()

    async def wait(self, seconds: float) -> None:
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
        with contextlib.suppress(RuntimeError):  # the receiver's loop has closed
            self._threadsafe.call_soon(partial(self._arrive, item))

    def _arrive(self, item: T) -> None:
        self._items.append(item)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def get(self) -> T:
        while not self._items:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self._items.popleft()
