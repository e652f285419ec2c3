"""A stopped worker ends in time, even if something else is still running.

After a worker has handed back waiting runs, Prefect waits for events and log lines to be sent,
without a limit while its server is slow or unavailable. On a busy machine each step takes longer.
Orchestrators kill a process 10 s (Docker) to 30 s (ECS, Kubernetes) after SIGTERM anyway. So the
seconds are counted from the signal, by a thread that does not need the event loop. When they are
over, the process ends: tasks continue, and the next worker finds runs that were not handed back, as
after SIGKILL (`adopting`, `rescuing`).

Prefect forwards SIGTERM as SIGINT. A process that was started in the background (``nohup prefect
worker start &``) ignores SIGINT, and would not stop at all: here, its main task is cancelled then.

It applies to processes whose signals Prefect has taken for a worker, as `prefect worker start`
does. Another program that runs a worker keeps its signals, and decides when it ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

#: Seconds from the signal to the end of the process, at the latest. One less than the shortest time
#: after which an orchestrator kills it.
GONE_SECONDS = 9.0

#: Seconds from the signal until which runs are handed back. The rest is for Prefect's own part:
#: events and log lines that are left are sent.
HAND_BACK_SECONDS = 7.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

#: Where the handlers are made that Prefect sets for a worker (prefect 3.9,
#: ``setup_signal_handlers_worker``).
_PREFECTS = "prefect.utilities.processutils"

_Handler = Callable[[int, FrameType | None], object]

_LATE = b"The worker ends now, with events or log lines unsent; its tasks run on.\n"


class Deadline:
    """When the process of a worker has to be gone.

    Args:
        end: Ends the process, called in a thread.
        now: Seconds of a clock that continues while the process is stopped.
    """

    def __init__(
        self, end: Callable[[], None] | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._end = end or _end
        self._now = now
        self._told_at: float | None = None
        self._told = threading.Event()

    def watch_signals(self) -> None:
        """Count from the signals that Prefect handles; called in the main thread, by its task."""
        if threading.current_thread() is not threading.main_thread():
            return
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        theirs = {n: h for n, h in handlers.items() if getattr(h, "__module__", "") == _PREFECTS}
        if not theirs:
            return
        # Not begun by the handler: it may interrupt whatever begins a thread, and its lock.
        threading.Thread(target=self._wait, name="worker-deadline", daemon=True).start()
        main = _current_task()
        for number, handler in theirs.items():
            assert callable(handler)
            signal.signal(number, self._around(handler, main))

    def begin(self) -> None:
        """The worker has to stop; a second call changes nothing."""
        if self._told_at is None:
            self._told_at = self._now()
            self._told.set()

    def _wait(self) -> None:
        self._told.wait()
        time.sleep(self.left(GONE_SECONDS))
        self._end()

    def left(self, seconds: float) -> float:
        """What is left of so many seconds since the signal; all of them when there was none."""
        if self._told_at is None:
            return seconds
        return max(0.0, seconds - (self._now() - self._told_at))

    def _around(self, handler: _Handler, main: asyncio.Task[object] | None) -> _Handler:
        def handle(number: int, frame: FrameType | None) -> object:
            self.begin()
            handled = handler(number, frame)
            if main is not None and not main.cancelling():
                main.cancel()
                main.get_loop().call_soon_threadsafe(lambda: None)  # it may wait for a socket
            return handled

        return handle


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _end() -> None:
    """End the process, without what Python does at its end: that may wait as well."""
    os.write(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2, _LATE)
    os._exit(0)
