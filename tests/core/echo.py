"""ECS's manner of describing a definition back, as AWS_ECS_FACTS and field reports have it.

Written apart from the embedded ECS, so that neither can hide a fault of the other.
"""

from __future__ import annotations

import copy
from typing import Any
from zlib import crc32

ARN = "arn:aws:ecs:us-east-1:123456789012:task-definition/{family}:{revision}"


def echo(definition: dict[str, Any], revision: int = 1) -> dict[str, Any]:
    """What DescribeTaskDefinition answers for a definition that was registered."""
    answer = copy.deepcopy(definition)
    for container in answer["containerDefinitions"]:
        _echo_container(container, answer.get("networkMode") in ("awsvpc", "host"))
    answer["containerDefinitions"].reverse()
    answer.setdefault("networkMode", "bridge")
    answer.setdefault("volumes", [])
    answer.setdefault("placementConstraints", [])
    for size in ("cpu", "memory"):
        if size in answer:
            text = str(answer[size]).lower().replace(" ", "")
            for unit in ("vcpu", "gb"):
                if text.endswith(unit):
                    text = str(int(float(text.removesuffix(unit)) * 1024))
            answer[size] = text
    answer.pop("tags", None)  # beside the definition, and only when asked for
    for role in ("taskRoleArn", "executionRoleArn"):
        if (name := answer.get(role)) and not name.startswith("arn:"):
            answer[role] = f"arn:aws:iam::123456789012:role/{name.lstrip('/')}"
    answer.update(
        taskDefinitionArn=ARN.format(family=answer["family"], revision=revision),
        revision=revision,
        status="ACTIVE",
        requiresAttributes=[{"name": "com.amazonaws.ecs.capability.docker-remote-api.1.18"}],
        compatibilities=["EC2", "FARGATE", "MANAGED_INSTANCES"],
        registeredAt="2026-01-01T00:00:00Z",
        registeredBy="arn:aws:iam::123456789012:root",
    )
    answer.setdefault("enableFaultInjection", False)
    return answer


def _echo_container(container: dict[str, Any], shares_ports: bool) -> None:
    container.setdefault("cpu", 0)
    container.setdefault("essential", True)
    for name in ("environment", "mountPoints", "volumesFrom", "portMappings", "systemControls"):
        container.setdefault(name, [])
    container["environment"].sort(key=lambda v: crc32(str(v.get("name")).encode()) % 97)
    if "secrets" in container:
        container["secrets"].reverse()
    for mapping in container["portMappings"]:
        mapping.setdefault("protocol", "tcp")
        mapping.setdefault("hostPort", mapping.get("containerPort") if shares_ports else 0)
    if "healthCheck" in container:
        for name, value in (("interval", 30), ("timeout", 5), ("retries", 3)):
            container["healthCheck"].setdefault(name, value)
