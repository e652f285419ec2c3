"""How the variables of a pool look in Prefect's UI: order, descriptions and examples.

The UI draws the form of a base job template from the JSON schema of the variables, in the order of
the integer ``position``. It has no sections. Variables of one subject are together; those that most
pools set come first. ``tests/ui/test_pool_form.py`` looks at the form of Prefect 3.9.
"""

from __future__ import annotations

from typing import Any

#: Variable -> its description, in the order in which they are shown; an empty one is that of the
#: field itself.
SHOWN = {
    # Where it runs
    "aws_credentials": "Keys and Region for calls to ECS. Default: where the worker itself gets "
    "its credentials, such as the role of its task.",
    "cluster": "Name or ARN of the ECS cluster. Default: the cluster named `default`.",
    "launch_type": "",
    "capacity_provider_strategy": "Capacity providers instead of a launch type. Default: none; "
    "without a launch type, the cluster's.",
    # What it runs
    "image": "Image of the Prefect container, by tag or digest. Default: the task definition's, "
    "or else `prefecthq/prefect` in the version of the worker's Prefect.",
    "cpu": "CPU units; 1024 are one vCPU. Sent with each launch. Default: the task definition's, "
    "or 1024.",
    "memory": "Memory in MiB. Sent with each launch. Default: the task definition's, or 2048.",
    "command": "Command of the Prefect container. Default: Prefect's own, which runs the flow.",
    # Roles
    "execution_role_arn": "Role with which ECS pulls the image, writes logs and reads secrets. "
    "Fargate needs it for logs and secrets.",
    "task_role_arn": "Role of the flow's code in AWS. Sent with each launch.",
    # Network
    "vpc_id": "VPC whose subnets are used when Subnets is empty. Default: the account's default "
    "VPC.",
    "subnets": "",
    "security_groups": "",
    "assign_public_ip": "",
    "network_configuration": "An awsvpcConfiguration for the network mode awsvpc. It replaces the "
    "network that the VPC ID would give.",
    # Logs
    "configure_cloudwatch_logs": "Send the container's output to CloudWatch Logs. Needs an "
    "execution role. Default: off.",
    "cloudwatch_logs_options": "Options of the awslogs driver. They replace or extend the "
    "defaults. Need the switch for CloudWatch logs.",
    "cloudwatch_logs_prefix": "Prefix of the log streams. Default: `prefect-logs_` and the name of "
    "the work pool. A prefix among the options replaces it.",
    # Environment and secrets
    "env": "Environment variables of the Prefect container. Sent with each launch.",
    "secrets": "",
    "prefect_api_key_secret_arn": "ARN of a secret with a Prefect API key, for flow runs. It "
    "replaces the key in the environment.",
    "prefect_api_auth_string_secret_arn": "ARN of a secret with a Prefect API auth string, for "
    "flow runs. It replaces the auth string in the environment.",
    # Pinning
    "registration": "",
    "family": "Family of the task definition. Default: that of the task definition in the "
    "template, or one that is named after the work pool.",
    "task_definition_arn": "ARN of an existing task definition. It is used as it is, and nothing "
    "is registered.",
    "container_name": "Name of the container that runs the flow. Default: `prefect`, or the first "
    "container of the task definition.",
    # Launching
    "launch_timeout_seconds": "",
    "task_start_timeout_seconds": "",
    "max_live_tasks": "",
    # Advanced
    "labels": "Tags of each task. Need the permission `ecs:TagResource`.",
    "name": "Name of a run in the worker's log. Default: the name of the flow run.",
    "match_latest_revision_in_family": "Has no effect: the newest revision that matches is "
    "always found. It is here for templates of `ecs` pools.",
    "auto_deregister_task_definition": "Has no effect: all flow runs share one revision, and it "
    "stays registered. It is here for templates of `ecs` pools.",
}

#: Variable that is edited as JSON -> what its empty editor shows.
EXAMPLES: dict[str, Any] = {
    "capacity_provider_strategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}],
    "subnets": ["subnet-0a1b2c3d"],
    "security_groups": ["sg-0a1b2c3d"],
    "network_configuration": {"subnets": ["subnet-0a1b2c3d"], "assignPublicIp": "DISABLED"},
    "cloudwatch_logs_options": {"awslogs-group": "/prefect/flows"},
    "env": {"LOG_LEVEL": "INFO"},
    "secrets": {"PASSWORD": "arn:aws:secretsmanager:us-east-1:123456789012:secret:password-AbCdEf"},
    "labels": {"team": "data"},
}


def present(schema: dict[str, Any]) -> None:
    """Write order, descriptions and examples into the JSON schema of the variables.

    Variables that a subclass or a later prefect-aws adds come last, as they are.

    Args:
        schema: What pydantic made of the class; changed in place.
    """
    properties = schema["properties"]
    names = [*(name for name in SHOWN if name in properties)]
    names += [name for name in properties if name not in SHOWN]
    for position, name in enumerate(names):
        properties[name]["position"] = position
        if SHOWN.get(name):
            properties[name]["description"] = SHOWN[name]
        if name in EXAMPLES:
            properties[name]["examples"] = [EXAMPLES[name]]
        _draw(properties[name])
    schema["properties"] = {name: properties[name] for name in names}


def _draw(variable: dict[str, Any]) -> None:
    """Write what the UI draws of a variable as it draws it.

    Of one that refers to a definition it shows the definition's title and description, unless the
    reference is an ``allOf``. Of one that may be null it shows the description as plain text, and
    of others as Markdown.
    """
    if (reference := variable.pop("$ref", None)) is not None:
        variable["allOf"] = [{"$ref": reference}]
    if "anyOf" in variable and "description" in variable:
        variable["description"] = variable["description"].replace("`", "")
