"""The tasks of flow runs, found among those that ECS describes.

A task is a run's if its overrides contain the run's id, or its ``startedBy`` is that. It is of the
newest attempt if they contain the id of the newest claim. An attempt of a worker of another kind
does not have one: then every task of the run that lives counts.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from prefect.logging.loggers import get_logger

from prefect_ecs_pinned.aws.calls.faults import Fault
from prefect_ecs_pinned.aws.loop.bounded import in_batches
from prefect_ecs_pinned.core.arn import TaskIdentifier
from prefect_ecs_pinned.core.request import submission_ids
from prefect_ecs_pinned.worker.pool_jobs import Job
from prefect_ecs_pinned.worker.pool_runs import PoolRun

Task = Mapping[str, Any]

#: API_DescribeTasks, "tasks": up to 100.
_DESCRIBE_TASKS = 100

#: So many runs of a family are looked for one by one; more by the family's tasks.
_ONE_BY_ONE = 10

#: Variable by which a flow run's process identifies itself (prefect 3.9).
_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"

logger = get_logger("workers.pinned-ecs.adopting")


def is_newest_attempt(run: PoolRun, task: Task) -> bool:
    """Whether a run's task is of its newest attempt, as far as both say."""
    ids = submission_ids(task)
    if run.claim and ids:
        return run.claim in ids
    return not run.claim or not ids


def is_task_of(run: PoolRun, task: Task) -> bool:
    """Whether a task is of the newest attempt at a run; see above."""
    if not (task.get("startedBy") == str(run.id) or run.id in run_ids(task)):
        return False
    if run.claim and submission_ids(task):
        return is_newest_attempt(run, task)
    return task.get("desiredStatus") == "RUNNING"


def run_ids(task: Task) -> frozenset[UUID]:
    """The flow runs whose ids are in the overrides of a described task."""
    found = set()
    for container in (task.get("overrides") or {}).get("containerOverrides") or ():
        for variable in container.get("environment") or ():
            if variable.get("name") == _RUN_VARIABLE:
                try:
                    found.add(UUID(str(variable.get("value"))))
                except ValueError:
                    continue
    return frozenset(found)


async def describe(
    runs: Iterable[tuple[PoolRun, Job]],
) -> dict[UUID, Task | None]:
    """The tasks that the pids of runs name: None where ECS has no task, nothing if it is unknown.

    Args:
        runs: With jobs of the Regions of their tasks.
    """
    groups: dict[tuple[int, str], list[tuple[PoolRun, Job, str]]] = defaultdict(list)
    for run, job in runs:
        cluster, arn = TaskIdentifier.parse(run.pid)
        groups[id(job.plane), cluster].append((run, job, arn))
    looks = (_describe(cluster, members) for (_, cluster), members in groups.items())
    return _together(await asyncio.gather(*looks))


async def _describe(
    cluster: str, members: Sequence[tuple[PoolRun, Job, str]]
) -> dict[UUID, Task | None]:
    """Of one cluster and its control plane, one call at a time."""
    found: dict[UUID, Task | None] = {}
    for batch in in_batches(members, _DESCRIBE_TASKS):
        try:
            tasks = await batch[0][1].plane.described(cluster, [arn for *_, arn in batch])
        except Fault as fault:
            logger.debug("Could not describe tasks in cluster %r: %s", cluster, fault)
            break
        described = {str(task.get("taskArn")): task for task in tasks}
        found.update((run.id, described.get(arn)) for run, _, arn in batch)
    return found


async def search(runs: Iterable[tuple[PoolRun, Job]]) -> dict[UUID, Task | None]:
    """Tasks of runs whose pid does not name them; see `describe` for what is returned."""
    groups: dict[tuple[int, str, str], list[tuple[PoolRun, Job]]] = defaultdict(list)
    for run, job in runs:
        groups[id(job.plane), job.cluster, job.family].append((run, job))
    return _together(await asyncio.gather(*map(_search, groups.values())))


async def _search(members: Sequence[tuple[PoolRun, Job]]) -> dict[UUID, Task | None]:
    """Of one family: by its tasks, or one by one. It ends with the first look that fails.

    Each look has been repeated for some seconds by then, and the next round is soon.
    """
    job = members[0][1]
    found: dict[UUID, Task | None] = {}
    try:
        if len(members) > _ONE_BY_ONE or not job.found_by_run:
            try:
                tasks = await job.plane.tasks_of(job.cluster, family=job.family)
                return {run.id: _task_of(run, tasks) for run, _ in members}
            except Fault as fault:
                if fault.passing or not job.found_by_run:
                    raise
        for run, _ in members:  # or there are too many tasks of the family to list them
            tasks = await job.plane.tasks_of(job.cluster, started_by=str(run.id))
            found[run.id] = _task_of(run, tasks)
    except Fault as fault:
        logger.debug("Could not look for tasks of family %r: %s", job.family, fault)
    return found


def _together(parts: Iterable[Mapping[UUID, Task | None]]) -> dict[UUID, Task | None]:
    """What was found by looks at the same time: those that fail do not keep others waiting."""
    return {run: task for part in parts for run, task in part.items()}


def _task_of(run: PoolRun, tasks: Sequence[Task]) -> Task | None:
    """A run's task among others: one that lives, if there are several."""
    own = [task for task in tasks if is_task_of(run, task)]
    own.sort(key=lambda task: task.get("desiredStatus") != "RUNNING")
    return next(iter(own), None)
