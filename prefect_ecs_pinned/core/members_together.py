"""Members of a definition that ECS does not accept together, or only with others.

Fargate's sizes are checked with the request (`core.request.check`). Source:
API_RegisterTaskDefinition, "networkMode", "cpu" and "memory"; API_ContainerDefinition, "memory",
"memoryReservation", "secrets" and "logConfiguration".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_ecs_pinned.core.canonical import size_number
from prefect_ecs_pinned.core.shown import named
from prefect_ecs_pinned.errors import ConfigurationError

_WHAT = "cannot use the task definition"


def check_members(definition: Mapping[str, Any]) -> None:
    """Refuse a definition whose members ECS does not accept together.

    Args:
        definition: In RegisterTaskDefinition's shape.

    Raises:
        ConfigurationError: There are some.
    """
    if "FARGATE" in (definition.get("requiresCompatibilities") or ()):
        _check_fargate(definition)
    most = size_number(definition.get("memory") or "") or 0
    for container in definition["containerDefinitions"]:
        _check_memory(container, most, "memory" in definition)


def _check_fargate(definition: Mapping[str, Any]) -> None:
    """What requires FARGATE has what Fargate needs, whatever it is launched on."""
    mode = definition.get("networkMode", "bridge")
    if mode != "awsvpc":
        raise ConfigurationError(
            _WHAT,
            f"it requires FARGATE, and its network mode is {named(mode)!r}",
            "set networkMode to 'awsvpc', or take FARGATE out of requiresCompatibilities",
        )
    missing = [size for size in ("cpu", "memory") if not definition.get(size)]
    if missing:
        raise ConfigurationError(
            _WHAT,
            f"it requires FARGATE, and states no {' and '.join(missing)} of the task",
            f"set {' and '.join(missing)} in task_definition, next to containerDefinitions",
        )
    if definition.get("executionRoleArn"):
        return
    for container in definition["containerDefinitions"]:
        logs = (container.get("logConfiguration") or {}).get("logDriver") == "awslogs"
        if logs or container.get("secrets"):
            needs = "the awslogs driver" if logs else "secrets"
            raise ConfigurationError(
                _WHAT,
                "it requires FARGATE and has no execution role, and container "
                f"{named(container.get('name'))!r} has {needs}",
                "set execution_role_arn, or executionRoleArn in task_definition",
            )


def _check_memory(container: Mapping[str, Any], of_the_task: int, stated: bool) -> None:
    name = named(container.get("name"))
    limit, reserved = container.get("memory") or 0, container.get("memoryReservation") or 0
    if not (limit or reserved or stated):
        raise ConfigurationError(
            _WHAT,
            f"container {name!r} states no memory, and neither does the task",
            f"set memory or memoryReservation of container {name!r}, or memory of the task",
        )
    if limit and reserved > limit:
        raise ConfigurationError(
            _WHAT,
            f"container {name!r} reserves more memory than its limit",
            "set memoryReservation below memory",
        )
    if of_the_task and max(limit, reserved) > of_the_task:
        raise ConfigurationError(
            _WHAT,
            f"container {name!r} states more memory than the task",
            "set memory of the task to at least that of its containers",
        )
