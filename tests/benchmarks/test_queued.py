"""The measurement of queued runs: what it reads, and what it holds against the goal."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import distributions
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import goals, report
from benchmarks.measurements import MEASUREMENTS
from benchmarks.queued import databases, end_to_end, idle, observed, server
from benchmarks.queued.end_to_end import _launched, _until_launched

ROWS = [
    f"e2e-{kind}-{what}{database}"
    for kind in ("agent", "worker")
    for database in ("postgres", "sqlite")
    for what in ("floor-", "")
]


def figures(**changes):
    """A worker that meets its goal, but for the changes."""
    met = {
        **{"runs": 1000, "launched": 1000, "lost": 0, "doubled": 0, "states": {"PENDING": 1000}},
        **{"first_seconds": 5.0, "end_seconds": 56.0, "cpu_seconds": 20.0, "peak_kb": 180_000.0},
        **{"threads": 24, "server_cpu_seconds": 80.0, "ecs_cpu_seconds": 9.0, "locked": 3},
        **{"others_cores": 0.1, "load": 2.0},
    }
    return {**met, **changes}


def verdicts(floor: float, **changes):
    measured = {
        "e2e-worker-floor-sqlite": figures(end_seconds=floor),
        "e2e-worker-sqlite": figures(**changes),
    }
    goal = next(goal for goal in goals.GOALS if goal.name == "e2e-worker-sqlite-goal")
    return [line[-1] for line in report.rows([goal], measured)]


@pytest.mark.parametrize(
    ("floor", "changes", "expected"),
    [
        (30.0, {}, ["PASS", "PASS", "PASS"]),
        (30.0, {"end_seconds": 56.4}, ["PASS", "PASS", "FAIL"]),
        (100.0, {"end_seconds": 114.9}, ["PASS", "PASS", "PASS"]),
        (100.0, {"end_seconds": 115.1}, ["PASS", "PASS", "FAIL"]),
        (30.0, {"lost": 1}, ["FAIL", "PASS", "PASS"]),
        (30.0, {"states": {"PENDING": 999, "CRASHED": 1}}, ["FAIL", "PASS", "PASS"]),
        (30.0, {"states": {"PENDING": 999, "FAILED": 1}}, ["FAIL", "PASS", "PASS"]),
        (30.0, {"doubled": 1}, ["PASS", "FAIL", "PASS"]),
    ],
)
def test_the_goal_is_a_factor_of_the_quota_or_of_prefect_alone(floor, changes, expected):
    """1.15 times 49 s is 56.35 s. A run that has crashed is lost, launched or not."""
    assert verdicts(floor, **changes) == expected


def test_every_row_has_its_floor_before_it():
    assert [name for name in MEASUREMENTS if name.startswith("e2e-")] == ROWS


def test_the_table_of_queued_runs_has_only_them():
    measured = {"watch-10000": {"runs": 10_000}, "e2e-agent-sqlite": figures()}
    head, line = report.end_to_end(measured)
    assert (len(head), line[:5]) == (len(line), ("e2e-agent-sqlite", "1,000", "0", "5.0", "56.0"))
    assert list(report.calls(measured)) == [("measurement", "calls")]


def stage(launches) -> Any:
    world = SimpleNamespace(read=lambda path: {"launches": launches, "calls": {}}[path])
    return SimpleNamespace(world=world)


def process(code: int | None) -> Any:
    return SimpleNamespace(poll=lambda: code)


def test_a_run_that_is_launched_twice_counts_once():
    """Times are from the start of the process."""
    launches = [{"at": 100.0 + n, "flow_run_id": f"run-{n % 3}"} for n in range(4)]
    assert _launched(stage(launches), "pinned", 90.0) == {
        "launched": 3,
        "doubled": 1,
        "first_seconds": 10.0,
        "end_seconds": 13.0,
    }


def test_what_does_nothing_writes_when_it_was_called(tmp_path, monkeypatch):
    log = tmp_path / "idle.log"
    monkeypatch.setenv(idle.LOG, str(log))
    idle._note()
    idle._note()
    idle_stage: Any = SimpleNamespace(idle_log=log)
    seen = _launched(idle_stage, "idle", 0.0)
    assert (seen["launched"], seen["doubled"]) == (2, 0)
    assert seen["first_seconds"] <= seen["end_seconds"]


def test_a_measurement_in_which_nothing_is_launched_any_more_ends(monkeypatch):
    monkeypatch.setattr(end_to_end, "_STALLED_SECONDS", 0.05)
    monkeypatch.setattr(end_to_end, "_LOOK_SECONDS", 0.01)
    _until_launched(stage([]), "pinned", 1000, process(None))


@pytest.mark.timeout(20)  # it would end after ten minutes
def test_a_measurement_ends_when_the_rest_is_lost(monkeypatch):
    """The server says so. Runs that are Pending may still be launched."""
    monkeypatch.setattr(end_to_end, "_QUIET_SECONDS", 0.01)
    monkeypatch.setattr(end_to_end, "_LOOK_SECONDS", 0.01)
    answers = iter([["PENDING", "CRASHED"], ["FAILED", "CRASHED"]])
    asked: list[list[str]] = []

    def flow_runs() -> list[dict[str, Any]]:
        asked.append(next(answers))
        launched = {"state": {"type": "CRASHED"}, "infrastructure_pid": "default::arn"}
        return [launched, *({"state": {"type": type_}} for type_ in asked[-1])]

    here: Any = SimpleNamespace(**vars(stage([])), server=SimpleNamespace(flow_runs=flow_runs))
    _until_launched(here, "pinned", 2, process(None))
    assert len(asked) == 2


def test_a_process_that_ends_by_itself_fails_the_measurement(tmp_path):
    (tmp_path / "subject.log").write_text("no such pool")
    here: Any = SimpleNamespace(**vars(stage([])), home=tmp_path)
    with pytest.raises(RuntimeError, match="no such pool"):
        _until_launched(here, "pinned", 1000, process(1))


def test_prefect_finds_what_does_nothing_as_an_installed_package(tmp_path):
    """By an entry point, which is how a worker's type and a block's are found."""
    idle.make_findable(tmp_path)
    [found] = distributions(path=[str(tmp_path)])
    [entry] = found.entry_points
    assert (entry.group, entry.value) == ("prefect.collections", "benchmarks.queued.idle")


def test_costs_of_a_process_are_seen_from_outside():
    """Those of one that is gone are none."""
    assert observed.cpu_of(os.getpid()) > 0
    assert observed.cpu_of(None) == observed.cpu_of(2**22 + 1) == 0
    assert observed.busy_seconds() > 0


def test_states_are_counted_by_type():
    runs: list[dict[str, Any]] = [
        {"state": {"type": "PENDING"}},
        {"state": {"type": "PENDING"}},
        {"state": None},
    ]
    assert server.states(runs) == {"PENDING": 2, "None": 1}


def test_a_database_that_is_not_installed_is_said_so(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(databases, "_DEBIAN", Path("/nowhere"))
    with pytest.raises(FileNotFoundError, match="apt install postgresql"):
        databases._program("postgres")
