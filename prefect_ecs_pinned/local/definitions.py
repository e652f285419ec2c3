"""Task definitions as ECS keeps them: validated, numbered, described back in its own words.

Source: API_RegisterTaskDefinition, API_DescribeTaskDefinition, API_ListTaskDefinitions,
API_DeregisterTaskDefinition, API_DeleteTaskDefinitions.
"""

from __future__ import annotations

import copy
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.local.errors import AwsRefusal, client, invalid
from prefect_ecs_pinned.local.settings import ACCOUNT_ID

#: API_RegisterTaskDefinition and https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html
MOST_BYTES = 64 * 1024
MOST_CONTAINERS = 10
MOST_TAGS = 50
_FAMILY = re.compile(r"^[a-zA-Z0-9_-]{1,255}$")

CONTENDED = "Too many concurrent attempts to create a new revision of the specified family."

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

_CONTAINER_DEFAULTS: Mapping[str, Any] = {
    "cpu": 0,
    "essential": True,
    "environment": [],
    "mountPoints": [],
    "volumesFrom": [],
    "portMappings": [],
    "systemControls": [],
}


def check_fargate_size(cpu: str, memory: str) -> None:
    """Refuse a size that Fargate does not offer."""
    numbers = cpu.isdecimal() and memory.isdecimal()
    if not numbers or int(memory) not in FARGATE_SIZES.get(int(cpu), ()):
        raise client(
            f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. "
            "See the Amazon ECS documentation for the valid values."
        )


class Definitions:
    """All revisions of one account and Region.

    Args:
        region: For ARNs.
        now: Seconds since the epoch, for timestamps.
    """

    def __init__(self, region: str, now: Callable[[], float]) -> None:
        self._region = region
        self._now = now
        self._families: dict[str, list[dict[str, Any]]] = {}
        self._registering: set[str] = set()

    def begin(self, request: Mapping[str, Any]) -> str:
        """Begin a registration; an overlapping one of its family is refused.

        Returns the family, to be handed to `end`.
        """
        family = str(request.get("family", ""))
        if family in self._registering:
            raise client(CONTENDED)
        self._registering.add(family)
        return family

    def end(self, family: str) -> None:
        """End a registration, whatever became of it."""
        self._registering.discard(family)

    def register(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """RegisterTaskDefinition."""
        _validate(request)
        definition = copy.deepcopy(dict(request))
        tags = definition.pop("tags", [])
        revisions = self._families.setdefault(definition["family"], [])
        number = len(revisions) + 1
        family = definition["family"]
        definition.update(
            taskDefinitionArn=f"arn:aws:ecs:{self._region}:{ACCOUNT_ID}"
            f":task-definition/{family}:{number}",
            revision=number,
            status="ACTIVE",
            registeredAt=self._now(),
            registeredBy=f"arn:aws:iam::{ACCOUNT_ID}:root",
        )
        _describe_back(definition)
        definition["_tags"] = tags
        revisions.append(definition)
        return {"taskDefinition": _public(definition), "tags": tags}

    def deregister(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DeregisterTaskDefinition."""
        name = request["taskDefinition"]
        if ":" not in name.rsplit("/", 1)[-1]:
            raise client("Task definition identifier must contain a revision.")
        definition = self.find(name)
        if definition is None:
            raise client("The specified task definition does not exist.")
        definition["status"] = "INACTIVE"
        definition["deregisteredAt"] = self._now()
        return {"taskDefinition": _public(definition)}

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeTaskDefinition."""
        definition = self.find(request["taskDefinition"])
        if definition is None:
            raise client("Unable to describe task definition.")
        answer = {"taskDefinition": _public(definition)}
        if "TAGS" in request.get("include", []):
            answer["tags"] = definition["_tags"]
        return answer

    def list_revisions(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTaskDefinitions: by family and revision, paged."""
        status = request.get("status", "ACTIVE")
        family = request.get("familyPrefix")
        arns = [
            definition["taskDefinitionArn"]
            for name in sorted(self._families)
            if family is None or name == family
            for definition in self._families[name]
            if definition["status"] == status
        ]
        if request.get("sort") == "DESC":
            arns.reverse()
        return page("taskDefinitionArns", arns, request)

    def list_families(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTaskDefinitionFamilies."""
        prefix, status = request.get("familyPrefix", ""), request.get("status", "ACTIVE")
        names = [
            name
            for name, revisions in sorted(self._families.items())
            if name.startswith(prefix)
            and (status == "ALL" or (status == "ACTIVE") == any(map(_active, revisions)))
        ]
        return page("families", names, request)

    def delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DeleteTaskDefinitions: up to ten INACTIVE revisions."""
        if len(request["taskDefinitions"]) > 10:
            raise invalid("taskDefinitions can have at most 10 items.")
        deleted, failures = [], []
        for name in request["taskDefinitions"]:
            definition = self.find(name)
            if definition is None or definition["status"] != "INACTIVE":
                reason = "The specified task definition is still in ACTIVE status."
                failures.append({"arn": name, "reason": reason})
                continue
            definition["status"] = "DELETE_IN_PROGRESS"
            deleted.append(_public(definition))
        return {"taskDefinitions": deleted, "failures": failures}

    def find(self, name: str) -> dict[str, Any] | None:
        """A revision by ARN or family:revision, or the newest ACTIVE one of a family."""
        family, _, number = name.rsplit("/", 1)[-1].partition(":")
        revisions = self._families.get(family, [])
        if number:
            index = int(number) - 1 if number.isdigit() else -1
            return revisions[index] if 0 <= index < len(revisions) else None
        return next(filter(_active, reversed(revisions)), None)

    def tags(self, arn: str) -> list[dict[str, str]] | None:
        """The tags of a revision, to be changed in place."""
        definition = self.find(arn)
        return None if definition is None else definition["_tags"]

    def all(self) -> list[dict[str, Any]]:
        """Every revision that was ever registered."""
        return [_public(d) for revisions in self._families.values() for d in revisions]


def page(name: str, items: list[str], request: Mapping[str, Any]) -> dict[str, Any]:
    """One page of a listing: at most 100 items, and a token for the next."""
    token = request.get("nextToken") or "0"
    if not token.isdecimal():
        raise invalid("Invalid token.")
    start = int(token)
    size = int(request.get("maxResults") or 100)
    if not 1 <= size <= 100:
        raise invalid("maxResults must be between 1 and 100.")
    answer: dict[str, Any] = {name: items[start : start + size]}
    if start + size < len(items):
        answer["nextToken"] = str(start + size)
    return answer


def _active(definition: Mapping[str, Any]) -> bool:
    return bool(definition["status"] == "ACTIVE")


def _public(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in definition.items() if not name.startswith("_")}


def _validate(request: Mapping[str, Any]) -> None:
    containers = request.get("containerDefinitions") or []
    if not _FAMILY.match(str(request.get("family", ""))):
        raise client("Family contains invalid characters.")
    if len(json.dumps(request, default=str)) > MOST_BYTES:
        raise client("Actual length of the task definition exceeds the 64 KiB limit.")
    if not 1 <= len(containers) <= MOST_CONTAINERS:
        raise client("Task definition must have between 1 and 10 container definitions.")
    if len(request.get("tags") or []) > MOST_TAGS:
        raise invalid("Tags can have at most 50 items.")
    for size in ("cpu", "memory"):
        if request.get(size) and not digits(request[size]).isdecimal():
            raise client(f"Invalid '{size}' setting for task.")
    on_fargate = "FARGATE" in (request.get("requiresCompatibilities") or [])
    if on_fargate:
        _validate_fargate(request)
    for container in containers:
        _validate_container(container, request, on_fargate)


def _validate_fargate(request: Mapping[str, Any]) -> None:
    if request.get("networkMode") != "awsvpc":
        raise client("Fargate only supports network mode ‘awsvpc’.")
    cpu, memory = digits(request.get("cpu")), digits(request.get("memory"))
    if not cpu or not memory:
        raise client("Fargate requires that 'cpu' and 'memory' be defined at the task level.")
    check_fargate_size(cpu, memory)


def _validate_container(
    container: Mapping[str, Any], request: Mapping[str, Any], on_fargate: bool
) -> None:
    for name in ("name", "image"):
        if not container.get(name):
            raise client(f"Container.{name} should not be null or empty.")
    has_memory = container.get("memory") or container.get("memoryReservation")
    if not has_memory and not request.get("memory"):
        raise client(
            f"Invalid setting for container '{container.get('name')}'. At least one of 'memory' "
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


def digits(size: Any) -> str:
    """``1 vCPU`` as 1024 CPU units, ``2GB`` as 2048 MiB."""
    text = str(size or "").lower().replace(" ", "")
    for unit in ("vcpu", "gb"):
        number = text.removesuffix(unit)
        if number != text and re.fullmatch(r"\d{1,6}(\.\d{1,6})?|\.\d{1,6}", number):
            return str(int(float(number) * 1024))
    return text


def _describe_back(definition: dict[str, Any]) -> None:
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
    definition.setdefault("networkMode", "bridge")
    definition.setdefault("volumes", [])
    definition.setdefault("placementConstraints", [])
    required = definition.get("requiresCompatibilities") or []
    definition["compatibilities"] = ["EC2", *[name for name in required if name != "EC2"]]
    definition["requiresAttributes"] = [
        {"name": "com.amazonaws.ecs.capability.docker-remote-api.1.18"},
        {"name": "ecs.capability.task-eni"},
    ]
    definition["enableFaultInjection"] = False


def _stable_disorder(item: Mapping[str, Any]) -> int:
    """An order that is always the same, and neither the one given nor the sorted one."""
    return zlib.crc32(str(item.get("name", "")).encode())


__all__ = ["AwsRefusal", "Definitions", "check_fargate_size", "digits", "page"]
