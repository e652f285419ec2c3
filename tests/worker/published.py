"""Base job templates that people have published for `ecs` pools, written anew with our own names.

Each stands for one that can be read at its address, and keeps what is particular in it: which
members the job configuration has and lacks, what is a placeholder and what is fixed, variables of
its own, types and defaults. Read in November 2026.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_aws.workers.ecs_worker import ECSWorker

ROLE = "arn:aws:iam::123456789012:role/execution"
TASK_ROLE = "arn:aws:iam::123456789012:role/task"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:flows-AbCdEf"
REVISION = "arn:aws:ecs:us-east-1:123456789012:task-definition/etl:7"
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/flows"

#: Of the block of credentials that templates refer to.
BLOCK_ID = "11111111-2222-3333-4444-555555555555"
BLOCK_REFERENCE = {"$ref": {"block_document_id": BLOCK_ID}}

NETWORK = {
    "subnets": ["subnet-1", "subnet-2"],
    "securityGroups": ["sg-1"],
    "assignPublicIp": "ENABLED",
}
PRIVATE = {**NETWORK, "assignPublicIp": "DISABLED"}

Template = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """One of them.

    Attributes:
        source: The address at which it can be read; of a few only their text is known.
        template: Ours, of the same structure.
        variables: A deployment's, as its authors give them.
        described: The revision that it names, as ECS describes it.
    """

    source: str
    template: Template
    variables: Mapping[str, Any] = field(default_factory=dict)
    described: Mapping[str, Any] | None = None


# -- parts -----------------------------------------------------------------------------------------


def placeholders(*names: str) -> dict[str, str]:
    """Members of the job configuration that are the variable of their name."""
    return {name: f"{{{{ {name} }}}}" for name in names}


def of_type(kind: str, default: Any = ..., **more: Any) -> dict[str, Any]:
    """A variable, as prefect-aws 0.4 writes its schema: without null."""
    return {"type": kind, **({} if default is ... else {"default": default}), **more}


def or_null(kind: str, default: Any = None, **more: Any) -> dict[str, Any]:
    """A variable, as prefect-aws 0.5 and later write it."""
    return {"anyOf": [{"type": kind}, {"type": "null"}], "default": default, **more}


TEXTS = of_type("object", additionalProperties={"type": "string"})
LAUNCH_TYPES = ["FARGATE", "EC2", "EXTERNAL", "FARGATE_SPOT"]
CREDENTIALS = {"allOf": [{"$ref": "#/definitions/AwsCredentials"}], "title": "AWS Credentials"}

#: Of prefect-aws 0.3 and 0.4, without strategies and secrets.
OLD_MEMBERS = (
    *("command", "env", "labels", "name", "aws_credentials", "configure_cloudwatch_logs"),
    *("cloudwatch_logs_options", "network_configuration", "stream_output"),
    *("task_start_timeout_seconds", "task_watch_poll_interval"),
    *("auto_deregister_task_definition", "vpc_id", "container_name", "cluster"),
    "match_latest_revision_in_family",
)
OLD_VARIABLES: dict[str, Any] = {
    **{name: of_type("string") for name in ("name", "command", "task_definition_arn", "family")},
    **{name: of_type("string") for name in ("container_name", "image", "cluster", "vpc_id")},
    "env": TEXTS,
    "labels": TEXTS,
    "aws_credentials": CREDENTIALS,
    "launch_type": of_type("string", "FARGATE", enum=LAUNCH_TYPES),
    "cpu": of_type("integer"),
    "memory": of_type("integer"),
    "task_role_arn": of_type("string"),
    "execution_role_arn": of_type("string"),
    "configure_cloudwatch_logs": of_type("boolean"),
    "cloudwatch_logs_options": TEXTS,
    "network_configuration": of_type("object"),
    "stream_output": of_type("boolean"),
    "task_start_timeout_seconds": of_type("integer", 300),
    "task_watch_poll_interval": of_type("number", 5),
    "auto_deregister_task_definition": of_type("boolean", False),
    "match_latest_revision_in_family": of_type("boolean", False),
}
CONTAINER = placeholders("image") | {"name": "{{ container_name }}"}
OVERRIDE = {
    "name": "{{ container_name }}",
    "command": "{{ command }}",
    "environment": "{{ env }}",
    "cpu": "{{ cpu }}",
    "memory": "{{ memory }}",
}
DEFINITION: dict[str, Any] = {
    "containerDefinitions": [CONTAINER],
    "cpu": "{{ cpu }}",
    "family": "{{ family }}",
    "memory": "{{ memory }}",
    "executionRoleArn": "{{ execution_role_arn }}",
}
REQUEST: dict[str, Any] = {
    "launchType": "{{ launch_type }}",
    "cluster": "{{ cluster }}",
    "overrides": {
        "containerOverrides": [OVERRIDE],
        "cpu": "{{ cpu }}",
        "memory": "{{ memory }}",
        "taskRoleArn": "{{ task_role_arn }}",
    },
    "tags": "{{ labels }}",
    "taskDefinition": "{{ task_definition_arn }}",
}


def default_with(defaults: Mapping[str, Any], **configuration: Any) -> Template:
    """The default template of the installed prefect-aws with other defaults, and other members."""
    template = copy.deepcopy(ECSWorker.get_default_base_job_template())
    for name, default in defaults.items():
        template["variables"]["properties"].setdefault(name, {})["default"] = default
    template["job_configuration"].update(configuration)
    return template


def with_variables(template: Template, **properties: Any) -> Template:
    """A template with more variables."""
    template["variables"]["properties"].update(properties)
    return template


def template_of(
    configuration: Mapping[str, Any], properties: Mapping[str, Any], **variables: Any
) -> Template:
    """A whole template."""
    return {
        "job_configuration": dict(configuration),
        "variables": {"type": "object", "properties": dict(properties), **variables},
    }


def default_values(properties: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    """Variables, some of which have a default."""
    given = {name: {**properties[name], "default": value} for name, value in values.items()}
    return {**properties, **given}


# -- the templates ---------------------------------------------------------------------------------

_ENTECHLOG = (
    "https://github.com/entechlog/orchestration-examples/blob/"
    "b1f1a8c9f726cbe49fed9b0dc8a7e239f82ce15e/prefect-demo-02/terraform/config/"
)
#: Terraform fills it in: network and cluster are fixed, the override's sizes are numbers, and the
#: defaults of sizes are text though their type is integer.
_FILLED_IN = {
    **placeholders(*OLD_MEMBERS),
    "network_configuration": PRIVATE,
    "vpc_id": "vpc-1",
    "cluster": "flows",
    "task_definition": {**DEFINITION, "executionRoleArn": ROLE},
    "task_run_request": {
        **REQUEST,
        "cluster": "flows",
        "enableExecuteCommand": True,
        "overrides": {
            "containerOverrides": [{**OVERRIDE, "cpu": 512, "memory": 1024}],
            "cpu": "{{ cpu }}",
            "memory": "{{ memory }}",
            "taskRoleArn": "{{task_role_arn}}",
        },
    },
}
_FILLED_IN_VARIABLES = default_values(
    OLD_VARIABLES,
    env={"STAGE": "prod", "PREFECT_TASK_DEFAULT_RETRIES": "5"},
    aws_credentials=BLOCK_REFERENCE,
    cluster="flows",
    image="prefecthq/prefect:3-python3.12",
    cpu="512",
    memory="1024",
    task_role_arn=TASK_ROLE,
    execution_role_arn=ROLE,
    vpc_id="vpc-1",
    network_configuration=PRIVATE,
)
_DATADOG_LABELS = {
    "com.datadoghq.ad.instances": '[{"host": "%%host%%"}]',
    "com.datadoghq.ad.init_configs": "[{}]",
}
_REGISTRY = {"credentialsParameter": "{{ registry_secret_arn }}"}


def _containers(*containers: Mapping[str, Any]) -> dict[str, Any]:
    definition = {**_FILLED_IN["task_definition"], "containerDefinitions": list(containers)}
    return {**_FILLED_IN, "task_definition": definition}


_SPOT_ONLY = (
    *("command", "env", "labels", "name", "cluster", "aws_credentials", "container_name"),
    *("configure_cloudwatch_logs", "cloudwatch_logs_options", "cloudwatch_logs_prefix"),
    *("network_configuration", "auto_deregister_task_definition"),
    *("match_latest_revision_in_family", "vpc_id", "execution_role_arn"),
)
_SPOT_REQUEST = {**REQUEST, "launchType": "FARGATE_SPOT"}

PUBLISHED: dict[str, Published] = {
    "labels for a monitor, filled in by Terraform": Published(
        _ENTECHLOG + "base_job_template.config",
        template_of(
            _containers({**CONTAINER, "dockerLabels": _DATADOG_LABELS}), _FILLED_IN_VARIABLES
        ),
    ),
    "a monitor beside the flow, with a key that is a variable": Published(
        _ENTECHLOG + "base_job_template_with_datadog.config",
        template_of(
            _containers(
                {
                    **CONTAINER,
                    "dockerLabels": _DATADOG_LABELS,
                    "repositoryCredentials": _REGISTRY,
                },
                {
                    "name": "datadog-agent",
                    "image": "datadog/agent:latest",
                    "cpu": 0,
                    "portMappings": [],
                    "essential": False,
                    "environment": [
                        {"name": "ECS_FARGATE", "value": "true"},
                        {"name": "DD_API_KEY", "value": "{{ dd_api_key }}"},
                    ],
                },
            ),
            {
                **_FILLED_IN_VARIABLES,
                "registry_secret_arn": of_type("string", SECRET),
                "dd_api_key": of_type("string", "key"),
            },
        ),
    ),
    "a private registry, sizes fixed": Published(
        _ENTECHLOG + "base_job_template_with_dkr_creds.config",
        template_of(
            {
                **_FILLED_IN,
                "task_definition": {
                    **_FILLED_IN["task_definition"],
                    "containerDefinitions": [{**CONTAINER, "repositoryCredentials": _REGISTRY}],
                    "cpu": 512,
                    "memory": 1024,
                },
                "task_run_request": {
                    **_FILLED_IN["task_run_request"],
                    "overrides": {
                        "containerOverrides": [{**OVERRIDE, "cpu": 512, "memory": 1024}],
                        "cpu": 512,
                        "memory": 1024,
                        "taskRoleArn": "{{task_role_arn}}",
                    },
                },
            },
            {**_FILLED_IN_VARIABLES, "registry_secret_arn": of_type("string", SECRET)},
        ),
    ),
    "secrets of the container, the API key twice": Published(
        "https://github.com/DanielRodriguezCiotti/isai-sourcing-pipeline/blob/"
        "0d87896fdb4614e8dc5d4f11f4d1a9502de41b39/"
        "terraform/modules/prefect_workpools/ecs-base-job-template.json.tpl",
        template_of(
            {
                **placeholders(
                    *("env", "name", "labels", "vpc_id", "cluster", "command", "container_name"),
                    *("aws_credentials", "prefect_api_key_secret_arn", "network_configuration"),
                    *("cloudwatch_logs_options", "configure_cloudwatch_logs"),
                    *("task_start_timeout_seconds", "auto_deregister_task_definition"),
                ),
                "task_definition": {
                    **DEFINITION,
                    "containerDefinitions": [
                        {
                            **CONTAINER,
                            "secrets": [
                                {"name": name, "valueFrom": f"{SECRET}:{key}::"}
                                for name, key in (
                                    ("GOOGLE_CREDENTIALS", "google"),
                                    ("PREFECT_API_KEY", "prefect-api-key"),
                                )
                            ],
                        }
                    ],
                },
                "task_run_request": REQUEST,
            },
            {
                **default_values(
                    OLD_VARIABLES,
                    cpu=1024,
                    memory=2048,
                    env={"STAGE": "prod"},
                    image="flows:1",
                    vpc_id="vpc-1",
                    cluster="flows",
                    command="prefect flow-run execute",
                    container_name="flow",
                    task_role_arn=TASK_ROLE,
                    execution_role_arn=ROLE,
                    network_configuration=NETWORK,
                    cloudwatch_logs_options={"awslogs-group": "/ecs/flows"},
                    configure_cloudwatch_logs=True,
                    aws_credentials=BLOCK_REFERENCE,
                ),
                "prefect_api_key_secret_arn": of_type("string", f"{SECRET}:prefect-api-key::"),
            },
            required=["aws_credentials"],
        ),
    ),
    "Spot only, no other variables allowed": Published(
        "https://github.com/forester-maker/prefect-worker-templates/blob/"
        "a6f3a6cadb987d8935effed816087b1eaf337bdf/"
        "spot-only/ecs-spot-base-job-template.json",
        template_of(
            {
                **placeholders(*_SPOT_ONLY),
                "stream_output": True,
                "task_start_timeout_seconds": 300,
                "task_watch_poll_interval": 5.0,
                "task_definition": DEFINITION,
                "task_run_request": _SPOT_REQUEST,
            },
            {
                **{name: or_null("string") for name in ("name", "command", "image", "family")},
                **{name: or_null("string") for name in ("container_name", "task_definition_arn")},
                **{name: or_null("string") for name in ("task_role_arn", "vpc_id")},
                "cloudwatch_logs_prefix": or_null("string"),
                "env": of_type("object"),
                "labels": TEXTS,
                "cpu": or_null("integer", 1024),
                "memory": or_null("integer", 2048),
                "cluster": or_null("string", "prefect-spot"),
                "execution_role_arn": or_null("string", ROLE),
                "network_configuration": of_type("object"),
                "configure_cloudwatch_logs": or_null("boolean", False),
                "cloudwatch_logs_options": TEXTS,
                "auto_deregister_task_definition": of_type("boolean", False),
                "match_latest_revision_in_family": of_type("boolean", True),
                "aws_credentials": {"anyOf": [{"type": "object"}, {"type": "null"}]},
            },
            additionalProperties=False,
        ),
    ),
    "GPU: a capacity provider, no launch type, a revision of Pulumi": Published(
        "https://github.com/oscmcompany/fund/blob/3aa5445c86b9d8cc4250007736fc23f30f3417bf/"
        "tools/src/tools/build_work_pool_template.py",
        default_with(
            {
                "cluster": CLUSTER,
                "aws_credentials": BLOCK_REFERENCE,
                "capacity_provider_strategy": [{"capacityProvider": "models-gpu", "weight": 1}],
                "launch_type": None,
                "task_definition_arn": REVISION,
                "vpc_id": "vpc-1",
                "network_configuration": PRIVATE,
            },
            task_definition={
                **DEFINITION,
                "containerDefinitions": [
                    {
                        **CONTAINER,
                        "resourceRequirements": [{"type": "GPU", "value": "1"}],
                        "logConfiguration": {
                            "logDriver": "awslogs",
                            "options": {
                                "awslogs-group": "/ecs/models",
                                "awslogs-region": "us-east-1",
                                "awslogs-stream-prefix": "train",
                            },
                        },
                    }
                ],
            },
        ),
        described={
            "taskDefinitionArn": REVISION,
            "family": "etl",
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["EC2"],
            "containerDefinitions": [{"name": "prefect", "image": "trainer:7", "memory": 4096}],
        },
    ),
    "the definition is one variable": Published(
        "https://github.com/PrefectHQ/prefect/pull/20249",
        with_variables(
            default_with({}, task_definition="{{ task_definition }}"),
            task_definition=of_type("object", DEFINITION),
        ),
        {
            "task_definition": {
                "containerDefinitions": [
                    {
                        "name": "prefect",
                        "image": "flows:1",
                        "secrets": [{"name": "DB_PASSWORD", "valueFrom": SECRET}],
                    }
                ],
                "cpu": "512",
                "memory": "1024",
                "family": "flows",
                "executionRoleArn": ROLE,
            }
        },
    ),
    "requirements of the container are a variable": Published(
        "https://github.com/PrefectHQ/prefect/issues/18476",
        with_variables(
            default_with(
                {"launch_type": "EC2"},
                task_definition={
                    **DEFINITION,
                    "containerDefinitions": [
                        {
                            **CONTAINER,
                            "resourceRequirements": "{{ resource_requirements }}",
                            "dockerLabels": {"gpu": "{{ gpu }}"},
                        }
                    ],
                },
            ),
            gpu=or_null("string"),
            resource_requirements=of_type("array", []),
        ),
        {
            "image": "flows:1",
            "gpu": "1",
            "resource_requirements": [{"type": "GPU", "value": "1"}],
            "cpu": 1024,
            "memory": 2048,
        },
    ),
    "a shared file system": Published(
        "https://github.com/prefect-archive/prefect-aws/issues/382",
        default_with(
            {"image": "flows:1", "execution_role_arn": ROLE},
            task_definition={
                **DEFINITION,
                "containerDefinitions": [
                    {
                        **CONTAINER,
                        "mountPoints": [{"sourceVolume": "shared", "containerPath": "/mnt/shared"}],
                    }
                ],
                "volumes": [
                    {
                        "name": "shared",
                        "efsVolumeConfiguration": {
                            "fileSystemId": "fs-1",
                            "rootDirectory": "/",
                            "transitEncryption": "ENABLED",
                        },
                    }
                ],
            },
        ),
    ),
    "defaults that Terraform's provider merges in": Published(
        "a public Terraform configuration, known by its text only: base_job_configs.ecs, merged",
        default_with(
            {
                "cluster": "flows",
                "launch_type": "FARGATE",
                "cpu": 512,
                "memory": 1024,
                "task_role_arn": TASK_ROLE,
                "execution_role_arn": ROLE,
                "vpc_id": "vpc-1",
                "configure_cloudwatch_logs": True,
                "network_configuration": NETWORK,
                "match_latest_revision_in_family": True,
            }
        ),
        {"image": "flows:1"},
    ),
    "little more than an image, ARM": Published(
        "a public Terraform configuration, known by its text only: beside PrefectHQ/ecs-worker",
        template_of(
            {
                "env": "{{ env }}",
                "vpc_id": "vpc-1",
                "task_definition": {
                    "executionRoleArn": ROLE,
                    "containerDefinitions": [{"image": "{{ image }}", "name": "prefect"}],
                    "cpu": "{{ cpu }}",
                    "memory": "{{ memory }}",
                    "networkMode": "awsvpc",
                    "requiresCompatibilities": ["FARGATE"],
                    "runtimePlatform": {
                        "cpuArchitecture": "ARM64",
                        "operatingSystemFamily": "LINUX",
                    },
                },
                # Not a member of the configuration; Prefect ignores it.
                "vpc_configuration": {"subnets": ["subnet-1"], "security_group_ids": ["sg-1"]},
                "task_run_request": {
                    "cluster": "flows",
                    "launchType": "FARGATE",
                    "overrides": {
                        "containerOverrides": [{"cpu": "{{ cpu }}", "memory": "{{ memory }}"}]
                    },
                },
                "configure_cloudwatch_logs": "True",
            },
            {
                "image": of_type("string"),
                "cpu": of_type("integer", 1024),
                "memory": of_type("integer", 8192),
                "env": TEXTS,
            },
        ),
        {"image": "flows:1", "env": {"STAGE": "prod"}},
    ),
    "a strategy and a launch type, a prefix of log streams": Published(
        "a public template in JSON, known by its text only: awslogs-stream-prefix, base 1",
        default_with(
            {
                "capacity_provider_strategy": [
                    {"base": 1, "weight": 1, "capacityProvider": "FARGATE"}
                ],
                "cloudwatch_logs_options": {
                    "awslogs-stream-prefix": "my-flow",
                    "awslogs-create-group": "true",
                },
                "configure_cloudwatch_logs": True,
                "execution_role_arn": ROLE,
                "task_role_arn": TASK_ROLE,
            }
        ),
        {"image": "flows:1"},
    ),
    "what `prefect-aws ecs-worker deploy-service` sets": Published(
        "https://github.com/PrefectHQ/prefect/blob/main/"
        "src/integrations/prefect-aws/prefect_aws/_cli/utils.py",
        with_variables(
            default_with(
                {
                    "vpc_id": "vpc-1",
                    "cluster": CLUSTER,
                    "prefect_api_key_secret_arn": SECRET,
                    "execution_role_arn": ROLE,
                }
            ),
            # A default within the variable's schema, which Prefect does not apply.
            network_configuration=of_type(
                "object",
                properties={
                    "awsvpcConfiguration": {
                        "properties": {"subnets": {"default": ["subnet-1", "subnet-2"]}}
                    }
                },
            ),
        ),
        {"image": "flows:1"},
    ),
    "a revision for each deployment": Published(
        "https://github.com/PrefectHQ/prefect/issues/10458",
        default_with({"cluster": "flows"}),
        {"task_definition_arn": REVISION},
        described={
            "taskDefinitionArn": REVISION,
            "family": "etl",
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "512",
            "memory": "1024",
            "containerDefinitions": [{"name": "prefect", "image": "trainer:7"}],
        },
    ),
}

#: `ECSWorker` sends what ECS refuses: the network configuration is nested twice.
NESTED_TWICE = Published(
    "https://github.com/PrefectHQ/prefect/issues/13255",
    default_with(
        {
            "image": "flows:1",
            "vpc_id": "vpc-1",
            "network_configuration": {"awsvpcConfiguration": PRIVATE},
        }
    ),
)
