"""Base job templates of `ecs` pools, taken unchanged: the default one, and what people make of it.

The shapes are those of templates that are published in repositories and guides; names are ours.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from prefect.utilities.dockerutils import get_prefect_image_name
from prefect.utilities.schema_tools import is_valid_schema, validate
from prefect_aws.workers.ecs_worker import ECSWorker

from prefect_ecs_pinned.aws.pinning.registrable import make
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.runs.check import checked_request
from prefect_ecs_pinned.runs.revision import definition_spec
from prefect_ecs_pinned.worker import PinnedECSWorker
from prefect_ecs_pinned.worker.configuration import PinnedECSJobConfiguration
from prefect_ecs_pinned.worker.spec import _default_image, named_revision, run_spec
from prefect_ecs_pinned.worker.variable_texts import EXAMPLES, SHOWN
from prefect_ecs_pinned.worker.variables import PinnedECSVariables
from tests.worker.jobs import POOL, edited, flow_run, job

DEFAULT = ECSWorker.get_default_base_job_template()
ROLE = "arn:aws:iam::123456789012:role/execution"
SECRETS = "arn:aws:secretsmanager:us-east-1:123456789012:secret:etl-AbCdEf"
REVISION = "arn:aws:ecs:us-east-1:123456789012:task-definition/etl:7"
CONTAINER = {"name": "{{ container_name }}", "image": "{{ image }}"}
OVERRIDE = DEFAULT["job_configuration"]["task_run_request"]["overrides"]["containerOverrides"][0]
DESCRIBED = {
    "taskDefinitionArn": REVISION,
    "family": "etl",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "containerDefinitions": [{"name": "main", "image": "flows:7"}],
}


def with_definition(**members: Any) -> dict[str, Any]:
    return {"task_definition": {**DEFAULT["job_configuration"]["task_definition"], **members}}


def with_request(**members: Any) -> dict[str, Any]:
    return {"task_run_request": {**DEFAULT["job_configuration"]["task_run_request"], **members}}


DATADOG = {
    "name": "datadog-agent",
    "image": "public.ecr.aws/datadog/agent:latest",
    "essential": False,
    "environment": [{"name": "ECS_FARGATE", "value": "true"}],
    "secrets": [{"name": "DD_API_KEY", "valueFrom": SECRETS}],
    "portMappings": [{"containerPort": 8126, "protocol": "tcp"}],
    "healthCheck": {"command": ["CMD-SHELL", "agent health"], "interval": 30, "retries": 3},
}
ROUTER = {
    "name": "log_router",
    "image": "public.ecr.aws/aws-observability/aws-for-fluent-bit:stable",
    "essential": True,
    "firelensConfiguration": {"type": "fluentbit", "options": {"enable-ecs-log-metadata": "true"}},
}

EDITS: dict[str, dict[str, Any]] = {
    "default": {},
    "sidecar that collects metrics": with_definition(
        containerDefinitions=[
            {**CONTAINER, "dockerLabels": {"com.datadoghq.tags.env": "prod"}},
            DATADOG,
        ],
        executionRoleArn=ROLE,
    ),
    "secrets of Terraform": with_definition(
        containerDefinitions=[
            {
                **CONTAINER,
                "secrets": [
                    {"name": "API_KEY", "valueFrom": f"{SECRETS}:api-key::"},
                    {"name": "PREFECT_API_KEY", "valueFrom": f"{SECRETS}:prefect-api-key::"},
                ],
            }
        ],
        executionRoleArn=ROLE,
    ),
    "static network": with_request(
        networkConfiguration={
            "awsvpcConfiguration": {
                "subnets": ["subnet-1", "subnet-2"],
                "securityGroups": ["sg-1"],
                "assignPublicIp": "DISABLED",
            }
        }
    ),
    "logs through FireLens": with_definition(
        containerDefinitions=[
            {
                **CONTAINER,
                "logConfiguration": {"logDriver": "awsfirelens", "options": {"Name": "loki"}},
            },
            ROUTER,
        ],
        executionRoleArn=ROLE,
    ),
    "a file system": with_definition(
        containerDefinitions=[
            {**CONTAINER, "mountPoints": [{"sourceVolume": "efs", "containerPath": "/data"}]}
        ],
        volumes=[
            {
                "name": "efs",
                "efsVolumeConfiguration": {
                    "fileSystemId": "fs-1",
                    "transitEncryption": "ENABLED",
                    "authorizationConfig": {"accessPointId": "fsap-1", "iam": "ENABLED"},
                },
            }
        ],
    ),
    "ARM, more storage": {
        **with_definition(
            runtimePlatform={"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
            ephemeralStorage={"sizeInGiB": "{{ ephemeral_storage }}"},
        ),
        **with_request(platformVersion="LATEST"),
    },
    "GPU on EC2": {
        "task_definition": {
            "family": "gpu",
            "requiresCompatibilities": ["EC2"],
            "networkMode": "bridge",
            "containerDefinitions": [
                {
                    **CONTAINER,
                    "memoryReservation": 2048,
                    "resourceRequirements": [{"type": "GPU", "value": "1"}],
                    "linuxParameters": {"sharedMemorySize": 1024},
                }
            ],
        },
        **with_request(
            launchType="EC2",
            placementConstraints=[
                {"type": "memberOf", "expression": "attribute:ecs.instance-type == g4dn.xlarge"}
            ],
        ),
    },
    "prefect-aws 0.4": {
        "stream_output": "{{ stream_output }}",
        "task_start_timeout_seconds": "{{ task_start_timeout_seconds }}",
        "task_watch_poll_interval": "{{ task_watch_poll_interval }}",
        "prefect_api_auth_string_secret_arn": None,
        "task_run_request": {
            "tags": "{{ labels }}",
            "cluster": "{{ cluster }}",
            "launchType": "{{ launch_type }}",
            "taskDefinition": "{{ task_definition_arn }}",
            "overrides": {
                "cpu": "{{ cpu }}",
                "memory": "{{ memory }}",
                "taskRoleArn": "{{ task_role_arn }}",
                "containerOverrides": [OVERRIDE],
            },
        },
    },
    "capacity providers": with_request(
        launchType=None,
        capacityProviderStrategy=[
            {"capacityProvider": "FARGATE", "weight": 1, "base": 1},
            {"capacityProvider": "FARGATE_SPOT", "weight": 4, "base": 0},
        ],
    ),
    "a revision of Terraform": {
        "task_definition": {},
        **with_request(
            taskDefinition=REVISION,
            overrides={"containerOverrides": [{"environment": "{{ env }}"}]},
        ),
    },
    "static members": {
        **with_definition(family="etl", cpu="512", memory="1024", taskRoleArn=ROLE),
        **with_request(
            cluster="etl",
            count=1,
            group="prefect",
            propagateTags="TASK_DEFINITION",
            enableECSManagedTags=True,
            enableExecuteCommand=True,
            tags=[{"key": "team", "value": "data"}],
        ),
    },
}


async def accepted(template: dict[str, Any], **variables: Any) -> dict[str, Any]:
    """The request of a run of the template's pool, which is known to be acceptable."""
    before = copy.deepcopy(template)
    configuration = await job(PinnedECSJobConfiguration, template, variables)
    assert template == before
    described = DESCRIBED if named_revision(configuration) else None
    spec = run_spec(configuration, POOL, flow_run().id, "purple-cat", described)
    if described is not None:
        return checked_request(spec, Desired(described, "main"), REVISION, ["subnet-1"])
    return checked_request(spec, make(definition_spec(spec, "us-east-1")), None, ["subnet-1"])


@pytest.mark.parametrize("name", EDITS)
async def test_it_is_accepted_unchanged(name):
    """With variables of a deployment, and without any; the task is given its flow run."""
    template = edited(DEFAULT, EDITS[name])
    for variables in ({}, {"image": "flows:1", "env": {"A": "1"}, "labels": {"team": "etl"}}):
        request = await accepted(template, **variables)
        [own] = [
            override
            for override in request["overrides"]["containerOverrides"]
            if any(v["name"] == "PREFECT__FLOW_RUN_ID" for v in override["environment"])
        ]
        assert own["command"] == ["prefect", "flow-run", "execute"]
        assert not any(".io/deregister" in tag["key"] for tag in request["tags"])


def test_there_are_ten_besides_the_default():
    assert len(EDITS) > 10


def test_our_default_template_is_that_of_ecs_and_a_few_variables():
    """What a deployment sets for an `ecs` pool, it sets for ours."""
    ours = PinnedECSWorker.get_default_base_job_template()
    theirs = DEFAULT["variables"]["properties"]
    assert set(theirs) <= set(ours["variables"]["properties"])
    assert set(ours["variables"]["properties"]) - set(theirs) == {
        *("subnets", "security_groups", "assign_public_ip", "secrets", "registration"),
        *("launch_timeout_seconds", "task_start_timeout_seconds", "max_live_tasks"),
    }
    for name in ("task_definition", "task_run_request"):
        assert ours["job_configuration"][name] == DEFAULT["job_configuration"][name]


def test_variables_are_shown_in_an_order_and_with_a_description():
    """Each once; the server accepts no template that uses a variable which is not among them."""
    properties = PinnedECSWorker.get_default_base_job_template()["variables"]["properties"]
    assert list(properties) == list(SHOWN)
    assert [shown["position"] for shown in properties.values()] == list(range(len(SHOWN)))
    for name, shown in properties.items():
        assert 20 < len(shown["description"]) < 400, name
    assert set(properties) == set(PinnedECSVariables.model_fields)
    template = PinnedECSWorker.get_default_base_job_template()
    used = re.findall(r"{{ *(\w+) *}}", json.dumps(template["job_configuration"]))
    assert set(used) == set(properties)


@pytest.mark.parametrize("name", EXAMPLES)
async def test_the_example_of_a_variable_is_accepted(name):
    """By the schema that Prefect's server checks values with, and in a run's request."""
    template = PinnedECSWorker.get_default_base_job_template()
    schema = template["variables"]
    is_valid_schema(schema)
    [example] = schema["properties"][name]["examples"]
    validate({name: example}, schema, raise_on_error=True, ignore_required=True)
    needed = {"execution_role_arn": ROLE, "configure_cloudwatch_logs": True}
    await accepted(template, **needed, **{name: example})


async def test_old_templates_without_start_timeout_get_ours():
    """prefect-aws 0.7 writes 0; what somebody has set counts."""
    for given, expected in ((0, 600), (300, 300), (None, 600)):
        template = edited(DEFAULT, {"task_start_timeout_seconds": given})
        configuration = await job(PinnedECSJobConfiguration, template, {})
        assert run_spec(configuration, POOL).task_start_timeout_seconds == expected


def test_the_default_image_is_named_without_git(monkeypatch, tmp_path):
    """As Prefect names it; outside a repository `git` would print an error for each command."""
    expected = get_prefect_image_name()
    started = tmp_path / "started"
    git = tmp_path / "git"
    git.write_text(f"#!/bin/sh\n: > {started}\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    _default_image.cache_clear()
    assert _default_image() == expected
    assert not started.exists()


async def test_nothing_of_a_job_is_shown_that_may_be_a_secret():
    """Neither in its text, nor in the error of one that does not fit."""
    canary = "canary-4711"
    variables = {"env": {"TOKEN": canary}, "labels": {"a": canary}, "image": "flows:1"}
    configuration = await job(PinnedECSJobConfiguration, DEFAULT, variables)
    assert canary not in repr(configuration)
    assert canary not in str(configuration)
    with pytest.raises(ValueError, match="launch_timeout_seconds") as caught:
        PinnedECSJobConfiguration(
            task_definition={"a": 1}, env={"A": canary}, launch_timeout_seconds=canary
        )
    assert canary not in str(caught.value)
