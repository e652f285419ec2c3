"""Looking for the task of a launch whose answer was lost.

A task is the submission's if its overrides carry the submission's random id; nothing else decides,
neither a clock nor ``startedBy`` nor a status (https://docs.aws.amazon.com/AmazonECS/latest/
APIReference/API_Task.html, "overrides"). Every request has one (`Launching.submit`), so a task
without an id is another's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.aws.calls.ports import Clock, LaunchApi
from prefect_ecs_pinned.aws.calls.responses import member, reading
from prefect_ecs_pinned.aws.calls.retrying import retry
from prefect_ecs_pinned.aws.launching.submission import Submission
from prefect_ecs_pinned.core.arn import parse_revision
from prefect_ecs_pinned.core.request import submission_ids
from prefect_ecs_pinned.core.task_state import Snapshot, snapshot

#: Seconds between two looks: ListTasks is eventually consistent.
_SECOND_LOOK_SECONDS = 5.0

#: Seconds for which looking is tried while AWS does not answer.
_PATIENCE = 3600.0


async def find(submission: Submission, api: LaunchApi, clock: Clock) -> Snapshot | None:
    """The task of a submission; None when ECS finds none, twice.

    It is searched for among those with the submission's own ``startedBy``, else among those of its
    task definition's family.

    Raises:
        Fault: It cannot be known.
    """
    cluster = str(submission.request.get("cluster") or "default")
    for pause in (0.0, _SECOND_LOOK_SECONDS):
        await clock.wait(pause)
        if task := await retry(lambda: _look(submission, cluster, api), clock, _PATIENCE):
            return task
    return None


async def _look(submission: Submission, cluster: str, api: LaunchApi) -> Snapshot | None:
    with reading("ListTasks"):
        return _own(await _candidates(submission, cluster, api), submission)


async def _candidates(
    submission: Submission, cluster: str, api: LaunchApi
) -> Sequence[Mapping[str, Any]]:
    if submission.started_by:
        return await api.tasks_started_by(cluster, submission.started_by)
    revision = parse_revision(str(submission.request["taskDefinition"]))
    return await api.tasks_of_family(cluster, revision.family)


async def named(submission: Submission, arn: str, api: LaunchApi, clock: Clock) -> Snapshot | None:
    """The task that ECS names in a ConflictException; None when it is somebody else's.

    The token is the submission's own, so a task that cannot be described yet is its task as well.

    Raises:
        Fault: It cannot be known.
    """
    cluster = str(submission.request.get("cluster") or "default")

    async def ask() -> Snapshot | None:
        with reading("DescribeTasks"):
            found = await api.find_task(cluster, arn)
            if found is None:
                return Snapshot(arn, cluster, "PROVISIONING")
            return _own([found], submission)

    return await retry(ask, clock)


def _own(tasks: Sequence[Mapping[str, Any]], submission: Submission) -> Snapshot | None:
    """The one of described tasks that a submission has started.

    Raises:
        Fault: The overrides of a task are missing, and it may be that one.
    """
    for task in tasks:
        if submission.id in submission_ids(task):
            return snapshot(task)
    for task in tasks:
        member(task, "overrides", "DescribeTasks")
    return None
