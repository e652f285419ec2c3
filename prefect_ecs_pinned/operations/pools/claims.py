"""Which revisions the work pools and deployments of a Prefect 3 server lay claim to.

Pools of type `ecs` count as well: their worker registers definitions of the same shape, and may
be given the same family. Of pools of other types, what they name counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prefect.client.schemas.objects import WorkPool

from prefect_ecs_pinned.core.definition import former_family
from prefect_ecs_pinned.errors import PinnedECSError
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.claims import Claim, claims_of
from prefect_ecs_pinned.operations.pools.loading import Loading
from prefect_ecs_pinned.operations.pools.reading import (
    OURS,
    PLAIN,
    Deployment,
    called,
    deployments_of,
    read_pools,
)
from prefect_ecs_pinned.operations.saved import prefect_api


async def read_claims(calls: Calls, family: str) -> list[Claim]:
    """The claims of every work pool and its deployments on one family.

    Raises:
        ConfigurationError: A pool or deployment that may belong to the family does not load, so
            that its claims are unknown.
        PinnedECSError: AWS or Prefect refused, or could not be reached.
    """
    claims: list[Claim] = []
    async with prefect_api() as client:
        loading = Loading(client)
        for pool in await read_pools(client):
            for deployment in (None, *await deployments_of(client, pool)):
                claims += await _claims(loading, calls, family, pool, deployment)
    return claims


async def _claims(
    loading: Loading,
    calls: Calls,
    family: str,
    pool: WorkPool,
    deployment: Deployment | None,
) -> list[Claim]:
    name = f"deployment {deployment.name}" if deployment is not None else called(pool)
    variables = deployment.job_variables if deployment is not None else {}
    linked = [Claim(name, link=link) for link in _links(pool.base_job_template, variables)]
    if pool.type not in (OURS, PLAIN):
        return linked
    try:
        made = await loading.configuration(pool, deployment)
        return [*linked, *await claims_of(calls, name, made)]
    except PinnedECSError:
        if pool.type == OURS and _may_be_of(family, pool, variables):
            raise
        return linked  # whatever it runs is of another family, if it runs at all


def _links(template: Mapping[str, Any], variables: Mapping[str, Any]) -> list[str]:
    """Revisions that a template's default or a deployment names."""
    properties = (template.get("variables") or {}).get("properties") or {}
    default = (properties.get("task_definition_arn") or {}).get("default")
    found = (default, variables.get("task_definition_arn"))
    return [str(link) for link in found if link]


def _may_be_of(family: str, pool: WorkPool, variables: Mapping[str, Any]) -> bool:
    """Whether a family's name is somewhere in what does not load, or is its default."""
    texts = [f"prefect_{pool.name}", *_texts([pool.base_job_template, dict(variables)])]
    return any(family in (text, former_family(text)) or family in text for text in texts)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
