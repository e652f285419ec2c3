"""A run's wait for its output ends, whatever becomes of the control loop and the sink."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from prefect_ecs_pinned.aws.loop.control_loop import ControlLoop, LoopClock
from prefect_ecs_pinned.aws.output import followed as module
from prefect_ecs_pinned.aws.output import streams as output_module
from prefect_ecs_pinned.aws.output.followed import Followed
from prefect_ecs_pinned.aws.output.streams import Output


class Logs:
    """`ports.OutputApi`: one page that every stream has."""

    def __init__(self) -> None:
        self.lines = ["one", "two"]
        self.calls = 0
        self.at = 0  # of the lines, however they are read; they are written at the first call

    async def filter_log_events(
        self, _: str, streams: Sequence[str], start: int, __: str | None
    ) -> dict[str, Any]:
        self._write()
        return {
            "events": [
                {
                    "logStreamName": name,
                    "timestamp": self.at,
                    "message": line,
                    "eventId": name + line,
                }
                for name in streams
                for line in self.lines
            ]
        }

    async def get_log_events(self, _: str, __: str, ___: int, token: str | None) -> dict[str, Any]:
        self._write()
        events = [{"timestamp": self.at, "message": line} for line in self.lines if token is None]
        return {"events": events, "nextForwardToken": "end"}

    def _write(self) -> None:
        self.calls += 1
        self.at = self.at or int(time.time() * 1000)


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    monkeypatch.setattr(output_module, "READ_SECONDS", 0.01)
    monkeypatch.setattr(output_module, "TAIL_SECONDS", 0.01)
    monkeypatch.setattr(module, "PRINT_SECONDS", 0.2)


@pytest.fixture
def loop() -> Iterator[ControlLoop]:
    loop = ControlLoop()
    yield loop
    loop.close()


class World:
    """A control plane's output, and streams of it."""

    def __init__(self, loop: ControlLoop) -> None:
        self.loop = loop
        self.logs = Logs()
        self.output = Output(self.logs, LoopClock())

    def follow(self, stream: str, sink: Any) -> Followed:
        followed = Followed(self.loop, self.output, sink)
        followed.begin("g", stream, "")
        return followed


async def test_lines_are_printed_by_a_thread_of_their_own(loop):
    """And all of them are when it has finished."""
    printed: list[tuple[str, str]] = []
    followed = World(loop).follow(
        "s", lambda line, _: printed.append((line, threading.current_thread().name))
    )
    assert await followed.finish() == 0
    assert printed == [("one", "pinned-ecs-print"), ("two", "pinned-ecs-print")]


async def test_a_sink_that_never_returns_keeps_no_run(loop):
    """The control loop goes on, other streams are read, and each run ends with what is missing."""
    free = threading.Event()
    world = World(loop)
    try:
        many = [world.follow(f"s{n}", lambda *_: free.wait()) for n in range(5)]
        ends = asyncio.gather(*(one.finish() for one in many))
        assert await asyncio.wait_for(ends, 60) == [2] * 5
    finally:
        free.set()


async def test_a_control_loop_that_has_closed_keeps_no_run(loop, caplog):
    """Before it was asked for, and while it is awaited: one WARNING, nothing raised."""
    followed = World(loop).follow("s", lambda *_: None)
    loop.close()
    while not loop._loop.is_closed():  # noqa: ASYNC110 - its thread closes it
        await asyncio.sleep(0.001)
    assert await asyncio.wait_for(followed.finish(), 10) <= 2
    again = World(loop).follow("s", lambda *_: None)
    again.abandon()
    assert await asyncio.wait_for(again.finish(), 10) == 0
    assert sum("Output was cut" in r.getMessage() for r in caplog.records) == 2


async def test_a_control_loop_that_closes_meanwhile_is_no_cancellation(loop, monkeypatch, caplog):
    """The run goes on to its end; it does not look as if somebody had cancelled it."""
    monkeypatch.setattr(output_module, "TAIL_SECONDS", 100.0)
    world, awaited = World(loop), threading.Event()
    finish = world.output.finish

    async def watched(follow: Any) -> None:
        awaited.set()
        await finish(follow)

    monkeypatch.setattr(world.output, "finish", watched)
    finishing = asyncio.create_task(world.follow("s", lambda *_: None).finish())
    await asyncio.to_thread(awaited.wait)
    loop.close()
    assert await asyncio.wait_for(finishing, 10) == 0
    assert sum("Output was cut" in r.getMessage() for r in caplog.records) == 1


async def test_a_control_loop_that_stands_still_keeps_no_run(loop, monkeypatch, caplog):
    """The wait has a clock of its own."""
    monkeypatch.setattr(module, "TAIL_DEADLINE", 0.1)
    monkeypatch.setattr(module, "MARGIN_SECONDS", 0.1)
    free = threading.Event()
    followed = World(loop).follow("s", lambda *_: None)
    loop.call(lambda: free.wait(20))
    try:
        assert await asyncio.wait_for(followed.finish(), 10) == 0
    finally:
        free.set()
    assert sum("Output was cut" in r.getMessage() for r in caplog.records) == 1


async def test_output_that_cannot_be_followed_keeps_no_run(loop, monkeypatch):
    """What fails on the control loop has no caller there."""

    output = Output(Logs(), LoopClock())
    monkeypatch.setattr(output, "follow", lambda *_: 1 / 0)
    followed = Followed(loop, output, lambda *_: None)
    followed.begin("g", "s", "")
    assert await asyncio.wait_for(followed.finish(), 10) == 0
    followed.abandon()


async def test_a_run_that_is_cancelled_reads_no_more(loop):
    """At any moment after it has asked: nothing is followed that nobody can abandon."""
    world = World(loop)
    followed = world.follow("s", lambda *_: None)
    followed.abandon()  # before the control loop has taken it up
    assert await asyncio.wait_for(followed.finish(), 10) <= 2
    followed = world.follow("s", lambda *_: None)
    finishing = asyncio.create_task(followed.finish())
    await asyncio.sleep(0)
    finishing.cancel()
    followed.abandon()
    with pytest.raises(asyncio.CancelledError):
        await finishing

    async def following() -> int:
        return world.output.following()

    assert await loop.run(following()) == 0
