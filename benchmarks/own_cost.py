"""What a process costs: CPU of all its threads, resident memory, threads; from /proc."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: Seconds between two looks at memory and threads.
_LOOK_SECONDS = 0.1

#: Seconds for which the idle process is measured.
_IDLE_SECONDS = 3.0

_PAGE_KB = os.sysconf("SC_PAGE_SIZE") / 1024


def cpu_seconds() -> float:
    """CPU time of this process and all of its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_kb() -> float:
    """Resident memory in KB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_KB


def threads() -> int:
    """Threads of this process, Prefect's and Python's own included."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


@dataclass
class Cost:
    """What something cost beyond the idle process.

    Attributes:
        seconds: How long it took.
        cpu_seconds: CPU time, that of the idle process and of the looks at it subtracted.
        peak_kb: Peak of resident memory, all of the process.
        threads: Peak, all threads of the process.
        idle_threads: Threads of the idle process.
    """

    seconds: float
    cpu_seconds: float
    peak_kb: float
    threads: int
    idle_threads: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Meter:
    """Measures a stretch of an event loop's life: `begin`, `restart`, `end`."""

    async def begin(self) -> None:
        """Measure the idle process.

        Python looks for garbage among all objects of a process when a quarter of them are new.
        Among Prefect's, that takes 0.2 s. It is done now, lest it fall due for what was imported.
        """
        gc.collect()
        self._idle_threads = self._peak_threads = threads()
        self._peak_kb = resident_kb()
        self._looks = 0.0
        self._looking = asyncio.create_task(self._look())
        before, at = self._spent(), time.monotonic()
        await asyncio.sleep(_IDLE_SECONDS)
        self._idle_rate = (self._spent() - before) / (time.monotonic() - at)

    def restart(self) -> None:
        """Begin the stretch now; the idle process has been measured."""
        self._cpu, self._at = self._spent(), time.monotonic()

    def _spent(self) -> float:
        """CPU time, without that of looking, which grows with the number of threads."""
        return cpu_seconds() - self._looks

    async def _look(self) -> None:
        while True:
            before = time.thread_time()
            self._peak_threads = max(self._peak_threads, threads())
            self._peak_kb = max(self._peak_kb, resident_kb())
            self._looks += time.thread_time() - before
            await asyncio.sleep(_LOOK_SECONDS)

    def end(self) -> Cost:
        """What has been spent since `begin`."""
        self._looking.cancel()
        seconds = time.monotonic() - self._at
        return Cost(
            seconds=seconds,
            cpu_seconds=self._spent() - self._cpu - self._idle_rate * seconds,
            peak_kb=self._peak_kb,
            threads=self._peak_threads,
            idle_threads=self._idle_threads,
        )
