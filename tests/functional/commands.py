"""`prefect` commands as forks of a process that has imported Prefect once.

Importing Prefect, and AWS's service models, takes some seconds of CPU; four agents and workers
would take them four times. What runs in a fork is the command itself: the command line is parsed,
and settings are read from its environment, as `prefect` does. Orders are lines of JSON on stdin::

    {"argv": ["agent", "start", ...], "environment": {...}, "log": "/path", "wait": false}

Instead of a command, ``argv`` may begin with the path of a script. The answer is the process's id,
or, where it is waited for, its exit code. The host ends, with all that it has started, on SIGTERM
and when stdin is closed.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

#: Seconds that commands are given to end by themselves.
END_SECONDS = 8.0


class Commands:
    """The host process, as seen from outside."""

    def __init__(self, home: Path, flows: Path, environment: Mapping[str, str]) -> None:
        self._home = home
        with (home / "commands.log").open("wb") as log:
            self.host = subprocess.Popen(
                [sys.executable, "-m", "tests.functional.commands"],
                env={**os.environ, "PYTHONPATH": _python_path(), **environment},
                cwd=flows,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    def start(self, name: str, argv: Sequence[str], settings: Mapping[str, str]) -> int:
        """Start a command in a group of its own; its process id. Output goes to ``name.log``."""
        return self._ask(name, argv, settings, wait=False)

    def run(self, name: str, argv: Sequence[str]) -> None:
        """Run a command to its end, which has to be a good one."""
        code = self._ask(name, argv, {}, wait=True)
        assert code == 0, (self._home / f"{name}.log").read_text()

    def _ask(self, name: str, argv: Sequence[str], settings: Mapping[str, str], wait: bool) -> int:
        order = {
            "argv": list(argv),
            "environment": dict(settings),
            "log": str(self._home / f"{name}.log"),
            "wait": wait,
        }
        assert self.host.stdin is not None
        assert self.host.stdout is not None
        self.host.stdin.write(json.dumps(order).encode() + b"\n")
        self.host.stdin.flush()
        answer = self.host.stdout.readline()
        assert answer, (self._home / "commands.log").read_text()
        return int(answer)

    def close(self) -> None:
        """End all that was started."""
        self.host.terminate()
        self.host.wait()
        for stream in (self.host.stdin, self.host.stdout):
            if stream is not None:
                stream.close()


def _python_path() -> str:
    """This checkout first: the commands run in the folder of the flow."""
    rest = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(Path(__file__).parents[2]), *([rest] if rest else [])])


def _import() -> None:
    import boto3
    import prefect.cli
    import prefect.plugins

    import prefect_ecs_pinned.block
    from prefect_ecs_pinned.aws.calls.models import share_models

    assert prefect.cli.app  # type: ignore[attr-defined]
    assert prefect_ecs_pinned.block.PinnedECSTask  # type: ignore[truthy-function]
    prefect.plugins.load_prefect_collections()
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local")
    share_models(session)
    for service in ("ecs", "ec2"):
        session.client(service, "us-east-1")
    gc.collect()
    gc.freeze()  # what has been imported stays shared between the forks


def _become(order: Mapping[str, Any]) -> NoReturn:
    """In the child: run the command."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        output = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.environ.update(order["environment"])
        code = _run(order["argv"])
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is shown or counted
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _run(argv: list[str]) -> int:
    import prefect.context
    from prefect.cli import app  # type: ignore[attr-defined]

    # Settings were read from the environment of the parent.
    prefect.context.GLOBAL_SETTINGS_CONTEXT = prefect.context.root_settings_context()
    script = argv[0].endswith(".py")
    sys.argv = argv if script else ["prefect", *argv]
    try:
        if script:
            runpy.run_path(argv[0], run_name="__main__")
        else:
            app(args=argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _end(pids: Sequence[int]) -> NoReturn:
    """End what was started: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)
        deadline = time.monotonic() + END_SECONDS
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < deadline:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.02)
    os._exit(0)


def _host() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed by the way is no answer
    _import()
    pids: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: _end(pids))
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
        if order["wait"]:
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=answers, flush=True)
        else:
            pids.append(pid)
            print(pid, file=answers, flush=True)
    _end(pids)


if __name__ == "__main__":
    _host()
