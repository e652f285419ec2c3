"""What a call is, as rules see it: action, caller, request, and what follows from the revision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_ecs_pinned.local import matching
from prefect_ecs_pinned.local.settings import ROOT

#: What a task without a size has: RunTask's default is a quarter of a vCPU.
DEFAULT_CPU = 256


@dataclass(frozen=True)
class Facts:
    """One call.

    Attributes:
        action: The API action.
        request: Its parameters; for a form, its fields.
        definition: The revision that the request names, as described; empty for none.
        caller: ARN of the principal.
    """

    action: str
    request: Mapping[str, Any] = field(default_factory=dict)
    definition: Mapping[str, Any] = field(default_factory=dict)
    caller: str = ROOT

    @property
    def cluster(self) -> str:
        """Name of the cluster; the default one unless the request names another."""
        return str(self.request.get("cluster") or "default").rsplit("/", 1)[-1]

    @property
    def family(self) -> str:
        """Family of the task definition, if the request is about one."""
        given = self.request.get("family") or self.request.get("familyPrefix")
        named = str(self.request.get("taskDefinition") or "").rsplit("/", 1)[-1]
        return str(given or named.partition(":")[0])

    @property
    def subnets(self) -> list[Any]:
        """Subnets of a RunTask request."""
        return self.values("networkConfiguration.awsvpcConfiguration.subnets[]")

    @property
    def cpu(self) -> float:
        """CPU units of the task: the request's, else the revision's, else its containers'."""
        return task_size("cpu", self.request, self.definition)

    @property
    def memory(self) -> float:
        """MiB of the task, in the same order."""
        return task_size("memory", self.request, self.definition)

    @property
    def gpu(self) -> bool:
        """Whether the task needs a GPU."""
        return gpus(self.request, self.definition) > 0

    def values(self, path: str) -> list[Any]:
        """What is at a path of the request, or below ``definition`` of the revision."""
        if path in self.request:  # fields of a form have dots in their names
            return [self.request[path]]
        return matching.values({**self.request, "definition": self.definition}, path)


def task_size(name: str, request: Mapping[str, Any], definition: Mapping[str, Any]) -> float:
    """CPU units or MiB of a task.

    Args:
        name: ``cpu`` or ``memory``.
        request: RunTask's parameters.
        definition: The revision that it names.
    """
    overrides = request.get("overrides") or {}
    stated = matching.size(overrides.get(name) or definition.get(name) or "")
    return stated if stated is not None else _containers_size(name, overrides, definition)


def _containers_size(
    name: str, overrides: Mapping[str, Any], definition: Mapping[str, Any]
) -> float:
    """What the containers ask for together: on EC2 sizes may be there alone."""
    own = {o.get("name"): o for o in overrides.get("containerOverrides") or []}
    total = 0.0
    for container in definition.get("containerDefinitions") or []:
        override = own.get(container.get("name"), {})
        sizes = [override.get(name), container.get(name)]
        if name == "memory":  # a reservation is what placement counts
            reservation = "memoryReservation"
            sizes = [override.get(reservation), container.get(reservation), *sizes]
        total += next((float(size) for size in sizes if size), 0.0)
    return total or (DEFAULT_CPU if name == "cpu" else 0.0)


def gpus(request: Mapping[str, Any], definition: Mapping[str, Any]) -> int:
    """GPUs of a task."""
    own = {
        o.get("name"): o["resourceRequirements"]
        for o in (request.get("overrides") or {}).get("containerOverrides") or []
        if o.get("resourceRequirements")
    }
    needed = 0
    for container in definition.get("containerDefinitions") or []:
        wanted = own.get(container.get("name")) or container.get("resourceRequirements") or []
        needed += sum(
            int(matching.size(one.get("value")) or 0) for one in wanted if one.get("type") == "GPU"
        )
    return needed
