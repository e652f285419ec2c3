"""Which revisions the saved blocks and deployments of a Prefect 2 server lay claim to."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument

from prefect_ecs_pinned.block.spec import ANONYMOUS_FAMILY
from prefect_ecs_pinned.core.definition import family_name, former_family
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.operations.blocks.loading import configuration, overridden_data
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.claims import Claim, claims_of
from prefect_ecs_pinned.operations.saved import (
    SLUG,
    Deployment,
    prefect_api,
    read_deployments,
    read_documents,
    read_links,
)

#: Slug of prefect-aws's own block: its revisions count when it names them.
PLAIN_SLUG = "ecs-task"


async def read_claims(calls: Calls, family: str) -> list[Claim]:
    """The claims of everything that is saved on this Prefect server, on one family.

    Account and Region of a claim are not compared: one too many keeps a revision too many.

    Raises:
        ConfigurationError: A block or deployment that may belong to the family does not load,
            so that its claims are unknown.
        PinnedECSError: AWS or Prefect refused, or could not be reached.
    """
    async with prefect_api() as client:
        saved = await read_documents(client, SLUG) + await read_documents(client, PLAIN_SLUG)
        deployments = await read_deployments(client)
        documents = {document.id: document for document in saved}
        await _add_unnamed(client, documents, deployments)
        claims = [Claim(name, link=link) for name, link in await read_links(client)]
    pairs: list[tuple[BlockDocument, Deployment | None]] = [(d, None) for d in saved]
    pairs += [(documents[d.document_id], d) for d in deployments if d.document_id in documents]
    for document, deployment in pairs:
        claims += await _claims_of(calls, family, document, deployment)
    return claims


async def _add_unnamed(
    client: PrefectClient, documents: dict[Any, BlockDocument], deployments: Sequence[Deployment]
) -> None:
    """Blocks that were made with a deployment and never saved under a name."""
    for deployment in deployments:
        if deployment.document_id not in documents:
            document = await client.read_block_document(deployment.document_id)
            if document.block_type is not None and document.block_type.slug in (SLUG, PLAIN_SLUG):
                documents[document.id] = document


async def _claims_of(
    calls: Calls, family: str, document: BlockDocument, deployment: Deployment | None
) -> list[Claim]:
    kind = document.block_type.slug if document.block_type is not None else SLUG
    name = deployment.name if deployment is not None else f"{kind}/{document.name}"
    data: Mapping[str, Any] = document.data
    try:
        data = overridden_data(document, deployment)
        if kind != SLUG:
            link = data.get("task_definition_arn")
            return [Claim(name, link=link)] if link else []
        return await claims_of(calls, name, configuration(document, deployment))
    except ConfigurationError:
        if kind == SLUG and _may_be_of(family, data, document):
            raise
        return []  # whatever it runs is of another family, if it runs at all


def _may_be_of(family: str, data: Mapping[str, Any], document: BlockDocument) -> bool:
    definition = data.get("task_definition")
    inner = definition.get("family") if isinstance(definition, Mapping) else None
    link = str(data.get("task_definition_arn") or "").rsplit("/", 1)[-1].partition(":")[0]
    named = str(data.get("family") or inner or link or f"prefect-{document.name}")
    families = {link, former_family(named)}
    if document.is_anonymous or not document.name:
        families.add(ANONYMOUS_FAMILY)
    with contextlib.suppress(ConfigurationError):  # it is the name that nothing can be made of
        families.add(family_name(named))
    return family in families
