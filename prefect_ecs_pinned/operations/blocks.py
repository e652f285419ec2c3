"""Saved blocks, and the blocks that the flow runs of a deployment get.

The agent rebuilds the block for each flow run: it reads the block's document, writes the
deployment's overrides over its data by dotted path, and makes a block of that. Here the same is
done ahead of time (prefect 2.20, ``PrefectAgent.get_infrastructure``; ``BlockWorker.run`` for
work pools of type ``block``), so that a command sees what a flow run would see.
"""

from __future__ import annotations

import copy
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL
from pydantic.v1 import ValidationError

from prefect_ecs_pinned.block import PinnedECSTask
from prefect_ecs_pinned.core.fingerprint import prefect_container
from prefect_ecs_pinned.errors import ConfigurationError, PinnedECSError, Unavailable

#: Slug of our block type: ``pinned-ecs-task/NAME`` names a saved block.
SLUG = "pinned-ecs-task"

#: The API's page size: PREFECT_API_DEFAULT_LIMIT.
PAGE = 200


@dataclass(frozen=True)
class Deployment:
    """A deployment that runs on a saved block.

    Attributes:
        id: Its id.
        name: ``flow/deployment``.
        overrides: Dotted path within the block's data -> value.
        document_id: Id of the block's document.
        by_worker: A `block` worker launches it, and not an agent.
    """

    id: UUID
    name: str
    overrides: Mapping[str, Any] = field(repr=False)
    document_id: UUID
    by_worker: bool = False


@dataclass(frozen=True)
class Configuration:
    """A saved block as flow runs get it.

    Attributes:
        block_name: ``pinned-ecs-task/NAME``.
        deployment: ``flow/deployment`` whose overrides are applied; None for none.
        block: The block itself.
        image_unset: Neither the block nor its definition names an image: it follows the Prefect
            version of whoever loads the block.
    """

    block_name: str
    deployment: str | None
    block: PinnedECSTask = field(repr=False)
    image_unset: bool = False

    @property
    def name(self) -> str:
        """How it is called in messages."""
        return self.deployment or self.block_name


@asynccontextmanager
async def prefect_api() -> AsyncIterator[PrefectClient]:
    """A client of the Prefect API, whose failures are errors with a hint.

    Raises:
        Unavailable: The API can not be reached, or fails.
        PinnedECSError: It refuses.
    """
    where = PREFECT_API_URL.value() or "the ephemeral API"
    hint = "check PREFECT_API_URL and PREFECT_API_KEY: `prefect config view`"
    try:
        async with get_client() as client:
            yield client
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        kind = Unavailable if status >= 500 else PinnedECSError
        raise kind("the Prefect API refuses", f"HTTP {status} from {where}", hint) from error
    except (httpx.HTTPError, OSError) as error:
        why = f"{where}: {type(error).__name__} {error}".rstrip()
        raise Unavailable("cannot reach the Prefect API", why, hint) from error


async def read_document(client: PrefectClient, reference: str, slug: str = SLUG) -> BlockDocument:
    """The document of a saved block, secrets included.

    Args:
        client: Of the Prefect API.
        reference: ``slug/NAME``, or ``NAME`` alone.
        slug: The block type that is wanted.

    Raises:
        ConfigurationError: There is no such block, or it is of another type.
    """
    kind, _, name = reference.rpartition("/")
    if kind not in ("", slug):
        hint = f"name it {slug}/NAME"
        if kind == "ecs-task":
            hint = f"make one of it with `pinned-ecs migrate {reference}`"
        raise ConfigurationError(
            f"cannot use block {reference!r}", f"it is not of type {slug!r}", hint
        )
    try:
        return await client.read_block_document_by_name(name=name, block_type_slug=slug)
    except ObjectNotFound as error:
        raise ConfigurationError(
            f"cannot use block '{slug}/{name}'",
            "there is no such block on this Prefect server",
            "see `prefect block ls`, and PREFECT_API_URL",
        ) from error


async def read_documents(client: PrefectClient, slug: str = SLUG) -> list[BlockDocument]:
    """The documents of all saved blocks of a type, by name; secrets included."""
    try:
        found = await client.read_block_documents_by_type(slug)
    except ObjectNotFound:  # nobody has registered the type
        return []
    return sorted(found, key=lambda document: document.name or "")


async def read_deployments(client: PrefectClient) -> list[Deployment]:
    """All deployments that run on a saved block of any type, by name."""
    flows = {flow.id: flow.name for flow in await _all_pages(client.read_flows)}
    pools = {pool.name: pool for pool in await _all_pages(client.read_work_pools)}
    found = []
    for deployment in await _all_pages(client.read_deployments):
        pool = pools.get(deployment.work_pool_name)
        by_worker = pool is not None and pool.type == "block"
        document_id = (
            _document_of_pool(pool.base_job_template, deployment)
            if pool is not None and by_worker
            else deployment.infrastructure_document_id
        )
        if document_id is not None:
            found.append(
                Deployment(
                    id=deployment.id,
                    name=f"{flows.get(deployment.flow_id, deployment.flow_id)}/{deployment.name}",
                    overrides=deployment.job_variables or {},
                    document_id=document_id,
                    by_worker=by_worker,
                )
            )
    return sorted(found, key=lambda deployment: deployment.name)


async def read_links(client: PrefectClient) -> list[tuple[str, str]]:
    """Revisions that work pools and deployments on workers name: (who, ARN or family)."""
    links: list[tuple[str, Any]] = []
    for pool in await _all_pages(client.read_work_pools):
        properties = (pool.base_job_template.get("variables") or {}).get("properties") or {}
        default = (properties.get("task_definition_arn") or {}).get("default")
        links.append((f"work pool {pool.name}", default))
    for deployment in await _all_pages(client.read_deployments):
        if deployment.infrastructure_document_id is None:
            variables = deployment.job_variables or {}
            links.append((f"deployment {deployment.name}", variables.get("task_definition_arn")))
    return [(name, str(link)) for name, link in links if link]


def apply_overrides(
    document: BlockDocument,
    deployment: Deployment | None = None,
    more: Mapping[str, Any] | None = None,
) -> PinnedECSTask:
    """The block that a flow run gets, of a document and a deployment's overrides.

    Args:
        document: The block's.
        deployment: The deployment; None for the block as it is saved.
        more: Further overrides, which win.

    Raises:
        ConfigurationError: The agent could not make a block of it either; the reason is the
            validation's own.
    """
    data = overridden_data(document, deployment, more)
    try:
        block = Block._from_block_document(document.copy(update={"data": data}))
    except ValidationError as error:
        raise ConfigurationError(
            f"cannot load {_called(document, deployment)}",
            _messages(error),
            "correct the fields that are named",
        ) from error
    if not isinstance(block, PinnedECSTask):
        raise ConfigurationError(
            f"cannot use {_called(document, deployment)}",
            f"it is not of type {SLUG!r}",
            "make one of it with `pinned-ecs migrate`",
        )
    return block


def overridden_data(
    document: BlockDocument,
    deployment: Deployment | None = None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A copy of a document's data, of any block type, with overrides written in.

    Raises:
        ConfigurationError: An override's path leads nowhere.
    """
    data: dict[str, Any] = copy.deepcopy(document.data)
    overrides = {**(deployment.overrides if deployment is not None else {}), **(more or {})}
    for path, value in overrides.items():
        *outer, last = path.split(".")
        by_worker = deployment is not None and deployment.by_worker
        if by_worker and path == "command" and isinstance(value, str):
            value = shlex.split(value)
        try:
            inner: Any = data
            for name in outer:
                inner = inner[name]
            inner[last] = value
        except (KeyError, TypeError, IndexError) as error:
            raise ConfigurationError(
                f"cannot load {_called(document, deployment)}",
                f"there is no {'.'.join(outer)!r} to write the override {path!r} into",
                f"set {outer[0] if outer else path} in the block, or remove the override",
            ) from error
    return data


def _called(document: BlockDocument, deployment: Deployment | None) -> str:
    slug = document.block_type.slug if document.block_type is not None else SLUG
    what = f"block '{slug}/{document.name}'" if document.name else "the unnamed block"
    if deployment is not None:
        what += f" with the overrides of deployment {deployment.name!r}"
    return what


def configuration(
    document: BlockDocument,
    deployment: Deployment | None = None,
    more: Mapping[str, Any] | None = None,
) -> Configuration:
    """A block as flow runs get it; see `apply_overrides`.

    Raises:
        ConfigurationError: It does not load.
    """
    data = overridden_data(document, deployment, more)
    container = prefect_container(data.get("task_definition") or {}) or {}
    named = data.get("image") or data.get("task_definition_arn") or container.get("image")
    return Configuration(
        block_name=f"{SLUG}/{document.name}",
        deployment=deployment.name if deployment is not None else None,
        block=apply_overrides(document, deployment, more),
        image_unset=not named,
    )


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
    others = ", ".join(d.name for d in mine) or "none"
    raise ConfigurationError(
        f"cannot use deployment {deployment!r}",
        f"no such deployment runs on block {name!r}",
        f"deployments that do: {others}",
    )


async def _all_pages(read: Any) -> list[Any]:
    found: list[Any] = []
    while True:
        page = await read(limit=PAGE, offset=len(found))
        found += page
        if len(page) < PAGE:
            return found


def _document_of_pool(template: Mapping[str, Any], deployment: DeploymentResponse) -> UUID | None:
    """Id of the document that a work pool of type `block` names, for one deployment."""
    properties = (template.get("variables") or {}).get("properties") or {}
    default = (properties.get("block") or {}).get("default")
    reference: Any = (deployment.job_variables or {}).get("block", default)
    try:
        return UUID(reference["$ref"]["block_document_id"])
    except (KeyError, TypeError, ValueError):
        return None


def _messages(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])).removeprefix('__root__')}: {item['msg']}".lstrip(": ")
        for item in error.errors()
    )


__all__: Sequence[str] = [
    "SLUG",
    "Configuration",
    "Deployment",
    "apply_overrides",
    "configuration",
    "configurations",
    "overridden_data",
    "prefect_api",
    "read_deployments",
    "read_document",
    "read_documents",
    "read_links",
]
