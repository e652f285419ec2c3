"""What is promised, and how a measured figure is held against it. No goal is lowered here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

Measured = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Check:
    """One figure against its goal.

    Attributes:
        goal: The goal in words.
        figure: What was measured, in words.
        met: Whether it is.
    """

    goal: str
    figure: str
    met: bool


@dataclass(frozen=True)
class Goal:
    """One row of the table.

    Attributes:
        name: For ``--only``.
        words: What is promised.
        needs: The measurements that it is read from.
        checks: Reads them.
    """

    name: str
    words: str
    needs: Sequence[str]
    checks: Callable[[Measured], list[Check]]


def at_most(what: str, figure: float, goal: float, unit: str = "") -> Check:
    """A figure that may not be higher."""
    return Check(f"{what} ≤ {goal:.4g}{unit}", f"{figure:.4g}{unit}", figure <= goal)


def exactly(what: str, figure: int, goal: int) -> Check:
    """A figure that has to be just so."""
    return Check(f"{goal} {what}", str(figure), figure == goal)


def _span(figures: Mapping[str, Any], factor: float) -> Check:
    goal = factor * figures["floor_seconds"]
    return at_most("launch span", figures["span_seconds"], goal, " s")


def _cold_1000(measured: Measured) -> list[Check]:
    figures = measured["pinned-1000"]
    return [
        exactly("crashed", figures["crashed"], 0),
        exactly("registration", figures["registrations"], 1),
        _span(figures, 1.05),
    ]


def _raised_quota(measured: Measured) -> list[Check]:
    figures = measured["pinned-1000-x5"]
    return [exactly("crashed", figures["crashed"], 0), _span(figures, 1.5)]


def _calls(measured: Measured) -> list[Check]:
    return [at_most("calls per run", measured["pinned-200"]["calls_per_run"], 1.15)]


def _cpu(measured: Measured) -> list[Check]:
    many, few = measured["pinned-1000"], measured["pinned-200"]
    unlogged = measured["pinned-200-unlogged"]
    plain = measured["plain-200"]["cpu_ms_per_run"]
    return [
        at_most("CPU per run at 1,000", many["cpu_ms_per_run"], 4.0, " ms"),
        at_most("CPU per run at 200", few["cpu_ms_per_run"], 4.0, " ms"),
        at_most("at 200, without log lines", unlogged["cpu_ms_per_run"], 4.0, " ms"),
        Check(
            "at most 1/100 of ECSTask's at 200",
            f"1/{plain / few['cpu_ms_per_run']:.0f} of {plain:.0f} ms",
            few["cpu_ms_per_run"] <= plain / 100,
        ),
    ]


def _memory(measured: Measured) -> list[Check]:
    return [at_most("per live run", measured["pinned-1000"]["memory_kb_per_run"], 40.0, " KB")]


def _threads(measured: Measured) -> list[Check]:
    few, many = (measured[name]["threads"] for name in ("pinned-200", "pinned-1000"))
    return [
        Check("the same at 200 and at 1,000", f"{few} and {many}", few == many),
        at_most("at the documented quotas", many, 25),
        at_most("at quotas × 5", measured["pinned-1000-x5"]["threads"], 64),
    ]


def _deployments(measured: Measured) -> list[Check]:
    figures = measured["deployments-20"]
    return [
        exactly("crashed", figures["crashed"], 0),
        exactly("registration", figures["registrations"], 1),
    ]


def _watching(measured: Measured) -> list[Check]:
    figures = measured["watch-10000"]
    size = figures["bytes_per_task"]
    return [
        Check("answers of at least 2.5 KB a task", f"{size / 1000:.2f} KB", size >= 2500),
        exactly("ends received", figures["received"], 10_000),
        at_most("DescribeTasks", figures["calls_per_second"], 10.0, "/s"),
        at_most("CPU", figures["cores"], 0.2, " cores"),
    ]


def _processes(measured: Measured) -> list[Check]:
    figures = measured["processes-3"]
    return [
        exactly("crashed", figures["crashed"], 0),
        _span(figures, 1.15),
        at_most("slowest / fastest", figures["slowest_to_fastest"], 1.5),
    ]


def _vcpus(measured: Measured) -> list[Check]:
    figures = measured["vcpu-6"]
    return [
        exactly("crashed", figures["crashed"], 0),
        at_most("capacity idle at a stretch", figures["idle_seconds"], 5.0, " s"),
    ]


def _worker_1000(measured: Measured) -> list[Check]:
    figures = measured["worker-1000"]
    return [
        exactly("crashed", figures["crashed"], 0),
        exactly("launched", figures["launched"], 1000),
        exactly("registration", figures["registrations"], 1),
        _span(figures, 1.05),
        at_most("memory per live run", figures["memory_kb_per_run"], 40.0, " KB"),
        at_most("threads", figures["threads"], 25),
    ]


def _worker_deployments(measured: Measured) -> list[Check]:
    figures, theirs = measured["worker-deployments-20"], measured["ecsworker-deployments-20"]
    return [
        exactly("crashed", figures["crashed"], 0),
        Check(
            "1 registration",
            f"{figures['registrations']} (ECSWorker: {theirs['registrations']}, "
            f"{theirs['crashed']} of 100 crashed)",
            figures["registrations"] == 1,
        ),
    ]


def _worker_calls(measured: Measured) -> list[Check]:
    figures = measured["worker-200"]
    return [
        exactly("crashed", figures["crashed"], 0),
        at_most("calls per run", figures["calls_per_run"], 1.15),
    ]


def _worker_cpu(measured: Measured) -> list[Check]:
    cold, warm = (measured[name]["cpu_ms_per_run"] for name in ("worker-200", "worker-200-warm"))
    theirs = measured["ecsworker-200-best"]["cpu_ms_per_run"]
    return [
        at_most("CPU per run at 200, cold", cold, 6.0, " ms"),
        Check("at 200, warm ≤ 6 ms", f"{warm:.4g} ms (ECSWorker: {theirs:.0f} ms)", warm <= 6.0),
    ]


#: Seconds in which the quota accepts a thousand RunTask calls, and what may be added.
QUOTA_FLOOR_SECONDS = 49.0
END_TO_END_FACTOR = 1.15


def _end_to_end(kind: str, database: str, measured: Measured) -> list[Check]:
    """A face may take little longer than the quota does, or Prefect by itself."""
    figures = measured[f"e2e-{kind}-{database}"]
    floor = measured[f"e2e-{kind}-floor-{database}"]["end_seconds"]
    goal = END_TO_END_FACTOR * max(QUOTA_FLOOR_SECONDS, floor)
    ended_badly = sum(figures["states"].get(state, 0) for state in ("CRASHED", "FAILED"))
    return [
        exactly("lost", figures["lost"] + ended_badly, 0),
        exactly("launched twice", figures["doubled"], 0),
        Check(
            f"last RunTask ≤ {goal:.1f} s after the start",
            f"{figures['end_seconds']:.1f} s (Prefect alone: {floor:.1f} s)",
            figures["end_seconds"] <= goal,
        ),
    ]


def _end_to_end_goal(kind: str, database: str, called: str) -> Goal:
    return Goal(
        f"e2e-{kind}-{database}-goal",
        f"a real {kind}, a real server on {called}, 1,000 queued runs",
        [f"e2e-{kind}-floor-{database}", f"e2e-{kind}-{database}"],
        partial(_end_to_end, kind, database),
    )


GOALS = (
    Goal("cold-1000", "1,000 cold runs, quotas on", ["pinned-1000"], _cold_1000),
    Goal("quotas-x5", "1,000 cold runs, all quotas × 5", ["pinned-1000-x5"], _raised_quota),
    Goal("calls", "API calls per run, 30 s runs, N = 200", ["pinned-200"], _calls),
    Goal(
        "cpu",
        "CPU per run",
        [
            "pinned-1",
            "pinned-200",
            "pinned-200-unlogged",
            "pinned-1000",
            "plain-1",
            "plain-200",
        ],
        _cpu,
    ),
    Goal("memory", "memory per live run, 1,000 at once", ["pinned-1", "pinned-1000"], _memory),
    Goal("threads", "threads", ["pinned-200", "pinned-1000", "pinned-1000-x5"], _threads),
    Goal(
        "deployments",
        "20 deployments of one block, cold, at once",
        ["deployments-20"],
        _deployments,
    ),
    Goal("watching", "10,000 live tasks, 10 s polls", ["watch-10000"], _watching),
    Goal("processes", "3 processes × 200 runs, one account", ["processes-3"], _processes),
    Goal("vcpus", "vCPU quota for 6 at once, 60 runs of 5 s", ["vcpu-6"], _vcpus),
    Goal(
        "worker-1000",
        "worker: 1,000 cold runs, quotas on",
        ["worker-1", "worker-1000"],
        _worker_1000,
    ),
    Goal(
        "worker-deployments",
        "worker: 20 deployments of one pool, cold, at once",
        ["worker-deployments-20", "ecsworker-deployments-20"],
        _worker_deployments,
    ),
    Goal("worker-calls", "worker: API calls per run, 30 s runs", ["worker-200"], _worker_calls),
    Goal(
        "worker-cpu",
        "worker: CPU per run, resolving included",
        ["worker-1", "worker-200", "worker-200-warm", "ecsworker-1", "ecsworker-200-best"],
        _worker_cpu,
    ),
    *(
        _end_to_end_goal(kind, database, called)
        for kind in ("agent", "worker")
        for database, called in (("postgres", "PostgreSQL"), ("sqlite", "SQLite"))
    ),
)
