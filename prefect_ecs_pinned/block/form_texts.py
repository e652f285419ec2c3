"""What the block's form says: sections, and the texts of the fields that are `ECSTask`'s.

Those of the block's own fields are in `fields`.

The texts are Markdown in one line. Each says what the field does, in which unit, and its default.
Headings of sections are plain text. How they are drawn is described in `form`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from prefect_ecs_pinned.block.fields import OWN, Shown


@dataclass(frozen=True)
class Section:
    """Fields under one heading.

    Attributes:
        title: The heading.
        description: What the fields have in common; plain text in one line.
        fields: The fields in the order in which they are shown.
    """

    title: str
    description: str
    fields: Mapping[str, Shown]


_WHERE = Section(
    "Where it runs",
    "AWS account, Region, cluster and capacity.",
    {
        "aws_credentials": Shown(
            "AWS Credentials",
            "Keys and Region for calls to ECS, from a saved AWS Credentials block. **Add** creates "
            "one. Saving this form removes credentials that were written inline from Python. "
            "Default: the agent's own.",
        ),
        "cluster": Shown(
            "Cluster",
            "Name or ARN of the ECS cluster. Default: the cluster named `default`.",
            "etl",
        ),
        "launch_type": OWN["launch_type"],
        "capacity_provider_strategy": OWN["capacity_provider_strategy"],
        "platform_version": OWN["platform_version"],
    },
)

_WHAT = Section(
    "What it runs",
    "Image and size. A new image registers one revision; a new size registers none.",
    {
        "image": Shown(
            "Image",
            "Image of the Prefect container, by tag or digest. Default: the task definition's "
            "image, or else `prefecthq/prefect` in the version of the agent's Prefect. With that "
            "default, each upgrade of the agent registers one revision.",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/etl:1.4.2",
        ),
        "cpu": Shown(
            "CPU",
            "CPU units; 1024 are one vCPU. Fargate offers 256, 512, 1024, 2048, 4096, 8192 and "
            "16384. Sent with each launch. Default: the task definition's, or 1024.",
            1024,
            {"minimum": 1, "maximum": 196608},
        ),
        "memory": Shown(
            "Memory",
            "Memory in MiB. With 1024 CPU units Fargate offers 2048 to 8192, in steps of 1024. "
            "Sent with each launch. Default: the task definition's, or 2048.",
            2048,
            {"minimum": 6},
        ),
        "ephemeral_storage": OWN["ephemeral_storage"],
    },
)

_ROLES = Section(
    "Roles",
    "ECS uses the first one to start the task, your code uses the second.",
    {
        "execution_role_arn": Shown(
            "Execution Role ARN",
            "Role with which ECS pulls the image, writes logs and reads secrets. Fargate needs it "
            "for logs and secrets. Default: none, or the task definition's.",
            "arn:aws:iam::123456789012:role/ecsTaskExecutionRole",
            {"maxLength": 2048},
        ),
        "task_role_arn": Shown(
            "Task Role ARN",
            "Role of your flow's code in AWS. Sent with each launch. Default: none, or the task "
            "definition's.",
            "arn:aws:iam::123456789012:role/etl",
            {"maxLength": 2048},
        ),
    },
)

_NETWORK = Section(
    "Network",
    "For tasks with a network interface of their own, as all Fargate tasks have.",
    {
        "vpc_id": Shown(
            "VPC ID",
            "VPC whose subnets are used when Subnets is empty. They are looked up once per agent. "
            "Default: the account's default VPC.",
            "vpc-0123456789abcdef0",
        ),
        "subnets": OWN["subnets"],
        "security_groups": OWN["security_groups"],
        "assign_public_ip": OWN["assign_public_ip"],
    },
)

_LOGS = Section(
    "Logs",
    "Output of the container, in CloudWatch and in the agent's own output.",
    {
        "configure_cloudwatch_logs": Shown(
            "Configure CloudWatch Logs",
            "Send the container's output to CloudWatch Logs, group `prefect`, streams named after "
            "the family. Needs an execution role. Default: off.",
        ),
        "cloudwatch_logs_options": Shown(
            "CloudWatch Logs Options",
            "Options of the [awslogs driver](https://docs.aws.amazon.com/AmazonECS/latest/"
            "developerguide/using_awslogs.html), as a JSON object. They replace or extend the "
            "defaults. Needs the switch above. Default: none.",
            '{"awslogs-group": "/ecs/etl"}',
        ),
        "stream_output": Shown(
            "Stream Output",
            "Print the container's output in the agent's own output too. Needs CloudWatch logs. "
            "Default: off.",
        ),
    },
)

_ENVIRONMENT = Section(
    "Environment and secrets",
    "Variables of the Prefect container. Prefect stores what is in the first field in clear.",
    {
        "env": Shown(
            "Environment Variables",
            "Variables of the Prefect container, as a JSON object. Sent with each launch. `null` "
            "removes a variable that the agent or the task definition sets. Default: none.",
            '{"EXTRA_PIP_PACKAGES": "s3fs"}',
        ),
        "secrets": OWN["secrets"],
    },
)

_PINNING = Section(
    "Pinning",
    "Which task-definition revision all flow runs share. The defaults suit most blocks.",
    {
        "registration": OWN["registration"],
        "family": OWN["family"],
        "task_definition_arn": Shown(
            "Task Definition ARN",
            "ARN, `family:revision` or family of an existing task definition. Where fields of this "
            "block differ from it, one new revision is registered. Not together with Task "
            "Definition. Default: none; a minimal definition is made.",
            "arn:aws:ecs:us-east-1:123456789012:task-definition/etl:42",
        ),
        "task_definition": Shown(
            "Task Definition",
            "A whole task definition, as the JSON object of `RegisterTaskDefinition`. Flows run in "
            "the container whose name is given below. Default: none; a minimal definition is made.",
            '{"containerDefinitions": [{"name": "prefect"}]}',
        ),
        "container_name": OWN["container_name"],
        "task_definition_tags": OWN["task_definition_tags"],
    },
)

_LAUNCHING = Section(
    "Launching",
    "How long a launch may wait, and how often tasks are looked at.",
    {
        "launch_timeout_seconds": OWN["launch_timeout_seconds"],
        "task_start_timeout_seconds": OWN["task_start_timeout_seconds"],
        "task_watch_poll_interval": OWN["task_watch_poll_interval"],
    },
)

_ADVANCED = Section(
    "Advanced",
    "Rarely needed.",
    {
        "task_customizations": Shown(
            "Task Customizations",
            "[JSON patches](https://jsonpatch.com) of the `RunTask` request, as a JSON list. They "
            "are applied last, and cannot set `clientToken` or `count`. Default: none.",
            '[{"op": "add", "path": "/group", "value": "nightly"}]',
        ),
        "command": Shown(
            "Command",
            "Command of the Prefect container, as a JSON list. Default: Prefect's own, which runs "
            "the flow.",
            '["prefect", "flow-run", "execute"]',
        ),
        "labels": Shown(
            "Labels",
            "Tags of each task, as a JSON object. Needs the permission `ecs:TagResource`. Default: "
            "only Prefect's own, which name the flow run.",
            '{"team": "data"}',
        ),
        "propagate_tags": OWN["propagate_tags"],
        "enable_ecs_managed_tags": OWN["enable_ecs_managed_tags"],
        "enable_execute_command": OWN["enable_execute_command"],
        "name": Shown(
            "Name",
            "Name of a run in the agent's log. Default: the name of the flow run.",
        ),
    },
)

#: In the order in which they are shown.
_LISTED = (
    _WHERE,
    _WHAT,
    _ROLES,
    _NETWORK,
    _LOGS,
    _ENVIRONMENT,
    _PINNING,
    _LAUNCHING,
    _ADVANCED,
)


def _complete(section: Section) -> Section:
    """With the fields that name it, and are not listed."""
    listed = {name for each in _LISTED for name in each.fields}
    own = {name: shown for name, shown in OWN.items() if shown.section == section.title}
    more = {name: shown for name, shown in own.items() if name not in listed}
    return replace(section, fields={**section.fields, **more})


SECTIONS = tuple(map(_complete, _LISTED))
