"""Checks of what ECS itself has: the cluster, and the revision that a flow run would run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_ecs_pinned.aws.pinning.pin import hint_of_former
from prefect_ecs_pinned.core.arn import cluster_name, parse_revision
from prefect_ecs_pinned.core.definition import former_family
from prefect_ecs_pinned.core.shown import plain
from prefect_ecs_pinned.errors import RegistrationRefused
from prefect_ecs_pinned.operations.doctor.findings import Answer, fail, ok, warn
from prefect_ecs_pinned.operations.doctor.subject import Subject
from prefect_ecs_pinned.runs.revision import patched_revision

#: Revisions of a family, deregistered ones included.
#: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html
REVISIONS_LIMIT = 1_000_000

#: Share of it from which on one is warned.
_NEARLY = 0.9


async def cluster(subject: Subject) -> list[Answer]:
    """The cluster exists and is ACTIVE."""
    name = str(plain(subject.request.get("cluster") or "default"))
    answer = await subject.look.ask("ecs", "DescribeClusters", clusters=[name])
    hint = "check cluster, and that it is in this account and Region; or create it"
    if not answer["clusters"]:
        return [fail(f"there is no cluster {name!r} in {subject.region}", hint)]
    status = answer["clusters"][0]["status"]
    if status != "ACTIVE":
        return [fail(f"cluster {name!r} is {status}", hint)]
    return [ok(cluster_name(name))]


async def revision(subject: Subject) -> list[Answer]:
    """A revision matches, or one may be registered."""
    if subject.revision is not None:
        named = "task_customizations name" if patched_revision(subject.spec) else "linked:"
        return [ok(f"{named} {plain(subject.revision)}")]
    try:
        pin = await subject.look.plane.pin(subject.desired, may_register=False)
    except RegistrationRefused as refused:
        if not subject.spec.may_register:
            return [fail(refused.why, refused.hint)]
        return [
            await _former(subject)
            or ok(f"the next launch registers a revision of {subject.desired.family}")
        ]
    name = str(parse_revision(pin.arn))
    if pin.differs:
        detail = f"{name}: ECS describes {', '.join(pin.differs)} differently from the request"
        hint = "see with `pinned-ecs show` who registered it; a launch still uses it"
        return [warn(detail, hint)]
    return [ok(name)]


async def _former(subject: Subject) -> Answer | None:
    """A family that has no revision, while the one does that its name was made into before."""
    family = subject.desired.family
    former = former_family(family)
    if former == family or await _newest(subject, family) is not None:
        return None
    if await _newest(subject, former) is None:
        return None
    return warn(f"{family} has no revision", hint_of_former(family, former))


async def _newest(subject: Subject, family: str) -> Mapping[str, Any] | None:
    return await subject.look.find(
        "ecs", "DescribeTaskDefinition", ("ClientException",), taskDefinition=family
    )


async def revisions_left(subject: Subject) -> list[Answer]:
    """The family may have more revisions."""
    family = subject.desired.family
    answer = await _newest(subject, family)
    if answer is None:
        return [ok(f"{family} has no revision yet")]
    number = int(answer["taskDefinition"]["revision"])
    detail = f"{family} is at revision {number:,} of {REVISIONS_LIMIT:,}"
    hint = "set family to a new name: deregistering and deleting do not lower the number"
    if number >= REVISIONS_LIMIT:
        return [fail(detail, hint)]
    return [warn(detail, hint)] if number > REVISIONS_LIMIT * _NEARLY else [ok(detail)]
