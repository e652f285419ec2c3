"""Processes for tasks: each has a directory and a process group; a limited number, in order.

The processes are children of one other process (`preload`), which forks them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prefect_ecs_pinned.local import preload

#: Bytes read per call of a process's output.
_READ_BYTES = 65536

#: Seconds for the processes to go when the runner is closed.
_CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class Command:
    """What to run.

    Attributes:
        task_id: Whose process it is.
        argv: Program and arguments; a program without a slash is looked up in ``PATH``.
        environment: All of its variables; ``PATH`` and homes are added when they are missing.
    """

    task_id: str
    argv: Sequence[str]
    environment: Mapping[str, str]


@dataclass(eq=False)
class _Process:
    command: Command
    started: Callable[[], None]
    ended: Callable[[int | None, str], None]
    directory: Path
    output: int = -1
    rest: bytes = b""
    killing: asyncio.TimerHandle | None = field(default=None, repr=False)


class Runner:
    """Runs commands; lives on an event loop, all of its fields with it.

    Args:
        max_processes: How many run at the same time; the others wait, first in, first out.
        home: Folder for the processes' directories; each is removed when its process has ended.
        output: Is handed every line that a process prints: task ID, line.
    """

    def __init__(self, max_processes: int, home: Path, output: Callable[[str, str], None]) -> None:
        self._max = max_processes
        self._home = home
        self._output = output
        self._waiting: dict[str, _Process] = {}
        self._running: dict[str, _Process] = {}
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._spawner: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._rest = b""

    def submit(
        self,
        command: Command,
        started: Callable[[], None],
        ended: Callable[[int | None, str], None],
    ) -> None:
        """Run a command when there is room.

        Args:
            command: What to run.
            started: Called when its process has been started.
            ended: Called once with its exit code, 128 + n after signal n; or with None and the
                reason why it was never started.
        """
        directory = self._home / command.task_id
        self._waiting[command.task_id] = _Process(command, started, ended, directory)
        self._fill()

    def stop(self, task_id: str, grace_seconds: float) -> None:
        """Send SIGTERM to a process and its children, and SIGKILL after a while.

        A command that waits is never started.
        """
        if waiting := self._waiting.pop(task_id, None):
            waiting.ended(None, "stopped before it was started")
        elif (process := self._running.get(task_id)) and process.killing is None:
            self._signal(task_id, signal.SIGTERM)
            process.killing = self._loop.call_later(
                grace_seconds, self._signal, task_id, signal.SIGKILL
            )

    async def close(self) -> None:
        """Kill every process, and start none any more."""
        self._waiting.clear()
        for task_id in list(self._running):
            self._signal(task_id, signal.SIGKILL)
        if self._running:
            self._idle.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._idle.wait(), _CLOSE_SECONDS)
        if self._channel is not None and self._spawner is not None:
            self._loop.remove_reader(self._channel)
            self._channel.close()
            self._channel = None
            await asyncio.to_thread(self._spawner.wait)

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._max:
            task_id = next(iter(self._waiting))
            self._start(self._waiting.pop(task_id))

    def _start(self, process: _Process) -> None:
        command = process.command
        process.directory.mkdir(parents=True)
        process.output, theirs = os.pipe()
        message = {
            "task": command.task_id,
            "argv": list(command.argv),
            "environment": _environment(command.environment, process.directory),
            "directory": str(process.directory),
        }
        try:
            socket.send_fds(self._open(), [_line(message)], [theirs])
        except OSError as error:
            os.close(process.output)
            process.ended(None, f"CannotStartContainerError: {error}")
            return
        finally:
            os.close(theirs)
        os.set_blocking(process.output, False)
        self._running[command.task_id] = process
        self._loop.add_reader(process.output, self._read, process)
        process.started()

    def _signal(self, task_id: str, number: int) -> None:
        if self._channel is not None and task_id in self._running:
            self._channel.sendall(_line({"task": task_id, "signal": int(number)}))

    def _open(self) -> socket.socket:
        """The channel to the spawner, which is started for the first command."""
        if self._channel is None:
            ours, theirs = socket.socketpair()
            with theirs:
                self._spawner = subprocess.Popen(
                    [sys.executable, preload.__file__, str(theirs.fileno())],
                    env=_environment({}, self._home),
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            self._channel = ours
            self._loop.add_reader(ours, self._hear)
        return self._channel

    def _hear(self) -> None:
        """A process has ended; or the spawner has, and all processes with it."""
        assert self._channel is not None
        data = self._channel.recv(preload.READ_BYTES)
        if data:
            *lines, self._rest = (self._rest + data).split(b"\n")
            for message in map(json.loads, lines):
                self._end(message["task"], message["exit_code"])
            return
        self._loop.remove_reader(self._channel)
        self._channel.close()
        self._channel = None
        for task_id in list(self._running):
            self._end(task_id, 128 + signal.SIGKILL)

    def _end(self, task_id: str, exit_code: int) -> None:
        process = self._running.pop(task_id)
        while self._read(process):
            pass
        self._loop.remove_reader(process.output)
        os.close(process.output)
        if process.rest:
            self._output(task_id, process.rest.decode(errors="replace"))
        if process.killing is not None:
            process.killing.cancel()
        shutil.rmtree(process.directory, ignore_errors=True)
        process.ended(exit_code, "")
        if not self._running:
            self._idle.set()
        self._fill()

    def _read(self, process: _Process) -> bool:
        """Hand on what a process has printed; whether there may be more already."""
        try:
            data = os.read(process.output, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:  # the process has closed its output; its end is reported by the spawner
            self._loop.remove_reader(process.output)
            return False
        *lines, process.rest = (process.rest + data).split(b"\n")
        for line in lines:
            self._output(process.command.task_id, line.decode(errors="replace").rstrip("\r"))
        return True


def _line(message: Mapping[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _environment(variables: Mapping[str, str], directory: Path) -> dict[str, str]:
    """A process's variables: the machine's programs, and homes of its own."""
    here = str(Path(sys.executable).parent)
    return {
        "PATH": os.pathsep.join((here, os.environ.get("PATH", os.defpath))),
        "HOME": str(directory),
        "PREFECT_HOME": str(directory / ".prefect"),
        **variables,
    }
