"""Rows in which the output of runs is streamed, and cannot be printed, or is too much."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.faults.odd_answers import called, each_in_four
from tests.faults.row import Row
from tests.faults.runs import Day, Outcome
from tests.faults.world import FAMILY

#: Lines of a run, of about a hundred characters: together several times what a pipe holds.
LINES = 20

#: Seconds for which nobody reads the pipe.
FULL_SECONDS = 10.0

#: Lines of the loud run, each time, and how often; a tenth of a second lies between.
LOUD, TIMES = 200, 100

#: Every so many a run streams: two calls of GetLogEvents each, at five a second.
PART = 4

#: Seconds from its launch in which a quiet run ends: those calls, its task, the tail, and some.
QUIET_SECONDS = 40.0

LOGGING = {
    "configure_cloudwatch_logs": True,
    "execution_role_arn": "arn:aws:iam::123456789012:role/execution",
}


def _streams(number: int) -> dict[str, bool]:
    return {"stream_output": number % PART == 0}


def _line(task: str, number: int) -> str:
    return f"{task} line {number} " + "x" * 60


class Pipe:
    """What stands at stderr: a pipe, read from a time on."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.writer = os.fdopen(writing, "w")
        self._reader = os.fdopen(reading)
        self._lines: list[str] = []
        self._thread: threading.Thread | None = None

    def read(self) -> None:
        """Read it from now on."""
        self._thread = threading.Thread(target=lambda: self._lines.extend(self._reader))
        self._thread.start()

    def close(self) -> Counter[str]:
        """All lines that were written, without what stands before them."""
        with suppress(OSError):
            self.writer.close()
        if self._thread is not None:
            self._thread.join()
        self._reader.close()
        return Counter(line.partition("] ")[2].strip() or line.strip() for line in self._lines)


@contextmanager
def pipe(day: Day, unread: float) -> Iterator[None]:
    """A pipe at stderr that nobody reads for a time; afterwards each line is in it once."""
    stderr = Pipe()
    timer = threading.Timer(unread, stderr.read)
    timer.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stderr.writer)
        yield
    timer.join()
    printed = stderr.close()
    written = Counter(day.written)
    missing, more = written - printed, (printed - written) & written
    if missing or more:
        day.notes.append(f"{missing.total()} lines missing, {more.total()} printed twice")


def _streaming(day: Day) -> list[str]:
    """Tasks of those that stream."""
    ids = {run.flow_run_id for run in day.runs if run.number % PART == 0}
    return [one["taskArn"] for one in list(day.ecs.launches) if one["flow_run_id"] in ids]


async def write(day: Day) -> None:
    """Each container writes when it runs."""
    written: set[str] = set()
    while True:
        for arn in set(_streaming(day)) - written:
            written.add(arn)
            _write(day, arn, 0, LINES)
        await asyncio.sleep(0.05)


def _write(day: Day, arn: str, first: int, count: int) -> None:
    task = arn.rsplit("/", 1)[-1]
    lines = [_line(task, first + number) for number in range(count)]
    day.written += lines
    day.ecs.log("prefect", f"{FAMILY}/prefect/{task}", lines)


async def one_is_loud(day: Day) -> None:
    """As `write`; and the first that was launched writes more than all others together."""
    await asyncio.gather(write(day), _be_loud(day))


async def _be_loud(day: Day) -> None:
    while not (streaming := _streaming(day)):  # noqa: ASYNC110 - the server is in another thread
        await asyncio.sleep(0.01)
    task = day.ecs.model.find(streaming[0])
    assert task is not None
    for time in range(TIMES):
        if day.ecs.model._moment(task).status == "STOPPED":
            break
        _write(day, task.arn, LINES + time * LOUD, LOUD)
        await asyncio.sleep(0.1)


def in_time(outcome: Outcome) -> list[str]:
    """All but the loud one."""
    late = sum(run.seconds - run.launched_at > QUIET_SECONDS for run in outcome.each)
    return [f"{late} runs ended {QUIET_SECONDS:.0f} s after their launch"] if late > 1 else []


ROWS = (
    Row(
        "stderr full for 10 s, output streamed",
        settings={"task_seconds": 4.0},
        fields=LOGGING,
        each=_streams,
        around=lambda day: pipe(day, FULL_SECONDS),
        meanwhile=write,
    ),
    Row(
        "odd answers of each kind, 1 in 4: GetLogEvents, FilterLogEvents",
        settings={"task_seconds": 4.0},
        faults=each_in_four("GetLogEvents", "FilterLogEvents"),
        fields=LOGGING,
        each=_streams,
        around=lambda day: pipe(day, 0.0),
        meanwhile=write,
        also=called("GetLogEvents", "FilterLogEvents", least=1),
    ),
    Row(
        "a loud stream beside quiet ones",
        settings={"task_seconds": 8.0},
        fields=LOGGING,
        each=_streams,
        around=lambda day: pipe(day, 0.0),
        meanwhile=one_is_loud,
        also=in_time,
    ),
)
