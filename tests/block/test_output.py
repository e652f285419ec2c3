"""Faults of `stream_output`: no run waits for a pipe, a disk or the stream of another."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.aws.output import followed, printing
from prefect_ecs_pinned.aws.output import streams as output
from prefect_ecs_pinned.local.settings import Phases
from tests.block.conftest import EXECUTION_ROLE, Status, World, messages, until

NEVER = 3600.0

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's pipes or /dev/full")


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    for name, seconds in (("READ_SECONDS", 0.05), ("TAIL_SECONDS", 0.1)):
        monkeypatch.setattr(output, name, seconds)


class Streaming:
    """Runs whose output is streamed, in one log group."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.streams: list[str] = []
        self.runs: list[asyncio.Task[Any]] = []

    async def start(self, names: Sequence[str], **fields: Any) -> None:
        """Start runs, and return when their containers run."""
        self.world.ecs.change(phases=Phases(0.05, 0, 0, 0, 0, 0), task_seconds=NEVER)
        for name in names:
            block, status = self.block(name, **fields), Status()
            self.runs.append(asyncio.create_task(block.run(status)))
            pid = await status.identifier
            family = self.world.family(block)
            self.streams.append(f"{family}/prefect/{pid.rsplit('/', 1)[-1]}")

    def block(self, name: str, **fields: Any) -> PinnedECSTask:
        block = self.world.block(stream_output=True, execution_role_arn=EXECUTION_ROLE, **fields)
        return block.copy(update={"name": name})

    def write(self, number: int, lines: Sequence[str], region: str = "us-east-1") -> None:
        """A container writes."""
        self.world.ecs._moto.put_lines(region, "prefect", self.streams[number], list(lines))

    async def end(self) -> list[int]:
        """The tasks end; the runs' status codes."""
        self.world.ecs.change(task_seconds=0.0)
        results = await asyncio.wait_for(asyncio.gather(*self.runs), 60)
        return [result.status_code for result in results]


def lines_of(text: str, name: str) -> list[str]:
    """The lines of one run, without the label that they have while there are others."""
    lines = [line.removeprefix(f"[{name}] ") for line in text.splitlines()]
    return [line for line in lines if line.startswith(f"{name} ")]


def expected(name: str, count: int) -> list[str]:
    return [f"{name} line {number} " + "x" * 60 for number in range(count)]


NAMES = [f"run-{number}" for number in range(5)]


@on_linux
async def test_a_pipe_that_nobody_reads_keeps_no_run(world: World, monkeypatch, log):
    """Five runs with three times what it holds: each ends, and a WARNING says what is missing."""
    monkeypatch.setattr(followed, "PRINT_SECONDS", 0.5)
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        streaming = Streaming(world)
        await streaming.start(NAMES)
        for number, name in enumerate(NAMES):
            streaming.write(number, expected(name, 500))
        assert await streaming.end() == [0] * 5
        warned = [m for m in messages(log, 30) if "lines of output were not printed" in m]
        assert len(warned) == 5
        threads = [t for t in threading.enumerate() if t.name == "pinned-ecs-print"]
        assert len(threads) == 1
        os.close(reading)
        await until(lambda: not printing.shared()._size)  # the thread has given up the rest


@on_linux
async def test_a_disk_that_is_full_for_a_while_costs_no_line(
    world: World, monkeypatch, log, tmp_path: Path
):
    """ENOSPC for ten seconds, while five runs end: they wait, and print each line once."""
    path = tmp_path / "stderr"
    streaming = Streaming(world)
    with open("/dev/full", "w") as stream, path.open("w") as room:  # noqa: PTH123, ASYNC230
        monkeypatch.setattr(sys, "stderr", stream)
        began = time.monotonic()
        await streaming.start(NAMES)
        for number, name in enumerate(NAMES):
            streaming.write(number, expected(name, 50))
        ending = asyncio.create_task(streaming.end())
        await asyncio.sleep(10 - (time.monotonic() - began))
        assert not ending.done()
        os.dup2(room.fileno(), stream.fileno())
        assert await ending == [0] * 5
        monkeypatch.undo()
    text = path.read_text()
    for name in NAMES:
        assert lines_of(text, name) == expected(name, 50)
    assert not [m for m in messages(log, 30) if "not printed" in m]


@pytest.mark.parametrize("how", ["nobody reads", "closed"])
async def test_a_stderr_that_is_gone_keeps_no_run(world: World, monkeypatch, log, how):
    """EPIPE, or a closed file, for every line."""
    monkeypatch.setattr(followed, "PRINT_SECONDS", 5.0)
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        os.close(reading)
        if how == "closed":
            stream.close()
        monkeypatch.setattr(sys, "stderr", stream)
        streaming = Streaming(world)
        await streaming.start(NAMES)
        for number, name in enumerate(NAMES):
            streaming.write(number, expected(name, 50))
        assert await streaming.end() == [0] * 5
        monkeypatch.undo()
    warned = [m for m in messages(log, 30) if "50 lines of output were not printed" in m]
    assert len(warned) == 5


async def test_a_sink_that_waits_for_ever_keeps_no_run(world: World, monkeypatch, log):
    """Somebody's own stderr, of which nothing is known."""
    monkeypatch.setattr(followed, "PRINT_SECONDS", 0.5)
    free = threading.Event()

    class Own:
        encoding = "utf-8"

        def write(self, text: str) -> None:
            free.wait(60)

        def flush(self) -> None:
            pass

    monkeypatch.setattr(sys, "stderr", Own())
    try:
        streaming = Streaming(world)
        await streaming.start(NAMES)
        for number, name in enumerate(NAMES):
            streaming.write(number, expected(name, 50))
        assert await streaming.end() == [0] * 5
    finally:
        free.set()
        await until(lambda: not printing.shared()._size)
    warned = [m for m in messages(log, 30) if "50 lines of output were not printed" in m]
    assert len(warned) == 5


async def test_a_log_group_of_another_region_is_read_there(world: World, capsys):
    """``awslogs-region`` need not be the task's."""
    streaming = Streaming(world)
    options = {"awslogs-region": "eu-west-1"}
    await streaming.start(["run"], configure_cloudwatch_logs=True, cloudwatch_logs_options=options)
    streaming.write(0, ["first line"], "eu-west-1")
    streaming.write(0, ["not this one"], "us-east-1")
    await until(lambda: world.calls("FilterLogEvents") > 1)
    streaming.write(0, ["last line"], "eu-west-1")
    assert await streaming.end() == [0]
    lines = [
        line for line in capsys.readouterr().err.splitlines() if line.endswith((" line", "one"))
    ]
    assert lines == ["first line", "last line"]


async def test_a_region_that_is_none_keeps_no_run(world: World, monkeypatch, log):
    """Its output cannot be read; the run itself is well."""
    monkeypatch.setattr(output, "TAIL_DEADLINE", 1.0)
    streaming = Streaming(world)
    options = {"awslogs-region": "no region"}
    await streaming.start(["run"], configure_cloudwatch_logs=True, cloudwatch_logs_options=options)
    assert await streaming.end() == [0]
    assert any("'no region' is not a Region" in m for m in messages(log, 30))


async def test_runs_that_stream_nothing_cost_no_thread(world: World):
    """It is there for output only."""
    before = {t.ident for t in threading.enumerate()}
    await world.run(world.block())
    new = [t.name for t in threading.enumerate() if t.ident not in before]
    assert "pinned-ecs-print" not in new
