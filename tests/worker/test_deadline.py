"""A worker that is asked to stop ends in time, and only one that is a process of its own."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from prefect.utilities.processutils import setup_signal_handlers_worker

from prefect_ecs_pinned.worker import deadline
from prefect_ecs_pinned.worker.deadline import Deadline


@pytest.fixture
def handlers() -> Iterator[None]:
    """Handlers of signals as they were, afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_time_is_counted_from_the_signal():
    """Hand-back gets what is left of it; a second signal changes nothing."""
    now = 100.0
    made = Deadline(lambda: None, lambda: now)
    assert made.left(7.0) == 7.0
    made.begin()
    now += 3
    made.begin()
    assert made.left(7.0) == 4.0
    now += 10
    assert made.left(7.0) == 0.0


def test_the_process_ends_when_the_time_is_over(handlers, monkeypatch):
    """Whatever its event loop does."""
    monkeypatch.setattr(deadline, "GONE_SECONDS", 0.0)
    ended = threading.Event()
    setup_signal_handlers_worker(0, "a worker", lambda *_: None)
    made = Deadline(ended.set)
    made.watch_signals()
    assert signal.getsignal(signal.SIGTERM).__module__ == deadline.__name__
    made.begin()
    assert ended.wait(10)


def test_signals_of_somebodys_own_program_are_left_alone(handlers):
    """It ends when it likes."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Deadline(lambda: None).watch_signals()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


_STUCK = """
import asyncio, os, threading, time
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect_ecs_pinned.worker import deadline
deadline.GONE_SECONDS = 0.3
setup_signal_handlers_worker(os.getpid(), "a worker", lambda *_: None)
deadline.Deadline().watch_signals()
threading.Thread(target=time.sleep, args=(1000,)).start()  # what Prefect waits for at the end
print("ready", flush=True)
async def work():
    try:
        await asyncio.sleep(1000)
    finally:
        await asyncio.shield(asyncio.sleep(1000))
asyncio.run(work())
"""


async def test_a_process_that_does_not_come_to_its_end_is_ended():
    """By SIGTERM, as Prefect's command handles it; with 0, since it has ended as it is to."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _STUCK, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    began = time.monotonic()
    process.terminate()
    _, said = await process.communicate()
    assert process.returncode == 0
    assert b"its tasks run on" in said
    assert time.monotonic() - began >= 0.3


_WAITING = """
import asyncio, os, signal, sys
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect_ecs_pinned.worker.deadline import Deadline
signal.signal(signal.SIGINT, getattr(signal, sys.argv[1]))
async def work():
    setup_signal_handlers_worker(os.getpid(), "a worker", lambda *_: None)
    Deadline().watch_signals()
    print("ready", flush=True)
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        print("cancelled", asyncio.current_task().cancelling(), flush=True)
asyncio.run(work())
"""


@pytest.mark.parametrize("interrupts", ["SIG_IGN", "default_int_handler"])
async def test_sigterm_ends_a_worker_that_was_started_in_the_background(interrupts: str):
    """A shell makes it ignore SIGINT, which Prefect forwards SIGTERM as; cancelled once in any."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WAITING, interrupts, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    process.terminate()
    printed, said = await process.communicate()
    assert (printed, process.returncode) == (b"cancelled 1\n", 0), said
