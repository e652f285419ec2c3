"""What a refusal for lack of room says, and about which requests it says it.

A refusal covers the requests of its scope that are at least as large in the dimension that was
refused, and nothing else. A task of 16 vCPUs that does not fit says nothing about one of 1 vCPU;
a full cluster says nothing about another.

Sources: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
(reasons), https://docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html (vCPU quotas
of Fargate and Fargate Spot), API_RunTask (placement, capacity providers).
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from functools import cached_property
from typing import Any

from prefect_ecs_pinned.core.canonical import size_number
from prefect_ecs_pinned.core.kinds import Kind
from prefect_ecs_pinned.core.request import launch_type_of

#: Size of a request in one dimension; None when it cannot be read.
Size = float | frozenset[Any] | None


class Dimension(str, Enum):
    """What there can be too little of. The values are attributes of a `Demand`."""

    CPU = "cpu"
    MEMORY = "memory"
    GPU = "gpu"
    PORTS = "ports"
    ENI = "eni"


@dataclass(frozen=True)
class Demand:
    """What a RunTask request asks for: equal for requests that can be placed alike.

    Attributes:
        bucket: The quota that it draws on: FARGATE, FARGATE_SPOT or EC2.
        cluster: Name or ARN of the cluster.
        provider: Launch type, or capacity provider strategy; empty for the cluster's own.
        placement: Constraints and strategy, as JSON.
        subnets: IDs of its subnets.
        platform: Platform version, operating system and architecture.
        revision: The task definition that it names.
        cpu: CPU units.
        memory: MiB.
        gpu: GPUs.
        ports: Host ports.
        eni: Network interfaces: 1 on awsvpc.
    """

    bucket: str
    cluster: str = "default"
    provider: str = ""
    placement: str = ""
    subnets: frozenset[str] = frozenset()
    platform: str = ""
    revision: str = ""
    cpu: Size = None
    memory: Size = None
    gpu: Size = 0
    ports: Size = frozenset()
    eni: Size = 0

    def key(self, scope: Scope) -> tuple[Hashable, ...]:
        """What has to be equal for two requests to be in one scope."""
        return tuple(getattr(self, name) for name in scope.value)

    @property
    def scales(self) -> bool:
        """Whether a capacity provider may add what is missing (API_RunTask, "launchType")."""
        return self.provider not in ("EC2", "EXTERNAL")

    @cached_property
    def _hash(self) -> int:
        return hash(self.key(Scope.EQUAL))

    def __hash__(self) -> int:
        return self._hash


class Scope(Enum):
    """Which requests a refusal is about: those that agree in these attributes of a `Demand`."""

    BUCKET = ("bucket",)
    SUBNETS = ("bucket", "subnets", "platform")
    PROVIDER = ("cluster", "provider")
    PLACEMENT = ("cluster", "provider", "placement")
    REVISION = ("cluster", "provider", "placement", "revision")
    EQUAL = tuple(each.name for each in fields(Demand))


@dataclass(frozen=True)
class Shortage:
    """There is no room for requests of a scope that are at least so large.

    Attributes:
        scope: Which attributes of a request count.
        key: Their values.
        least: Dimension -> the size that was refused; empty: whatever the size.
        revision: The task definition that was refused, when a size of it is not known.
        relieved: Whether tasks that end can make room.
    """

    scope: Scope
    key: tuple[Hashable, ...]
    least: tuple[tuple[Dimension, Size], ...]
    revision: str
    relieved: bool

    @property
    def chain(self) -> Hashable:
        """Equal for shortages that differ in nothing but size."""
        dimensions = tuple(dimension for dimension, _ in self.least)
        return self.scope, self.key, dimensions, self.revision, self.relieved

    def concerns(self, demand: Demand) -> bool:
        """Whether a request is in its scope, whatever the size."""
        return demand.key(self.scope) == self.key

    def covers(self, demand: Demand) -> bool:
        """Whether a request would be refused as well."""
        return self.concerns(demand) and all(
            _at_least(getattr(demand, dimension.value), size, demand.revision == self.revision)
            for dimension, size in self.least
        )

    def ratio(self, demand: Demand) -> float:
        """How many requests of the refused size are as large as one; 1 where that has no number."""
        sizes = [(getattr(demand, dimension.value), size) for dimension, size in self.least]
        ratios = [
            mine / least
            for mine, least in sizes
            if isinstance(mine, int | float) and isinstance(least, int | float) and least
        ]
        return min(ratios, default=1.0)

    def within(self, other: Shortage) -> bool:
        """Whether it says less than another of its chain: that one covers what this one does."""
        return self.chain == other.chain and all(
            _at_least(mine, size, same=False)
            for (_, mine), (_, size) in zip(self.least, other.least, strict=True)
        )

    def ends_with(self, demand: Demand, live: Sequence[tuple[Demand, str, int]]) -> bool:
        """Whether tasks of this package that run could make room for a request by their end.

        Args:
            demand: The request.
            live: (what it asked for, ARN of its container instance or "", how many) of those.
        """
        if not self.relieved or not live:
            return False
        scope = _ROOM.get(self.scope, self.scope)
        key = demand.key(scope)
        by_place: dict[str, list[tuple[Demand, int]]] = {}
        for task, instance, number in live:
            if task.key(scope) == key:
                place = instance if scope is Scope.PLACEMENT else ""
                by_place.setdefault(place, []).append((task, number))
        dimensions = [dimension.value for dimension, _ in self.least]
        return any(
            all(_together(tasks, name, getattr(demand, name)) for name in dimensions)
            for tasks in by_place.values()
        )


#: Scope of a refusal -> scope of the tasks that can make room by their end.
_ROOM = {Scope.EQUAL: Scope.PROVIDER, Scope.REVISION: Scope.PLACEMENT}


def _at_least(size: Size, least: Size, same: bool) -> bool:
    """Whether a size is as large as another; of unknown ones only the same revision's."""
    if size is None or least is None:
        return same
    return size >= least  # type: ignore[operator]


def _together(tasks: Sequence[tuple[Demand, int]], name: str, needed: Size) -> bool:
    sizes = [(getattr(task, name), number) for task, number in tasks]
    if needed is None or any(size is None for size, _ in sizes):
        return True
    if isinstance(needed, frozenset):
        return any(size & needed for size, _ in sizes)
    return bool(sum(size * number for size, number in sizes) >= needed)


@dataclass(frozen=True)
class _Refusal:
    """A row of the table: a fragment of the reason, and what it says.

    ``kind`` is set where the fragment is of a message that an exception may have as well.
    """

    fragment: str
    scope: Scope
    dimensions: tuple[Dimension, ...] = ()
    relieved: bool = True
    kind: Kind | None = None


#: The first match counts. A sample of the whole reason is next to each that is a fragment.
_TABLE = (
    # "You've reached the limit on the number of vCPUs you can run concurrently"
    _Refusal("limit on the number of vCPUs", Scope.BUCKET, (Dimension.CPU,), kind=Kind.VCPU_QUOTA),
    # "You've reached the limit on the number of tasks you can run concurrently"
    _Refusal("limit on the number of", Scope.BUCKET, kind=Kind.VCPU_QUOTA),
    # "Tasks provisioning capacity limit exceeded.": an EC2 capacity provider has 500 tasks in
    # PROVISIONING
    _Refusal("provisioning capacity limit", Scope.PROVIDER, kind=Kind.CAPACITY),
    # "Capacity is unavailable at this time. Please try again later or in a different availability
    #  zone"
    _Refusal(
        "Capacity is unavailable",
        Scope.SUBNETS,
        (Dimension.CPU, Dimension.MEMORY),
        kind=Kind.CAPACITY,
    ),
    _Refusal("RESOURCE:CPU", Scope.PLACEMENT, (Dimension.CPU,)),
    _Refusal("RESOURCE:MEMORY", Scope.PLACEMENT, (Dimension.MEMORY,)),
    _Refusal("RESOURCE:GPU", Scope.PLACEMENT, (Dimension.GPU,)),
    _Refusal("RESOURCE:PORTS", Scope.PLACEMENT, (Dimension.PORTS,)),
    _Refusal("RESOURCE:ENI", Scope.PLACEMENT, (Dimension.ENI,)),
    _Refusal("RESOURCE:", Scope.EQUAL),  # of a kind that came after this was written
    _Refusal("AGENT", Scope.EQUAL, relieved=False),
    _Refusal("ATTRIBUTE", Scope.EQUAL, relieved=False),
    _Refusal("LOCATION", Scope.EQUAL, relieved=False),
    # "No Container Instances were found in your cluster." (or "... in your capacity provider.")
    _Refusal("No Container Instances", Scope.EQUAL, relieved=False, kind=Kind.NO_INSTANCES),
)

#: Reasons that no waiting changes, unless a capacity provider adds instances of another kind.
_UNPLACEABLE = ("ATTRIBUTE", "LOCATION", "No Container Instances")


def is_refusal(reason: str) -> bool:
    """Whether a reason is one for lack of room, of a kind that is known."""
    return any(row.fragment in reason for row in _TABLE)


def kind_of(message: str) -> Kind | None:
    """What an exception with that message says of room; None when it is about something else."""
    return next((row.kind for row in _TABLE if row.kind and row.fragment in message), None)


def is_unplaceable(reasons: Sequence[str]) -> bool:
    """Whether no instance that there is can ever take the task."""
    return all(any(fragment in reason for fragment in _UNPLACEABLE) for reason in reasons)


def shortage(reasons: Sequence[str], demand: Demand) -> Shortage | None:
    """What the reasons of one refusal say together; None when waiting does not help.

    Several reasons are those of several container instances: a request that is as large in all of
    their dimensions is refused by each.

    Args:
        reasons: ``reason`` of all ``failures`` of an answer, or the message of an exception.
        demand: The request that was refused.
    """
    if not reasons or (is_unplaceable(reasons) and not demand.scales):
        return None
    rows = [row for row in _TABLE if any(row is _row(reason) for reason in reasons)]
    if not rows:
        return None
    placed = [row for row in rows if row.relieved] or list(rows)
    scope = placed[0].scope if len({row.scope for row in placed}) == 1 else Scope.EQUAL
    if scope is Scope.PLACEMENT and any(row.fragment in _UNPLACEABLE for row in rows):
        scope = Scope.REVISION  # another revision may ask for other attributes
    named = {dimension for row in placed for dimension in row.dimensions}
    dimensions = () if scope is Scope.EQUAL else tuple(d for d in Dimension if d in named)
    least = tuple((d, getattr(demand, d.value)) for d in dimensions)
    return Shortage(
        scope=scope,
        key=demand.key(scope),
        least=least,
        revision=demand.revision if any(size is None for _, size in least) else "",
        relieved=any(row.relieved for row in rows),
    )


def _row(reason: str) -> _Refusal | None:
    return next((row for row in _TABLE if row.fragment in reason), None)


def demand_of(request: Mapping[str, Any], definition: Mapping[str, Any] | None = None) -> Demand:
    """What a request asks for: its own sizes, else those of the definition that it runs.

    Args:
        request: RunTask's parameters, customizations applied.
        definition: The task definition; None when it is not known.
    """
    definition = definition or {}
    overrides = request.get("overrides") or {}
    awsvpc = (request.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
    containers = _containers(definition, overrides)
    strategy = request.get("capacityProviderStrategy")
    runtime = definition.get("runtimePlatform") or {}
    return Demand(
        bucket=launch_type_of(request),
        cluster=str(request.get("cluster") or "default"),
        provider=_text(strategy) if strategy else str(request.get("launchType") or ""),
        placement=_text([request.get("placementConstraints"), request.get("placementStrategy")]),
        subnets=frozenset(map(str, awsvpc.get("subnets") or ())),
        platform=_text([request.get("platformVersion") or "", runtime]),
        revision=str(request.get("taskDefinition") or ""),
        cpu=_size(overrides, definition, "cpu", [c.get("cpu") for c in containers]),
        memory=_size(
            overrides,
            definition,
            "memory",
            [c.get("memoryReservation") or c.get("memory") for c in containers],
        ),
        gpu=sum(map(_gpus, containers)),
        ports=frozenset(
            (mapping.get("hostPort"), mapping.get("protocol") or "tcp")
            for container in containers
            for mapping in container.get("portMappings") or ()
            if mapping.get("hostPort") and not awsvpc
        ),
        eni=1 if awsvpc else 0,
    )


def _containers(
    definition: Mapping[str, Any], overrides: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """The containers of a task as they will be run: definition and overrides, by name."""
    changed = {c.get("name"): c for c in overrides.get("containerOverrides") or ()}
    merged: list[Mapping[str, Any]] = []
    for container in definition.get("containerDefinitions") or ():
        override = changed.get(container.get("name")) or {}
        given = {name: value for name, value in override.items() if value is not None}
        merged.append({**container, **given})
    return merged


def _size(
    overrides: Mapping[str, Any], definition: Mapping[str, Any], name: str, parts: Sequence[Any]
) -> Size:
    """CPU units or MiB of a task: as it states, else as its containers do together."""
    stated = overrides.get(name) or definition.get(name)
    if stated:
        number = size_number(stated)
        return None if number is None else float(number)
    numbers = [part for part in parts if isinstance(part, int | float)]
    return float(sum(numbers)) if numbers else None


def _gpus(container: Mapping[str, Any]) -> int:
    wanted = container.get("resourceRequirements") or ()
    values = [size_number(item.get("value")) for item in wanted if item.get("type") == "GPU"]
    return sum(value for value in values if value is not None)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
