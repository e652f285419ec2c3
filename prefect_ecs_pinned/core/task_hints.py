"""What helps when a task failed: by AWS's words, by exit code, by stopCode.

Sources: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html,
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_cannot_pull_image.html,
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-maintenance.html
"""

from __future__ import annotations

_RATE_LIMIT = (
    "the registry limits pulls: wait, log in to it (repositoryCredentials), or keep the image in "
    "ECR, for instance by a pull-through cache"
)
_ARCHITECTURE = (
    "the image is for another CPU architecture or operating system: build it for the task's "
    "(docker build --platform), or set runtimePlatform in the task definition"
)
_NO_SPACE = (
    "its disk has no free space: raise ephemeralStorage on Fargate; on EC2 use larger volumes, or "
    "remove old images (ECS_IMAGE_CLEANUP_INTERVAL); or make the image smaller"
)
_PULL_DENIED = (
    "check the image's name, and that the execution role may pull from ECR, or that "
    "repositoryCredentials fit its registry"
)
_SPOT = "run on FARGATE, or let Prefect retry the flow run"
_HOST_GONE = "its instance went away: let Prefect retry the flow run"

#: Fragment of a reason, in lower case -> what helps; the first match counts, so the more
#: specific one is first. A sample message is next to each.
BY_REASON = (
    # "CannotPullContainerError: inspect image has been retried 5 time(s): httpReaderSeeker: failed
    #  open: unexpected status code https://registry-1.docker.io/v2/...: 429 Too Many Requests -
    #  Server message: toomanyrequests: You have reached your pull rate limit. ..."
    # ECR Public: "... toomanyrequests: Rate exceeded" / "... toomanyrequests: Data limit exceeded"
    ("toomanyrequests", _RATE_LIMIT),
    ("429 too many requests", _RATE_LIMIT),
    ("pull rate limit", _RATE_LIMIT),
    # "CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest does
    #  not contain descriptor matching platform 'linux/amd64'."
    ("descriptor matching platform", _ARCHITECTURE),
    # "CannotPullContainerError: failed to find a descriptor for platform {linux/amd64}"
    ("descriptor for platform", _ARCHITECTURE),
    # "CannotPullContainerError: no matching manifest for linux/arm64/v8 in the manifest list
    #  entries" / "no match for platform in manifest: not found"
    ("no matching manifest for", _ARCHITECTURE),
    ("no match for platform", _ARCHITECTURE),
    # "standard_init_linux.go:228: exec user process caused: exec format error" / "exec
    #  /usr/local/bin/prefect: exec format error"
    ("exec format error", _ARCHITECTURE),
    # "CannotPullContainerError: failed to register layer: Error processing tar file(exit status 1):
    #  write /tmp/my_large_file: no space left on device" / "CannotCreateContainerError: ..."
    ("no space left on device", _NO_SPACE),
    # "CannotPullContainerError: Error response from daemon: pull access denied for nope, repository
    #  does not exist or may require 'docker login'"
    ("pull access denied", _PULL_DENIED),
    # "CannotPullContainerError: ... pull access denied ... no basic auth credentials"
    ("no basic auth credentials", _PULL_DENIED),
    # "CannotPullContainerError: ... failed to resolve ref ...: unexpected status from HEAD request
    #  to https://0123.dkr.ecr.us-east-1.amazonaws.com/v2/...: 403 Forbidden"
    ("403 forbidden", _PULL_DENIED),
    # "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve
    #  ref docker.io/library/nope:latest: docker.io/library/nope:latest: not found"
    # "CannotPullImageManifestError: ..." / "CannotPullECRContainerError: ..."
    ("cannotpull", "check that the image exists and that the subnets reach its registry"),
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
    (" efs ", "check the file system's mount targets, its security group and the access point"),
    # "ResourceInitializationError: ..."
    ("resourceinitializationerror", "check the execution role and the subnets' route to AWS"),
    # "Timeout waiting for network interface provisioning to complete."
    ("network interface provisioning", "try again; if it stays, check the subnets' free addresses"),
    # "Network interface provision complete error: ... InsufficientFreeAddressesInSubnet ..."
    ("insufficientfreeaddresses", "use more or larger subnets"),
    # "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment
    #  enabled in subnet 'subnet-0': InsufficientFreeAddressesInSubnet"
    ("unexpected ec2 error", "check the subnets and security groups, and the quota of interfaces"),
    # "Capacity is unavailable at this time. Please try again later or in a different availability
    #  zone"
    ("capacity is unavailable", "try again later, or use subnets in more availability zones"),
    # "OutOfMemoryError: Container killed due to memory usage"
    ("outofmemory", "raise memory"),
    # "CannotStartContainerError: ... OCI runtime create failed: ... container init was OOM-killed
    #  (memory limit too low?): unknown"
    ("oom-killed", "raise memory"),
    # "CannotStartContainerError: ... executable file not found in $PATH"
    ("cannotstartcontainer", "check the command, and that the image has it"),
    # "CannotCreateContainerError: ..." / "ContainerRuntimeError: ..."
    ("cannotcreatecontainer", "check volumes, mountPoints and the instance's free space"),
    ("containerruntime", "try again; if it stays, check the task definition's volumes and user"),
    # "DockerTimeoutError: Could not transition to started; timed out after waiting 3m0s"
    ("dockertimeouterror", "check the health of the container instance"),
    # "Task failed container health checks"
    ("container health checks", "check healthCheck in the task definition"),
    # "Your Spot Task was interrupted."
    ("spot task was interrupted", _SPOT),
    # "ECS is performing maintenance on the underlying infrastructure hosting the task"
    ("performing maintenance", "AWS retired its host: let Prefect retry the flow run"),
    # "Host EC2 (instance i-0123456789abcdef0) terminated." / "... stopped."
    ("host ec2", _HOST_GONE),
)

#: Exit code -> what helps, where no reason says more.
BY_CODE = {
    125: "the container could not be run: check the task definition",
    126: "the command cannot be executed: check that it is a program, for this architecture",
    127: "the command was not found: check the command, and that the image has it",
    137: "137 is SIGKILL: the task was stopped, or ran out of memory",
    139: "139 is a segmentation fault, within the flow or a library that it uses",
    143: "143 is SIGTERM: the task was stopped",
}

#: stopCode -> what helps, where neither reason nor exit code say more.
_BY_STOP_CODE = {
    "SpotInterruption": _SPOT,
    "TerminationNotice": _HOST_GONE,
    "InfrastructureHealth": "its host was unhealthy: let Prefect retry the flow run",
    "UserInitiated": "somebody stopped it: see the StopTask events of CloudTrail",
}

#: stopCodes that explain an exit code of a signal: SIGTERM and SIGKILL came with them.
_TAKEN_AWAY = frozenset({"SpotInterruption", "TerminationNotice", "InfrastructureHealth"})


def task_hint(reasons: str, exit_code: int | None, stop_code: str) -> str:
    """What a person can do about the end of a task; empty when nothing is known.

    Args:
        reasons: ``stoppedReason`` and the ``reason`` of its containers.
        exit_code: Of the Prefect container.
        stop_code: ``stopCode``.
    """
    lower = reasons.lower()
    for fragment, hint in BY_REASON:
        if fragment in lower:
            return hint
    if exit_code == 0:
        return ""
    if stop_code in _TAKEN_AWAY:
        return _BY_STOP_CODE[stop_code]
    return BY_CODE.get(exit_code or 0, "") or _BY_STOP_CODE.get(stop_code, "")
