"""Printing: one thread, whatever sinks do; lines in order, each once, and no silent gap."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_ecs_pinned.aws.output import printing
from prefect_ecs_pinned.aws.output.printing import LINE_CHARACTERS, MISSING, Channel, Printing


def threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "pinned-ecs-print"]


def until(true: Callable[[], bool]) -> None:
    """Return as soon as another thread has made something true."""
    limit = time.monotonic() + 10
    while not true():
        assert time.monotonic() < limit, "it takes longer than ten seconds"
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def _no_threads_left(monkeypatch) -> Iterator[None]:
    """Other tests count threads."""
    monkeypatch.setattr(printing, "IDLE_SECONDS", 0.05)
    before = len(threads())
    yield
    until(lambda: len(threads()) <= before)


class Sink:
    """Keeps what it gets; waits while it is held."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.free = threading.Event()
        self.free.set()
        self.waiting = threading.Event()

    def __call__(self, line: str, several: bool) -> None:
        if not self.free.is_set():
            self.waiting.set()
            self.free.wait(30)
        self.lines.append(line)


def said_missing(lines: list[str]) -> int:
    """How many lines are said to be missing."""
    pattern = re.escape(MISSING).replace(r"\{\}", r"(\d+)")
    return sum(int(found[1]) for line in lines if (found := re.fullmatch(pattern, line)))


async def test_lines_come_in_order_each_once_from_one_thread():
    """A hundred streams; the thread is there as long as there is work, and no longer."""
    sinks = [Sink() for _ in range(100)]
    prints = Printing()
    before = len(threads())
    channels = [prints.channel(sink) for sink in sinks]
    assert len(threads()) == before  # none without a line
    for number in range(50):
        for channel in channels:
            channel.put(f"{number}", True)
    assert len(threads()) == before + 1
    assert await asyncio.gather(*(channel.drain(10) for channel in channels)) == [0] * 100
    assert all(sink.lines == [f"{number}" for number in range(50)] for sink in sinks)


async def test_the_thread_ends_without_work_and_begins_again():
    """Runs that stream nothing cost no thread."""
    prints, sink = Printing(), Sink()
    channel = prints.channel(sink)
    for line in ("one", "two"):
        channel.put(line, False)
        assert await channel.drain(10) == 0
        until(lambda: not prints._running)
    assert sink.lines == ["one", "two"]


async def test_a_sink_that_waits_for_ever_holds_up_nobody_but_lines():
    """Neither who puts lines, nor who waits for the last of them."""
    prints, sink = Printing(most=10_000, most_of_channel=10_000), Sink()
    sink.free.clear()
    channel, other = prints.channel(sink), prints.channel(Sink())
    channel.put("first", False)
    assert await asyncio.to_thread(sink.waiting.wait, 10)
    for number in range(100_000):
        channel.put(f"{number}", False)
    assert prints._size <= 10_000  # bounded, whatever is put
    assert await channel.drain(0.01) == 100_001
    other.put("other", False)
    assert await other.drain(0.01) == 1
    sink.free.set()
    lost = await channel.drain(10)
    assert sink.lines[0] == "first"
    kept = sink.lines[2:]
    assert kept == [f"{number}" for number in range(100_000 - len(kept), 100_000)]  # the newest
    assert said_missing(sink.lines) == lost == 100_000 - len(kept)
    assert await other.drain(10) == 0


async def test_a_loud_stream_leaves_room_for_a_quiet_one():
    """All is full of another's lines, and nothing of it is lost."""
    prints, stuck = Printing(most=100_000, most_of_channel=100_000), Sink()
    stuck.free.clear()
    loud, quiet_sink = prints.channel(stuck), Sink()
    quiet = prints.channel(quiet_sink)
    for number in range(2_000):
        loud.put(f"{number}", False)
    for number in range(10):
        quiet.put(f"{number}", False)
    stuck.free.set()
    assert await quiet.drain(10) == 0
    assert quiet_sink.lines == [f"{number}" for number in range(10)]


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), ValueError("closed"), SystemExit(1), GeneratorExit()],
    ids=lambda error: type(error).__name__,
)
async def test_a_sink_that_raises_loses_its_line_and_says_so(error):
    """The thread goes on; the next line that is printed comes after the number of those lost."""
    prints, lines, broken = Printing(), [], [True]

    def sink(line: str, several: bool) -> None:
        if broken[0]:
            raise error
        lines.append(line)

    channel = prints.channel(sink)
    for number in range(5):
        channel.put(f"{number}", False)
    assert await channel.drain(10) == 5
    broken[0] = False
    channel.put("five", False)
    assert await channel.drain(10) == 5
    assert lines == [MISSING.format(5), "five"]


async def test_a_line_that_no_buffer_holds_is_said_to_be_missing():
    """The lines around it are printed."""
    prints, sink = Printing(most_of_channel=1000), Sink()
    channel = prints.channel(sink)
    channel.put("one", False)
    until(lambda: sink.lines == ["one"])
    channel.put("x" * 2000, False)
    channel.put("three", False)
    assert await channel.drain(10) == 1
    assert sink.lines == ["one", MISSING.format(1), "three"]


async def test_without_a_thread_lines_wait_for_the_next_that_can_be_had(monkeypatch):
    """The process has as many as it may."""
    prints, sink, start = Printing(), Sink(), threading.Thread.start

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    channel = prints.channel(sink)
    channel.put("one", False)
    assert await channel.drain(0.01) == 1
    monkeypatch.setattr(threading.Thread, "start", start)
    channel.put("two", False)
    assert await channel.drain(10) == 0
    assert sink.lines == ["one", "two"]


async def test_a_loop_that_has_closed_is_no_concern_of_the_thread():
    """Its run was cancelled while it waited; the next one's lines come."""
    prints, sink = Printing(), Sink()
    sink.free.clear()
    channel = prints.channel(sink)
    channel.put("one", False)
    waiting = threading.Thread(target=lambda: asyncio.run(channel.drain(0.01)))
    waiting.start()
    await asyncio.to_thread(waiting.join)
    sink.free.set()
    assert await channel.drain(10) == 0
    channel.put("two", False)
    assert await channel.drain(10) == 0


def test_a_forked_child_has_a_thread_of_its_own():
    """The parent's did not come along, and its lock may be held."""
    parent = printing.shared()
    with parent._ready:
        child = os.fork()
        if child == 0:
            sink = Sink()
            printing.shared().channel(sink).put("hello", False)
            until(lambda: sink.lines == ["hello"])
            os._exit(0 if printing.shared() is not parent else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert printing.shared() is parent


PUTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 400), st.booleans()), max_size=80)


@settings(max_examples=200, deadline=None)
@given(PUTS, st.integers(200, 2000), st.integers(200, 2000))
def test_every_line_is_printed_or_counted(puts, most, most_of_channel):
    """Any lines, any limits, the thread at any time: order holds, and the sum is right."""
    prints = Printing(most, most_of_channel)
    prints._running = True  # the test is the thread
    printed: list[list[str]] = [[], [], []]
    channels: list[Channel] = [
        prints.channel(lambda line, _, lines=lines: lines.append(line))  # type: ignore[misc]
        for lines in printed
    ]
    put: list[list[str]] = [[], [], []]
    for number, (which, size, turn) in enumerate(puts):
        line = f"{number}".ljust(size, ".")
        put[which].append(line)
        channels[which].put(line, False)
        least = printing.LEAST_OF_CHANNEL * len(channels)
        assert prints._size <= most + least
        if turn and prints._turns:
            prints._turn(prints._turns.popleft())
    while prints._turns:
        prints._turn(prints._turns.popleft())
    assert prints._size == 0
    for lines, all_lines, channel in zip(printed, put, channels, strict=True):
        own = [line for line in lines if not line.startswith("[pinned-ecs")]
        assert own == [line for line in all_lines if line in set(own)]
        assert len(all_lines) - len(own) == said_missing(lines) == channel.lost
        assert not [line for line in own if len(line) + LINE_CHARACTERS > most_of_channel]
