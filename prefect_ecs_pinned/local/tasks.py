"""Tasks on a clock: their statuses follow from when things happened to them.

A task without a process needs no timer: asked for, it computes its state. Source:
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_ecs_pinned.local.settings import ACCOUNT_ID, Phases


@dataclass(eq=False)
class Task:
    """One task. All times are seconds on the model's clock; None has not happened.

    Attributes:
        arn: The task's ARN.
        cluster_arn: Its cluster's.
        definition: The revision it runs, as described.
        request: The RunTask request that started it.
        launch_type: FARGATE, EC2 or EXTERNAL.
        provider: Capacity provider, if it has one.
        created: When RunTask accepted it.
        phases: Durations of its statuses: those of that moment, whatever is set afterwards.
        instance: Number of its container instance, where instances have a size.
        held: Seconds in PROVISIONING on top of the usual, for instances to be added.
        process_started: When its process was started; only with a process.
        ended: When its container ended by itself, or is going to.
        exit_code: Of the Prefect container.
        stop_asked: When StopTask was called.
        stop_reason: StopTask's reason.
        failure: ``(stopCode, stoppedReason)`` of a task that never starts.
    """

    arn: str
    cluster_arn: str
    definition: Mapping[str, Any]
    request: Mapping[str, Any]
    launch_type: str
    provider: str | None
    created: float
    created_at: float
    phases: Phases
    has_process: bool = False
    held: float = 0.0
    process_started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    stop_asked: float | None = None
    stop_reason: str = ""
    failure: tuple[str, str] | None = None
    tags: list[dict[str, str]] = field(default_factory=list)
    instance: int | None = None

    @property
    def id(self) -> str:
        """The last part of its ARN."""
        return self.arn.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Moment:
    """The state of a task at one time."""

    status: str
    desired: str
    started: float | None
    stopped: float | None


def new_arn(region: str, cluster: str) -> str:
    """A new ARN of a task."""
    return f"arn:aws:ecs:{region}:{ACCOUNT_ID}:task/{cluster}/{uuid.uuid4().hex}"


def moment(task: Task, now: float, runtime: float) -> Moment:
    """The state of a task.

    Args:
        task: The task.
        now: Seconds on the model's clock.
        runtime: Seconds that a task without a process runs.
    """
    phases = task.phases
    provisioned = task.created + phases.provisioning + task.held
    pending_until = provisioned + phases.pending
    running_from: float | None = pending_until + phases.activating
    if task.has_process:
        started = task.process_started
        running_from = None if started is None else max(started, pending_until)
    ends = _ends(task, running_from, runtime)
    if ends is not None and now >= ends:
        return _ending(task, now, ends, running_from)
    desired = "RUNNING"
    if running_from is not None and now >= running_from:
        return Moment("RUNNING", desired, running_from, None)
    if now < provisioned:
        return Moment("PROVISIONING", desired, None, None)
    if now < pending_until or task.has_process:
        return Moment("PENDING", desired, None, None)
    return Moment("ACTIVATING", desired, None, None)


def _ends(task: Task, running_from: float | None, runtime: float) -> float | None:
    """When the task leaves RUNNING, or the way to it."""
    if task.failure is not None and running_from is not None and not task.has_process:
        natural: float | None = running_from
    elif task.has_process:
        natural = task.ended
    else:
        natural = None if running_from is None else running_from + runtime
    if task.stop_asked is None or (task.has_process and task.process_started is not None):
        return natural
    return task.stop_asked if natural is None else min(natural, task.stop_asked)


def _ending(task: Task, now: float, ends: float, running_from: float | None) -> Moment:
    phases = task.phases
    ran = task.failure is None and running_from is not None and running_from <= ends
    started = running_from if ran else None
    stopped = ends
    if ran:
        for status, seconds in (
            ("DEACTIVATING", phases.deactivating),
            ("STOPPING", phases.stopping),
        ):
            stopped += seconds
            if now < stopped:
                return Moment(status, "STOPPED", started, None)
    stopped += phases.deprovisioning
    if now < stopped:
        return Moment("DEPROVISIONING", "STOPPED", started, None)
    return Moment("STOPPED", "STOPPED", started, stopped)


def describe(
    task: Task, at: Moment, settled_code: int | None, epoch: Callable[[float], float]
) -> dict[str, Any]:
    """A task as DescribeTasks answers it (API_Task); on Fargate about 2.7 KB, as on AWS.

    Args:
        task: The task.
        at: Its state.
        settled_code: Exit code of a task without a process.
        epoch: From the model's clock to seconds since the epoch.
    """
    overrides = task.request.get("overrides") or {}
    definition = task.definition
    answer: dict[str, Any] = {
        "attachments": _attachments(task, at),
        "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
        "availabilityZone": "us-east-1a",
        "clusterArn": task.cluster_arn,
        "connectivity": "CONNECTED",
        "connectivityAt": task.created_at,
        "containers": [
            _container(task, at, c, settled_code) for c in definition["containerDefinitions"]
        ],
        "cpu": overrides.get("cpu") or definition.get("cpu", "256"),
        "createdAt": task.created_at,
        "desiredStatus": at.desired,
        "enableExecuteCommand": bool(task.request.get("enableExecuteCommand")),
        "group": task.request.get("group") or f"family:{definition['family']}",
        "healthStatus": "UNKNOWN",
        "lastStatus": at.status,
        "launchType": task.launch_type,
        "memory": overrides.get("memory") or definition.get("memory", "512"),
        "overrides": {"inferenceAcceleratorOverrides": [], **overrides},
        "platformFamily": "Linux",
        "platformVersion": "1.4.0",
        "taskArn": task.arn,
        "taskDefinitionArn": definition["taskDefinitionArn"],
        "version": 4,
        "ephemeralStorage": overrides.get("ephemeralStorage")
        or definition.get("ephemeralStorage")
        or {"sizeInGiB": 20},
    }
    if started_by := task.request.get("startedBy"):
        answer["startedBy"] = started_by
    if task.provider:
        answer["capacityProviderName"] = task.provider
    if at.started is not None:
        answer["startedAt"] = epoch(at.started)
        answer["pullStartedAt"] = answer["pullStoppedAt"] = answer["startedAt"]
    if at.desired == "STOPPED":
        answer["stoppingAt"] = task.created_at
        answer["stopCode"], answer["stoppedReason"] = _why_stopped(task, at)
    if at.stopped is not None:
        answer["executionStoppedAt"] = answer["stoppedAt"] = epoch(at.stopped)
    return answer


def _why_stopped(task: Task, at: Moment) -> tuple[str, str]:
    if task.failure is not None:
        return task.failure
    if task.stop_asked is not None:
        return "UserInitiated", task.stop_reason or "Task stopped by user"
    return "EssentialContainerExited", "Essential container in task exited"


def _container(
    task: Task, at: Moment, container: Mapping[str, Any], settled_code: int | None
) -> dict[str, Any]:
    name = container["name"]
    answer = {
        "containerArn": f"{task.cluster_arn.replace(':cluster/', ':container/')}/{task.id}/{name}",
        "taskArn": task.arn,
        "name": name,
        "image": container["image"],
        "imageDigest": "sha256:" + task.id * 2,
        "runtimeId": f"{task.id}-527074092",
        "lastStatus": "RUNNING" if at.status == "RUNNING" else "PENDING",
        "networkBindings": [],
        "networkInterfaces": [
            {"attachmentId": task.id, "privateIpv4Address": "10.0.0.12"},
        ],
        "healthStatus": "UNKNOWN",
        "cpu": str(container.get("cpu", 0)),
        "memory": str(container.get("memory", "")),
    }
    if at.desired == "STOPPED" and at.status in ("DEPROVISIONING", "STOPPED"):
        answer["lastStatus"] = "STOPPED"
        if at.started is not None:
            # A container that is killed by StopTask reports SIGKILL's code, or its own.
            code = task.exit_code
            answer["exitCode"] = code if code is not None else _settled(task, settled_code)
        elif task.failure is not None:
            answer["reason"] = task.failure[1]
    return answer


def _settled(task: Task, settled_code: int | None) -> int | None:
    return 137 if task.stop_asked is not None else settled_code


def _attachments(task: Task, at: Moment) -> list[dict[str, Any]]:
    if task.definition.get("networkMode") != "awsvpc":
        return []
    network = task.request.get("networkConfiguration", {}).get("awsvpcConfiguration", {})
    status = "ATTACHED" if at.status != "PROVISIONING" else "PRECREATED"
    return [
        {
            "id": task.id,
            "type": "ElasticNetworkInterface",
            "status": "DELETED" if at.status == "STOPPED" else status,
            "details": [
                {"name": "subnetId", "value": (network.get("subnets") or [""])[0]},
                {"name": "networkInterfaceId", "value": f"eni-{task.id[:17]}"},
                {"name": "macAddress", "value": "0a:00:00:00:00:01"},
                {"name": "privateDnsName", "value": "ip-10-0-0-12.ec2.internal"},
                {"name": "privateIPv4Address", "value": "10.0.0.12"},
            ],
        }
    ]
