"""Members of a definition that ECS does not accept together, or only with others.

Fargate's sizes are checked with the request (`core.request.check`). Source:
API_RegisterTaskDefinition, "networkMode", "cpu" and "memory"; API_ContainerDefinition, "memory",
"memoryReservation", "name", "image", "secrets" and "logConfiguration".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.core.canonical import size_number
from prefect_ecs_pinned.core.shown import named
from prefect_ecs_pinned.errors import ConfigurationError

_WHAT = "cannot use the task definition"

#: API_ContainerDefinition, "name".
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")


def check_members(definition: Mapping[str, Any]) -> None:
    """Refuse a definition whose members ECS does not accept together.

    Args:
        definition: In RegisterTaskDefinition's shape.

    Raises:
        ConfigurationError: There are some.
    """
    _check_containers(definition["containerDefinitions"])
    check_sizes(definition, _WHAT)
    if "FARGATE" in (definition.get("requiresCompatibilities") or ()):
        _check_fargate(definition)
    most = size_number(definition.get("memory") or "") or 0
    for container in definition["containerDefinitions"]:
        _check_memory(container, most, "memory" in definition)


def check_sizes(sizes: Mapping[str, Any], what: str) -> None:
    """Refuse sizes of a task that are not sizes. Which of them there are is left to ECS.

    Args:
        sizes: Has ``cpu`` and ``memory``, or not: a definition or the overrides of a request.
        what: What cannot be done.

    Raises:
        ConfigurationError: One is not a number, or a number with its unit.
    """
    for name, unit in (("cpu", "vCPU"), ("memory", "GB")):
        if sizes.get(name) and size_number(sizes[name]) is None:
            raise ConfigurationError(
                what,
                f"{name} of the task is not a number, nor one with the unit {unit}",
                f"give {name} as a number, or with the unit {unit}",
            )


def _check_containers(containers: Sequence[Mapping[str, Any]]) -> None:
    """Refuse those without an image or a name of their own, and variables in both lists."""
    names = set()
    for number, container in enumerate(containers):
        name, path = container.get("name") or "", f"containerDefinitions[{number}]"
        why, hint = "", f"correct {path}"
        if not _NAME.fullmatch(name):
            why = f"{path}.name is not of letters, numbers, underscores and hyphens"
        elif name in names:
            why = f"{path} has the name {named(name)!r} of another container"
        elif not container.get("image"):
            why = f"{path}, which is {name!r}, has no image"
            hint = f"give it an image, or set container_name to {name!r} if it runs the flow"
        elif both := _in_clear(container) & _secret(container):
            why = f"{path} has {', '.join(sorted(both))} in environment and in secrets"
        if why:
            raise ConfigurationError(_WHAT, why, hint)
        names.add(name)


def _in_clear(container: Mapping[str, Any]) -> set[str]:
    return {named(variable.get("name")) for variable in container.get("environment") or ()}


def _secret(container: Mapping[str, Any]) -> set[str]:
    return {named(secret.get("name")) for secret in container.get("secrets") or ()}


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
