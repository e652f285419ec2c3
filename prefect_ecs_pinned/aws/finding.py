"""Finding the task of a launch whose answer was lost.

A task is found by ``startedBy``, the flow run's id (API_ListTasks). One that lives does the flow
run's work, whoever launched it. One that has stopped may be of an earlier attempt of the same flow
run: it counts when it was created since the call whose answer was lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_ecs_pinned.aws.faults import Fault, Kind
from prefect_ecs_pinned.aws.ports import Clock, LaunchApi
from prefect_ecs_pinned.aws.retrying import patiently
from prefect_ecs_pinned.aws.submission import Submission
from prefect_ecs_pinned.core.task_state import FINAL, Snapshot, snapshot

#: Seconds between two looks: ListTasks is eventually consistent.
_SECOND_LOOK_SECONDS = 5.0

#: Seconds for which looking is tried while AWS does not answer.
_PATIENCE = 3600.0

#: How far in seconds this machine's clock may be off when a task's age is judged.
_CLOCK_SKEW = 60.0


async def find(submission: Submission, api: LaunchApi, clock: Clock) -> Snapshot | None:
    """The task of a submission; None when ECS knows none, twice.

    Raises:
        Fault: It cannot be known.
    """
    started_by = str(submission.request.get("startedBy") or "")
    if not started_by:
        raise Fault(Kind.REFUSED, "ListTasks", "", "the request has no startedBy")
    for pause in (0.0, _SECOND_LOOK_SECONDS):
        await clock.wait(pause)
        found = await patiently(
            lambda: api.tasks_started_by(submission.cluster, started_by), clock, _PATIENCE
        )
        ours = [task for task in found if _may_be_ours(task, submission)]
        if ours:
            return snapshot(min(ours, key=lambda task: task.get("lastStatus") in FINAL))
    return None


def _may_be_ours(task: Mapping[str, Any], submission: Submission) -> bool:
    created = task.get("createdAt")
    if task.get("lastStatus") not in FINAL or created is None:
        return True
    return bool(created.timestamp() >= submission.lost_since - _CLOCK_SKEW)
