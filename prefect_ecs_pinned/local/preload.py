"""The process that starts the processes of tasks: it forks, and Prefect is imported once.

A script of its own, run by `runner` with the number of a socket: importing Prefect takes some
seconds of CPU, a fork of an interpreter that has done so takes milliseconds. It has one thread,
so that forking is safe, and it ends, with all that it started, when the socket's other end does.

Messages are JSON, one a line. In: ``{"task", "argv", "environment", "directory"}`` with the
file descriptor for the output, or ``{"task", "signal"}``. Out: ``{"task", "exit_code"}``.
Processes that are forked so start further ones through `stand_in`, on a socket in a folder that
no other user may enter. In: ``{"argv", "environment", "directory"}`` with the file descriptors
0, 1 and 2, then numbers of signals; out: the exit code, negative for a signal.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shlex
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    import forked  # type: ignore[import-not-found] # it is next to this script, not a top-level module

    del sys.path[0], sys.modules["forked"]
else:
    from prefect_ecs_pinned.local import forked

#: Bytes read per call from a socket, and file descriptors with them.
READ_BYTES = 64 * 1024
_READ_DESCRIPTORS = 64

#: The variable by which further processes of a task are known.
_TASK = "PINNED_ECS_LOCAL_TASK"


@dataclass(eq=False)
class _Peer:
    """One end of a socket that commands come from.

    Attributes:
        socket: The socket.
        rest: What of a line has come.
        descriptors: File descriptors that have come, in their order.
        pid: Of the process that was forked for a stand-in.
    """

    socket: socket.socket
    rest: bytes = b""
    descriptors: list[int] = field(default_factory=list)
    pid: int | None = None

    def lines(self) -> list[bytes] | None:
        """The lines that have come; None when there will be no more."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.socket, READ_BYTES, _READ_DESCRIPTORS)
        except ConnectionError:
            return None
        self.descriptors += descriptors
        *lines, self.rest = (self.rest + data).split(b"\n")
        return lines if data else None

    def take(self, number: int) -> list[int]:
        """The first of the descriptors that have come."""
        taken, self.descriptors = self.descriptors[:number], self.descriptors[number:]
        return taken


class Spawner:
    """Starts processes and reports their ends.

    Args:
        channel: To the process that has tasks to run.
        folder: For the socket of `stand_in`.
    """

    def __init__(self, channel: socket.socket, folder: Path) -> None:
        self._channel = _Peer(channel)
        self._tasks: dict[int, str] = {}  # processes of tasks, by process ID
        self._further: dict[int, tuple[str, _Peer]] = {}  # what those have started
        self._wakeup, wakeup_writer = os.pipe()
        os.set_blocking(wakeup_writer, False)
        signal.set_wakeup_fd(wakeup_writer)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "socket"))
        self._listener.listen(128)
        self._interpreter = _write_stand_in(folder)
        self._selector = selectors.DefaultSelector()
        self._watch(self._wakeup, self._reap)
        self._watch(self._listener, self._accept)

    def _watch(self, source: int | socket.socket, do: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, do)

    def serve(self) -> None:
        """Execute orders until the other end of the channel is closed."""
        self._watch(self._channel.socket, lambda: None)
        with contextlib.suppress(ConnectionError):  # closed while something was under way
            while self._work():
                pass
        for pid in [*self._tasks, *self._further]:
            _signal_group(pid, signal.SIGKILL)

    def _work(self) -> bool:
        """Wait for a message or the end of a process; False when there will be no more."""
        for key, _ in self._selector.select():
            if key.fileobj is self._channel.socket:
                lines = self._channel.lines()
                if lines is None:
                    return False
                for line in lines:
                    self._obey(json.loads(line))
            else:
                key.data()
        return True

    def _obey(self, message: dict[str, Any]) -> None:
        if "signal" in message:
            for pid, task in self._tasks.items():
                if task == message["task"]:
                    _signal_group(pid, message["signal"])
            return
        (output,) = self._channel.take(1)
        pid = self._fork(message, [os.open(os.devnull, os.O_RDONLY), output, output])
        self._tasks[pid] = message["task"]

    def _fork(self, message: dict[str, Any], descriptors: list[int]) -> int:
        """Fork a process with these as its descriptors 0, 1, 2, which are closed here."""
        program = forked.program_of(message["argv"])
        if program is not None:
            forked.import_prefect()
        pid = os.fork()
        if pid == 0:
            if program is not None and (task := message.get("task")):
                message["environment"][_TASK] = task
            sys.executable = self._interpreter
            forked.become(message, descriptors, program)
        for descriptor in set(descriptors):
            os.close(descriptor)
        return pid

    def _accept(self) -> None:
        peer = _Peer(self._listener.accept()[0])
        self._watch(peer.socket, lambda: self._serve_stand_in(peer))

    def _serve_stand_in(self, peer: _Peer) -> None:
        lines = peer.lines()
        if lines is None:  # it was killed; what it means goes with it
            self._forget(peer)
            if peer.pid in self._further:
                _signal_group(peer.pid, signal.SIGKILL)
            return
        for line in lines:
            if peer.pid is None:
                message = json.loads(line)
                peer.pid = self._fork(message, peer.take(3))
                self._further[peer.pid] = (message["environment"].get(_TASK, ""), peer)
            elif peer.pid in self._further:
                _signal_group(peer.pid, int(line))

    def _forget(self, peer: _Peer) -> None:
        if peer.socket.fileno() >= 0:
            self._selector.unregister(peer.socket)
            peer.socket.close()
        for descriptor in peer.take(len(peer.descriptors)):
            os.close(descriptor)

    def _reap(self) -> None:
        os.read(self._wakeup, 4096)
        while self._tasks or self._further:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid in self._further:
                _, peer = self._further.pop(pid)
                with contextlib.suppress(OSError):  # it has been killed
                    peer.socket.sendall(str(code).encode())
                self._forget(peer)
            else:
                self._end_task(self._tasks.pop(pid), code)

    def _end_task(self, task: str, code: int) -> None:
        """Report a task's end, and end what it has left behind, as the end of a container does."""
        for pid, (owner, _) in self._further.items():
            if owner == task:
                _signal_group(pid, signal.SIGKILL)
        # As a shell and Docker report it: 128 and the number of the signal.
        answer = {"task": task, "exit_code": code if code >= 0 else 128 - code}
        self._channel.socket.sendall(json.dumps(answer).encode() + b"\n")


def _write_stand_in(folder: Path) -> str:
    """Write the program that forked processes take for their interpreter; its path."""
    path = folder / "python"
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("stand_in.py"))]
    path.write_text(f'#!/bin/sh\nexec {shlex.join([*command, str(folder / "socket")])} "$@"\n')
    path.chmod(0o700)
    return str(path)


def _signal_group(pid: int, number: int) -> None:
    """Signal a process and its children; one that was forked just now has no group yet."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the holder of the channel
    # Only this user may enter. No TemporaryDirectory: the first fork that ended would remove it,
    # since a fork runs the exit functions that it has got from here.
    folder = Path(tempfile.mkdtemp(prefix="pinned-ecs-"))
    try:
        Spawner(socket.socket(fileno=int(sys.argv[1])), folder).serve()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
