"""A task as ECS describes it: what of it matters, and what its end means.

Sources: API_Task,
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html,
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prefect_ecs_pinned.core.fingerprint import PREFECT_CONTAINER
from prefect_ecs_pinned.core.request import SUBMISSION_VARIABLE
from prefect_ecs_pinned.core.task_hints import task_hint

#: Statuses after which a task does not change any more.
FINAL = frozenset({"STOPPED", "DELETED"})

#: ``stopCode`` (API_Task) of tasks that were stopped from outside. The others mean that the task
#: did not start, that its own container ended, or that a service, which this is not, scaled in.
INTERRUPTIONS = frozenset(
    {"UserInitiated", "SpotInterruption", "TerminationNotice", "InfrastructureHealth"}
)

#: What an unreadable ``lastStatus`` is read as.
UNKNOWN_STATUS = "UNKNOWN"

#: The order in which a task passes through its statuses (task-lifecycle-explanation). It never
#: goes back: such an answer is an old one.
_ORDER = {
    status: place
    for place, status in enumerate(
        (
            "PROVISIONING",
            "PENDING",
            "ACTIVATING",
            "RUNNING",
            "DEACTIVATING",
            "STOPPING",
            "DEPROVISIONING",
            "STOPPED",
            "DELETED",
        )
    )
}

_FARGATE_PROVIDERS = ("FARGATE", "FARGATE_SPOT")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What has to be known of a described task. A hundredth of what ECS answers.

    Attributes:
        task_arn: The task's ARN.
        cluster_arn: Its cluster's ARN.
        status: ``lastStatus``.
        scales_out: It waits under a capacity provider for EC2 instances to be added.
        stop_code: ``stopCode``, empty until the task stops.
        stopped_reason: ``stoppedReason``, empty until the task stops.
        exit_code: Of the Prefect container, None when it does not have one.
        container_reason: ``reason`` of the Prefect container, empty when it does not have one.
        other_exits: How other containers failed: "name exited n", with its ``reason`` if it has
            one; "name: reason" of one without an exit code.
        ran: Its containers were started: it has a ``startedAt``, or an exit code.
        instance: ARN of its container instance, empty on Fargate and until it has one.
        stopped_at: ``stoppedAt`` in seconds since 1970; None until the task has stopped.
    """

    task_arn: str
    cluster_arn: str
    status: str
    scales_out: bool = False
    stop_code: str = ""
    stopped_reason: str = ""
    exit_code: int | None = None
    container_reason: str = ""
    other_exits: tuple[str, ...] = ()
    ran: bool = False
    instance: str = ""
    stopped_at: float | None = None

    @property
    def final(self) -> bool:
        """Whether nothing of it changes any more."""
        return self.status in FINAL

    @property
    def started(self) -> bool:
        """The task's containers run, or have run."""
        return self.ran or self.status == "RUNNING"


def goes_back(before: str, now: str) -> bool:
    """Whether a status comes before one that the task had; False for statuses not known here."""
    return now in _ORDER and before in _ORDER and _ORDER[now] < _ORDER[before]


def is_ending(status: str) -> bool:
    """Whether a task with this status stops, or has stopped."""
    return _ORDER.get(status, 0) > _ORDER["RUNNING"]


def snapshot(task: Mapping[str, Any]) -> Snapshot:
    """Take from a described task (API_Task) what matters.

    Members of a wrong type count as absent; an exit code may be text.

    Raises:
        KeyError: It has no ``taskArn``.
    """
    arn = _text(task["taskArn"])
    if not arn:
        raise KeyError("taskArn")
    status = _text(task.get("lastStatus")) or UNKNOWN_STATUS
    prefect: Mapping[str, Any] = {}
    others = []
    name = _prefect_container(task)
    for container in _containers(task):
        if container.get("name") == name:
            prefect = container
        elif failure := _failure(container):
            others.append(failure)
    provider = _text(task.get("capacityProviderName"))
    exit_code = _whole(prefect.get("exitCode"))
    return Snapshot(
        task_arn=arn,
        cluster_arn=_text(task.get("clusterArn")),
        status=status,
        scales_out=bool(provider) and provider not in _FARGATE_PROVIDERS,
        stop_code=_text(task.get("stopCode")),
        stopped_reason=_text(task.get("stoppedReason")),
        exit_code=exit_code if status in FINAL else None,
        container_reason=_text(prefect.get("reason")),
        other_exits=tuple(others),
        ran=task.get("startedAt") is not None or exit_code is not None,
        instance=_text(task.get("containerInstanceArn")),
        stopped_at=_moment(task.get("stoppedAt")) if status in FINAL else None,
    )


def _prefect_container(task: Mapping[str, Any]) -> str:
    """Name of the container that runs the flow: the launch has put the submission's id on it."""
    overrides = task.get("overrides")
    if isinstance(overrides, Mapping):
        for container in _mappings(overrides.get("containerOverrides")):
            for variable in _mappings(container.get("environment")):
                if variable.get("name") == SUBMISSION_VARIABLE:
                    return _text(container.get("name")) or PREFECT_CONTAINER
    return PREFECT_CONTAINER


def _containers(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return _mappings(task.get("containers"))


def _mappings(items: object) -> list[Mapping[str, Any]]:
    if not isinstance(items, (list, tuple)):
        return []
    return [item for item in items if isinstance(item, Mapping)]


def _failure(container: Mapping[str, Any]) -> str:
    """How a sidecar failed; empty when it did not."""
    name, reason = container.get("name"), _text(container.get("reason"))
    code = _whole(container.get("exitCode"))
    what = f"{name} exited {code}" if code or (reason and code is not None) else f"{name}"
    if reason:
        return f"{what}: {reason}"
    return what if code else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _moment(value: object) -> float | None:
    """A time as botocore gives it, in seconds since 1970."""
    return value.timestamp() if isinstance(value, datetime) and value.tzinfo else None


def _whole(value: object) -> int | None:
    """An exit code; a number, or digits."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True)
class Diagnosis:
    """What the end of a task means.

    Attributes:
        summary: One line.
        detail: AWS's own words, empty when it gave none.
        hint: What a person can do about it, empty when nothing is known.
        exit_code: Of the Prefect container; None when it never ran or did not report one.
        failed_to_start: The Prefect container never ran.
    """

    summary: str
    detail: str
    hint: str
    exit_code: int | None
    failed_to_start: bool


def was_interrupted(end: Snapshot) -> bool:
    """Whether a task was stopped from outside, and its container exited with 0."""
    return end.exit_code == 0 and end.stop_code in INTERRUPTIONS


def outcome_of(end: Snapshot) -> str:
    """The kind of a task's end: completed, failed, interrupted or not_started."""
    if not end.ran:
        return "not_started"
    if end.stop_code in INTERRUPTIONS:
        return "interrupted"
    return "completed" if end.exit_code == 0 else "failed"


def diagnose(end: Snapshot) -> Diagnosis:
    """Say what the end of a task means, from its description alone.

    Args:
        end: A snapshot whose status is final.
    """
    # ECS often gives a container's reason as the task's, too.
    own = "" if end.container_reason in end.stopped_reason else end.container_reason
    detail = "; ".join(part for part in (end.stopped_reason, own, *end.other_exits) if part)
    never_ran = not end.ran
    code = end.exit_code
    if never_ran:
        summary = f"the task failed to start ({end.stop_code or 'no stop code'})"
    elif code is None:
        summary = f"the task stopped without an exit code ({end.stop_code or 'no stop code'})"
    elif code == 0:
        summary = "the container exited successfully"
    else:
        summary = f"the container exited with code {code}"
    hint = task_hint(detail, code, end.stop_code)
    return Diagnosis(summary, detail, hint, code, failed_to_start=never_ran)
