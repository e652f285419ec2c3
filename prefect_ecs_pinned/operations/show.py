"""What blocks and pools run from now: revisions, who registered them, what is live. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.families import (
    Revision,
    clusters,
    describe,
    list_revisions,
    live_tasks,
)
from prefect_ecs_pinned.operations.plan import Step, Target, step, targets
from prefect_ecs_pinned.operations.saved import prefect_api
from prefect_ecs_pinned.operations.sources import Holder, candidates


@dataclass(frozen=True)
class InUse:
    """A revision that blocks or deployments run from.

    Attributes:
        used_by: Their names.
        revision: Its ARN; None when none matches and one would be registered.
        how: ``given``, ``found``, ``adopted`` or ``register``.
        fingerprint: Of their configuration.
        registered_at: When it was registered.
        registered_by: ARN of the principal that did.
        image: Image of the Prefect container.
    """

    used_by: tuple[str, ...]
    revision: str | None
    how: str
    fingerprint: str
    registered_at: datetime | None
    registered_by: str
    image: str


@dataclass(frozen=True)
class Family:
    """A family that blocks run from.

    Attributes:
        family: Its name.
        region: AWS Region.
        in_use: Revisions that saved blocks and deployments run from.
        active: How many revisions it has that are ACTIVE.
        newest: ARN of the newest; None when there is none.
        live: ARN of a revision -> tasks that run from it, in all clusters.
    """

    family: str
    region: str
    in_use: tuple[InUse, ...]
    active: int
    newest: str | None
    live: dict[str, int]


async def show(reference: Holder | None = None) -> list[Family]:
    """The families of one saved block or pool, or of all, with the deployments that run on it.

    Raises:
        ConfigurationError: It, or a deployment on it, can not be launched as it is.
        PinnedECSError: AWS or Prefect refused, or could not be reached.
    """
    return await show_for(await _configurations(reference))


async def show_for(wanted: Sequence[Configuration]) -> list[Family]:
    """As `show`, for configurations that have been read."""
    async with targets(wanted) as found:
        by_family: dict[tuple[str, str], list[Target]] = {}
        for target in found:
            key = (target.access.key, target.prepared.desired.family)
            by_family.setdefault(key, []).append(target)
        return [await _family(members) for members in by_family.values()]


async def _configurations(reference: Holder | None) -> list[Configuration]:
    async with prefect_api() as client:
        found = await candidates(client, reference)
    problem = next((c.problem for c in found if c.problem is not None), None)
    if problem is not None:
        raise problem
    return [c.configuration for c in found if c.configuration is not None]


async def _family(members: list[Target]) -> Family:
    calls = Calls(members[0].plane)
    family = members[0].prepared.desired.family
    arns = await list_revisions(calls, family)
    return Family(
        family=family,
        region=members[0].region,
        in_use=tuple([await _in_use(calls, await step(target)) for target in members]),
        active=len(arns),
        newest=arns[0] if arns else None,
        live=await live_tasks(calls, family, await clusters(calls)),
    )


async def _in_use(calls: Calls, decided: Step) -> InUse:
    described = await describe(calls, decided.revision) if decided.revision is not None else None
    revision = Revision.of(described) if described is not None else None
    return InUse(
        used_by=decided.used_by,
        revision=decided.revision,
        how=decided.action,
        fingerprint=decided.fingerprint,
        registered_at=revision.registered_at if revision is not None else None,
        registered_by=revision.registered_by if revision is not None else "",
        image=decided.image,
    )
