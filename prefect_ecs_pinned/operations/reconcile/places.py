"""Which accounts and Regions are looked at, and which deployments launch into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument

from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.errors import ConfigurationError, PinnedECSError
from prefect_ecs_pinned.operations.blocks import (
    SLUG,
    Deployment,
    configuration,
    read_deployments,
    read_document,
    read_documents,
)
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.reconcile.evidence import Place
from prefect_ecs_pinned.runs.spec import RunSpec


@dataclass(frozen=True)
class Origin:
    """Where the flow runs of a deployment are launched.

    Attributes:
        place: Account and Region; None when they could not be found out.
        searchable: Tasks carry the id of their flow run as ``startedBy``.
    """

    place: Place | None
    searchable: bool


@dataclass
class Scope:
    """What a reconciliation covers.

    Attributes:
        places: Accounts and Regions that could be reached.
        origins: Id of a deployment -> where its flow runs are launched.
        only: Ids of the deployments whose flow runs are looked at; None for all flow runs.
        longest_launch: The longest `launch_timeout_seconds` of any block or deployment.
        problems: Blocks and credentials that allow no verdict, and why.
    """

    places: list[Place] = field(default_factory=list)
    origins: dict[UUID, Origin] = field(default_factory=dict)
    only: list[UUID] | None = None
    longest_launch: timedelta = timedelta()
    problems: list[PinnedECSError] = field(default_factory=list)


async def read_scope(client: PrefectClient, reference: str | None) -> Scope:
    """The scope of one saved block and its deployments, or of all of them.

    Raises:
        ConfigurationError: There is no such block, or none at all.
        PinnedECSError: None of the credentials work.
    """
    documents = await _documents(client, reference)
    deployments = await read_deployments(client)
    if reference is None:
        await _add_unnamed(client, documents, deployments)
    if not documents:
        raise ConfigurationError(
            "cannot reconcile",
            f"no block of type {SLUG!r} is saved, so there are no credentials to look with",
            "save one, or make one of an ECSTask with `pinned-ecs migrate`",
        )
    scope, reach = Scope(), _Reach()
    for document in documents.values():
        await _enter(scope, reach, document, None)
    for deployment in deployments:
        if deployment.document_id in documents:
            await _enter(scope, reach, documents[deployment.document_id], deployment)
    if reference is not None:
        scope.only = list(scope.origins)
    scope.places = list(reach.places.values())
    if not scope.places:
        raise scope.problems[0]
    return scope


async def _documents(client: PrefectClient, reference: str | None) -> dict[UUID, BlockDocument]:
    found = (
        await read_documents(client)
        if reference is None
        else [await read_document(client, reference)]
    )
    return {document.id: document for document in found}


async def _add_unnamed(
    client: PrefectClient,
    documents: dict[UUID, BlockDocument],
    deployments: Sequence[Deployment],
) -> None:
    """Blocks that were made with a deployment and never saved under a name."""
    for id_ in {d.document_id for d in deployments} - set(documents):
        document = await client.read_block_document(id_)
        if document.block_type is not None and document.block_type.slug == SLUG:
            documents[document.id] = document


async def _enter(
    scope: Scope, reach: _Reach, document: BlockDocument, deployment: Deployment | None
) -> None:
    origin = Origin(None, False)
    try:
        found = configuration(document, deployment)
        wait = timedelta(seconds=found.spec.launch_timeout_seconds)
        scope.longest_launch = max(scope.longest_launch, wait)
        origin = Origin(await reach.place(found.access), searchable(found.spec))
    except PinnedECSError as error:
        scope.problems.append(error)
    if deployment is not None:
        scope.origins[deployment.id] = origin


def searchable(spec: RunSpec) -> bool:
    """Whether the tasks of runs carry the flow run's id: customizations may change it."""
    return not any(patch.get("path") in ("", "/startedBy") for patch in spec.task_customizations)


class _Reach:
    """Each account and Region once, whatever credentials lead to it."""

    def __init__(self) -> None:
        self.places: dict[tuple[str, str], Place] = {}
        self._by_key: dict[str, Place | PinnedECSError] = {}

    async def place(self, access: Access) -> Place:
        key = access.key
        if key not in self._by_key:
            try:
                self._by_key[key] = await self._look_up(access)
            except PinnedECSError as error:
                self._by_key[key] = error
        found = self._by_key[key]
        if isinstance(found, PinnedECSError):
            raise found
        return found

    async def _look_up(self, access: Access) -> Place:
        calls = Calls.of(access)
        region = await calls.region()
        account = str((await calls.call("sts", "GetCallerIdentity"))["Account"])
        return self.places.setdefault((account, region), Place(account, region, calls))
