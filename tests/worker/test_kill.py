"""What Prefect asks a worker to kill, by the pid that it has stored."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound

from prefect_ecs_pinned.local import LocalECS
from prefect_ecs_pinned.worker import PinnedECSWorker
from prefect_ecs_pinned.worker.configuration import PinnedECSJobConfiguration
from tests.worker.jobs import POOL, edited, job

NEVER = 1000.0
TEMPLATE = PinnedECSWorker.get_default_base_job_template()


async def configuration(ecs: LocalECS, **variables: Any) -> Any:
    credentials = {
        "aws_access_key_id": ecs.access_key,
        "aws_secret_access_key": "local",
        "region_name": "us-east-1",
        "aws_client_parameters": {"endpoint_url": ecs.endpoint_url},
    }
    template = edited(TEMPLATE, {"aws_credentials": credentials})
    return await job(PinnedECSJobConfiguration, template, variables)


def task(ecs: LocalECS) -> str:
    """A task that lives; its ARN."""
    ecs.change(task_seconds=NEVER)
    definition = {
        "family": "kill",
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [{"name": "prefect", "image": "flows:1"}],
    }
    made = ecs.model.answer("RegisterTaskDefinition", definition, "us-east-1")
    revision = made["taskDefinition"]["taskDefinitionArn"]
    request = {"taskDefinition": revision, "launchType": "EC2"}
    return str(ecs.model.answer("RunTask", request, "us-east-1")["tasks"][0]["taskArn"])


async def test_a_task_is_stopped_wherever_the_configuration_points_by_now(ecs: LocalECS):
    """The pid says where it is. To stop it again changes nothing."""
    arn = task(ecs)
    moved = await configuration(ecs, cluster="another")
    for _ in range(2):
        await PinnedECSWorker(POOL).kill_infrastructure(f"default::{arn}", moved)
    described = ecs.model.answer("DescribeTasks", {"tasks": [arn]}, "us-east-1")
    assert described["tasks"][0]["desiredStatus"] == "STOPPED"


async def test_a_task_that_is_not_there_is_not_found(ecs: LocalECS):
    """To Prefect that is a success."""
    gone = task(ecs)[:-4] + "0000"
    with pytest.raises(InfrastructureNotFound, match="0000"):
        await PinnedECSWorker(POOL).kill_infrastructure(
            f"default::{gone}", await configuration(ecs)
        )


@pytest.mark.parametrize(
    "pid", ["local:4711", "", "default::arn:aws:ecs:eu-west-1:123456789012:task/default/1"]
)
async def test_what_is_not_ours_is_not_available(ecs: LocalECS, pid):
    """Another infrastructure's pid, or a task of another Region."""
    with pytest.raises(InfrastructureNotAvailable):
        await PinnedECSWorker(POOL).kill_infrastructure(pid, await configuration(ecs))
    assert ecs.calls.get("StopTask") is None
