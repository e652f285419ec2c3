"""The process that starts the processes of tasks: it forks, and Prefect is imported once.

A script of its own, run by `runner` with the number of a socket: importing Prefect takes some
seconds of CPU, a fork of an interpreter that has done so takes milliseconds. It has one thread,
so that forking is safe, and it ends, with all that it started, when the socket's other end does.

Messages are JSON, one a line. In: ``{"task", "argv", "environment", "directory"}`` with the
file descriptor for the output, or ``{"task", "signal"}``. Out: ``{"task", "exit_code"}``.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

#: Bytes read at once from the channel, and file descriptors with them.
READ_BYTES = 64 * 1024
_READ_DESCRIPTORS = 64

#: The module that is forked instead of started.
ENGINE = "prefect.engine"

_PR_SET_PDEATHSIG = 1


class Spawner:
    """Starts processes and reports their ends."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._tasks: dict[int, str] = {}
        self._rest = b""
        self._outputs: list[int] = []
        self._wakeup, wakeup_writer = os.pipe()
        os.set_blocking(wakeup_writer, False)
        signal.set_wakeup_fd(wakeup_writer)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Do as told until the other end of the channel is closed."""
        with contextlib.suppress(ConnectionError):  # closed while something was under way
            while self._work():
                pass
        for pid in self._tasks:
            _signal_group(pid, signal.SIGKILL)

    def _work(self) -> bool:
        """Wait for a message or the end of a process; False when there will be no more."""
        readable, _, _ = select.select([self._channel.fileno(), self._wakeup], [], [])
        if self._wakeup in readable:
            os.read(self._wakeup, 4096)
            self._reap()
        return self._channel.fileno() not in readable or self._hear()

    def _hear(self) -> bool:
        """Do what has been asked for; False when there will be no more."""
        data, outputs, _, _ = socket.recv_fds(self._channel, READ_BYTES, _READ_DESCRIPTORS)
        self._outputs += outputs  # one for each command, in their order
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return bool(data)

    def _obey(self, message: dict[str, Any]) -> None:
        if "signal" in message:
            for pid, task in self._tasks.items():
                if task == message["task"]:
                    _signal_group(pid, message["signal"])
            return
        engine = _is_engine(message["argv"])
        if engine:
            _import_prefect()
        output = self._outputs.pop(0)
        pid = os.fork()
        if pid == 0:
            _become(message, output, engine)
        os.close(output)
        self._tasks[pid] = message["task"]

    def _reap(self) -> None:
        while self._tasks:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            # As a shell and Docker report it: 128 and the number of the signal.
            answer = {"task": self._tasks.pop(pid), "exit_code": code if code >= 0 else 128 - code}
            self._channel.sendall(json.dumps(answer).encode() + b"\n")


def _is_engine(argv: list[str]) -> bool:
    return Path(argv[0]).name.startswith("python") and argv[1:] == ["-m", ENGINE]


def _import_prefect() -> None:
    if ENGINE in sys.modules:
        return
    import prefect.engine
    import prefect.plugins

    prefect.plugins.load_prefect_collections()
    gc.collect()
    gc.freeze()  # what has been imported stays shared between the forks


def _become(message: dict[str, Any], output: int, engine: bool) -> NoReturn:
    """In the child: be the task's process."""
    code = 1
    try:
        _settle_in(message, output)
        if not engine:
            os.execvpe(message["argv"][0], message["argv"], message["environment"])
        code = _run_engine(message["argv"])
    except OSError as error:
        sys.stderr.write(f"{message['argv'][0]}: {error.strerror}\n")
        code = 127
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _settle_in(message: dict[str, Any], output: int) -> None:
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.closerange(3, 256)
    os.chdir(message["directory"])
    os.environ.clear()
    os.environ.update(message["environment"])


def _run_engine(argv: list[str]) -> int:
    """What ``python -m prefect.engine`` does, to a normal end of the interpreter."""
    import prefect.context

    sys.argv = [argv[0]]
    sys.path.insert(0, str(Path.cwd()))
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    # Settings were read from the environment of the parent.
    prefect.context.GLOBAL_SETTINGS_CONTEXT = (
        prefect.context.root_settings_context()  # type: ignore[no-untyped-call]
    )
    sys.modules.pop(ENGINE)
    code = 0
    try:
        runpy.run_module(ENGINE, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    return code


def _signal_group(pid: int, number: int) -> None:
    """Signal a process and its children; one that was forked just now has no group yet."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


if __name__ == "__main__":
    sys.path.pop(0)  # this script's folder: its neighbours are no top-level modules
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever holds the channel
    Spawner(socket.socket(fileno=int(sys.argv[1]))).serve()
