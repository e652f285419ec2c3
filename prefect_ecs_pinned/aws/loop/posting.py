"""From any thread to an event loop: functions are called there, in the order of their posting."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable

#: The `ThreadsafeCalls` of the event loop that this thread ran last.
_here = threading.local()


class LoopClosed(RuntimeError):
    """The event loop takes no more work, or has ended what it had begun."""


class ThreadsafeCalls:
    """Has functions called on an event loop, by other threads, in the order of their posting.

    ``call_soon_threadsafe`` wakes its loop by a system call each time, which costs more than
    most of what is handed over here. Of many that are posted together only the first does.

    ``_lock`` guards ``_calls`` and ``_closed``: who finds ``_calls`` empty wakes the loop, and who
    is woken empties it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._lock = threading.Lock()
        self._calls: list[Callable[[], object]] = []
        self._closed = False

    @staticmethod
    def here() -> ThreadsafeCalls:
        """That of the running event loop."""
        loop = asyncio.get_running_loop()
        post: ThreadsafeCalls | None = getattr(_here, "post", None)
        if post is None or post._loop() is not loop:
            post = _here.post = ThreadsafeCalls(loop)
        return post

    def call_soon(self, call: Callable[[], object]) -> None:
        """Call a function on the loop, soon.

        Raises:
            RuntimeError: The loop has closed.
        """
        loop = self._loop()
        with self._lock:  # waking, too: nothing that is posted later may overtake
            if loop is None or loop.is_closed():
                self._calls.clear()
                raise LoopClosed("the event loop has closed")
            if self._closed:
                raise LoopClosed("the event loop is closing")
            self._calls.append(call)
            if len(self._calls) == 1:
                try:
                    loop.call_soon_threadsafe(self._deliver, loop)
                except RuntimeError:
                    self._calls.clear()
                    raise

    def close(self) -> None:
        """Take no more calls. Those that were taken are made in the next pass of the loop."""
        with self._lock:
            self._closed = True

    def _take(self) -> list[Callable[[], object]]:
        with self._lock:
            calls, self._calls = self._calls, []
        return calls

    def _deliver(self, loop: asyncio.AbstractEventLoop) -> None:
        for call in self._take():
            try:
                call()
            except (Exception, asyncio.CancelledError) as exception:  # noqa: BLE001 - the loop reports it
                # Without the call's arguments: they may be answers with secrets in them.
                name = getattr(getattr(call, "func", call), "__qualname__", "a call")
                message = f"Exception in {name}, which another thread has posted"
                loop.call_exception_handler({"message": message, "exception": exception})
