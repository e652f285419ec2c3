"""No command is silent for long, and each can be interrupted while it waits."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_ecs_pinned import PinnedECSTask, activity
from prefect_ecs_pinned.cli import console, main, waiting
from tests.operations.fixtures import credentials

#: Commands that call AWS, and those that only call Prefect.
WITH_AWS = {
    "plan": ("plan", "etl"),
    "pin": ("pin", "etl"),
    "show": ("show", "etl"),
    "prune": ("prune", "etl", "--keep", "1"),
    "doctor": ("doctor", "etl"),
    "reconcile": ("reconcile", "etl"),
    "iam": ("iam", "etl"),
}
WITH_PREFECT = {**WITH_AWS, "migrate": ("migrate", "ecs-task/etl")}


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for is said after a fraction of the usual time."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(waiting, "SILENCE_SECONDS", 0.3)


@contextmanager
def interrupted_when(started: threading.Event) -> Iterator[None]:
    """Ctrl-C, as soon as the command has said that it waits for something that is silent."""

    def interrupt() -> None:
        started.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    yield
    thread.join(30)


def _said_when(monkeypatch: pytest.MonkeyPatch, fragment: str) -> threading.Event:
    """Set when a line with a fragment is said."""
    said = threading.Event()
    say = console.say

    def watched(text: str, style: str = "") -> None:
        say(text, style)
        if fragment in text:
            said.set()

    monkeypatch.setattr(console, "say", watched)
    return said


@pytest.mark.parametrize("command", WITH_AWS)
def test_a_silent_aws_is_said_and_can_be_interrupted(
    prefect, soon, silent, capfd, monkeypatch, command
):
    """With the action and the address; exit code 130, no traceback, within 3 s."""
    PinnedECSTask(aws_credentials=credentials(silent), image="flows:1").save("etl", overwrite=True)
    capfd.readouterr()
    said = _said_when(monkeypatch, f"at {silent}")
    with interrupted_when(said):
        code = main(WITH_AWS[command])
        ended = time.monotonic()
    assert time.monotonic() - ended < 3
    out, err = capfd.readouterr()
    assert (code, out) == (console.INTERRUPTED, "")
    waited = [line for line in err.splitlines() if line.startswith("waiting for AWS: ")]
    assert re.match(rf"waiting for AWS: \w+:\w+ at {silent} \(\d+ s\)", waited[0])
    assert err.splitlines()[-1].startswith("interrupted: changes made so far stay")
    assert "Traceback" not in err


@pytest.mark.parametrize("command", WITH_PREFECT)
def test_a_silent_prefect_is_said_and_can_be_interrupted(soon, silent, capfd, monkeypatch, command):
    """The same for the Prefect API."""
    said = _said_when(monkeypatch, silent)
    url = f"{silent}/api"
    with temporary_settings({PREFECT_API_URL: url}), interrupted_when(said):
        code = main(WITH_PREFECT[command])
    out, err = capfd.readouterr()
    assert (code, out) == (console.INTERRUPTED, "")
    assert f"waiting for the Prefect API at {url} (" in err
    assert "Traceback" not in err


def test_a_command_of_the_shell_says_it_within_three_seconds(silent, tmp_path):
    """From the start of the process, while Prefect is imported too; never silent for longer."""
    environment = {
        **os.environ,
        "PREFECT_API_URL": f"{silent}/api",
        "PREFECT_HOME": str(tmp_path),
        "NO_COLOR": "1",
    }
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect_ecs_pinned", "plan", "etl"],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    lines: list[Any] = []
    times = [began]
    try:
        while "the Prefect API" not in "".join(lines):
            lines.append(process.stderr.readline())
            times.append(time.monotonic())
            assert lines[-1], "it ended"
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(30) == console.INTERRUPTED
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in rest
    assert lines[0].startswith("waiting for ")
    pauses = [after - before for before, after in pairwise(times)]
    assert max(pauses) < 3.0 + 3.0  # what a busy machine adds to 2 s


def test_the_newest_that_is_waited_for_is_said():
    """Calls end in any order; when none is left, the last one is what it was about."""
    with activity.waiting_for("the first"):
        with activity.waiting_for("the second"):
            assert activity.current() == "the second"
        assert activity.current() == "the first"
    assert activity.current() == "the second"


class Minute(threading.Event):
    """A minute of virtual time, and the event that is set at its end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.now = time.monotonic()
        self._end = self.now + 60.0
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr(console, "_spoke_at", self.now)
        for module in (waiting, console):
            monkeypatch.setattr(module, "time", self)

    def monotonic(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return self.now > self._end


def test_who_prints_is_not_interrupted(capfd, monkeypatch):
    """A line every now and then is enough; a command that reports by itself is unchanged."""
    minute = Minute(monkeypatch)
    with console.reporting():
        waiting._report(minute)
    assert capfd.readouterr().err == ""


def test_it_is_said_again_however_long_it_takes(capfd, monkeypatch):
    """Every 2 s, for a minute."""
    minute = Minute(monkeypatch)
    with activity.waiting_for("a long time"):
        waiting._report(minute)
    times = re.findall(r"^waiting for a long time \((\d+) s\)$", capfd.readouterr().err, re.M)
    assert times == [*map(str, range(2, 62, 2))]


@pytest.mark.parametrize("quiet", [False, True])
def test_local_says_what_it_does(tmp_path, quiet):
    """Into a pipe, at once: the exports on stdout, address and tasks on stderr.

    Whatever is configured for clients of AWS.
    """
    arguments = ["local", "--port", "0", "--no-execute", "--task-seconds", "0.2"]
    if quiet:
        arguments.append("--quiet")
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect_ecs_pinned", *arguments],
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, "NO_COLOR": "1", "AWS_PROFILE": "missing"},
        )
        try:
            _until(lambda: "Ctrl-C" in err.read_text())
            exports = dict(
                line.removeprefix("export ").split("=", 1)
                for line in out.read_text().split("\n")
                if line
            )
            _run_a_task({name: value.strip("'") for name, value in exports.items()})
            if not quiet:
                _until(lambda: " ended: " in err.read_text())
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
    lines = [line for line in err.read_text().splitlines() if not line.startswith("waiting")]
    assert lines[0].startswith(f"listening on {exports['AWS_ENDPOINT_URL']}")
    tasks = [line for line in lines if line.startswith("task ")]
    assert len(tasks) == (0 if quiet else 2)
    if tasks:
        assert re.fullmatch(r"task \w{32} started: hello:1 in cluster default", tasks[0])
        assert re.fullmatch(r"task \w{32} ended: exit code 0", tasks[1])


def test_a_port_that_is_in_use_is_an_error_with_a_hint(silent, capfd):
    """Where another one serves already."""
    assert main(["local", "--port", silent.rpartition(":")[2], "--no-execute"]) == console.FAILED
    err = capfd.readouterr().err
    assert "Address already in use" in err
    assert "hint: stop the other `pinned-ecs local`, or give another --port" in err


def _run_a_task(exports: dict[str, str]) -> None:
    import boto3

    client = boto3.client(
        "ecs",
        endpoint_url=exports["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=exports["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key="local",
    )
    client.register_task_definition(
        family="hello", containerDefinitions=[{"name": "c", "image": "i", "memory": 64}]
    )
    client.run_task(taskDefinition="hello", launchType="EC2")


def _until(happened: object) -> None:
    end = time.monotonic() + 60
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_tasks_of_an_embedded_ecs_are_followed_by_its_clock():
    """Started, ended, stopped, failed: a line each, once."""
    from prefect_ecs_pinned.local import EmbeddedECS, Phases, Settings
    from prefect_ecs_pinned.local.reporting import TaskLines

    now = [0.0]
    settings = Settings(task_seconds=10, phases=Phases(0, 0, 0, 0, 0, 0), quota_scale=None)
    model = EmbeddedECS(settings, now=lambda: now[0])
    lines: list[str] = []
    follow = TaskLines(model, lines.append)
    container = {"name": "c", "image": "i", "memory": 64}
    model.call("RegisterTaskDefinition", {"family": "f", "containerDefinitions": [container]})
    model.start_failures.append(("TaskFailedToStart", "CannotPullContainerError: no"))
    run = {"taskDefinition": "f", "launchType": "EC2"}
    arns = [model.call("RunTask", run)["tasks"][0]["taskArn"] for _ in range(3)]
    follow.look()
    follow.look()
    model.call("StopTask", {"task": arns[1], "reason": "enough"})
    now[0] = 5.0
    follow.look()
    now[0] = 60.0
    follow.look()
    follow.look()
    ids = [arn.rsplit("/", 1)[-1] for arn in arns]
    started = [f"task {id_} started: f:1 in cluster default" for id_ in ids]
    assert sorted(lines) == sorted(
        [
            *started,
            f"task {ids[0]} ended: TaskFailedToStart: CannotPullContainerError: no",
            f"task {ids[1]} ended: stopped (enough), exit code 137",
            f"task {ids[2]} ended: exit code 0",
        ]
    )


def test_the_page_of_commands_is_complete():
    """Each command is either here, or calls neither AWS nor Prefect before it reports."""
    from prefect_ecs_pinned.cli import COMMANDS

    own = {"local", "demo"}
    assert {command.__name__ for command in COMMANDS} == {*WITH_PREFECT, *own}
