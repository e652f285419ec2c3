"""A line for each task that an embedded ECS starts, and one for each that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prefect_ecs_pinned.local.model import EmbeddedECS
from prefect_ecs_pinned.local.tasks import Task

#: Seconds between two looks. Tasks without a process end by the clock, so nobody announces it.
_LOOK_SECONDS = 0.2


class TaskLines:
    """Prints what happens to the tasks of a model; lives on the event loop that serves it.

    Args:
        model: The ECS.
        write: Called with each line.
    """

    def __init__(self, model: EmbeddedECS, write: Callable[[str], None]) -> None:
        self._model = model
        self._write = write
        self._seen = 0
        self._live: dict[str, Task] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    def look(self) -> None:
        """Print what has happened since the last look."""
        launches = self._model.launches
        if len(launches) < self._seen:  # the counters were reset
            self._seen = 0
        for launch in launches[self._seen :]:
            task = self._model.find(launch["taskArn"])
            if task is not None:
                self._live[task.arn] = task
                self._write(f"task {task.id} started: {_revision(task)} in {_cluster(task)}")
        self._seen = len(launches)
        for task in [task for task in self._live.values() if self._has_ended(task)]:
            del self._live[task.arn]
            self._write(f"task {task.id} ended: {self._how(task)}")

    def _has_ended(self, task: Task) -> bool:
        return self._model.moment(task).status in ("DEPROVISIONING", "STOPPED")

    def _how(self, task: Task) -> str:
        if task.failure is not None:
            return ": ".join(task.failure)
        code = task.exit_code
        if task.stop_asked is None:
            return f"exit code {self._model.settings.exit_code if code is None else code}"
        killed = 137 if code is None else code
        return f"stopped ({task.stop_reason or 'no reason given'}), exit code {killed}"


def _revision(task: Task) -> str:
    return str(task.definition["taskDefinitionArn"]).rsplit("/", 1)[-1]


def _cluster(task: Task) -> str:
    return f"cluster {task.cluster_arn.rsplit('/', 1)[-1]}"
