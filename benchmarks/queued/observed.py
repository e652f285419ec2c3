"""What processes cost, seen from outside, so that what is measured knows nothing of it."""

from __future__ import annotations

import contextlib
import threading

import psutil

#: Seconds between two looks at memory and threads.
_LOOK_SECONDS = 0.25


def cpu_of(pid: int | None) -> float:
    """CPU seconds of a process, of those that it has started, and of those that have ended."""
    if pid is None:
        return 0.0
    total = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                total += times.user + times.system
                total += times.children_user + times.children_system
    return total


def busy_seconds() -> float:
    """CPU seconds that all of the machine's processes have used."""
    times = psutil.cpu_times()
    idle: float = times.idle + getattr(times, "iowait", 0.0)
    return sum(times[:8]) - idle


class Observed:
    """Looks at one process again and again, from its start until it ends.

    Args:
        pid: The process.

    Attributes:
        peak_kb: Peak of resident memory.
        threads: Peak of threads.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self.peak_kb = 0.0
        self.threads = 0
        threading.Thread(target=self._look, daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._over.set()

    def _look(self) -> None:
        with contextlib.suppress(psutil.Error):
            while not self._over.wait(_LOOK_SECONDS):
                self.peak_kb = max(self.peak_kb, self._process.memory_info().rss / 1024)
                self.threads = max(self.threads, self._process.num_threads())
