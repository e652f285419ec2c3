"""What the block's form says: sections, and title, description and placeholder of each field.

The texts are Markdown in one line. Each says what the field does, in which unit, and its default.
Headings of sections are plain text. How they are drawn is described in `form`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_ecs_pinned.core.placement import MOST_BASE, MOST_WEIGHT


@dataclass(frozen=True)
class Shown:
    """How one field is shown.

    Attributes:
        title: Its heading.
        description: What it does, with unit and default; Markdown in one line.
        example: Its placeholder; an empty one shows none.
        extra: More of its JSON schema: bounds that `ECSTask` does not declare.
    """

    title: str
    description: str
    example: Any = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


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
        "launch_type": Shown(
            "Launch Type",
            "`FARGATE_SPOT` is cheaper, but AWS may stop a task with two minutes' notice. `None` "
            "leaves the choice to the strategy below, or to the cluster. `MANAGED_INSTANCES` needs "
            "a strategy as well. Default: `FARGATE`.",
        ),
        "capacity_provider_strategy": Shown(
            "Capacity Provider Strategy",
            "Capacity providers instead of a launch type, as a JSON list of at most 20. Weights "
            "are 0 to 1000; one may have a `base`, 0 to 100000. Fargate's are not mixed with "
            "others. Default: none; without a launch type, the cluster's.",
            '[{"capacityProvider": "instances", "weight": 1}]',
            {
                "items": {
                    "type": "object",
                    "required": ["capacityProvider"],
                    "properties": {
                        "capacityProvider": {"type": "string", "minLength": 1},
                        "weight": {"type": "integer", "minimum": 0, "maximum": MOST_WEIGHT},
                        "base": {"type": "integer", "minimum": 0, "maximum": MOST_BASE},
                    },
                    "additionalProperties": False,
                },
            },
        ),
        "platform_version": Shown(
            "Platform Version",
            "Platform version of Fargate. With other launch types it is an error. Default: the "
            "latest.",
            "1.4.0",
        ),
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
        "ephemeral_storage": Shown(
            "Ephemeral Storage",
            "Disk of a Fargate task in GiB, from 21 to 200. Sent with each launch. Default: the "
            "task definition's, or Fargate's 20.",
            40,
        ),
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
        "subnets": Shown(
            "Subnets",
            "IDs of the subnets to run in, as a JSON list. Default: all subnets of the VPC.",
            '["subnet-0123456789abcdef0"]',
        ),
        "security_groups": Shown(
            "Security Groups",
            "IDs of security groups, as a JSON list. Default: the VPC's own default group.",
            '["sg-0123456789abcdef0"]',
        ),
        "assign_public_ip": Shown(
            "Assign Public IP",
            "Whether a task gets a public IP address. Without one, its subnets need a NAT gateway "
            "or VPC endpoints. Default: `ENABLED` on Fargate; elsewhere ECS decides.",
        ),
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
        "secrets": Shown(
            "Secrets",
            "Variable name to **ARN** of a secret in Secrets Manager or a parameter in SSM, as a "
            "JSON object. ECS reads the values. The agent does not send variables of these names, "
            "such as `PREFECT_API_KEY`. Default: none.",
            '{"PREFECT_API_KEY": "arn:aws:secretsmanager:us-east-1:1234…"}',
        ),
    },
)

_PINNING = Section(
    "Pinning",
    "Which task-definition revision all flow runs share. The defaults suit most blocks.",
    {
        "registration": Shown(
            "Registration",
            "`on-change`: a changed configuration registers one revision. `never`: only existing "
            "revisions are used (see `pinned-ecs pin`), and the agent needs no permission to "
            "register. Default: `on-change`.",
        ),
        "family": Shown(
            "Family",
            "Family of the task definition, up to 255 letters, digits, `_` and `-`. Default: the "
            "family inside Task Definition, or `prefect-` and the name of this block.",
            "prefect-etl",
        ),
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
        "container_name": Shown(
            "Container Name",
            "Container of the task definition that runs the flow. Image, variables, secrets and "
            "logs are set on it. Default: `prefect`.",
            "prefect",
        ),
        "task_definition_tags": Shown(
            "Task Definition Tags",
            "Tags of the task definition, as a JSON object. For tags of tasks, see Labels. A "
            "change registers one revision, unless one has these tags. Needs `ecs:TagResource`. "
            "Default: the task definition's own.",
            '{"cost-center": "data"}',
        ),
    },
)

_LAUNCHING = Section(
    "Launching",
    "How long a launch may wait, and how often tasks are looked at.",
    {
        "launch_timeout_seconds": Shown(
            "Launch Timeout",
            "Seconds for which a launch is repeated when ECS lacks capacity or quota. They count "
            "from its first refusal; time in the queue does not count. Default: 900.",
            900,
        ),
        "task_start_timeout_seconds": Shown(
            "Task Start Timeout",
            "Seconds from the launch to RUNNING. A task that takes longer is stopped. Time spent "
            "waiting for EC2 instances of a capacity provider does not count. Default: 600.",
            600,
        ),
        "task_watch_poll_interval": Shown(
            "Task Watch Poll Interval",
            "Seconds between two looks at the tasks. One call covers a hundred tasks. Default: 5.",
            5,
        ),
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
        "propagate_tags": Shown(
            "Propagate Tags",
            "`TASK_DEFINITION`: each task also gets the tags of its task definition. Default: it "
            "does not.",
        ),
        "enable_ecs_managed_tags": Shown(
            "Enable ECS Managed Tags",
            "ECS tags each task with the name of its cluster, for cost reports. Default: off.",
        ),
        "enable_execute_command": Shown(
            "Enable Execute Command",
            "Allow commands in a running task (ECS Exec). Needs a task role that may use "
            "`ssmmessages`. Default: off.",
        ),
        "name": Shown(
            "Name",
            "Name of a run in the agent's log. Default: the name of the flow run.",
        ),
    },
)

#: In the order in which they are shown.
SECTIONS = (
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
