"""One measurement: runs that wait on a server, an agent or a worker that starts, and its cost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.queued import idle
from benchmarks.queued.databases import DATABASES
from benchmarks.queued.observed import Observed, busy_seconds, cpu_of
from benchmarks.queued.server import Server, states
from benchmarks.serving import World
from prefect_ecs_pinned import connections

_ROOT = Path(__file__).parents[2]

#: Seconds that tasks run: longer than any measurement, so that none ends meanwhile.
TASK_SECONDS = 3600.0

#: Seconds between two polls of an agent or a worker. By default a worker looks every 10 s, an
#: agent every 15, and a look brings 200 runs: 1,000 runs would wait for looks.
POLL_SECONDS = 5

#: Seconds between two looks at how many are launched, and without a launch until that is an end.
_LOOK_SECONDS = 0.25
_STALLED_SECONDS = 600.0

#: Seconds without a launch after which the server is asked how many can't be launched any more.
_QUIET_SECONDS = 30.0

#: Types of the states of those.
_LOST = ("CRASHED", "FAILED", "CANCELLED")

#: Seconds after the last launch in which Prefect stores identifiers.
_SETTLED_SECONDS = 60.0


@dataclass(frozen=True)
class Face:
    """An agent or a worker.

    Attributes:
        scripts: Where the commands of its version of Prefect are.
        command: What starts it.
        settings: Its settings, beside those of the server.
        advised: Those that this package advises to have; Prefect alone is measured without them.
    """

    scripts: Path
    command: Sequence[str]
    settings: dict[str, str]
    advised: dict[str, str] = field(default_factory=dict)


FACES = {
    "agent": Face(
        Path(sys.executable).parent,
        ["agent", "start", "-p", "default-agent-pool", "-q", "bench"],
        {"PREFECT_AGENT_QUERY_INTERVAL": str(POLL_SECONDS)},
        {connections.SETTING: connections.ENTRY_POINT},
    ),
    "worker": Face(
        _ROOT / ".venv3" / "bin",
        ["worker", "start", "--pool", "bench", "--name", "bench"],
        {"PREFECT_WORKER_QUERY_SECONDS": str(POLL_SECONDS)},
    ),
}


@dataclass
class Scene:
    """What stands before an agent or a worker is started."""

    server: Server
    world: World
    home: Path
    environment: dict[str, str]
    database_pid: int | None

    @property
    def idle_log(self) -> Path:
        return self.home / "idle.log"


@contextlib.contextmanager
def scene(face: Face, database: str, what: str, runs: int) -> Iterator[Scene]:
    """A server with flow runs that are due, and an ECS."""
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        (home / "found").mkdir()
        idle.make_findable(home / "found")
        (home / "idle.log").touch()
        url, database_pid = stack.enter_context(DATABASES[database](home))
        world = stack.enter_context(World(task_seconds=TASK_SECONDS))
        server = stack.enter_context(Server(face.scripts, home, url))
        environment = {
            **server.environment,
            **world.environment,
            "PYTHONPATH": os.pathsep.join([str(_ROOT), str(home / "found")]),
            idle.LOG: str(home / "idle.log"),
        }
        prepare = ["-m", "benchmarks.queued.prepare", what, str(runs)]
        subprocess.run(
            [str(face.scripts / "python"), *prepare],
            env={**environment, "PREFECT_CLIENT_MAX_RETRIES": "1"},
            check=True,
        )
        yield Scene(server, world, home, environment, database_pid)


def end_to_end(kind: str, database: str, what: str = "pinned", runs: int = 1000) -> dict[str, Any]:
    """Measure one.

    Args:
        kind: `agent` or `worker`.
        database: `sqlite` or `postgres`.
        what: `pinned`, or `idle` for what Prefect itself costs.
        runs: Flow runs that are queued.
    """
    face = FACES[kind]
    with scene(face, database, what, runs) as stage:
        world, server = stage.world, stage.server
        world.write("POST", "reset")
        costing = (server.pid, world.pid, stage.database_pid)
        locked = server.locked()
        before, busy = [cpu_of(pid) for pid in costing], busy_seconds()
        settings = {**face.settings, **(face.advised if what == "pinned" else {})}
        log = stage.home / "subject.log"
        with log.open("wb") as output:
            began = time.monotonic()
            process = subprocess.Popen(
                [str(face.scripts / "prefect"), *face.command],
                **{"env": {**stage.environment, **settings}, "start_new_session": True},
                **{"stdout": output, "stderr": output, "cwd": stage.home},
            )  # type: ignore[call-overload]
        observed = Observed(process.pid)
        try:
            _until_launched(stage, what, runs, process)
            own = cpu_of(process.pid)
            spent = [cpu_of(pid) - was for pid, was in zip(costing, before, strict=True)]
            seconds = time.monotonic() - began
            others = (busy_seconds() - busy - own - sum(spent)) / seconds
            found = _settled(server)
        finally:
            observed.end()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if keep := os.environ.get("BENCH_KEEP_LOGS"):
                _keep(stage, Path(keep), f"{kind}-{database}-{what}")
        figures = _launched(stage, what, began)
        return {
            **figures,
            "runs": runs,
            "poll_seconds": POLL_SECONDS,
            "states": states(found),
            "without_pid": sum(not run.get("infrastructure_pid") for run in found),
            "lost": runs - figures["launched"],
            "cpu_seconds": own,
            "peak_kb": observed.peak_kb,
            "threads": observed.threads,
            "server_cpu_seconds": spent[0] + spent[2],
            "ecs_cpu_seconds": spent[1],
            "others_cores": others,
            "load": os.getloadavg()[0],
            "locked": server.locked() - locked,
        }


def _count(stage: Scene, what: str) -> int:
    if what == "idle":
        return stage.idle_log.read_bytes().count(b"\n")
    calls = stage.world.read("calls").get("RunTask", {"calls": 0, "throttled": 0, "errors": 0})
    count: int = calls["calls"] - calls["throttled"] - calls["errors"]
    return count


def _until_launched(stage: Scene, what: str, runs: int, process: subprocess.Popen[bytes]) -> None:
    """Return when all are launched or lost, or none has been launched for minutes."""
    last, lost, since = 0, 0, time.monotonic()
    ask_at = since + _QUIET_SECONDS
    while last + lost < runs and time.monotonic() - since < _STALLED_SECONDS:
        if process.poll() is not None:
            raise RuntimeError((stage.home / "subject.log").read_text()[-4000:])
        time.sleep(_LOOK_SECONDS)
        if (now := _count(stage, what)) > last:
            last, since = now, time.monotonic()
            ask_at = since + _QUIET_SECONDS
        elif time.monotonic() > ask_at:
            lost = sum(_is_lost(run) for run in stage.server.flow_runs())
            ask_at = time.monotonic() + _QUIET_SECONDS


def _is_lost(flow_run: dict[str, Any]) -> bool:
    """Whether it has ended, and was never launched: it has no identifier."""
    ended = (flow_run.get("state") or {}).get("type") in _LOST
    return ended and not flow_run.get("infrastructure_pid")


def _settled(server: Server) -> list[dict[str, Any]]:
    """The flow runs, once all have their identifiers, or after a while."""
    deadline = time.monotonic() + _SETTLED_SECONDS
    while True:
        found = server.flow_runs()
        if all(run.get("infrastructure_pid") for run in found) or time.monotonic() > deadline:
            return found
        time.sleep(1)


def _launched(stage: Scene, what: str, began: float) -> dict[str, Any]:
    """When the flow runs were launched, and how often each."""
    if what == "idle":
        moments = sorted(float(line) for line in stage.idle_log.read_text().split())
        doubled = 0
    else:
        launches = stage.world.read("launches")
        moments = sorted(launch["at"] for launch in launches)
        counted = Counter(launch["flow_run_id"] for launch in launches)
        doubled = len(launches) - len(counted)
    return {
        "launched": len(moments) - doubled,
        "doubled": doubled,
        "first_seconds": moments[0] - began if moments else 0.0,
        "end_seconds": moments[-1] - began if moments else 0.0,
    }


def _keep(stage: Scene, directory: Path, name: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for log in (stage.home / "subject.log", stage.server.log):
        (directory / f"{name}-{log.name}").write_bytes(log.read_bytes())
