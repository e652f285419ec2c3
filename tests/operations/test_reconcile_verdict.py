"""What is to become of a flow run: one table, every rule of the verdict."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.operations.clocks import Moment
from prefect_ecs_pinned.operations.reconcile.facts import (
    FINAL,
    Action,
    ByPid,
    BySearch,
    Evidence,
    History,
    Limits,
    Run,
    Task,
)
from prefect_ecs_pinned.operations.reconcile.outlived import api_url, decide_task
from prefect_ecs_pinned.operations.reconcile.verdict import decide

NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)
LIMITS = Limits(never_launched=timedelta(hours=2))

LEAVE, CRASH, CANCEL, STOP = Action.LEAVE, Action.CRASH, Action.CANCEL, Action.STOP


def ago(**duration: float) -> datetime:
    return NOW - timedelta(**duration)


def at(**duration: float) -> Moment:
    return Moment.at(ago(**duration))


def live(reports_to: str = "", **age: float) -> Task:
    snapshot = Snapshot("arn:live", "arn:cluster", "RUNNING", ran=True)
    return Task(snapshot, at(**age), reports_to=reports_to)


def run_of(state: str, minutes: float, launches: int = 1) -> Run:
    """A flow run that has been in a state for some time, and was Pending so often."""
    since = at(minutes=minutes)
    return Run(state, since, History(launches, since if state == "RUNNING" else None))


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
    return Task(end, Moment.at(created), Moment.at(at))


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
    "the first attempt's end, and the second waits": (
        "PENDING*2",
        3,
        "FOUND",
        "DONE",
        [stopped(ago(minutes=3, seconds=20), ago(minutes=3, seconds=10))],
        LEAVE,
    ),
    "the same, by clocks that say that it was launched since": (
        "PENDING*2",
        31,
        "FOUND",
        "DONE",
        [KILLED],
        LEAVE,
    ),
    "a second attempt that ran": ("RUNNING*2", 29, "FOUND", "NOT_NEEDED", [KILLED], CRASH),
    "one that ran for a moment": (
        "RUNNING*2",
        5.2,
        "FOUND",
        "DONE",
        [KILLED],
        LEAVE,
    ),
    "one whose task nobody's pid names": ("RUNNING*2", 29, "MISSING*", "DONE", [KILLED], LEAVE),
    "a second attempt that is cancelled while it waits": (
        "CANCELLING*2",
        3,
        "FOUND",
        "DONE",
        [KILLED],
        LEAVE,
    ),
    "whose history is not known": ("RUNNING*0", 29, "FOUND", "DONE", [KILLED], LEAVE),
    "another flow run's task": ("RUNNING", 10_000, "ANOTHER", "NOT_NEEDED", [], LEAVE),
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
    state, _, launches = state.partition("*")
    run = run_of(state, minutes, int(launches or 1))
    if launches == "0":
        run = replace(run, history=None)
    named = "arn:stopped" if by_pid == "FOUND" else ""
    by_pid = "NO_PID" if by_pid == "MISSING*" else by_pid
    evidence = Evidence(ByPid[by_pid], BySearch[by_search], tuple(tasks), named)
    verdict = decide(run, evidence, NOW, LIMITS)
    assert (verdict.action, bool(verdict.reason)) == (expected, True)


@pytest.mark.parametrize("state", [*FINAL, "PAUSED", "SCHEDULED"])
def test_a_final_or_paused_run_is_never_judged(state):
    """Whatever became of its task."""
    for by_pid in ByPid:
        for by_search in BySearch:
            evidence = Evidence(by_pid, by_search, (KILLED,))
            verdict = decide(run_of(state, 10_000), evidence, NOW, LIMITS)
            assert verdict.action is LEAVE


def test_the_newest_task_counts():
    """Of two that stopped, the one that was launched last is the reason."""
    older = stopped(ago(minutes=50), ago(minutes=20), code=1)
    verdict = decide(
        run_of("CANCELLING", 3),
        Evidence(ByPid.FOUND, BySearch.NOT_NEEDED, (KILLED, older)),
        NOW,
        LIMITS,
    )
    assert verdict.reason.startswith("the container exited with code 137: killed by hand")


def test_a_clean_exit_without_a_report_is_a_crash():
    """The flow run never said that it had ended."""
    task = stopped(ago(minutes=30), ago(minutes=5), code=0)
    evidence = Evidence(ByPid.FOUND, BySearch.NOT_NEEDED, (task,))
    verdict = decide(run_of("RUNNING", 29), evidence, NOW, LIMITS)
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
    run, task = Run(state, at(seconds=seconds)), live(minutes=200)
    assert decide_task(run, task, "arn:live", (), NOW, LIMITS).action is expected


HERE = "https://prefect.example.com/api"
STAGING = "https://staging.example.com/api"

#: (minutes since the flow run ended, since the task was created, what the pid names, what the
#: task reports to, what is to be done, whether the server is doubted)
COPIES = {
    "its own task": (5, 30, "arn:live", "", STOP, False),
    "its own task, by its address as well": (5, 30, "arn:live", HERE, STOP, False),
    "known by its address alone": (5, 30, "", HERE, STOP, False),
    "by address, and an older pid": (5, 30, "arn:older", HERE, STOP, False),
    "by address, ended when it was created": (5, 5.4, "", HERE, LEAVE, False),
    "by pid, ended when it was created": (5, 5, "arn:live", "", STOP, False),
    "without a pid": (5, 30, "", "", LEAVE, False),
    "with an older pid: launched elsewhere": (5, 30, "arn:older", "", LEAVE, False),
    "a launch that was under way": (10, 8, "arn:live", HERE, LEAVE, False),
    "created long after the end: a restored copy": (300, 30, "arn:older", HERE, LEAVE, True),
    "the same, whatever the pid says": (300, 30, "arn:live", "", LEAVE, True),
    "a task of production: a staging copy": (5, 30, "arn:live", STAGING, LEAVE, True),
    "ended only just now": (0.5, 30, "arn:live", STAGING, LEAVE, False),
}


@pytest.mark.parametrize("case", COPIES)
def test_only_a_server_that_knows_the_task_stops_it(case):
    """A copy of another server's database knows its flow runs, and not what became of them."""
    ended, created, named, reports_to, expected, doubted = COPIES[case]
    run, task = Run("CRASHED", at(minutes=ended)), live(reports_to, minutes=created)
    verdict = decide_task(run, task, named, (HERE,), NOW, LIMITS)
    assert (verdict.action, bool(verdict.doubt)) == (expected, doubted)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Prefect.Example.com/api/", HERE),
        ("https://user:secret@prefect.example.com:443/api?key=secret#x", HERE),
        ("http://10.0.0.5:4200/api", "http://10.0.0.5:4200/api"),
        ("http://[fd00::1]:4200/api", "http://[fd00::1]:4200/api"),
        ("http://localhost:4200/api", ""),
        ("http://127.0.0.1:4200/api", ""),
        ("http://[::1]:4200/api", ""),
        ("http://0.0.0.0:4200/api", ""),
        ("sqlite:///prefect.db", ""),
        ("http://[nonsense", ""),
        ("http://host:port/api", ""),
        ("", ""),
    ],
)
def test_urls_of_apis(url, expected):
    """Without secrets; one that means another machine wherever it is used proves nothing."""
    assert api_url(url) == expected


def test_http_and_https_are_one_server():
    """A proxy speaks TLS for it."""
    run, task = Run("FAILED", at(minutes=5)), live(HERE, minutes=30)
    here = (HERE.replace("https", "http"),)
    assert decide_task(run, task, "", here, NOW, LIMITS).action is STOP
