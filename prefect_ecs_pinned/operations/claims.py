"""Which revisions the saved blocks and deployments of a Prefect server lay claim to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument

from prefect_ecs_pinned.aws.pinning.linked_revision import LinkedRevision
from prefect_ecs_pinned.core.arn import parse_revision
from prefect_ecs_pinned.core.compare import Desired, Observed, match
from prefect_ecs_pinned.core.definition import family_name
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.operations.blocks import (
    SLUG,
    Deployment,
    configuration,
    overridden_data,
    prefect_api,
    read_deployments,
    read_documents,
    read_links,
)
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.families import describe
from prefect_ecs_pinned.runs.revision import definition_spec, make_now, patched_revision

#: Slug of prefect-aws's own block: its revisions count when it names them.
PLAIN_SLUG = "ecs-task"


@dataclass(frozen=True)
class Claim:
    """What a block or deployment runs from.

    Attributes:
        name: The block or deployment.
        desired: A definition that it asks for, whichever revision has it; or None.
        link: A revision that it names, as ARN or ``family:revision``; or None.
    """

    name: str
    desired: Desired | None = None
    link: str | None = None

    def covers(self, revision: Observed, active: bool = True) -> bool:
        """Whether a launch might use this revision; of twins, any of them.

        One that is not ACTIVE any more is used only where it is named.
        """
        if self.link is not None and _same(self.link, revision.arn):
            return True
        if self.desired is None or not active:
            return False
        if self.desired.family != parse_revision(revision.arn).family:
            return False
        return match(self.desired, revision) is not None  # in doubt, it is kept


def _same(link: str, arn: str) -> bool:
    try:
        return parse_revision(link) == parse_revision(arn)
    except ValueError:
        return False


async def read_claims(calls: Calls, family: str) -> list[Claim]:
    """The claims of everything that is saved on this Prefect server, on one family.

    Account and Region of a claim are not compared: one too many keeps a revision too many.

    Raises:
        ConfigurationError: A block or deployment that may belong to the family does not load,
            so that nobody can tell what it claims.
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
        return await _claims_of_spec(calls, name, configuration(document, deployment))
    except ConfigurationError:
        if kind == SLUG and _may_be_of(family, data, document):
            raise
        return []  # whatever it runs is of another family, if it runs at all


async def _claims_of_spec(calls: Calls, name: str, whose: Configuration) -> list[Claim]:
    spec, claims = whose.spec, []
    if patched := patched_revision(spec):
        claims.append(Claim(name, link=patched))
    linked = None
    if spec.task_definition_arn:
        claims.append(Claim(name, link=spec.task_definition_arn))
        described = await describe(calls, spec.task_definition_arn, tags=True)
        if described is None:
            return claims  # of another account, or gone: nothing can be built on it
        linked = LinkedRevision(described)
    wanted = definition_spec(spec, whose.access.region or await calls.region(), linked)
    return [*claims, Claim(name, desired=await make_now(wanted))]


def _may_be_of(family: str, data: Mapping[str, Any], document: BlockDocument) -> bool:
    definition = data.get("task_definition")
    inner = definition.get("family") if isinstance(definition, Mapping) else None
    link = str(data.get("task_definition_arn") or "").rsplit("/", 1)[-1].partition(":")[0]
    named = str(data.get("family") or inner or link or f"prefect-{document.name}")
    try:
        return family in (family_name(named), link)
    except ConfigurationError:  # it is the name that nothing can be made of
        return family == link
