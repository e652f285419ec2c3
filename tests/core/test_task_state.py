"""What the end of a task means, from its description alone."""

from __future__ import annotations

import pytest

from prefect_ecs_pinned.core.task_state import Diagnosis, diagnose, goes_back, snapshot

ARN = "arn:aws:ecs:us-east-1:123456789012:task/default/0123"


def ended(reason="", code="EssentialContainerExited", **members):
    """A stopped task as ECS describes it; ``exit_code`` and ``reason`` of the Prefect container."""
    container = {"name": "prefect", "lastStatus": "STOPPED"}
    for name, key in (("exit_code", "exitCode"), ("container_reason", "reason")):
        if name in members:
            container[key] = members.pop(name)
    others = members.pop("others", [])
    task = {
        "taskArn": ARN,
        "clusterArn": "arn:aws:ecs:us-east-1:123456789012:cluster/default",
        "lastStatus": "STOPPED",
        "stopCode": code,
        "stoppedReason": reason,
        "containers": [*others, container],
        **members,
    }
    return diagnose(snapshot(task))


STARTED = {"startedAt": "2026-01-01T00:00:00Z"}

PULL = (
    "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve "
    "ref docker.io/library/nope:latest: docker.io/library/nope:latest: not found"
)
SECRETS = (
    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource "
    "retrieval failed: unable to retrieve secret from asm: AccessDeniedException"
)


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        (PULL, "check that the image exists"),
        ("CannotPullImageManifestError: Error response from daemon", "check that the image exists"),
        (SECRETS, "the execution role may read the secrets"),
        (
            "ResourceInitializationError: failed to validate logger args: create stream has been "
            "retried 1 times: failed to create Cloudwatch log stream",
            "logs:CreateLogStream",
        ),
        (
            "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS "
            "volumes: stderr: Failed to resolve",
            "mount targets",
        ),
        ("ResourceInitializationError: failed to configure ENI", "the execution role"),
        ("Timeout waiting for network interface provisioning to complete.", "free addresses"),
        (
            "Unexpected EC2 error while attempting to Create Network Interface with public IP "
            "assignment enabled in subnet 'subnet-0': InsufficientFreeAddressesInSubnet",
            "use more or larger subnets",
        ),
        (
            "Capacity is unavailable at this time. Please try again later or in a different "
            "availability zone",
            "more availability zones",
        ),
        ("CannotCreateContainerError: no space left on device", "free space"),
        ("DockerTimeoutError: Could not transition to started", "container instance"),
        (
            "CannotPullContainerError: inspect image has been retried 5 time(s): httpReaderSeeker: "
            "failed open: unexpected status code https://registry-1.docker.io/v2/x: 429 Too Many "
            "Requests - Server message: toomanyrequests: You have reached your pull rate limit. ",
            "the registry limits pulls",
        ),
        (
            "CannotPullContainerError: ref pull has been retried: 429 Too Many Req",
            "the image exists",
        ),
        ("CannotPullContainerError: toomanyrequests: Rate exceeded", "the registry limits pulls"),
        (
            "CannotPullContainerError: pull image manifest has been retried 7 time(s): image "
            "Manifest does not contain descriptor matching platform 'linux/amd64'.",
            "another CPU architecture",
        ),
        (
            "CannotPullContainerError: failed to find a descriptor for platform {linux/amd64}",
            "runtimePlatform",
        ),
        (
            "CannotPullContainerError: no matching manifest for linux/arm64/v8 in the manifest "
            "list entries",
            "docker build --platform",
        ),
        (
            'CannotStartContainerError: exec: "/usr/local/bin/prefect": exec format error',
            "another CPU architecture",
        ),
        (
            "CannotPullContainerError: failed to register layer: Error processing tar file(exit "
            "status 1): write /tmp/my_large_file: no space left on device",
            "ephemeralStorage",
        ),
        (
            "CannotPullContainerError: Error response from daemon: pull access denied for nope, "
            "repository does not exist or may require 'docker login'",
            "repositoryCredentials",
        ),
        (
            "CannotStartContainerError: Error response from daemon: OCI runtime create failed: "
            "container init was OOM-killed (memory limit too low?): unknown",
            "raise memory",
        ),
        ("ResourceInitializationError: unable to resolve prefs", "the execution role"),
    ],
)
def test_a_task_that_failed_to_start(reason, hint):
    """AWS's words, and what to do about them."""
    end = ended(reason, "TaskFailedToStart")
    assert end.failed_to_start
    assert end.exit_code is None
    assert end.summary == "the task failed to start (TaskFailedToStart)"
    assert end.detail == reason
    assert hint in end.hint


def test_a_command_that_the_image_does_not_have():
    """The reason stands on the container."""
    why = 'CannotStartContainerError: exec: "prefect": executable file not found in $PATH'
    end = ended("Essential container in task exited", container_reason=why)
    assert end.failed_to_start
    assert why in end.detail
    assert "check the command" in end.hint


def test_exit_one_at_once():
    """It ran, although nobody saw it RUNNING."""
    end = ended("Essential container in task exited", exit_code=1)
    assert end == Diagnosis(
        "the container exited with code 1", "Essential container in task exited", "", 1, False
    )


@pytest.mark.parametrize(
    ("code", "hint"),
    [(127, "not found"), (137, "SIGKILL"), (139, "segmentation"), (143, "SIGTERM")],
)
def test_exit_codes_that_say_something(code, hint):
    """By the shell's and the kernel's conventions."""
    assert hint in ended("Essential container in task exited", exit_code=code, **STARTED).hint


def test_out_of_memory_says_more_than_its_exit_code():
    """A reason goes before a code."""
    why = "OutOfMemoryError: Container killed due to memory usage"
    assert ended(container_reason=why, exit_code=137, **STARTED).hint == "raise memory"


@pytest.mark.parametrize(
    ("code", "reason", "hint"),
    [
        ("SpotInterruption", "Your Spot Task was interrupted.", "run on FARGATE"),
        ("SpotInterruption", "", "run on FARGATE"),
        ("TerminationNotice", "Host EC2 (instance i-0) terminated.", "retry the flow run"),
        ("InfrastructureHealth", "", "unhealthy"),
        ("UserInitiated", "Task stopped by user", "CloudTrail"),
    ],
)
def test_tasks_that_were_taken_away(code, reason, hint):
    """Without an exit code: it ran, and nobody knows how far."""
    end = ended(reason, code, **STARTED)
    assert (end.failed_to_start, end.exit_code) == (False, None)
    assert end.summary == f"the task stopped without an exit code ({code})"
    assert hint in end.hint


def test_a_success_has_no_hint():
    """Even if it was stopped afterwards."""
    end = ended("Task stopped by user", "UserInitiated", exit_code=0, **STARTED)
    assert (end.summary, end.hint) == ("the container exited successfully", "")


def test_a_sidecar_that_failed_is_named():
    """It ends the task of the Prefect container too."""
    sidecar = {"name": "datadog", "exitCode": 2}
    end = ended("Essential container in task exited", exit_code=143, others=[sidecar], **STARTED)
    assert end.detail == "Essential container in task exited; datadog exited 2"


OOM = "OutOfMemoryError: Container killed due to memory usage"


@pytest.mark.parametrize(
    ("sidecar", "said"),
    [
        ({"exitCode": 137, "reason": OOM}, f"datadog exited 137: {OOM}"),
        ({"exitCode": 0, "reason": OOM}, f"datadog exited 0: {OOM}"),
        ({"reason": PULL}, f"datadog: {PULL}"),
        ({"exitCode": None, "reason": PULL}, f"datadog: {PULL}"),
        ({"exitCode": 0}, None),
        ({}, None),
    ],
)
def test_the_reason_of_a_sidecar_is_in_the_message(sidecar, said):
    """With an exit code or without one; and the hint fits it."""
    why = "Essential container in task exited"
    end = ended(why, exit_code=143, others=[{"name": "datadog", **sidecar}], **STARTED)
    assert end.detail == (f"{why}; {said}" if said else why)
    hint = "raise memory" if said and OOM in said else "check that the image exists"
    assert (hint in end.hint) == bool(said)


def test_a_sidecar_that_cannot_be_pulled_keeps_the_flow_from_starting():
    """The flow's own container says nothing."""
    end = ended("Task failed to start", "TaskFailedToStart", others=[{"name": "x", "reason": PULL}])
    assert end.failed_to_start
    assert f"x: {PULL}" in end.detail


def test_a_reason_that_is_the_tasks_too_is_said_once():
    """ECS copies it."""
    assert ended(PULL, "TaskFailedToStart", container_reason=PULL).detail == PULL


def test_out_of_memory_with_exit_code_0():
    """A child of the flow's process was killed, and the process went on: the message says so."""
    end = ended("Essential container in task exited", exit_code=0, container_reason=OOM, **STARTED)
    assert (end.exit_code, end.hint) == (0, "raise memory")
    assert OOM in end.detail


@pytest.mark.parametrize("code", [137, 143])
@pytest.mark.parametrize(
    ("stop_code", "hint"),
    [
        ("SpotInterruption", "run on FARGATE"),
        ("TerminationNotice", "its instance went away"),
        ("InfrastructureHealth", "its host was unhealthy"),
    ],
)
def test_what_took_a_task_away_says_more_than_the_signal(code, stop_code, hint):
    """SIGTERM came with it."""
    assert hint in ended("", stop_code, exit_code=code, **STARTED).hint


def test_the_maintenance_of_fargate():
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-maintenance.html"""
    why = "ECS is performing maintenance on the underlying infrastructure hosting the task"
    assert "retired its host" in ended(why, "ServiceSchedulerInitiated", **STARTED).hint


@pytest.mark.parametrize(
    ("value", "code"),
    [("3", 3), ("x", None), (True, None), (2.0, 2), ([], None), (float("nan"), None), ("", None)],
)
def test_exit_codes_of_another_type(value, code):
    """Digits count; anything else is no exit code, and raises nothing."""
    assert ended("", exit_code=value, **STARTED).exit_code == code


@pytest.mark.parametrize("containers", [None, 5, "x", {}, [None, 1, "x", []], [{"name": None}]])
def test_containers_in_no_shape_that_ecs_has(containers):
    """As if there were none."""
    seen = snapshot({"taskArn": ARN, "lastStatus": "STOPPED", "containers": containers})
    assert (seen.exit_code, seen.container_reason, seen.other_exits) == (None, "", ())


@pytest.mark.parametrize(
    ("before", "now", "back"),
    [
        ("RUNNING", "PENDING", True),
        ("STOPPED", "RUNNING", True),
        ("DELETED", "STOPPED", True),
        ("RUNNING", "RUNNING", False),
        ("PENDING", "RUNNING", False),
        ("RUNNING", "NEW", False),
        ("NEW", "PENDING", False),
    ],
)
def test_a_task_never_goes_back(before, now, back):
    """Of a status that is not known nothing is assumed."""
    assert goes_back(before, now) == back


def test_an_exit_code_before_the_end_is_not_believed():
    """moto reports exitCode 0 while the container runs."""
    containers = [{"name": "prefect", "exitCode": 0}]
    task = {"taskArn": ARN, "lastStatus": "RUNNING", "containers": containers}
    assert snapshot(task).exit_code is None


def test_a_description_with_nothing_in_it():
    """Everything but the ARN may be absent."""
    end = diagnose(snapshot({"taskArn": ARN, "lastStatus": "STOPPED"}))
    assert end == Diagnosis("the task failed to start (no stop code)", "", "", None, True)
