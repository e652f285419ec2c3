"""From a task to a process: its command, its environment, and where its output goes.

The Prefect container's command is run, with the entry point of the definition in front.
Sidecars are shown as running for as long as the task does, and are not run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prefect_ecs_pinned.local.model import EmbeddedECS
from prefect_ecs_pinned.local.moto_services import MotoServices
from prefect_ecs_pinned.local.runner import Command, Runner
from prefect_ecs_pinned.local.tasks import Task

#: The container whose command is run, unless the request overrides another one and not this.
PREFECT_CONTAINER = "prefect"


class Processes:
    """`model.Execution`: every task's command is a local process.

    Args:
        ecs: Is called when processes start and end.
        moto: Has secrets, and keeps logs.
        home: Where the processes have their directories.
        clients: Variables by which code inside of a task finds this AWS.
    """

    def __init__(
        self, ecs: EmbeddedECS, moto: MotoServices, home: Path, clients: Mapping[str, str]
    ) -> None:
        self._ecs = ecs
        self._moto = moto
        self._clients = dict(clients)
        self._logs: dict[str, Callable[[str], None]] = {}
        self._runner = Runner(ecs.settings.max_processes, home, self._output)

    def run(self, task: Task) -> None:
        """Start a task's command when its phases before RUNNING have passed."""
        delay = task.held + task.phases.provisioning + task.phases.pending
        asyncio.get_running_loop().call_later(delay, self._start, task)

    def _start(self, task: Task) -> None:
        """Start a task's process, once it has been provisioned."""
        if task.stop_asked is not None:
            return
        container = _container(task)
        override = _override(task.request, container["name"])
        argv = [
            *(container.get("entryPoint") or []),
            *(override.get("command") or container.get("command") or []),
        ]
        if log := self._log(task, container):
            self._logs[task.id] = log
        environment, missing = self._environment(container, override)
        if missing:
            reason = (
                "ResourceInitializationError: unable to pull secrets or registry auth: "
                f"unable to retrieve secret {missing}"
            )
            self._ecs.process_ended(task, None, reason)
            return
        if not argv:
            reason = "CannotStartContainerError: the container has no command"
            self._ecs.process_ended(task, None, reason)
            return

        def ended(exit_code: int | None, reason: str) -> None:
            self._logs.pop(task.id, None)
            self._ecs.process_ended(task, exit_code, reason)

        command = Command(task.id, argv, environment)
        self._runner.submit(command, lambda: self._ecs.process_started(task), ended)

    def stop(self, task: Task) -> None:
        """End a task's process: SIGTERM, then SIGKILL when its time is over."""
        container = _container(task)
        grace = container.get("stopTimeout") or self._ecs.settings.stop_seconds
        self._runner.stop(task.id, grace)

    async def close(self) -> None:
        """Kill everything."""
        await self._runner.close()

    def _environment(
        self, container: Mapping[str, Any], override: Mapping[str, Any]
    ) -> tuple[dict[str, str], str]:
        """The process's variables, and the ARN of the first secret that there is not."""
        environment = {
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            **self._clients,
        }
        for variable in container.get("environment") or []:
            environment[variable["name"]] = variable.get("value", "")
        for secret in container.get("secrets") or []:
            value = self._moto.secret(secret["valueFrom"])
            if value is None:
                return environment, secret["valueFrom"]
            environment[secret["name"]] = value
        for variable in override.get("environment") or []:
            environment[variable["name"]] = variable.get("value", "")
        return environment, ""

    def _log(self, task: Task, container: Mapping[str, Any]) -> Callable[[str], None] | None:
        logs = container.get("logConfiguration") or {}
        options = logs.get("options") or {}
        if logs.get("logDriver") != "awslogs":
            return None
        region = options.get("awslogs-region") or task.arn.split(":")[3]
        stream = f"{options.get('awslogs-stream-prefix')}/{container['name']}/{task.id}"
        group = options["awslogs-group"]
        return lambda line: self._moto.put_lines(region, group, stream, [line])

    def _output(self, task_id: str, line: str) -> None:
        if log := self._logs.get(task_id):
            log(line)


def _container(task: Task) -> Mapping[str, Any]:
    """The one container that is executed: that which the request overrides, `prefect` first."""
    defined = {c["name"]: c for c in task.definition["containerDefinitions"]}
    overrides = (task.request.get("overrides") or {}).get("containerOverrides") or []
    overridden = [o.get("name") for o in overrides]
    if PREFECT_CONTAINER in overridden:
        overridden = [PREFECT_CONTAINER]
    wanted = [*overridden, PREFECT_CONTAINER, *defined]
    return next(defined[name] for name in wanted if name in defined)


def _override(request: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    overrides = (request.get("overrides") or {}).get("containerOverrides") or []
    return next((o for o in overrides if o.get("name") == name), {})
