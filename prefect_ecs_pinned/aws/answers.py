"""Answers with tasks in them, cut down to what is read of them before botocore takes them apart.

A described task is about 2.7 KB in a hundred members, and botocore walks through all of them:
17 ms of CPU for a hundred tasks, a tenth of a core and more for an agent that watches ten
thousand. `trim_tasks` leaves out what nobody reads; what is left, botocore reads as always. It
hangs on botocore's event before parsing: a botocore without that event reads all of it.
"""

from __future__ import annotations

from typing import Any

import orjson

#: botocore's events that are given the raw answer to a client's call. RunTask's has the same shape.
BEFORE_TASKS_ARE_READ = ("before-parse.ecs.DescribeTasks", "before-parse.ecs.RunTask")

#: Members of API_Task that are read: by `core.task_state` and by `launching`.
TASK_MEMBERS = (
    "taskArn",
    "clusterArn",
    "lastStatus",
    "capacityProviderName",
    "stopCode",
    "stoppedReason",
)

#: Those that tell nothing more of a task that is RUNNING; a time costs as much as ten others.
TASK_TIMES = ("createdAt", "startedAt")

#: Members of API_Container that are read.
CONTAINER_MEMBERS = ("name", "exitCode", "reason")


def trim_tasks(response_dict: dict[str, Any], **_: Any) -> None:
    """Shorten the body of an answer; one that is not as expected is left for botocore to judge.

    Args:
        response_dict: botocore's ``status_code``, ``headers`` and ``body``.
    """
    if response_dict.get("status_code") != 200:
        return
    try:
        answer = orjson.loads(response_dict["body"])
        answer["tasks"] = [_trimmed(task) for task in answer["tasks"]]
        response_dict["body"] = orjson.dumps(answer)
    except (ValueError, KeyError, TypeError, AttributeError):
        return


def _trimmed(task: dict[str, Any]) -> dict[str, Any]:
    trimmed = {name: task[name] for name in TASK_MEMBERS if name in task}
    if trimmed.get("lastStatus") == "RUNNING":
        return trimmed
    trimmed.update({name: task[name] for name in TASK_TIMES if name in task})
    if "containers" in task:
        trimmed["containers"] = [
            {name: container[name] for name in CONTAINER_MEMBERS if name in container}
            for container in task["containers"]
        ]
    return trimmed
