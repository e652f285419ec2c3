"""What a functional test does and sees: deployments, flow runs, agents, and ECS's own numbers."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.operations.demo.stage import Stage
from tests.functional.commands import Commands

#: Seconds for anything to happen.
PATIENCE = 90.0

#: What an agent's log says of a run at its very end.
ENDS = (
    "exited successfully",
    "exited with non-zero exit code",
    "the task failed to start",
    "The flow run was cancelled",
)

#: Makes agents quick, and the server not too busy with them.
QUICK = {"PREFECT_AGENT_QUERY_INTERVAL": "2", "PREFECT_WORKER_QUERY_SECONDS": "2"}
ENGINE = {"PREFECT_EXPERIMENTAL_ENABLE_ENHANCED_CANCELLATION": "false"}


class World:
    """The stage of a demo, and hands to play on it."""

    def __init__(self, stage: Stage, commands: Commands) -> None:
        self.stage = stage
        self.commands = commands
        self.processes: dict[str, int] = {}

    def build(self, name: str, *options: str) -> None:
        """``prefect deployment build`` of the sleeper, by the command line."""
        command = [
            *("deployment", "build", "sleeper.py:sleeper", "-n", name, "-a"),
            *("--path", str(self.stage.flows), "--skip-upload"),
            *("--output", f"{name}.yaml", *options),
        ]
        self.commands.run(f"build-{name}", command)

    def agent(self, queue: str, settings: Mapping[str, str]) -> None:
        self._start(f"agent-{queue}", ("-p", "default-agent-pool", "-q", queue), settings)

    def worker(self, queue: str, settings: Mapping[str, str]) -> None:
        options = ("--type", "block", "-p", "pinned", "-q", queue)
        self._start(f"worker-{queue}", options, settings)

    def _start(self, name: str, options: Sequence[str], settings: Mapping[str, str]) -> None:
        command = [name.split("-")[0], "start", *options]
        self.processes[name] = self.commands.start(name, command, {**QUICK, **settings})

    def create_runs(self, deployment: str, number: int, **parameters: Any) -> list[str]:
        """IDs of new flow runs."""
        id_ = self.stage.api(f"deployments/name/sleeper/{deployment}")["id"]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        path = f"deployments/{id_}/create_flow_run"
        return [self.stage.api(path, body)["id"] for _ in range(number)]

    def flow_runs(self, ids: Sequence[str]) -> list[Any]:
        """Flow runs, in the order of their ids, by one call."""
        body = {"flow_runs": {"id": {"any_": list(ids)}}}
        found = {run["id"]: run for run in self.stage.api("flow_runs/filter", body)}
        return [found[id_] for id_ in ids]

    def states(self, ids: Sequence[str]) -> list[str]:
        return [run["state"]["type"] for run in self.flow_runs(ids)]

    def pids(self, ids: Sequence[str]) -> list[str | None]:
        """What Prefect knows of the infrastructure of flow runs."""
        return [run["infrastructure_pid"] for run in self.flow_runs(ids)]

    def logs(self, id_: str) -> str:
        body = {"logs": {"flow_run_id": {"any_": [id_]}}}
        return "\n".join(line["message"] for line in self.stage.api("logs/filter", body))

    def ended(self, ids: Sequence[str], saying: Sequence[str] = ENDS) -> int:
        """How many runs have come to their end in an agent or a worker, by their logs."""
        names = [run["name"] for run in self.flow_runs(ids)]
        logs = [self.stage.home / f"{name}.log" for name in self.processes]
        lines = [line for log in logs for line in log.read_text().splitlines()]
        said = [line for line in lines if any(end in line for end in saying)]
        return sum(any(f"{name!r}" in line for line in said) for name in names)

    def cancel(self, id_: str) -> None:
        """What ``prefect flow-run cancel`` does."""
        body = {"state": {"type": "CANCELLING"}}
        answer = self.stage.api(f"flow_runs/{id_}/set_state", body)
        assert answer["status"] == "ACCEPT", answer

    def change(self, **settings: Any) -> None:
        """Change settings of the embedded ECS."""
        request = self.stage.ecs_request("settings", "PATCH", settings)
        urllib.request.urlopen(request, timeout=60).close()

    def succeeded(self, action: str) -> int:
        """Calls of an action that ECS answered with what was asked for."""
        n = self.stage.ecs("calls").get(action, {"calls": 0, "throttled": 0, "errors": 0})
        return int(n["calls"] - n["throttled"] - n["errors"])

    def launches(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Tasks that were started for flow runs."""
        return [task for task in self.stage.ecs("launches") if task["flow_run_id"] in ids]

    def live(self) -> int:
        """Tasks that have not stopped."""
        by_status = self.stage.ecs("tasks")["by_status"]
        return sum(number for status, number in by_status.items() if status != "STOPPED")

    def until(self, what: Callable[[], Any], wanted: Any, ids: Sequence[str] = ()) -> None:
        """Wait until something has come true."""
        deadline = time.monotonic() + PATIENCE
        while (found := what()) != wanted:
            if time.monotonic() > deadline:
                logs = [self.stage.log_tail(path.stem) for path in self.stage.home.glob("*-*.log")]
                pages = [self.logs(id_) for id_ in ids]
                raise AssertionError("\n".join([f"{found} is not {wanted}", *pages, *logs]))
            time.sleep(0.5)
