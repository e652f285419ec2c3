"""How the block looks in Prefect's UI: order, titles, descriptions, placeholders, bounds.

The UI draws its form from the block's JSON schema. Its habits, as observed with Prefect 2.20:

- A top-level property stands where its integer ``position`` puts it; PostgreSQL loses the order
  of keys, so nothing else holds.
- ``description`` is Markdown, in one line. ``example`` is the placeholder, of a JSON editor too.
- It takes ``maxItems`` for the longest text of a JSON editor, so no list has any here.
- A select offers no choice for null when the property has a default.
- The browser checks what is required, JSON syntax, lengths and numeric bounds, and nothing else:
  the class's validators do not run when the form is saved.

The fields themselves (types, defaults, bounds) are declared in `pinned_ecs_task`.
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


#: Sections of the form -> their fields, in the order in which they are shown. The UI has no
#: headings for sections; the reference page of the documentation has.
SECTIONS: Mapping[str, Mapping[str, Shown]] = {
    "Where it runs": {
        "aws_credentials": Shown(
            "AWS Credentials",
            "Keys and Region to call ECS with: a saved AWS Credentials block; **Add** makes one. "
            "Credentials that Python wrote inline are dropped when this form is saved. Default: "
            "the agent's own.",
        ),
        "cluster": Shown(
            "Cluster",
            "Name or ARN of the ECS cluster. Default: the cluster named `default`.",
            "etl",
        ),
        "launch_type": Shown(
            "Launch Type",
            "`FARGATE`, `FARGATE_SPOT` (cheaper; AWS may stop the task with two minutes' notice), "
            "`EC2`, `EXTERNAL` or `MANAGED_INSTANCES`; `None` for a capacity provider strategy, "
            "except beside `MANAGED_INSTANCES`, or for the cluster's own. Default: `FARGATE`.",
        ),
        "capacity_provider_strategy": Shown(
            "Capacity Provider Strategy",
            "Capacity providers instead of a launch type, as a JSON list: at most 20, all of "
            "Fargate or none, weights from 0 to 1000, one `base` from 0 to 100000. Default: none; "
            "without a launch type, the cluster's own.",
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
            "Platform version of Fargate; an error elsewhere. Default: the latest.",
            "1.4.0",
        ),
    },
    "What it runs": {
        "image": Shown(
            "Image",
            "Image of the Prefect container, by tag or digest. Default: the task definition's, or "
            "the `prefecthq/prefect` image of the Prefect version that loads this block, so that "
            "upgrading the agent registers a revision: better set it.",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/etl:1.4.2",
        ),
        "cpu": Shown(
            "CPU",
            "CPU units, 1024 for each vCPU. Fargate offers 256, 512, 1024, 2048, 4096, 8192 and "
            "16384. Default: what the task definition states, or 1024. Sent with each launch: "
            "changing it registers nothing.",
            1024,
            {"minimum": 1, "maximum": 196608},
        ),
        "memory": Shown(
            "Memory",
            "Memory in MiB. Fargate offers 2048 to 8192 with 1024 CPU units, in steps of 1024. "
            "Default: what the task definition states, or 2048. Sent with each launch: changing "
            "it registers nothing.",
            2048,
            {"minimum": 6},
        ),
        "ephemeral_storage": Shown(
            "Ephemeral Storage",
            "Disk of a Fargate task in GiB, from 21 to 200. Default: what the task definition "
            "states, or Fargate's 20. Sent with each launch: changing it registers nothing.",
            40,
        ),
    },
    "Roles": {
        "execution_role_arn": Shown(
            "Execution Role ARN",
            "Role with which ECS pulls the image, writes logs and reads secrets. Needed for logs "
            "and secrets on Fargate. Default: none, or the task definition's.",
            "arn:aws:iam::123456789012:role/ecsTaskExecutionRole",
            {"maxLength": 2048},
        ),
        "task_role_arn": Shown(
            "Task Role ARN",
            "Role that your flow's own code has in AWS. Sent with each launch. Default: none, or "
            "the task definition's.",
            "arn:aws:iam::123456789012:role/etl",
            {"maxLength": 2048},
        ),
    },
    "Network": {
        "vpc_id": Shown(
            "VPC ID",
            "VPC whose subnets are used when Subnets is empty; looked up once per agent. Default: "
            "the account's default VPC.",
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
            "Whether a task gets a public IP address; without one, its subnets need a NAT gateway "
            "or VPC endpoints. Default: `ENABLED` on Fargate, left to ECS elsewhere.",
        ),
    },
    "Logs": {
        "configure_cloudwatch_logs": Shown(
            "Configure CloudWatch Logs",
            "Send the container's output to CloudWatch Logs, group `prefect`, streams named after "
            "the family. Needs an execution role. Default: off.",
        ),
        "cloudwatch_logs_options": Shown(
            "CloudWatch Logs Options",
            "Options of the [awslogs driver](https://docs.aws.amazon.com/AmazonECS/latest/"
            "developerguide/using_awslogs.html) that replace or add to the defaults, as a JSON "
            "object. Needs the switch above. Default: none.",
            '{"awslogs-group": "/ecs/etl"}',
        ),
        "stream_output": Shown(
            "Stream Output",
            "Print the container's output in the agent's own output too, fetched from CloudWatch "
            "for many tasks a call. Needs CloudWatch logs. Default: off.",
        ),
    },
    "Environment and secrets": {
        "env": Shown(
            "Environment Variables",
            "Variables of the Prefect container, as a JSON object; sent with each launch. `null` "
            "removes a variable of the agent's or of the task definition's. Default: none.",
            '{"EXTRA_PIP_PACKAGES": "s3fs"}',
        ),
        "secrets": Shown(
            "Secrets",
            "Variable name to the **ARN** of a secret in Secrets Manager or of a parameter in SSM, "
            "as a JSON object. The values never pass through Prefect; what the agent would send "
            "in clear under the same name, such as `PREFECT_API_KEY`, is left out. Default: none.",
            '{"PREFECT_API_KEY": "arn:aws:secretsmanager:us-east-1:1234…"}',
        ),
    },
    "Pinning": {
        "registration": Shown(
            "Registration",
            "`on-change`: a revision is registered when the configuration has changed. `never`: "
            "only revisions that exist are used (see `pinned-ecs pin`), and the agent needs no "
            "permission to register. Default: `on-change`.",
        ),
        "family": Shown(
            "Family",
            "Family of the task definition, up to 255 letters, digits, `_` and `-`. Default: the "
            "family inside Task Definition, or `prefect-` and the name of this block.",
            "prefect-etl",
        ),
        "task_definition_arn": Shown(
            "Task Definition ARN",
            "ARN, `family:revision` or family of a task definition to use. Fields of this block "
            "that differ from it make a new revision, once. Not together with Task Definition. "
            "Default: none; a minimal definition is made.",
            "arn:aws:ecs:us-east-1:123456789012:task-definition/etl:42",
        ),
        "task_definition": Shown(
            "Task Definition",
            "A whole task definition, as the JSON object that `RegisterTaskDefinition` takes; the "
            "container to run flows in has the name below. Default: none; a minimal one is made.",
            '{"containerDefinitions": [{"name": "prefect"}]}',
        ),
        "container_name": Shown(
            "Container Name",
            "Name of the container in the task definition that runs the flow; image, variables, "
            "secrets and logs are set on it. Default: `prefect`.",
            "prefect",
        ),
        "task_definition_tags": Shown(
            "Task Definition Tags",
            "Tags of the task definition itself, as a JSON object; not of the tasks, see Labels. "
            "Changing them registers a revision, unless one has them. Needs the permission "
            "`ecs:TagResource`. Default: the task definition's own.",
            '{"cost-center": "data"}',
        ),
        "auto_deregister_task_definition": Shown(
            "Auto Deregister Task Definition",
            "**Cannot be switched on**: a block saved with it does not load. All runs share one "
            "revision, and deregistering it would crash those that have not started. "
            "`pinned-ecs prune` removes old revisions.",
        ),
    },
    "Launching": {
        "launch_timeout_seconds": Shown(
            "Launch Timeout",
            "Seconds for which a launch that ECS refuses for lack of capacity or quota is tried "
            "again, from its first refusal on; waiting in the queue does not count. Default: 900.",
            900,
        ),
        "task_start_timeout_seconds": Shown(
            "Task Start Timeout",
            "Seconds from the launch to RUNNING; a task that takes longer is stopped. Waiting for "
            "EC2 instances under a capacity provider does not count. Default: 600.",
            600,
        ),
        "task_watch_poll_interval": Shown(
            "Task Watch Poll Interval",
            "Seconds between looks at the tasks; one call looks at a hundred of them. Default: 5.",
            5,
        ),
    },
    "Advanced": {
        "task_customizations": Shown(
            "Task Customizations",
            "[JSON patches](https://jsonpatch.com) of the `RunTask` request, as a JSON list, "
            "applied last. They may not set `clientToken` or `count`. Default: none.",
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
            "Tags of each task, as a JSON object; needs the permission `ecs:TagResource`. Default: "
            "none but Prefect's own, which name the flow run.",
            '{"team": "data"}',
        ),
        "propagate_tags": Shown(
            "Propagate Tags",
            "`TASK_DEFINITION`: each task gets the tags of its task definition too. Default: it "
            "does not.",
        ),
        "enable_ecs_managed_tags": Shown(
            "Enable ECS Managed Tags",
            "ECS tags each task with the name of its cluster, for cost reports. Default: off.",
        ),
        "enable_execute_command": Shown(
            "Enable Execute Command",
            "Commands can be run in a running task (ECS Exec). Needs a task role that may use "
            "`ssmmessages`. Default: off.",
        ),
        "name": Shown(
            "Name",
            "Name by which the agent's log calls a run. Default: the name of the flow run.",
        ),
    },
}

#: Every field that is shown, in the form's order.
FIELDS: Mapping[str, Shown] = {
    name: shown for section in SECTIONS.values() for name, shown in section.items()
}

#: What the UI offers for no launch type. It has no such choice for a field with a default, so a
#: strategy could not be set in the form; the class takes it for null.
NO_LAUNCH_TYPE = "None"

#: Not shown: it has one value, which tells blocks apart.
HIDDEN = "type"


def present(schema: dict[str, Any]) -> None:
    """Write into a block's JSON schema how its form looks.

    Fields that a subclass adds stand behind those of the block, as the subclass shows them.

    Args:
        schema: What pydantic made of the class; changed in place.
    """
    properties = schema["properties"]
    properties.pop(HIDDEN, None)
    for position, (name, shown) in enumerate(FIELDS.items()):
        properties[name].update(
            title=shown.title, description=shown.description, position=position, **shown.extra
        )
        if shown.example != "":
            properties[name]["example"] = shown.example
    properties["launch_type"]["enum"].append(NO_LAUNCH_TYPE)
    _choose_credentials(properties["aws_credentials"])
    added = [name for name in properties if name not in FIELDS]
    for position, name in enumerate(added, start=len(FIELDS)):
        properties[name].setdefault("position", position)
    schema["properties"] = {name: properties[name] for name in (*FIELDS, *added)}


def _choose_credentials(shown: dict[str, Any]) -> None:
    """Show one select for the saved credentials, under this form's own heading.

    Of a property that refers to a block by ``allOf`` the UI shows the heading and the text of
    both. ``type`` and ``block_type_slug`` are what it makes of a plain ``$ref`` by itself; the
    reference stays below ``items``, where the server finds it and the UI shows nothing of it.
    """
    (reference,) = shown.pop("allOf")
    shown.update(type="block", block_type_slug="aws-credentials", items=reference)
