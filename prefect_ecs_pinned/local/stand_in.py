"""What a forked task takes for its interpreter: it has the spawner fork, instead of starting again.

A script of its own. Prefect's own processes start further ones, with ``sys.executable -m
prefect...``: `prefect flow-run execute` starts a supervisor, which becomes the engine. Each would
import Prefect again, for some seconds of CPU. So `preload` gives its forks this script as
``sys.executable``: it hands the command over, forwards signals, and ends as the fork ends. What is
not a module of Prefect is executed by the interpreter itself.

Usage: python stand_in.py SOCKET [ARGUMENT ...]; SOCKET is the spawner's.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys


def main(path: str, arguments: list[str]) -> int:
    """Run a command through the spawner; the exit code."""
    if arguments[:1] != ["-m"] or not "".join(arguments[1:2]).startswith("prefect."):
        os.execv(sys.executable, [sys.executable, *arguments])
    channel = socket.socket(socket.AF_UNIX)
    try:
        channel.connect(path)
    except OSError:  # the spawner has ended
        os.execv(sys.executable, [sys.executable, *arguments])
    message = {
        "argv": ["python", *arguments],
        "environment": dict(os.environ),
        "directory": os.getcwd(),  # noqa: PTH109 - pathlib takes longer than all of this
    }
    data = json.dumps(message).encode() + b"\n"
    sent = socket.send_fds(channel, [data], [0, 1, 2])
    channel.sendall(data[sent:])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: channel.sendall(b"%d\n" % number))
    answer = b""
    while more := channel.recv(64):
        answer += more
    code = int(answer or b"-9")  # the spawner has ended, and its forks with it
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
