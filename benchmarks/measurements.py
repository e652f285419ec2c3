"""The measurements: each starts a world and one process or several, and reads what happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.queued.end_to_end import FACES, end_to_end
from benchmarks.serving import World

#: The interpreter that has Prefect 3.
PREFECT_3 = Path(__file__).parents[1] / ".venv3" / "bin" / "python"

#: Figures of one measurement.
Figures = dict[str, Any]

#: Seconds that a flow run's task runs, where nothing else is said.
RUN_SECONDS = 30.0

#: The same for a thousand runs: launching takes 49 s, and all are to live at once.
LONG_RUN_SECONDS = 60.0

#: RunTask calls a second, and at once: the quota of Fargate at scale 1.
QUOTA_PER_SECOND = 20.0
QUOTA_BURST = 20.0


def floor_seconds(runs: int, scale: float = 1.0) -> float:
    """The shortest time in which the quota accepts that many RunTask calls."""
    return (runs - QUOTA_BURST * scale) / (QUOTA_PER_SECOND * scale)


class _Subject:
    def __init__(self, world: World, **task: Any) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="bench-")
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PREFECT_"))},
            **world.environment,
            "PREFECT_API_URL": world.prefect,
            "PREFECT_HOME": self._home.name,
            "PREFECT_LOGGING_LEVEL": task.pop("log_level", "INFO"),
            "PYTHONWARNINGS": "ignore",
        }
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `report`
        self._process = subprocess.Popen(
            _command(task),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            text=True,
        )

    def until_ready(self) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            self._fail()

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def report(self) -> Figures:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._fail()
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()
        self._log.close()
        self._home.cleanup()
        figures: Figures = json.loads(line)
        return figures

    def _fail(self) -> None:
        self._process.kill()
        self._log.seek(0)
        raise RuntimeError(self._log.read().decode()[-4000:])


def _command(task: Mapping[str, Any]) -> list[str]:
    """A worker needs Prefect 3, and so an environment of its own (``make .venv3/.dev``)."""
    if task["what"] in ("worker", "ecsworker"):
        return [str(PREFECT_3), "-m", "benchmarks.worker_subject", json.dumps(task)]
    return [sys.executable, "-m", "benchmarks.subject", json.dumps(task)]


def _together(world: World, tasks: Sequence[Mapping[str, Any]]) -> list[Figures]:
    subjects = [_Subject(world, **task) for task in tasks]
    for subject in subjects:
        subject.until_ready()
    world.write("POST", "reset")
    for subject in subjects:
        subject.begin()
    return [subject.report() for subject in subjects]


def _seen(world: World) -> Figures:
    """What the server has seen: calls, throttled ones apart, and the launches' span."""
    calls = world.read("calls")
    launches = sorted(launch["at"] for launch in world.read("launches"))
    return {
        "calls": {action: count["calls"] for action, count in sorted(calls.items())},
        "throttled": sum(count["throttled"] for count in calls.values()),
        "refused": sum(count["errors"] for count in calls.values()),
        "launched": len(launches),
        "span_seconds": launches[-1] - launches[0] if launches else 0.0,
        "registrations": calls.get("RegisterTaskDefinition", {"calls": 0})["calls"],
    }


def _runs(
    what: str, runs: int, scale: float = 1.0, seconds: float = RUN_SECONDS, **task: Any
) -> Figures:
    with World(quota_scale=scale, task_seconds=seconds) as world:
        (figures,) = _together(world, [{"what": what, "runs": runs, **task}])
        seen = _seen(world)
    calls = sum(seen["calls"].values())
    return {
        **figures,
        **seen,
        "calls_per_run": calls / runs,
        "floor_seconds": floor_seconds(runs, scale),
    }


def _three_processes() -> Figures:
    with World(task_seconds=RUN_SECONDS) as world:
        reports = _together(world, [{"what": "pinned", "runs": 200}] * 3)
        seen = _seen(world)
    seconds = [report["seconds"] - RUN_SECONDS for report in reports]
    return {
        **seen,
        "runs": 600,
        "crashed": sum(report["crashed"] for report in reports),
        "floor_seconds": floor_seconds(600),
        "process_seconds": seconds,
        "slowest_to_fastest": max(seconds) / min(seconds),
    }


#: Seconds that a task occupies its vCPU beside those that it runs (`local.settings.Phases`).
_PHASES = {
    "provisioning": 0.4,
    "pending": 0.4,
    "activating": 0.2,
    "deactivating": 0.1,
    "stopping": 0.1,
    "deprovisioning": 0.2,
}


def _six_vcpus() -> Figures:
    runs, places, seconds = 60, 6, 5.0
    with World(task_seconds=seconds, vcpu_quota=float(places), phases=_PHASES) as world:
        (report,) = _together(world, [{"what": "pinned", "runs": runs}])
        seen = _seen(world)
        launches = [launch["at"] for launch in world.read("launches")]
    return {**report, **seen, "idle_seconds": longest_idle(launches, seconds, places)}


def longest_idle(launches: Sequence[float], seconds: float, places: int) -> float:
    """The longest time for which a place stood empty while runs waited.

    A launch takes the place that has been empty longest.
    """
    occupied = seconds + sum(_PHASES.values())
    launches = sorted(launches)
    freed = [at + occupied for at in launches]
    return max(launch - free for launch, free in zip(launches[places:], freed, strict=False))


def _watched() -> Figures:
    with World(quota_scale=None, latencies={"*": 0.0}, task_seconds=1e6) as world:
        subject = _Subject(world, what="watch", runs=10_000)
        subject.until_ready()
        world.write("PATCH", "settings", {"quota_scale": 1.0, "latencies": {"*": 0.02}})
        world.write("POST", "reset")
        subject.begin()
        figures = subject.report()
        seen = _seen(world)
    return {
        **figures,
        **seen,
        "calls_per_second": seen["calls"]["DescribeTasks"] / figures["seconds"],
        "cores": figures["cpu_seconds"] / figures["seconds"],
    }


@dataclass(frozen=True)
class Measurement:
    """A measurement by name, and what it does in words."""

    name: str
    words: str
    measure: Callable[[], Figures]


_ALL = (
    Measurement(
        "deployments-20",
        "20 deployments of one block, 5 cold runs each, at once",
        lambda: _runs("pinned", 100, deployments=20),
    ),
    Measurement("vcpu-6", "a vCPU quota for 6 at once, 60 runs of 5 s", _six_vcpus),
    Measurement("processes-3", "3 processes x 200 cold runs, one account", _three_processes),
    Measurement("watch-10000", "10,000 live tasks, polled every 10 s, for 60 s", _watched),
    Measurement(
        "pinned-1", "one run, for what a process costs", lambda: _runs("pinned", 1, seconds=5)
    ),
    Measurement(
        "pinned-1000-x5",
        "1,000 cold runs of 30 s, all quotas x 5",
        lambda: _runs("pinned", 1000, 5.0),
    ),
    Measurement("pinned-50", "50 cold runs of 30 s", lambda: _runs("pinned", 50)),
    Measurement(
        "pinned-1000",
        "1,000 cold runs of 60 s",
        lambda: _runs("pinned", 1000, seconds=LONG_RUN_SECONDS),
    ),
    Measurement("pinned-200", "200 cold runs of 30 s", lambda: _runs("pinned", 200)),
    Measurement(
        "pinned-200-unlogged",
        "200 cold runs of 30 s, PREFECT_LOGGING_LEVEL=WARNING",
        lambda: _runs("pinned", 200, log_level="WARNING"),
    ),
    Measurement(
        "plain-1",
        "ECSTask: one run, family warm",
        lambda: _runs("plain", 1, warm=True, seconds=5),
    ),
    Measurement(
        "plain-50", "ECSTask: 50 runs of 30 s, family warm", lambda: _runs("plain", 50, warm=True)
    ),
    Measurement(
        "plain-200",
        "ECSTask: 200 runs of 30 s, family warm",
        lambda: _runs("plain", 200, warm=True),
    ),
    Measurement(
        "worker-1",
        "worker: one run, for what a process costs",
        lambda: _runs("worker", 1, seconds=5),
    ),
    Measurement("worker-50", "worker: 50 cold runs of 30 s", lambda: _runs("worker", 50)),
    Measurement("worker-200", "worker: 200 cold runs of 30 s", lambda: _runs("worker", 200)),
    Measurement(
        "worker-200-warm",
        "worker: 200 runs of 30 s, family warm",
        lambda: _runs("worker", 200, warm=True),
    ),
    Measurement(
        "worker-1000",
        "worker: 1,000 cold runs of 60 s",
        lambda: _runs("worker", 1000, seconds=LONG_RUN_SECONDS),
    ),
    Measurement(
        "worker-deployments-20",
        "worker: 20 deployments of one pool, 5 cold runs each, at once",
        lambda: _runs("worker", 100, deployments=20),
    ),
    Measurement(
        "ecsworker-1",
        "ECSWorker: one run, family warm",
        lambda: _runs("ecsworker", 1, warm=True, seconds=5),
    ),
    Measurement(
        "ecsworker-200", "ECSWorker: 200 cold runs of 30 s", lambda: _runs("ecsworker", 200)
    ),
    Measurement(
        "ecsworker-200-best",
        "ECSWorker: 200 runs of 30 s, family warm, all quotas × 100",
        lambda: _runs("ecsworker", 200, 100.0, warm=True),
    ),
    Measurement(
        "ecsworker-deployments-20",
        "ECSWorker: 20 deployments of one pool, 5 cold runs each, at once",
        lambda: _runs("ecsworker", 100, deployments=20),
    ),
)


def _queued(kind: str, database: str, what: str) -> Measurement:
    called = {"sqlite": "SQLite", "postgres": "PostgreSQL"}[database]
    measured, does = (kind, "") if what == "pinned" else (f"{kind}-floor", " that launches nothing")
    if what == "pinned" and FACES[kind].advised:
        does = " with the advised settings"
    return Measurement(
        f"e2e-{measured}-{database}",
        f"a real {kind}{does}, a real server on {called}: 1,000 queued runs",
        lambda: end_to_end(kind, database, what),
    )


#: Each after its floor: the same without what this package does.
_END_TO_END = [
    _queued(kind, database, what)
    for kind in ("agent", "worker")
    for database in ("postgres", "sqlite")
    for what in ("idle", "pinned")
]

MEASUREMENTS: Mapping[str, Measurement] = {m.name: m for m in (*_ALL, *_END_TO_END)}


def per_run(measured: dict[str, Figures]) -> None:
    """Add what each run beyond a process's first one costs.

    The first run of a process reads AWS's service models and makes a session and clients, 40 MB
    and a third of a second of CPU; that belongs to the process and is measured by itself.
    """
    for name, figures in measured.items():
        base = measured.get(f"{name.partition('-')[0]}-1")
        if base is None or figures is base or "settled_kb" not in figures:
            continue
        runs = figures["runs"]
        cpu = (figures["cpu_seconds"] - base["cpu_seconds"]) / (runs - 1)
        figures["cpu_ms_per_run"] = 1000 * cpu
        figures["memory_kb_per_run"] = (figures["peak_kb"] - base["settled_kb"]) / runs
