"""Rows of the matrix with several processes: all cold at once, and one that is killed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from prefect_ecs_pinned import majors
from prefect_ecs_pinned.local import LocalECS, Settings
from tests.faults.crowd import Crowd, crowd
from tests.faults.row import QUICK

PROCESSES, RUNS_EACH = 8, 25


@dataclass(frozen=True)
class Round:
    """What came of processes that started cold at the same moment.

    Attributes:
        once: Runs that were launched exactly once.
        wrong: Runs that were not, and runs that did not end well.
        active: ACTIVE revisions afterwards.
        later: Registrations by a process that started afterwards.
    """

    once: int
    wrong: int
    active: int
    later: int


def cold(ecs: LocalECS, processes: Crowd, family: str) -> Round:
    """Eight processes of 25 runs each and a new fingerprint; then a ninth process."""
    ecs.reset()
    groups = [[str(uuid4()) for _ in range(RUNS_EACH)] for _ in range(PROCESSES)]
    processes.start(family, groups)
    failed = sum(processes.wait())
    launches = Counter(launch["flow_run_id"] for launch in ecs.launches)
    once = sum(launches[id_] == 1 for group in groups for id_ in group)
    active = _active(ecs, family)
    ecs.reset()
    processes.start(family, [[str(uuid4())]])
    failed += sum(processes.wait())
    later = ecs.calls.get("RegisterTaskDefinition", {"calls": 0})["calls"]
    return Round(once, PROCESSES * RUNS_EACH - once + failed, active, later)


@contextmanager
def stage() -> Iterator[tuple[LocalECS, Crowd]]:
    """An embedded ECS, and the host of the processes."""
    settings = Settings(quota_scale=None, phases=QUICK, task_seconds=0.5)
    with ExitStack() as stack:
        ecs = stack.enter_context(LocalECS(settings, access_key="local"))
        schedule = None
        if majors.face() is majors.WORKER:
            from tests.faults.worker_face import pool_of_processes

            schedule = stack.enter_context(pool_of_processes(ecs))
        yield ecs, stack.enter_context(crowd(ecs.endpoint_url, schedule))


def cold_rounds(ecs: LocalECS, processes: Crowd, rounds: int) -> list[Round]:
    """The same again and again, each time with a new family."""
    ecs.change(quota_scale=None)
    return [cold(ecs, processes, f"prefect-cold-{number}") for number in range(rounds)]


def _active(ecs: LocalECS, family: str) -> int:
    every = ecs.model.definitions().all()
    return sum(d["family"] == family and d["status"] == "ACTIVE" for d in every)


@dataclass(frozen=True)
class Killed:
    """What came of an agent that was killed while it launched.

    Attributes:
        launched: Runs that were launched before it was killed.
        twice: Runs that were launched twice, then or by the next agent.
        ended: Tasks of the launched that went on to their end.
        pending: Runs that ECS knows no task of, by ``startedBy``.
        once: Runs that were launched exactly once when the next agent has run those.
        active: ACTIVE revisions in the end.
    """

    launched: int
    twice: int
    ended: int
    pending: int
    once: int
    active: int


def killed_while_launching(ecs: LocalECS, processes: Crowd, runs: int, after: int) -> Killed:
    """An agent is killed with SIGKILL when ``after`` runs have been launched; another goes on."""
    family = "prefect-killed"
    flow_runs = [str(uuid4()) for _ in range(runs)]
    ecs.reset()
    ecs.change(quota_scale=1.0)
    (agent,) = processes.start(family, [flow_runs])
    _until(lambda: len(ecs.launches) >= after)
    os.kill(agent, signal.SIGKILL)
    assert processes.wait() == [-signal.SIGKILL]
    # What ECS has received by then takes effect still. It reads what lies in its sockets before
    # this request, and counts a call as soon as it has been read.
    ecs.client("sts").get_caller_identity()
    _until(lambda: ecs.count("RunTask") == len(ecs.launches))
    launched = [str(launch["taskArn"]) for launch in ecs.launches]
    pending = _without_task(ecs, flow_runs)
    processes.start(family, [pending])
    assert processes.wait() == [0]
    launches = Counter(launch["flow_run_id"] for launch in ecs.launches)
    return Killed(
        launched=len(launched),
        twice=sum(count > 1 for count in launches.values()),
        ended=_ended(ecs, launched),
        pending=len(pending),
        once=sum(launches[id_] == 1 for id_ in flow_runs),
        active=_active(ecs, family),
    )


def _without_task(ecs: LocalECS, flow_runs: Sequence[str]) -> list[str]:
    """Flow runs that nobody has launched, found as anybody could: by ``startedBy``."""

    def tasks(flow_run: str) -> Any:
        for status in ("RUNNING", "STOPPED"):
            request = {"startedBy": flow_run, "desiredStatus": status}
            yield from ecs.model.answer("ListTasks", request, "us-east-1")["taskArns"]

    return [flow_run for flow_run in flow_runs if not list(tasks(flow_run))]


def _ended(ecs: LocalECS, tasks: Sequence[str]) -> int:
    """How many tasks have ended well; waits for the last of them."""

    def described() -> Any:
        for start in range(0, len(tasks), 100):
            request = {"tasks": tasks[start : start + 100]}
            yield from ecs.model.answer("DescribeTasks", request, "us-east-1")["tasks"]

    _until(lambda: all(task["lastStatus"] == "STOPPED" for task in described()))
    return sum(task["containers"][0]["exitCode"] == 0 for task in described())


def _until(true: Any, patience: float = 60.0) -> None:
    until = time.monotonic() + patience
    while not true():
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.005)
