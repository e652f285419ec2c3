"""What runs may use of a work pool and the deployments on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.client.orchestration import PrefectClient

from prefect_ecs_pinned.errors import PinnedECSError
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.pools.loading import Loading
from prefect_ecs_pinned.operations.pools.reading import (
    OURS,
    Deployment,
    called,
    check_type,
    deployments_of,
    read_pool,
    read_pools,
)
from prefect_ecs_pinned.operations.saved import prefect_api
from prefect_ecs_pinned.operations.sources import Candidate, no_deployment


async def configurations(
    reference: str,
    deployment: str | None = None,
    every: bool = False,
    more: Mapping[str, Any] | None = None,
) -> list[Configuration]:
    """A work pool as flow runs get it: see `sources.Source`.

    Without a deployment, each of those on the pool; the pool alone is among them where there are
    none, or with ``every``.

    Raises:
        ConfigurationError: No such pool or deployment, a type that this package can't launch
            for, or something that does not load.
        Unavailable: The Prefect API can not be reached.
    """
    async with prefect_api() as client:
        pool = await read_pool(client, reference)
        check_type(pool)
        mine = await deployments_of(client, pool)
        chosen: list[Deployment | None] = [*mine]
        if deployment is not None:
            chosen = [d for d in mine if d.name == deployment]
            if not chosen:
                raise no_deployment(deployment, called(pool), (d.name for d in mine))
        elif every or not mine:
            chosen = [None, *mine]
        loading = Loading(client)
        return [await loading.configuration(pool, one, more) for one in chosen]


async def candidates(
    client: PrefectClient, reference: str | None, unnamed: bool = False
) -> list[Candidate]:
    """What runs may use of one work pool, or of all of type `pinned-ecs`: see `sources.Source`.

    A pool without deployments is one itself: runs may be submitted to it.

    Raises:
        ConfigurationError: There is no such pool, or this package can't launch for its type.
    """
    if reference is not None:
        pools = [await read_pool(client, reference)]
        check_type(pools[0])
    else:
        pools = [pool for pool in await read_pools(client) if pool.type == OURS]
    loading, found = Loading(client), []
    for pool in pools:
        mine: list[Deployment | None] = [*await deployments_of(client, pool)]
        for deployment in mine or [None]:
            name = deployment.name if deployment is not None else called(pool)
            id_ = deployment.id if deployment is not None else None
            try:
                made = await loading.configuration(pool, deployment)
            except PinnedECSError as error:
                found.append(Candidate(name, id_, problem=error))
            else:
                found.append(Candidate(name, id_, made))
    return found
