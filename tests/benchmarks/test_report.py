"""The benchmark's own arithmetic: a figure that is worked out wrongly would prove anything."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from benchmarks import goals, report
from benchmarks.measurements import MEASUREMENTS, floor_seconds, longest_idle, per_run


def test_the_floor_of_the_quota():
    """The burst is free, the rest comes at the rate; both scale with the quota."""
    assert floor_seconds(1000) == 49.0
    assert floor_seconds(1000, 5.0) == 9.0
    assert floor_seconds(600) == 29.0


def test_the_longest_time_that_a_place_was_empty():
    """Two places, tasks of 5 s and 1.4 s of phases: free at 6.4 s and at 7.4 s."""
    assert longest_idle([0.0, 1.0, 8.0, 8.1], 5.0, 2) == pytest.approx(1.6)
    assert longest_idle([0.0, 1.0, 12.0, 12.0], 5.0, 2) == pytest.approx(5.6)


def test_what_a_process_costs_is_not_what_a_run_costs():
    """The first run's CPU and the memory of a process that has had one are taken off."""
    measured = {
        "pinned-1": {"runs": 1, "cpu_seconds": 0.5, "settled_kb": 190_000.0},
        "pinned-200": {
            "runs": 200,
            "cpu_seconds": 0.5 + 199 * 0.003,
            "peak_kb": 194_000.0,
            "settled_kb": 193_000.0,
        },
        "watch-10000": {"runs": 10_000, "cpu_seconds": 5.0},
    }
    per_run(measured)
    assert measured["pinned-200"]["cpu_ms_per_run"] == pytest.approx(3.0)
    assert measured["pinned-200"]["memory_kb_per_run"] == pytest.approx(20.0)
    assert "cpu_ms_per_run" not in measured["pinned-1"]
    assert "cpu_ms_per_run" not in measured["watch-10000"]


def figures(**changes):
    """Figures of a thousand runs that meet every goal, but for the changes."""
    met = {"crashed": 0, "registrations": 1, "span_seconds": 51.4, "floor_seconds": 49.0}
    return {"pinned-1000": {**met, **changes}}


@pytest.mark.parametrize(
    ("changes", "verdicts"),
    [
        ({}, ["PASS", "PASS", "PASS"]),
        ({"crashed": 1}, ["FAIL", "PASS", "PASS"]),
        ({"registrations": 2}, ["PASS", "FAIL", "PASS"]),
        ({"span_seconds": 51.5}, ["PASS", "PASS", "FAIL"]),
    ],
)
def test_a_goal_that_is_missed_is_called_missed(changes, verdicts):
    """1.05 times 49 s is 51.45 s."""
    goal = next(goal for goal in goals.GOALS if goal.name == "cold-1000")
    lines = list(report.rows([goal], figures(**changes)))
    assert [line[-1] for line in lines] == verdicts


def test_every_goal_is_read_from_measurements_that_exist():
    """A typing error would leave its row out without a word."""
    assert {name for goal in goals.GOALS for name in goal.needs} <= set(MEASUREMENTS)
    assert len({goal.name for goal in goals.GOALS}) == 18


def test_the_plot_shows_both_classes_in_every_panel():
    """One point for each N that was measured."""
    cost = {"calls_per_run": 1.1, "cpu_ms_per_run": 3.0, "memory_kb_per_run": 20.0, "threads": 25}
    measured = {f"pinned-{n}": cost for n in (50, 200, 1000)}
    measured |= {f"plain-{n}": {k: 50 * v for k, v in cost.items()} for n in (50, 200)}
    svg = ET.fromstring(report.plot(measured))
    names = [element.tag.rpartition("}")[2] for element in svg.iter()]
    assert names.count("circle") == 4 * (3 + 2)
    assert names.count("polyline") == 4 * 2
