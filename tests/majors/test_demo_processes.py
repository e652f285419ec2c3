"""The processes of a demo end one after the other, and none is left when somebody is impatient."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from prefect_ecs_pinned.operations.demo.stage import Stage

#: Writes a line when it has started, and ends on SIGTERM if its argument says so.
PROCESS = """
import signal, sys, time
def end(*_):
    print("asked", flush=True)
    if sys.argv[1] == "obeys":
        sys.exit()
    if sys.argv[1] == "asks":  # an agent, which needs its server for a while
        time.sleep(0.2)
        print("alone" if "asked" in open(sys.argv[2]).read() else "answered", flush=True)
        sys.exit()
signal.signal(signal.SIGTERM, end)
print("started", flush=True)
while True:
    time.sleep(0.01)
"""


def start(stage: Stage, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    process = stage.start(name, [sys.executable, "-c", PROCESS, *arguments])
    log = stage.home / f"{name}.log"
    while "started" not in log.read_text():
        assert process.poll() is None, log.read_text()
    return process


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


def impatient(monkeypatch, process: subprocess.Popen[bytes], why: BaseException) -> None:
    """Have a wait for a process end early, unless it is for as long as it takes."""
    wait = process.wait

    def short(timeout: float | None = None) -> int:
        if timeout is not None:
            raise why
        return wait()

    monkeypatch.setattr(process, "wait", short)


def ended(stage: Stage, processes: list[subprocess.Popen[bytes]]) -> bool:
    return all(each.poll() is not None for each in processes) and not stage.home.exists()


def test_a_server_is_there_until_the_agent_has_ended(stage: Stage, monkeypatch):
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    server = start(stage, "server", "obeys")
    agent = start(stage, "agent", "asks", str(stage.home / "server.log"))
    stage.close()
    assert (stage.home / "agent.log").read_text().split() == ["started", "asked", "answered"]
    assert agent.returncode == server.returncode == 0
    monkeypatch.undo()


def test_one_that_does_not_end_is_killed(stage: Stage, monkeypatch):
    processes = [start(stage, "server", "obeys"), start(stage, "agent", "ignores")]
    impatient(monkeypatch, processes[1], subprocess.TimeoutExpired("agent", 10))
    stage.close()
    assert ended(stage, processes)
    assert [each.returncode for each in processes] == [0, -9]


def test_ctrl_c_while_they_end_leaves_none(stage: Stage, monkeypatch):
    processes = [start(stage, "server", "ignores"), start(stage, "agent", "ignores")]
    impatient(monkeypatch, processes[1], KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        stage.close()
    assert ended(stage, processes)
