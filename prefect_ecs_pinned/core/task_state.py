"""A task as ECS describes it: what of it matters, and what its end means.

Sources: API_Task,
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html,
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect_ecs_pinned.core.fingerprint import PREFECT_CONTAINER

#: Statuses after which a task does not change any more.
FINAL = frozenset({"STOPPED", "DELETED"})

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
        exit_code: Of the Prefect container, None when it has none.
        container_reason: ``reason`` of the Prefect container, empty when it has none.
        other_exits: "name exited n" of other containers that failed.
        ran: Its containers were started: it has a ``startedAt``, or an exit code.
        instance: ARN of its container instance, empty on Fargate and as long as it has none.
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

    @property
    def final(self) -> bool:
        return self.status in FINAL

    @property
    def started(self) -> bool:
        """The task's containers run, or have run."""
        return self.ran or self.status == "RUNNING"


def snapshot(task: Mapping[str, Any]) -> Snapshot:
    """Take from a described task (API_Task) what matters."""
    final = task.get("lastStatus") in FINAL
    prefect: Mapping[str, Any] = {}
    others = []
    for container in task.get("containers") or []:
        if container.get("name") == PREFECT_CONTAINER:
            prefect = container
        elif container.get("exitCode"):
            others.append(f"{container.get('name')} exited {container['exitCode']}")
    provider = task.get("capacityProviderName")
    return Snapshot(
        task_arn=task["taskArn"],
        cluster_arn=task.get("clusterArn", ""),
        status=task.get("lastStatus", "UNKNOWN"),
        scales_out=bool(provider) and provider not in _FARGATE_PROVIDERS,
        stop_code=task.get("stopCode") or "",
        stopped_reason=task.get("stoppedReason") or "",
        exit_code=prefect.get("exitCode") if final else None,
        container_reason=prefect.get("reason") or "",
        other_exits=tuple(others),
        ran="startedAt" in task or prefect.get("exitCode") is not None,
        instance=task.get("containerInstanceArn") or "",
    )


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


#: Fragment of a reason -> what helps; the first match counts. A sample message stands beside each.
#: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
_HINTS = (
    # "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve
    #  ref docker.io/library/nope:latest: docker.io/library/nope:latest: not found"
    # "CannotPullImageManifestError: ..." / "CannotPullECRContainerError: ..."
    ("CannotPull", "check that the image exists and that the subnets reach its registry"),
    # "ResourceInitializationError: unable to pull secrets or registry auth: execution resource
    #  retrieval failed: unable to retrieve secret from asm: ..."
    (
        "unable to pull secrets",
        "check that the execution role may read the secrets and the registry, and that the subnets "
        "reach Secrets Manager, SSM and ECR",
    ),
    # "ResourceInitializationError: failed to validate logger args: create stream has been
    #  retried 1 times: failed to create Cloudwatch log stream: AccessDeniedException: ..."
    (
        "failed to validate logger args",
        "give the execution role logs:CreateLogStream, logs:CreateLogGroup and logs:PutLogEvents",
    ),
    # "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: ..."
    ("EFS", "check the file system's mount targets, its security group and the access point"),
    # "ResourceInitializationError: ..."
    ("ResourceInitializationError", "check the execution role and the subnets' way to AWS"),
    # "Timeout waiting for network interface provisioning to complete."
    ("network interface provisioning", "try again; if it stays, check the subnets' free addresses"),
    # "Network interface provision complete error: ... InsufficientFreeAddressesInSubnet ..."
    ("InsufficientFreeAddresses", "use more or larger subnets"),
    # "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment
    #  enabled in subnet 'subnet-0': InsufficientFreeAddressesInSubnet"
    ("Unexpected EC2 error", "check the subnets and security groups, and the quota of interfaces"),
    # "Capacity is unavailable at this time. Please try again later or in a different availability
    #  zone"
    ("Capacity is unavailable", "try again later, or use subnets in more availability zones"),
    # "OutOfMemoryError: Container killed due to memory usage"
    ("OutOfMemory", "raise memory"),
    # "CannotStartContainerError: ... executable file not found in $PATH"
    ("CannotStartContainer", "check the command, and that the image has it"),
    # "CannotCreateContainerError: ... no space left on device" / "ContainerRuntimeError: ..."
    ("CannotCreateContainer", "check volumes, mountPoints and the instance's free space"),
    ("ContainerRuntime", "try again; if it stays, check the task definition's volumes and user"),
    # "DockerTimeoutError: Could not transition to started; timed out after waiting 3m0s"
    ("DockerTimeoutError", "check the health of the container instance"),
    # "Task failed container health checks"
    ("container health checks", "check healthCheck in the task definition"),
    # "Your Spot Task was interrupted."
    ("Spot Task was interrupted", "run on FARGATE, or let Prefect retry the flow run"),
    # "Host EC2 (instance i-0123456789abcdef0) terminated."
    ("Host EC2", "its instance went away: let Prefect retry the flow run"),
)

#: Exit code -> what helps, where no reason says more.
_HINTS_BY_CODE = {
    125: "the container could not be run: check the task definition",
    126: "the command cannot be executed: check that it is a program, for this architecture",
    127: "the command was not found: check the command, and that the image has it",
    137: "137 is SIGKILL: the task was stopped, or ran out of memory",
    139: "139 is a segmentation fault, within the flow or a library that it uses",
    143: "143 is SIGTERM: the task was stopped",
}

#: stopCode -> what helps, where neither reason nor exit code say more.
_HINTS_BY_STOP_CODE = {
    "SpotInterruption": "run on FARGATE, or let Prefect retry the flow run",
    "TerminationNotice": "its instance went away: let Prefect retry the flow run",
    "InfrastructureHealth": "its host was unhealthy: let Prefect retry the flow run",
    "UserInitiated": "somebody stopped it: see the StopTask events of CloudTrail",
}


def diagnose(end: Snapshot) -> Diagnosis:
    """Say what the end of a task means, from its description alone.

    Args:
        end: A snapshot whose status is final.
    """
    detail = "; ".join(
        part for part in (end.stopped_reason, end.container_reason, *end.other_exits) if part
    )
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
    hint = next((hint for fragment, hint in _HINTS if fragment in detail), "")
    if not hint and code != 0:
        hint = _HINTS_BY_CODE.get(code or 0, "") or _HINTS_BY_STOP_CODE.get(end.stop_code, "")
    return Diagnosis(summary, detail, hint, code, failed_to_start=never_ran)
