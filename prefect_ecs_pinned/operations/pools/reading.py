"""Work pools and their deployments, as the Prefect API has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterId,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import Flow, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from prefect_ecs_pinned.core.shown import named
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.faces.pages import all_pages, for_all, readable
from prefect_ecs_pinned.operations.saved import check_api, no_such
from prefect_ecs_pinned.worker import PinnedECSWorker

#: The type that this package's worker serves, and prefect-aws's.
OURS: str = PinnedECSWorker.type
PLAIN = "ecs"


@dataclass(frozen=True)
class Deployment:
    """A deployment on a work pool.

    Attributes:
        id: Its id.
        name: ``flow/deployment``.
        job_variables: What it sets of the pool's template; a path of names is separated by dots.
        queue: Name of its work queue; None for none.
    """

    id: UUID
    name: str
    job_variables: Mapping[str, Any] = field(repr=False)
    queue: str | None = None


def called(pool: WorkPool) -> str:
    """How a pool is called in messages."""
    return f"work pool '{named(pool.name)}'"


async def read_pool(client: PrefectClient, name: str) -> WorkPool:
    """A work pool.

    Raises:
        ConfigurationError: There is none of this name.
        PinnedECSError: This is not the Prefect API.
    """
    try:
        with readable():
            return await client.read_work_pool(name)
    except ObjectNotFound as error:
        await check_api(client)
        what = f"cannot use work pool '{named(name)}'"
        raise no_such(what, "work pool", "prefect work-pool ls") from error


async def read_pools(client: PrefectClient) -> list[WorkPool]:
    """All work pools, by name."""
    return sorted(await all_pages(client.read_work_pools), key=lambda pool: pool.name)


def check_type(pool: WorkPool) -> None:
    """Refuse a pool whose runs no worker of this package could launch.

    Raises:
        ConfigurationError: It is of another type than `pinned-ecs` and `ecs`.
    """
    if pool.type in (OURS, PLAIN):
        return
    if pool.is_push_pool or pool.is_managed_pool:
        raise ConfigurationError(
            f"cannot use {called(pool)}",
            f"it is of type {named(pool.type)!r}: Prefect Cloud launches its runs, and a worker "
            "can't help",
            HOW_TO_MOVE,
        )
    raise ConfigurationError(
        f"cannot use {called(pool)}",
        f"it is of type {named(pool.type)!r}, and neither {OURS!r} nor {PLAIN!r}",
        f"make one: `prefect work-pool create NAME --type {OURS}`",
    )


#: For runs that Prefect Cloud launches.
HOW_TO_MOVE = (
    f"create a pool of this package's type: `prefect work-pool create NAME --type {OURS}`. Copy "
    "the "
    "settings of this pool's base job template (cluster, roles, network, AWS credentials block). "
    "Start a worker: `prefect worker start --pool NAME`. Deploy to the new pool (work_pool.name in "
    "prefect.yaml)"
)


async def deployments_of(client: PrefectClient, pool: WorkPool) -> list[Deployment]:
    """The deployments on a pool, by name."""
    on_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool.name]))

    async def read(limit: int, offset: int) -> Sequence[DeploymentResponse]:
        return await client.read_deployments(work_pool_filter=on_pool, limit=limit, offset=offset)

    found = await all_pages(read)
    flows = await _flow_names(client, sorted({deployment.flow_id for deployment in found}))
    made = [
        Deployment(
            id=deployment.id,
            name=f"{flows.get(deployment.flow_id, deployment.flow_id)}/{deployment.name}",
            job_variables=deployment.job_variables or {},
            queue=deployment.work_queue_name,
        )
        for deployment in found
    ]
    return sorted(made, key=lambda deployment: deployment.name)


async def _flow_names(client: PrefectClient, ids: Sequence[UUID]) -> dict[UUID, str]:
    async def read(some: Sequence[UUID], limit: int) -> Sequence[Flow]:
        wanted = FlowFilter(id=FlowFilterId(any_=list(some)))
        return await client.read_flows(flow_filter=wanted, limit=limit)

    with readable():
        return {flow.id: flow.name for flow in await for_all(ids, read)}
