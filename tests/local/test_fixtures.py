"""The pytest fixture, as somebody else's test would use it; and tasks that are executed."""

from __future__ import annotations

import sys
import time
from typing import Any

import boto3
import pytest

from prefect_ecs_pinned.local import LocalECS
from prefect_ecs_pinned.local.fixtures import local_ecs, local_ecs_settings  # noqa: F401


def definition(command: list[str], **container: Any) -> dict[str, Any]:
    logs = {
        "awslogs-group": "prefect",
        "awslogs-region": "us-east-1",
        "awslogs-stream-prefix": "test",
        "awslogs-create-group": "true",
    }
    return {
        "family": "test",
        "networkMode": "bridge",
        "containerDefinitions": [
            {
                "name": "prefect",
                "image": "any",
                "memory": 128,
                "command": command,
                "logConfiguration": {"logDriver": "awslogs", "options": logs},
                **container,
            }
        ],
    }


def run(ecs: Any, **overrides: Any) -> str:
    container = {"name": "prefect", **overrides}
    answer = ecs.run_task(
        taskDefinition="test",
        launchType="EC2",
        overrides={"containerOverrides": [container]},
    )
    arn: str = answer["tasks"][0]["taskArn"]
    return arn


def described(ecs: Any, arn: str, status: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        (task,) = ecs.describe_tasks(tasks=[arn])["tasks"]
        if task["lastStatus"] == status:
            return dict(task)
        time.sleep(0.05)
    raise AssertionError(f"{task['lastStatus']} is not {status}")


def test_a_task_runs_its_command_and_its_output_goes_to_its_stream(local_ecs: LocalECS) -> None:  # noqa: F811
    ecs, logs = boto3.client("ecs"), boto3.client("logs")
    ecs.register_task_definition(
        **definition(["never"], environment=[{"name": "A", "value": "1"}], entryPoint=["sh", "-c"])
    )
    arn = run(ecs, command=["echo $A $B; exit 3"], environment=[{"name": "B", "value": "2"}])
    task = described(ecs, arn, "STOPPED")
    assert task["containers"][0]["exitCode"] == 3
    assert task["stopCode"] == "EssentialContainerExited"
    stream = f"test/prefect/{arn.rsplit('/', 1)[-1]}"
    events = logs.get_log_events(logGroupName="prefect", logStreamName=stream)["events"]
    assert [event["message"] for event in events] == ["1 2"]


@pytest.mark.parametrize(
    ("command", "code"),
    [("trap 'exit 5' TERM; while :; do sleep 0.05; done", 5), ("exec sleep 60", 143)],
)
def test_stop_task_sends_sigterm_and_the_real_exit_code_is_reported(
    local_ecs: LocalECS,  # noqa: F811
    command: str,
    code: int,
) -> None:
    ecs = boto3.client("ecs")
    ecs.register_task_definition(**definition(["sh", "-c", f"echo up; {command}"]))
    arn = run(ecs)
    described(ecs, arn, "RUNNING")
    _first_line(arn)
    ecs.stop_task(task=arn, reason="enough")
    task = described(ecs, arn, "STOPPED")
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough")
    assert task["containers"][0]["exitCode"] == code


def _first_line(arn: str) -> None:
    """Wait until a task has printed something."""
    logs = boto3.client("logs")
    stream = f"test/prefect/{arn.rsplit('/', 1)[-1]}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if logs.get_log_events(logGroupName="prefect", logStreamName=stream)["events"]:
                return
        except logs.exceptions.ResourceNotFoundException:
            pass
        time.sleep(0.05)
    raise AssertionError("it never printed anything")


def test_a_secret_is_resolved_when_the_task_starts(local_ecs: LocalECS) -> None:  # noqa: F811
    ecs, secrets = boto3.client("ecs"), boto3.client("secretsmanager")
    secret = secrets.create_secret(Name="key", SecretString="hidden")["ARN"]
    there = {"name": "KEY", "valueFrom": secret}
    missing = {"name": "KEY", "valueFrom": secret.replace(":key-", ":none-")}
    shell = ["sh", "-c", "test $KEY = hidden"]
    ecs.register_task_definition(**definition(shell, secrets=[there]))
    assert described(ecs, run(ecs), "STOPPED")["containers"][0]["exitCode"] == 0
    ecs.register_task_definition(**definition(shell, secrets=[missing]))
    task = described(ecs, run(ecs), "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert "unable to retrieve secret" in task["stoppedReason"]
    assert "exitCode" not in task["containers"][0]


def test_a_command_uses_this_very_aws(local_ecs: LocalECS) -> None:  # noqa: F811
    """It has the access key, in its environment and nowhere else."""
    ecs = boto3.client("ecs")
    code = "import boto3, os; boto3.client('sts').get_caller_identity(); print(*os.environ)"
    ecs.register_task_definition(**definition([sys.executable, "-c", code]))
    task = described(ecs, run(ecs), "STOPPED")
    assert task["containers"][0]["exitCode"] == 0
    assert local_ecs.access_key not in str([task, local_ecs.launches, local_ecs.calls])


def test_a_command_that_does_not_exist(local_ecs: LocalECS) -> None:  # noqa: F811
    ecs = boto3.client("ecs")
    ecs.register_task_definition(**definition(["no-such-program"]))
    assert described(ecs, run(ecs), "STOPPED")["containers"][0]["exitCode"] == 127
