"""An answer of DescribeTasks, taken apart so that one odd entry costs none of the others.

Source: API_DescribeTasks (``tasks``, ``failures``),
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_ecs_pinned.core.task_state import FINAL

#: ``reason`` of a failure: ECS does not know the task; or not yet, or not any more.
MISSING = "MISSING"


def by_arn(answer: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The tasks that an answer describes, by ``taskArn``; entries without one are left out.

    If a task is described more than once, one that has not ended counts: an end
    counts only when nothing contradicts it.

    Raises:
        ValueError: There is no list of tasks in it.
    """
    tasks = answer.get("tasks") if isinstance(answer, Mapping) else None
    if not isinstance(tasks, (list, tuple)):
        raise ValueError("an answer of DescribeTasks without a list of tasks")
    try:
        described = {task["taskArn"]: task for task in tasks}
        whole = len(described) == len(tasks) and set(map(type, tasks)) <= {dict}
    except (TypeError, LookupError):
        whole = False
    return described if whole else _carefully(tasks)


def _carefully(tasks: list[Any] | tuple[Any, ...]) -> dict[str, Mapping[str, Any]]:
    described: dict[str, Mapping[str, Any]] = {}
    for task in tasks:
        arn = task.get("taskArn") if isinstance(task, Mapping) else None
        if not isinstance(arn, str):
            continue
        if arn not in described or _ended(described[arn]):
            described[arn] = task
    return described


def _ended(task: Mapping[str, Any]) -> bool:
    status = task.get("lastStatus")
    return not isinstance(status, str) or status in FINAL


def reasons(answer: Mapping[str, Any]) -> dict[str, str]:
    """Why tasks are not described, by ARN: ``failures`` as "reason" or "reason (detail)"."""
    failures = answer.get("failures")
    if not isinstance(failures, (list, tuple)):
        return {}
    found: dict[str, str] = {}
    for failure in failures:
        arn = failure.get("arn") if isinstance(failure, Mapping) else None
        reason = failure.get("reason") if isinstance(failure, Mapping) else None
        if isinstance(arn, str) and isinstance(reason, str) and reason:
            detail = failure.get("detail")
            with_detail = reason != MISSING and isinstance(detail, str) and detail
            found[arn] = f"{reason} ({detail})" if with_detail else reason
    return found
