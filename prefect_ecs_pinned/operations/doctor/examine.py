"""Make every check on every block and deployment, and put together what is said alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from prefect_ecs_pinned import majors
from prefect_ecs_pinned.core.shown import without
from prefect_ecs_pinned.errors import AccessDenied, PinnedECSError, Unavailable
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.doctor.dependency_checks import image, log_group, secrets
from prefect_ecs_pinned.operations.doctor.ecs_checks import cluster, revision, revisions_left
from prefect_ecs_pinned.operations.doctor.findings import (
    Answer,
    Finding,
    Said,
    fail,
    ok,
    put_together,
    skip,
)
from prefect_ecs_pinned.operations.doctor.look import Look, is_embedded
from prefect_ecs_pinned.operations.doctor.network_checks import security_groups, subnets
from prefect_ecs_pinned.operations.doctor.request_checks import (
    api_url,
    container,
    image_is_set,
    overrides,
    size,
)
from prefect_ecs_pinned.operations.doctor.role_checks import roles
from prefect_ecs_pinned.operations.doctor.subject import Subject, make_subject
from prefect_ecs_pinned.operations.saved import prefect_api
from prefect_ecs_pinned.operations.sources import Candidate, Holder, face_of, name_of

Check = Callable[[Subject], Awaitable[list[Answer]]]

#: Name of a check -> the check, in the order in which they are shown.
CHECKS: dict[str, Check] = {
    "image set": image_is_set,
    "container": container,
    "size": size,
    "overrides": overrides,
    "Prefect API URL": api_url,
    "cluster": cluster,
    "subnets": subnets,
    "security groups": security_groups,
    "roles": roles,
    "image": image,
    "log group": log_group,
    "secrets": secrets,
    "revision": revision,
    "revisions left": revisions_left,
}


async def doctor(reference: Holder | None = None) -> list[Finding]:
    """Examine one saved block or work pool, or all of them, and the deployments on it.

    Raises:
        ConfigurationError: There is no such block or pool.
        PinnedECSError: The Prefect API can not be reached.
    """
    async with prefect_api() as client:
        if face_of(reference) is majors.BLOCK:
            from prefect_ecs_pinned.operations.blocks.checks import look as look_at_blocks

            said, found = await look_at_blocks(client, name_of(reference))
        else:
            from prefect_ecs_pinned.operations.pools.checks import look as look_at_pools

            said, found = await look_at_pools(client, name_of(reference))
    said += map(_loads, found)
    await _examine_all([c.configuration for c in found if c.configuration is not None], said)
    return put_together(said)


def _loads(candidate: Candidate) -> tuple[str, str, Answer]:
    """Whether flow runs would get as far as a configuration."""
    if (error := candidate.problem) is not None:
        return "loads", candidate.name, fail(error.why, error.hint)
    return "loads", candidate.name, ok("as a flow run would load it")


async def _examine_all(found: list[Configuration], said: list[Said]) -> None:
    looks: dict[str, Look] = {}
    try:
        for one in found:
            key = one.access.key
            if key not in looks:
                looks[key] = Look(one.access)
            for check, answer in await _examine(one, looks[key]):
                said.append((check, one.name, answer))
    finally:
        for look in looks.values():
            look.close()


async def _examine(one: Configuration, look: Look) -> list[tuple[str, Answer]]:
    """All checks of one block or deployment; those that can not be made are skipped."""
    said: list[tuple[str, Answer]] = []
    name = "Region"
    try:
        said.append((name, ok(await look.region())))
        name = "credentials"
        identity = await look.ask("sts", "GetCallerIdentity")
    except PinnedECSError as error:
        return [*said, (name, fail(error.why, error.hint)), *_skipped("no access to AWS")]
    account = str(identity["Account"])
    embedded = is_embedded(identity)
    whose = " of an embedded ECS" if embedded else ""
    said.append((name, ok(f"{identity['Arn']} in account {account}{whose}")))
    try:
        subject = await make_subject(one, look, account, embedded)
    except PinnedECSError as error:
        return [*said, ("definition", _failed(error)), *_skipped("no definition can be made")]
    said.append(("definition", ok(f"of family {subject.desired.family}")))
    for name, check in CHECKS.items():
        try:
            said += [(name, answer) for answer in await check(subject)]
        except PinnedECSError as error:
            said.append((name, _failed(error, subject.hidden)))
    return said


def _failed(error: PinnedECSError, hidden: Collection[str] = ()) -> Answer:
    """The result of a check that ended in an error: an unknown is not a fault of the set-up."""
    text = without(error.text, hidden)
    if isinstance(error, AccessDenied | Unavailable):
        return skip(text, error.hint)
    return fail(text, error.hint)


def _skipped(why: str) -> list[tuple[str, Answer]]:
    return [(name, skip(why)) for name in CHECKS]
