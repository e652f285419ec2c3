"""Writing to stderr: it waits where there is no room, and never holds up who else logs there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from prefect_ecs_pinned.aws.output import stderr
from prefect_ecs_pinned.aws.output.stderr import write_line

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's pipes or /dev/full")


class Pipe:
    """stderr as a pipe that is read when the test says so."""

    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        self.stream = os.fdopen(writing, "w", encoding="utf-8")

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += os.read(self.reading, size - len(data))
        return data


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Made stderr by the test itself: pytest sets its own between fixtures and test."""
    pipe = Pipe()
    yield pipe
    os.close(pipe.reading)
    pipe.stream.close()


class Full(Exception):
    """Raised instead of a pause."""


def no_pause(_: float) -> None:
    raise Full


def fill() -> None:
    """Write lines for as long as there is room."""
    with contextlib.suppress(Full):
        while True:
            write_line("line", no_pause)


@on_linux
def test_a_pipe_that_nobody_reads_keeps_room_for_others(pipe, monkeypatch):
    """Half of it: a logger on the event loop would wait for the reader, and all runs with it."""
    monkeypatch.setattr(sys, "stderr", pipe.stream)
    fill()
    others = pipe.stream.fileno()
    os.set_blocking(others, False)
    capacity = fcntl.fcntl(others, fcntl.F_GETPIPE_SZ)
    assert os.write(others, b"x" * (capacity // 2 - 4096)) == capacity // 2 - 4096


def test_what_a_slow_reader_gets_is_complete_and_in_order(pipe, monkeypatch):
    """Lines longer than the pipe, too."""
    monkeypatch.setattr(sys, "stderr", pipe.stream)
    lines = [f"{number} " + "x" * (number * 997 % 200_000) for number in range(50)]
    expected = "".join(f"{line}\n" for line in lines).encode()
    writer = threading.Thread(target=lambda: [write_line(line) for line in lines])  # type: ignore[func-returns-value]
    writer.start()
    assert pipe.read(len(expected)) == expected
    writer.join(10)
    assert not writer.is_alive()


def test_a_pipe_without_a_reader_raises_though_it_is_full(pipe, monkeypatch):
    """Nobody will ever make room."""
    monkeypatch.setattr(sys, "stderr", pipe.stream)
    fill()
    reading, pipe.reading = pipe.reading, os.open(os.devnull, os.O_RDONLY)
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        write_line("line", no_pause)


def test_a_closed_stderr_raises(monkeypatch):
    """As `print` would."""
    with open(os.devnull, "w") as stream:  # noqa: PTH123
        monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(ValueError, match="closed file"):
        write_line("line", no_pause)


def test_a_process_without_stderr_prints_nothing(monkeypatch, capsys):
    """`print` would take stdout."""
    monkeypatch.setattr(sys, "stderr", None)
    write_line("line", no_pause)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("plain", [True, False])
def test_characters_that_the_encoding_lacks_are_escaped(monkeypatch, tmp_path, plain):
    """Surrogates, and an agent whose stderr is ASCII."""
    path = tmp_path / "stderr"
    kind: Any = io.TextIOWrapper if plain else type("Own", (io.TextIOWrapper,), {})
    with path.open("wb") as raw, kind(raw, encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        write_line("ä \udc80 x", no_pause)
        assert path.read_text() == "\\xe4 \\udc80 x\n"


def test_a_stream_of_somebodys_own_is_written_to_as_it_likes(monkeypatch):
    """Notebooks and captures have streams without a descriptor, or with another's."""

    class Own(io.StringIO):
        def fileno(self) -> int:
            return 2

    own = Own()
    monkeypatch.setattr(sys, "stderr", own)
    write_line("line", no_pause)
    assert own.getvalue() == "line\n"


@pytest.fixture
def full() -> Iterator[TextIO]:
    """A disk that is full."""
    with open("/dev/full", "w") as stream:  # noqa: PTH123
        yield stream


@on_linux
def test_a_full_disk_is_waited_for_and_nothing_is_written_twice(full, monkeypatch, tmp_path: Path):
    """Pauses grow; then the line is there once."""
    monkeypatch.setattr(sys, "stderr", full)
    pauses: list[float] = []
    path = tmp_path / "stderr"
    with path.open("wb") as room:

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 12:
                os.dup2(room.fileno(), full.fileno())

        write_line("line", pause)
        write_line("next", no_pause)
    assert path.read_text() == "line\nnext\n"
    assert pauses == sorted(pauses)
    assert pauses[0] == stderr.FIRST_PAUSE
    assert pauses[-1] == stderr.LONGEST_PAUSE


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.EINTR])
def test_what_was_taken_in_part_is_continued(monkeypatch, tmp_path: Path, number):
    """The descriptor takes some bytes, then none for a while."""
    taken, turn = b"", [0]

    def write(_: int, data: bytes) -> int:
        nonlocal taken
        turn[0] += 1
        if turn[0] % 2:
            raise OSError(number, os.strerror(number))
        taken += data[:7]
        return len(data[:7])

    with (tmp_path / "stderr").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(stderr, "write", write)
        write_line("a line of many characters", lambda _: None)
    assert taken == b"a line of many characters\n"


def test_other_errors_are_raised(monkeypatch, tmp_path: Path):
    """A disk that is gone is not waited for."""

    def write(_: int, data: bytes) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with (tmp_path / "stderr").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(stderr, "write", write)
        with pytest.raises(OSError, match="Input/output error"):
            write_line("line", no_pause)


CHILD = """
import subprocess
import sys
from prefect_ecs_pinned.aws.output import printing
from prefect_ecs_pinned.aws.output.stderr import write_line
channel = printing.shared().channel(lambda line, _: write_line(line))
for number in range(20_000):
    channel.put(f"line {number}", False)
print("done", flush=True)
"""


def test_a_process_ends_although_nobody_reads_its_stderr():
    """The thread holds no lock that Python needs at its end."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.read() == b"done\n"
        assert child.wait(30) == 0
