"""A family in an account and Region: its revisions, and what runs from them. Reads only."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind, as_error
from prefect_ecs_pinned.aws.loop.bounded import in_batches
from prefect_ecs_pinned.core.arn import parse_revision
from prefect_ecs_pinned.core.compare import Observed
from prefect_ecs_pinned.errors import ClusterNotFound, Unavailable
from prefect_ecs_pinned.operations.calls import Calls

#: API_DescribeTasks, "tasks"; API_DescribeServices, "services".
DESCRIBE_TASKS_LIMIT = 100
DESCRIBE_SERVICES_LIMIT = 10

#: How often, and how many seconds apart, tasks are described that are listed and MISSING. It takes
#: seconds for a new task to be seen everywhere (boto/boto3#842).
_LOOKS_FOR_TASKS = 5
_LOOK_SECONDS = 2.0

#: Revisions described at the same time; the pace is `calls`'s.
_AT_ONCE = 8


@dataclass(frozen=True)
class Revision:
    """A revision as ECS described it.

    Attributes:
        observed: What a desired definition is compared with.
        registered_at: When.
        registered_by: ARN of the principal.
    """

    observed: Observed
    registered_at: datetime
    registered_by: str

    @property
    def arn(self) -> str:
        """Of the revision."""
        return self.observed.arn

    @property
    def number(self) -> int:
        """Of the revision."""
        return self.observed.revision

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Revision:
        """Read DescribeTaskDefinition's ``taskDefinition``."""
        return cls(
            Observed.of(described),
            described["registeredAt"],
            str(described.get("registeredBy", "")),
        )


async def list_revisions(calls: Calls, family: str, status: str = "ACTIVE") -> list[str]:
    """ARNs of a family's revisions of a status, newest first."""
    pages = calls.pages(
        "ecs",
        "ListTaskDefinitions",
        "taskDefinitionArns",
        familyPrefix=family,
        status=status,
        sort="DESC",
    )
    arns = [arn async for arn in pages if parse_revision(arn).family == family]
    return sorted(arns, key=lambda arn: parse_revision(arn).revision, reverse=True)


async def describe(calls: Calls, arn: str, tags: bool = False) -> Mapping[str, Any] | None:
    """A revision or a family's newest one as ECS describes it; None when there is none.

    Args:
        calls: Reach AWS.
        arn: Which.
        tags: With its tags among the members; None when they may not be read.
    """
    include: dict[str, Any] = {"include": ["TAGS"]} if tags else {}
    try:
        answer = await calls.attempt("ecs", "DescribeTaskDefinition", taskDefinition=arn, **include)
    except Fault as fault:
        if fault.kind is Kind.NO_DEFINITION:
            return None
        if tags and fault.kind is Kind.DENIED:
            untagged = await describe(calls, arn)
            return {**untagged, "tags": None} if untagged is not None else None
        raise as_error(fault, f"cannot describe {arn}") from fault
    found: Mapping[str, Any] = answer["taskDefinition"]
    return {**found, "tags": answer.get("tags") or []} if tags else found


async def describe_all(calls: Calls, arns: Sequence[str]) -> list[Revision]:
    """Revisions as ECS describes them, in order; those that are gone are left out."""
    found: list[Revision] = []
    for batch in in_batches(arns, _AT_ONCE):
        answers = await asyncio.gather(*(describe(calls, arn) for arn in batch))
        found += [Revision.of(answer) for answer in answers if answer is not None]
    return found


async def clusters(calls: Calls) -> list[str]:
    """ARNs of the account's clusters in the Region."""
    return [arn async for arn in calls.pages("ecs", "ListClusters", "clusterArns")]


async def live_tasks(calls: Calls, family: str, among: Sequence[str]) -> dict[str, int]:
    """Revision -> how many tasks are to run, from the families' tasks in these clusters.

    A task that is about to start counts; one that is stopping does not.

    Raises:
        Unavailable: ECS lists tasks that it does not describe: their revision is not known.
        PinnedECSError: As `Calls.call`.
    """
    counts: Counter[str] = Counter()
    for cluster in among:
        arns = await _tasks(calls, cluster, family)
        for batch in in_batches(arns, DESCRIBE_TASKS_LIMIT):
            tasks = await _described(calls, cluster, batch)
            counts.update(str(task["taskDefinitionArn"]) for task in tasks)
    return dict(counts)


async def _described(
    calls: Calls, cluster: str, arns: Sequence[str]
) -> Sequence[Mapping[str, Any]]:
    """Tasks as ECS describes them; a task that has just started is MISSING for a while."""
    for _ in range(_LOOKS_FOR_TASKS):
        answer = await calls.call("ecs", "DescribeTasks", cluster=cluster, tasks=list(arns))
        if len(answer["tasks"]) == len(arns):
            found: Sequence[Mapping[str, Any]] = answer["tasks"]
            return found
        await calls.clock.wait(_LOOK_SECONDS)
    raise Unavailable(
        f"cannot find out which revisions are in use in {cluster}",
        f"ECS lists {len(arns)} tasks and describes {len(answer['tasks'])} of them",
        "repeat the command in a minute",
    )


async def _tasks(calls: Calls, cluster: str, family: str) -> list[str]:
    pages = calls.pages("ecs", "ListTasks", "taskArns", cluster=cluster, family=family)
    try:
        return [arn async for arn in pages]
    except ClusterNotFound:  # deleted since it was listed
        return []


async def services(calls: Calls, among: Sequence[str]) -> dict[str, list[str]]:
    """Revision -> names of the ECS services that use it: now, in a deployment or a task set."""
    users: dict[str, list[str]] = {}
    for cluster in among:
        arns = [
            arn async for arn in calls.pages("ecs", "ListServices", "serviceArns", cluster=cluster)
        ]
        for batch in in_batches(arns, DESCRIBE_SERVICES_LIMIT):
            answer = await calls.call(
                "ecs", "DescribeServices", cluster=cluster, services=list(batch)
            )
            for service in answer["services"]:
                for arn in _revisions_of(service):
                    users.setdefault(arn, []).append(str(service["serviceName"]))
    return users


def _revisions_of(service: Mapping[str, Any]) -> set[str]:
    parts = [service, *(service.get("deployments") or []), *(service.get("taskSets") or [])]
    return {str(part["taskDefinition"]) for part in parts if part.get("taskDefinition")}
