"""What runs may use of a saved block and the deployments on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument

from prefect_ecs_pinned.errors import PinnedECSError
from prefect_ecs_pinned.operations.blocks.loading import configuration
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.saved import (
    SLUG,
    Deployment,
    prefect_api,
    read_deployments,
    read_document,
    read_documents,
)
from prefect_ecs_pinned.operations.sources import Candidate, no_deployment


async def configurations(
    reference: str,
    deployment: str | None = None,
    every: bool = False,
    more: Mapping[str, Any] | None = None,
) -> list[Configuration]:
    """A saved block as flow runs get it.

    Args:
        reference: ``pinned-ecs-task/NAME``, or ``NAME``.
        deployment: ``flow/deployment``, to have its overrides applied.
        every: The block as it is saved, and with the overrides of every deployment that runs
            on it.
        more: Overrides, by dotted path, that are not saved yet; they win.

    Raises:
        ConfigurationError: No such block or deployment, or it does not load.
        Unavailable: The Prefect API can not be reached.
    """
    async with prefect_api() as client:
        document = await read_document(client, reference)
        deployments = await read_deployments(client) if deployment or every else []
    name = f"{SLUG}/{document.name}"
    mine = [d for d in deployments if d.document_id == document.id]
    if every:
        return [configuration(document, d, more) for d in (None, *mine)]
    if deployment is None:
        return [configuration(document, None, more)]
    for candidate in mine:
        if candidate.name == deployment:
            return [configuration(document, candidate, more)]
    raise no_deployment(deployment, f"block {name!r}", (d.name for d in mine))


async def candidates(
    client: PrefectClient, reference: str | None, unnamed: bool = False
) -> list[Candidate]:
    """What runs may use of one saved block, or of all: see `sources.Source`.

    Raises:
        ConfigurationError: There is no such block.
    """
    if reference is not None:
        documents = [await read_document(client, reference)]
    else:
        documents = await read_documents(client)
    deployments = await read_deployments(client)
    if unnamed and reference is None:
        documents += await _unnamed(client, documents, deployments)
    found = []
    for document in documents:
        mine = [d for d in deployments if d.document_id == document.id]
        found += [_candidate(document, deployment) for deployment in (None, *mine)]
    return found


def _candidate(document: BlockDocument, deployment: Deployment | None) -> Candidate:
    name = deployment.name if deployment is not None else f"{SLUG}/{document.name}"
    id_ = deployment.id if deployment is not None else None
    try:
        return Candidate(name, id_, configuration(document, deployment))
    except PinnedECSError as error:
        return Candidate(name, id_, problem=error)


async def _unnamed(
    client: PrefectClient, known: Sequence[BlockDocument], deployments: Sequence[Deployment]
) -> list[BlockDocument]:
    """Blocks that were made with a deployment and never saved under a name."""
    ids: set[UUID] = {d.document_id for d in deployments} - {d.id for d in known}
    found = [await client.read_block_document(id_) for id_ in sorted(ids)]
    return [d for d in found if d.block_type is not None and d.block_type.slug == SLUG]
