"""Looking for the task of a launch whose answer was lost.

A task is the submission's if its overrides carry the submission's random id; nothing else decides,
neither a clock nor ``startedBy`` nor a status (https://docs.aws.amazon.com/AmazonECS/latest/
APIReference/API_Task.html, "overrides"). Every request has one (`Launching.submit`), so a task
without an id is another's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.aws.calls.faults import Fault
from prefect_ecs_pinned.aws.calls.ports import Clock, LaunchApi
from prefect_ecs_pinned.aws.calls.responses import member, reading, unreadable
from prefect_ecs_pinned.aws.calls.retrying import retry
from prefect_ecs_pinned.aws.launching.outcomes import may_run
from prefect_ecs_pinned.aws.launching.submission import Submission
from prefect_ecs_pinned.core.arn import parse_revision
from prefect_ecs_pinned.core.reaction import Adopt, Look
from prefect_ecs_pinned.core.request import submission_ids
from prefect_ecs_pinned.core.task_state import Snapshot, snapshot

logger = logging.getLogger(__name__)

#: Seconds between two looks: ListTasks is eventually consistent.
_SECOND_LOOK_SECONDS = 5.0

#: Seconds for which looking is tried while AWS does not answer.
_PATIENCE = 3600.0


async def find(
    submission: Submission, reaction: Look | Adopt, api: LaunchApi, clock: Clock
) -> Snapshot | None:
    """The task that a call has started although its answer was lost; None: there is none.

    Raises:
        MayRun: That cannot be known.
    """
    try:
        if isinstance(reaction, Adopt):
            task = await retry(lambda: _named(submission, reaction.arn, api), clock)
        else:
            task = await _searched(submission, api, clock)
    except Exception as error:  # noqa: BLE001 - unknown: the task may run
        fault = error if isinstance(error, Fault) else unreadable(error, "DescribeTasks")
        logger.warning("%s: cannot look for its task: %s", submission.what(), fault)
        raise may_run(submission.what(), fault) from fault
    if task is None:
        submission.new_token()
    else:
        logger.info("Found the task of a launch whose answer was lost: %s", task.task_arn)
    return task


async def _named(submission: Submission, arn: str, api: LaunchApi) -> Snapshot | None:
    """The task that ECS names in a ConflictException; None when it is somebody else's.

    The token is the submission's own, so a task that cannot be described yet is its task as well.
    """
    with reading("DescribeTasks"):
        if (found := await api.find_task(submission.cluster, arn)) is None:
            return Snapshot(arn, submission.cluster, "PROVISIONING")
        return _own([found], submission)


async def _searched(submission: Submission, api: LaunchApi, clock: Clock) -> Snapshot | None:
    """The task of a submission; None when ECS finds none, twice."""
    for pause in (0.0, _SECOND_LOOK_SECONDS):
        await clock.wait(pause)
        if task := await retry(lambda: _look(submission, api), clock, _PATIENCE):
            return task
    return None


async def _look(submission: Submission, api: LaunchApi) -> Snapshot | None:
    """One look at those with the submission's own ``startedBy``, else at those of its family."""
    with reading("ListTasks"):
        if submission.started_by:
            tasks = await api.tasks_started_by(submission.cluster, submission.started_by)
        else:
            revision = parse_revision(str(submission.request["taskDefinition"]))
            tasks = await api.tasks_of_family(submission.cluster, revision.family)
        return _own(tasks, submission)


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
