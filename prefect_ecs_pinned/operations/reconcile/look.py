"""One look at ECS: the live tasks, the stopped ones, those that the flow runs' pids name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from prefect_ecs_pinned.core.arn import TaskIdentifier
from prefect_ecs_pinned.operations.reconcile.evidence import Place
from prefect_ecs_pinned.operations.reconcile.facts import ByPid, Task
from prefect_ecs_pinned.operations.reconcile.flow_runs import Subject


@dataclass(frozen=True)
class Look:
    """What was seen in one account and Region.

    Attributes:
        place: The account and Region.
        live: Tasks that name a flow run.
        stopped: The same, of the last hour.
        by_pid: What became of the pids.
    """

    place: Place
    live: Sequence[Task]
    stopped: Sequence[Task]
    by_pid: Mapping[TaskIdentifier, Task | ByPid]


async def look_at(place: Place, subjects: Sequence[Subject]) -> Look:
    """Look at an account and Region, for these flow runs."""
    await place.look_around()
    live = await place.sightings("RUNNING")
    task_of = {task.snapshot.task_arn: task for task in live}
    pids = {s.pid for s in subjects if s.pid is not None and place.holds(s.pid)}
    by_pid: dict[TaskIdentifier, Task | ByPid] = {
        pid: task_of[pid.task_arn] for pid in pids if pid.task_arn in task_of
    }
    by_pid.update(await place.by_pid(pid for pid in pids if pid not in by_pid))
    stopped: Sequence[Task] = ()
    seen = {task.flow_run_id for task in live}
    if any(_lacks_task(s, by_pid) for s in subjects if str(s.id) not in seen):
        known = {pid.task_arn for pid, task in by_pid.items() if isinstance(task, Task)}
        stopped = await place.sightings("STOPPED", known)
    return Look(place, live, stopped, by_pid)


def _lacks_task(subject: Subject, by_pid: Mapping[TaskIdentifier, Task | ByPid]) -> bool:
    """Whether it may have a task that stopped before its pid was written."""
    if subject.pid is None:
        return not subject.foreign_pid
    return by_pid.get(subject.pid) is ByPid.MISSING


def tasks_by_run(looks: Sequence[Look]) -> dict[str, list[Task]]:
    """Flow run -> the tasks that name it."""
    found: dict[str, list[Task]] = {}
    for look in looks:
        for task in (*look.live, *look.stopped):
            found.setdefault(task.flow_run_id, []).append(task)
    return found


def look_up_pid(subject: Subject, looks: Sequence[Look]) -> tuple[ByPid, list[Task]]:
    """What became of the look-up of a flow run's pid, and the task if there is one."""
    if subject.foreign_pid:
        return ByPid.ELSEWHERE, []
    if subject.pid is None:
        return ByPid.NO_PID, []
    for look in looks:
        answer = look.by_pid.get(subject.pid)
        if isinstance(answer, Task):
            if as_uuid(answer.flow_run_id) not in (None, subject.id):
                return ByPid.ANOTHER, []
            return ByPid.FOUND, [answer]
        if answer is not None:
            return answer, []
    return ByPid.ELSEWHERE, []


def as_uuid(text: str) -> UUID | None:
    """The id of a flow run; None when the text is something else, as a ``startedBy`` may be."""
    try:
        return UUID(text)
    except ValueError:
        return None
