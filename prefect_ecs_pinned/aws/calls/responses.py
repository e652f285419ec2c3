"""What is read of answers: that they are whole, and of tasks no more than is needed.

An answer without what every answer has is not AWS's: a proxy's page with status 200 is read by
botocore as an answer without members.

A described task is about 2.7 KB in a hundred members, and botocore walks through all of them:
17 ms of CPU for a hundred tasks, a tenth of a core and more for an agent that watches ten
thousand. Even of a task with three members it asks for all that it might have. `trim_tasks` reads
the tasks itself, and leaves the rest of an answer to botocore. It hangs on botocore's event before
parsing: a botocore without that event reads all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import orjson

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.calls.garbage import no_collections

#: botocore's events that are given the raw answer to a client's call. RunTask's has the same shape.
BEFORE_TASKS_ARE_READ = ("before-parse.ecs.DescribeTasks", "before-parse.ecs.RunTask")

#: Members of API_Task that are read: by `core.task_state` and by `launching`.
TASK_MEMBERS = (
    "taskArn",
    "clusterArn",
    "lastStatus",
    "capacityProviderName",
    "containerInstanceArn",
    "stopCode",
    "stoppedReason",
)

#: Those without information about a task that is RUNNING; a time costs as much as ten others.
TASK_TIMES = ("createdAt", "startedAt", "stoppedAt")

#: Members of API_Container that are read.
CONTAINER_MEMBERS = ("name", "exitCode", "reason")


def trim_tasks(
    response_dict: dict[str, Any],
    customized_response_dict: dict[str, Any] | None = None,
    **_: Any,
) -> None:
    """Read an answer's tasks; one that is not as expected is left for botocore to judge.

    An entry that is no object is left out, if there are others: botocore would refuse them all.

    Args:
        response_dict: botocore's ``status_code``, ``headers`` and ``body``, which loses its tasks.
        customized_response_dict: Members that botocore adds to what it reads, the tasks here. An
            older botocore does not have one: it reads all of an answer.
    """
    if response_dict.get("status_code") != 200 or customized_response_dict is None:
        return
    try:
        with no_collections():
            tasks, body = _read(response_dict["body"])
    except (ValueError, KeyError, TypeError):
        return
    response_dict["body"] = body
    customized_response_dict["tasks"] = tasks


def _read(body: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """The tasks of an answer, and the answer without them.

    Raises:
        ValueError: It is not JSON, or its tasks are not a list of objects.
        KeyError, TypeError: It has no tasks.
    """
    answer = orjson.loads(body)
    described = answer["tasks"]
    tasks = [_trimmed(task) for task in described if isinstance(task, dict)]
    if not isinstance(described, list) or (described and not tasks):
        raise ValueError("the tasks are not a list of objects")
    return tasks, orjson.dumps({**answer, "tasks": []})


def _trimmed(task: dict[str, Any]) -> dict[str, Any]:
    """A task's members that are read. One in no shape that ECS has concerns that task alone."""
    trimmed = {name: task[name] for name in TASK_MEMBERS if name in task}
    if trimmed.get("lastStatus") == "RUNNING":
        return trimmed
    for name in TASK_TIMES:
        if name in task:
            trimmed[name] = _time(task[name])
    if "overrides" in task:  # say which container is the Prefect container
        trimmed["overrides"] = task["overrides"]
    containers = task.get("containers")
    if isinstance(containers, list):
        trimmed["containers"] = [
            {name: container[name] for name in CONTAINER_MEMBERS if name in container}
            for container in containers
            if isinstance(container, dict)
        ]
    return trimmed


def _time(seconds: Any) -> Any:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc)
    except (TypeError, ValueError, OverflowError, OSError):
        return seconds


def member(answer: Mapping[str, Any], name: str, operation: str) -> Any:
    """A member that every answer has. Without it the answer is a proxy's page, or was cut short.

    Raises:
        Fault: It is not there: it is unknown what AWS did.
    """
    if name not in answer:
        code = "MalformedAnswer"
        raise Fault(Kind.OUTCOME_UNKNOWN, operation, code, f"an answer without {name!r}")
    return answer[name]


def items(answer: Mapping[str, Any], name: str, operation: str, of: type = Mapping) -> Any:
    """A member that is a list of objects, or ``of`` something else.

    Raises:
        Fault: It is not there, or something else: it is unknown what AWS did.
    """
    value = member(answer, name, operation)
    if not isinstance(value, list) or not all(isinstance(item, of) for item in value):
        code = "MalformedAnswer"
        raise Fault(Kind.OUTCOME_UNKNOWN, operation, code, f"an answer whose {name!r} is invalid")
    return value


@contextmanager
def reading(operation: str) -> Iterator[None]:
    """A block that asks AWS and reads the response: in a shape that AWS has not, it says nothing.

    Raises:
        Fault: As `unreadable`.
    """
    try:
        yield
    except Fault:
        raise
    except Exception as error:
        raise unreadable(error, operation) from error


def unreadable(error: Exception, operation: str) -> Fault:
    """An exception that says nothing of what AWS did; its text may quote the response."""
    text = f"a response that cannot be read ({type(error).__name__})"
    return Fault(Kind.OUTCOME_UNKNOWN, operation, "MalformedAnswer", text)
