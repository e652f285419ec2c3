"""What RegisterTaskDefinition refuses: limits and settings that go together.

Source: API_RegisterTaskDefinition, API_ContainerDefinition,
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html; the wording of
messages from reports in public issues where there are any.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.local import matching
from prefect_ecs_pinned.local.errors import client
from prefect_ecs_pinned.local.tags import check_tags

MOST_BYTES = 64 * 1024
MOST_CONTAINERS = 10
_FAMILY = re.compile(r"[a-zA-Z0-9_-]{1,255}")

#: API_ContainerDefinition, "name".
_CONTAINER_NAME = re.compile(r"[a-zA-Z0-9_-]{1,255}")

#: A size in digits; Python reads no number of thousands of them.
_SIZE = re.compile(r"[0-9]{1,18}")

#: Memory in MiB by CPU units on Fargate (API_RegisterTaskDefinition, "cpu").
FARGATE_SIZES: Mapping[int, Sequence[int]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4096 + 1, 1024),
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16384 + 1, 1024),
    4096: range(8192, 30720 + 1, 1024),
    8192: range(16384, 61440 + 1, 4096),
    16384: range(32768, 122880 + 1, 8192),
    32768: (61440, 122880, 249856),
}


def check_fargate_size(cpu: str, memory: str) -> None:
    """Refuse a size that Fargate does not offer."""
    numbers = _SIZE.fullmatch(cpu) and _SIZE.fullmatch(memory)
    if not numbers or int(memory) not in FARGATE_SIZES.get(int(cpu), ()):
        raise client(
            f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. "
            "See the Amazon ECS documentation for the valid values."
        )


def digits(size: Any) -> str:
    """``1 vCPU`` as 1024 CPU units, ``2GB`` as 2048 MiB; anything else as it is."""
    number = matching.size(size)
    return str(size or "") if number is None else str(int(number))


def check_definition(request: Mapping[str, Any]) -> None:
    """Check a request of RegisterTaskDefinition.

    Raises:
        AwsRefusal: ClientException, for tags InvalidParameterException.
    """
    containers = request.get("containerDefinitions") or []
    if not _FAMILY.fullmatch(str(request.get("family", ""))):
        raise client("Family contains invalid characters.")
    rest = {name: value for name, value in request.items() if name != "tags"}
    if len(json.dumps(rest, separators=(",", ":"), default=str)) > MOST_BYTES:
        raise client("Actual length of the task definition exceeds the 64 KiB limit.")
    if not 1 <= len(containers) <= MOST_CONTAINERS:
        raise client("Task definition must have between 1 and 10 container definitions.")
    if request.get("tags") == []:
        raise client("Tags can not be empty.")
    check_tags(request.get("tags") or [])
    for size in ("cpu", "memory"):
        if request.get(size) and not _SIZE.fullmatch(digits(request[size])):
            raise client(f"Invalid '{size}' setting for task.")
    on_fargate = "FARGATE" in (request.get("requiresCompatibilities") or [])
    if on_fargate:
        _check_fargate(request)
    names = set()
    for container in containers:
        _check_container(container, request, on_fargate)
        if container["name"] in names:
            raise client(f"Container names must be unique: '{container['name']}' is used twice.")
        names.add(container["name"])
    _check_memory(containers, request)


def _check_fargate(request: Mapping[str, Any]) -> None:
    if request.get("networkMode") != "awsvpc":
        raise client("Fargate only supports network mode ‘awsvpc’.")
    cpu, memory = digits(request.get("cpu")), digits(request.get("memory"))
    if not cpu or not memory:
        raise client("Fargate requires that 'cpu' and 'memory' be defined at the task level.")
    check_fargate_size(cpu, memory)


def _check_container(
    container: Mapping[str, Any], request: Mapping[str, Any], on_fargate: bool
) -> None:
    for name in ("name", "image"):
        if not container.get(name):
            raise client(f"Container.{name} should not be null or empty.")
    if not _CONTAINER_NAME.fullmatch(container["name"]):
        raise client("Container.name contains invalid characters.")
    has_memory = container.get("memory") or container.get("memoryReservation")
    if not has_memory and not request.get("memory"):
        raise client(
            f"Invalid setting for container '{container['name']}'. At least one of 'memory' "
            "or 'memoryReservation' must be specified."
        )
    secrets = {secret["name"] for secret in container.get("secrets") or []}
    clear = {str(variable.get("name")) for variable in container.get("environment") or []}
    if secrets & clear:
        raise client(
            "The secret name must be unique and not shared with any new or existing environment "
            f"variables set on the container, such as '{sorted(secrets & clear)[0]}'."
        )
    logs = (container.get("logConfiguration") or {}).get("logDriver")
    if on_fargate and not request.get("executionRoleArn"):
        if secrets:
            raise client(
                "When you are specifying container secrets, you must also specify a "
                "value for 'executionRoleArn'."
            )
        if logs == "awslogs":
            raise client(
                "Fargate requires task definition to have execution role ARN to support "
                "log driver awslogs."
            )


def _check_memory(containers: Sequence[Mapping[str, Any]], request: Mapping[str, Any]) -> None:
    """API_ContainerDefinition, "memory" and "memoryReservation"."""
    task = int(digits(request.get("memory")) or 0)
    for container in containers:
        limit, reserved = container.get("memory") or 0, container.get("memoryReservation") or 0
        name = container["name"]
        if limit and reserved > limit:
            raise client(
                f"Invalid setting for container '{name}'. 'memory' must be greater than or equal "
                "to 'memoryReservation'."
            )
        if task and limit > task:
            raise client(
                f"The 'memory' setting for container '{name}' is greater than for the task."
            )
    if task and sum(container.get("memoryReservation") or 0 for container in containers) > task:
        raise client(
            "The sum of all container 'memoryReservation' values cannot be greater than the value "
            "of the task 'memory'."
        )
