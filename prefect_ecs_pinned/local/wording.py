"""How ECS describes a definition back: filled in, in another order, and with more.

Source: API_DescribeTaskDefinition, and reports of what differed (`docs/concepts/changes.md`).
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping
from typing import Any

from prefect_ecs_pinned.local.limits import digits
from prefect_ecs_pinned.local.settings import ACCOUNT_ID

_CONTAINER_DEFAULTS: Mapping[str, Any] = {
    "cpu": 0,
    "essential": True,
    "environment": [],
    "mountPoints": [],
    "volumesFrom": [],
    "portMappings": [],
    "systemControls": [],
}


def describe_back(definition: dict[str, Any]) -> None:
    """Fill in, reorder, normalise and add as ECS does."""
    shared_ports = definition.get("networkMode") in ("awsvpc", "host")
    for container in definition["containerDefinitions"]:
        for name, value in _CONTAINER_DEFAULTS.items():
            container.setdefault(name, copy.copy(value))
        container["environment"].sort(key=_stable_disorder)
        if "secrets" in container:
            container["secrets"].sort(key=_stable_disorder)
        for mapping in container["portMappings"]:
            mapping.setdefault("protocol", "tcp")
            mapping.setdefault("hostPort", mapping.get("containerPort") if shared_ports else 0)
        if "healthCheck" in container:
            for name, value in (("interval", 30), ("timeout", 5), ("retries", 3)):
                container["healthCheck"].setdefault(name, value)
    definition["containerDefinitions"].sort(key=_stable_disorder)
    for size in ("cpu", "memory"):
        if size in definition:
            definition[size] = digits(definition[size])
    _name_roles(definition)
    definition.setdefault("networkMode", "bridge")
    definition.setdefault("volumes", [])
    definition.setdefault("placementConstraints", [])
    required = definition.get("requiresCompatibilities") or []
    definition["compatibilities"] = ["EC2", *[name for name in required if name != "EC2"]]
    definition["requiresAttributes"] = [
        {"name": "com.amazonaws.ecs.capability.docker-remote-api.1.18"},
        {"name": "ecs.capability.task-eni"},
    ]
    definition.setdefault("enableFaultInjection", False)


def _name_roles(definition: dict[str, Any]) -> None:
    """A role that was given by its name comes back as its ARN."""
    for member in ("taskRoleArn", "executionRoleArn"):
        name = str(definition.get(member) or "")
        if name and not name.startswith("arn:"):
            definition[member] = f"arn:aws:iam::{ACCOUNT_ID}:role/{name}"


def _stable_disorder(item: Mapping[str, Any]) -> int:
    """An order that is always the same, and neither the one given nor the sorted one."""
    return zlib.crc32(str(item.get("name", "")).encode())
