"""From a pool of type `ecs` to one of type `pinned-ecs`, its deployments with it; and back.

A pool's type can't be changed, so a second pool is made next to it. The first stays as it is.
Everything is checked before anything is written, and what is there already is left alone: running
it again does what was left undone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectAlreadyExists, PrefectHTTPStatusError

from prefect_ecs_pinned.aws.pinning.registrable import make
from prefect_ecs_pinned.core.shown import named
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.pools.changes import Change, changes
from prefect_ecs_pinned.operations.pools.loading import Loading
from prefect_ecs_pinned.operations.pools.queues import carry_over, queues_of, unfinished_in
from prefect_ecs_pinned.operations.pools.reading import (
    OURS,
    PLAIN,
    Deployment,
    called,
    check_type,
    deployments_of,
    read_pool,
    read_pools,
)
from prefect_ecs_pinned.operations.saved import prefect_api
from prefect_ecs_pinned.runs.check import checked_request, unread
from prefect_ecs_pinned.runs.revision import definition_spec, named_revision

#: What the new pool's name ends in, unless it is given.
SUFFIX = "-pinned"


@dataclass(frozen=True)
class Move:
    """What is done, or would be.

    Attributes:
        source: Name of the pool that deployments leave.
        target: Name of the pool that they are pointed at.
        exists: The target was there before, and its template is left as it is.
        queues: Names of queues that are made or brought in line.
        changes: What means something else; none on the way back.
        moved: Deployments that are repointed.
        there: Deployments that run on the target already.
        unfinished: Flow runs that stay in the source: they are scheduled there, or live.
        undo: It is the way back.
        done: It was carried out.
    """

    source: str
    target: str
    exists: bool
    queues: tuple[str, ...]
    changes: tuple[Change, ...]
    moved: tuple[str, ...]
    there: tuple[str, ...]
    unfinished: int
    undo: bool
    done: bool


async def migrate(name: str, to: str | None = None, undo: bool = False, yes: bool = False) -> Move:
    """Create a pool of type `pinned-ecs` from one of type `ecs`, and repoint its deployments.

    Args:
        name: The pool of type `ecs`.
        to: Name of the other one; its own with ``-pinned`` if it is left out.
        undo: The other way round: the deployments of the other pool are pointed at this one.
        yes: Apply the changes; otherwise only list them.

    Raises:
        ConfigurationError: A pool is not there or of the wrong type; or a deployment could not be
            launched from the new one. Nothing has been changed then.
        PinnedECSError: The Prefect API refuses, or can not be reached.
    """
    to = to or f"{name}{SUFFIX}"
    async with prefect_api() as client:
        plain_pool = await read_pool(client, name)
        check_type(plain_pool)
        if plain_pool.type != PLAIN:
            raise ConfigurationError(
                f"cannot migrate {called(plain_pool)}",
                f"it is of type {OURS!r} already",
                f"name the pool of type {PLAIN!r}, with --undo for the way back",
            )
        ours = next((pool for pool in await read_pools(client) if pool.name == to), None)
        if ours is not None and ours.type != OURS:
            raise ConfigurationError(
                f"cannot migrate {called(plain_pool)}",
                f"{called(ours)} exists, and is of type {named(ours.type)!r}",
                "give another name with --to",
            )
        if undo:
            return await _back(client, plain_pool, ours, to, yes)
        return await _forth(client, plain_pool, ours, to, yes)


async def _forth(
    client: PrefectClient, source: WorkPool, target: WorkPool | None, to: str, yes: bool
) -> Move:
    movable = await deployments_of(client, source)
    there = await deployments_of(client, target) if target is not None else []
    planned = target or source.model_copy(update={"name": to, "type": OURS})
    loading = Loading(client)
    to_check: list[Deployment | None] = [*movable] or [None]
    checked = [await _check(loading, planned, deployment) for deployment in to_check]
    theirs = await queues_of(client, source)
    ours = await queues_of(client, target) if target is not None else {}
    # What was made by hand in a pool that is in use already is not overwritten.
    wanted = [queue for queue in theirs.values() if target is None or queue.name not in ours]
    move = Move(
        source=source.name,
        target=to,
        exists=target is not None,
        queues=tuple(queue.name for queue in wanted),
        changes=tuple(changes(source.base_job_template, checked)),
        moved=tuple(deployment.name for deployment in movable),
        there=tuple(deployment.name for deployment in there),
        unfinished=await unfinished_in(client, source),
        undo=False,
        done=yes,
    )
    if yes:
        if target is None:
            target = await _create(client, source, to)
            ours = await queues_of(client, target)
        for queue in wanted:
            await carry_over(client, source, target, queue, ours)
        for deployment in movable:
            await _point(client, deployment, to, deployment.queue)
    return move


async def _back(
    client: PrefectClient, target: WorkPool, source: WorkPool | None, to: str, yes: bool
) -> Move:
    if source is None:
        raise ConfigurationError(
            f"cannot go back to {called(target)}",
            f"there is no work pool '{named(to)}'",
            "name the pool that was created from it with --to",
        )
    movable = await deployments_of(client, source)
    there = await deployments_of(client, target)
    missing = await queues_of(client, source)
    known = await queues_of(client, target)
    wanted = [
        queue
        for queue in missing.values()
        if queue.name not in known and queue.name in {d.queue for d in movable}
    ]
    if yes:
        for queue in wanted:
            await carry_over(client, source, target, queue, known)
        for deployment in movable:
            await _point(client, deployment, target.name, deployment.queue)
    return Move(
        source=source.name,
        target=target.name,
        exists=True,
        queues=tuple(queue.name for queue in wanted),
        changes=(),
        moved=tuple(deployment.name for deployment in movable),
        there=tuple(deployment.name for deployment in there),
        unfinished=await unfinished_in(client, source),
        undo=True,
        done=yes,
    )


async def _check(loading: Loading, pool: WorkPool, deployment: Deployment | None) -> Configuration:
    """What runs of a deployment would ask for of the new pool.

    Raises:
        ConfigurationError: It does not load, or every launch would be refused.
    """
    found = await loading.configuration(pool, deployment)
    spec = found.of_a_run()
    try:
        if revision := named_revision(spec):
            desired = unread(spec, revision)
        else:
            desired = make(definition_spec(spec, found.access.region or "us-east-1"))
        checked_request(spec, desired, revision, ["subnet"])
    except ConfigurationError as error:
        raise ConfigurationError(
            f"cannot migrate deployment {named(found.name)!r}"
            if deployment is not None
            else f"cannot migrate {called(pool)}",
            error.text,
            error.hint,
        ) from error
    return found


async def _create(client: PrefectClient, source: WorkPool, to: str) -> WorkPool:
    """A pool that has all that another has, but the type."""
    wanted = WorkPoolCreate(
        name=to,
        type=OURS,
        description=source.description,
        base_job_template=source.base_job_template,
        is_paused=source.is_paused,
        concurrency_limit=source.concurrency_limit,
        storage_configuration=source.storage_configuration,
    )
    try:
        return await client.create_work_pool(wanted)
    except ObjectAlreadyExists as error:
        raise ConfigurationError(
            f"cannot create work pool '{named(to)}'",
            "somebody has created it in the meantime",
            "repeat the command",
        ) from error


async def _point(
    client: PrefectClient, deployment: Deployment, pool: str, queue: str | None
) -> None:
    """Set a deployment's pool and queue, and nothing else of it.

    Raises:
        ConfigurationError: The server refuses: its job variables don't fit the pool's template.
    """
    update: dict[str, Any] = {"work_pool_name": pool}
    if queue is not None:
        update["work_queue_name"] = queue
    try:
        await client.update_deployment(deployment.id, DeploymentUpdate(**update))
    except PrefectHTTPStatusError as error:
        if error.response.status_code not in (409, 422):
            raise
        raise ConfigurationError(
            f"cannot point deployment {named(deployment.name)!r} at work pool {named(pool)!r}",
            "the Prefect server refuses: its job variables do not fit the pool's template",
            "correct them, and repeat the command: completed changes are kept",
        ) from error
