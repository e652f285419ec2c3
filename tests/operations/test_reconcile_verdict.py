"""What is to become of a flow run: one table, every rule of the verdict."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.operations.reconcile.verdict import (
    FINAL,
    Action,
    ByPid,
    BySearch,
    Evidence,
    Limits,
    Run,
    Task,
    decide,
    decide_task,
)

NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)
LIMITS = Limits(never_launched=timedelta(hours=2))

LEAVE, CRASH, CANCEL, STOP = Action.LEAVE, Action.CRASH, Action.CANCEL, Action.STOP


def ago(**duration: float) -> datetime:
    return NOW - timedelta(**duration)


def live(**age: float) -> Task:
    return Task(Snapshot("arn:live", "arn:cluster", "RUNNING", ran=True), ago(**age))


def stopped(created: datetime, at: datetime, code: int | None = 137) -> Task:
    end = Snapshot(
        "arn:stopped",
        "arn:cluster",
        "STOPPED",
        stop_code="UserInitiated",
        stopped_reason="killed by hand",
        exit_code=code,
        ran=True,
    )
    return Task(end, created, at)


KILLED = stopped(ago(minutes=30), ago(minutes=5))

#: (state, minutes in it, by pid, by search, tasks, what is to be done)
CASES = {
    "a stopped task of a running run": ("RUNNING", 29, "FOUND", "NOT_NEEDED", [KILLED], CRASH),
    "of a pending one": ("PENDING", 31, "FOUND", "NOT_NEEDED", [KILLED], CRASH),
    "of a cancelling one": ("CANCELLING", 3, "FOUND", "NOT_NEEDED", [KILLED], CANCEL),
    "found by startedBy only": ("PENDING", 31, "NO_PID", "DONE", [KILLED], CRASH),
    "a live task": ("RUNNING", 29, "FOUND", "NOT_NEEDED", [live(minutes=30)], LEAVE),
    "a live task beside a stopped one": (
        "RUNNING",
        29,
        "FOUND",
        "NOT_NEEDED",
        [KILLED, live(minutes=1)],
        LEAVE,
    ),
    "a task that stopped 59 s ago": (
        "RUNNING",
        29,
        "FOUND",
        "NOT_NEEDED",
        [stopped(ago(minutes=30), ago(seconds=59))],
        LEAVE,
    ),
    "a task that stopped 60 s ago": (
        "RUNNING",
        29,
        "FOUND",
        "NOT_NEEDED",
        [stopped(ago(minutes=30), ago(seconds=60))],
        CRASH,
    ),
    "pending again, with the pid of an earlier attempt": (
        "PENDING",
        10,
        "FOUND",
        "DONE",
        [KILLED],
        LEAVE,
    ),
    "the same for longer than the limit": (
        "PENDING",
        121,
        "FOUND",
        "DONE",
        [stopped(ago(minutes=300), ago(minutes=200))],
        CRASH,
    ),
    "running since after its task stopped": ("RUNNING", 3, "FOUND", "DONE", [KILLED], LEAVE),
    "vanished": ("RUNNING", 200, "MISSING", "DONE", [], CRASH),
    "vanished, launched without startedBy": ("RUNNING", 200, "MISSING", "IMPOSSIBLE", [], CRASH),
    "missing, and running only just now": ("RUNNING", 9, "MISSING", "DONE", [], LEAVE),
    "missing while cancelling": ("CANCELLING", 11, "MISSING", "DONE", [], CANCEL),
    "missing while pending": ("PENDING", 119, "MISSING", "DONE", [], LEAVE),
    "missing while pending for too long": ("PENDING", 121, "MISSING", "DONE", [], CRASH),
    "never launched": ("PENDING", 121, "NO_PID", "DONE", [], CRASH),
    "never launched, exactly at the limit": ("PENDING", 120, "NO_PID", "DONE", [], LEAVE),
    "never launched, and cancelled": ("CANCELLING", 121, "NO_PID", "DONE", [], CANCEL),
    "not searched for": ("PENDING", 10_000, "NO_PID", "NOT_NEEDED", [], LEAVE),
    "cannot be searched for": ("PENDING", 10_000, "NO_PID", "IMPOSSIBLE", [], LEAVE),
    "the search failed": ("PENDING", 10_000, "NO_PID", "FAILED", [], LEAVE),
    "missing, and the search failed": ("RUNNING", 10_000, "MISSING", "FAILED", [], LEAVE),
    "the look-up failed": ("RUNNING", 10_000, "FAILED", "NOT_NEEDED", [], LEAVE),
    "the look-up failed, a stopped task is known": (
        "RUNNING",
        29,
        "FAILED",
        "NOT_NEEDED",
        [KILLED],
        LEAVE,
    ),
    "of another account": ("RUNNING", 10_000, "ELSEWHERE", "NOT_NEEDED", [], LEAVE),
    "of another account, a stopped task is known": (
        "RUNNING",
        29,
        "ELSEWHERE",
        "NOT_NEEDED",
        [KILLED],
        LEAVE,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict(case):
    """Each row of the table."""
    state, minutes, by_pid, by_search, tasks, expected = CASES[case]
    evidence = Evidence(ByPid[by_pid], BySearch[by_search], tuple(tasks))
    verdict = decide(Run(state, ago(minutes=minutes)), evidence, NOW, LIMITS)
    assert (verdict.action, bool(verdict.reason)) == (expected, True)


@pytest.mark.parametrize("state", [*FINAL, "PAUSED", "SCHEDULED"])
def test_a_final_or_paused_run_is_never_judged(state):
    """Whatever became of its task."""
    for by_pid in ByPid:
        for by_search in BySearch:
            verdict = decide(
                Run(state, ago(days=9)), Evidence(by_pid, by_search, (KILLED,)), NOW, LIMITS
            )
            assert verdict.action is LEAVE


def test_the_newest_task_counts():
    """Of two that stopped, the one that was launched last is the reason."""
    older = stopped(ago(minutes=50), ago(minutes=20), code=1)
    verdict = decide(
        Run("CANCELLING", ago(minutes=3)),
        Evidence(ByPid.FOUND, BySearch.NOT_NEEDED, (KILLED, older)),
        NOW,
        LIMITS,
    )
    assert verdict.reason.startswith("the container exited with code 137: killed by hand")


def test_a_clean_exit_without_a_report_is_a_crash():
    """The flow run never said that it had ended."""
    task = stopped(ago(minutes=30), ago(minutes=5), code=0)
    evidence = Evidence(ByPid.FOUND, BySearch.NOT_NEEDED, (task,))
    verdict = decide(Run("RUNNING", ago(minutes=29)), evidence, NOW, LIMITS)
    assert verdict.action is CRASH
    assert "exited successfully, and the flow run never reported its end" in verdict.reason


def test_the_default_limit_exceeds_every_launch_wait():
    """`launch_timeout_seconds` is at most a day."""
    from prefect_ecs_pinned import PinnedECSTask
    from prefect_ecs_pinned.operations.reconcile.survey import LAUNCH_MARGIN

    longest = PinnedECSTask.schema()["properties"]["launch_timeout_seconds"]["maximum"]
    assert Limits().never_launched >= timedelta(seconds=longest) + LAUNCH_MARGIN


@pytest.mark.parametrize(
    ("state", "seconds", "expected"),
    [
        ("COMPLETED", 61, STOP),
        ("FAILED", 61, STOP),
        ("CRASHED", 61, STOP),
        ("CANCELLED", 61, STOP),
        ("CANCELLED", 60, LEAVE),
        ("CANCELLING", 10_000, LEAVE),
        ("RUNNING", 10_000, LEAVE),
        ("PAUSED", 10_000, LEAVE),
        ("SCHEDULED", 10_000, LEAVE),
    ],
)
def test_a_live_task_is_stopped_once_its_flow_run_has_been_final_for_60_s(state, seconds, expected):
    """And in no other case."""
    assert decide_task(Run(state, ago(seconds=seconds)), NOW, LIMITS).action is expected
