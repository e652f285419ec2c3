"""What is saved on a Prefect server: block documents, deployments, links to revisions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, ServerType
from prefect.client.schemas.objects import BlockDocument
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL

from prefect_ecs_pinned.activity import waiting_for
from prefect_ecs_pinned.core.shown import plain
from prefect_ecs_pinned.errors import ConfigurationError, PinnedECSError, Unavailable
from prefect_ecs_pinned.faces.pages import all_pages, readable
from prefect_ecs_pinned.operations.prefect_access import new_client, proxy_of

#: Slug of our block type: ``pinned-ecs-task/NAME`` names a saved block.
SLUG = "pinned-ecs-task"

#: HTTP statuses below 500 after which the same call may succeed later.
_LATER = frozenset({408, 429})


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


def prefect_server() -> str:
    """What answers as the Prefect API, as it is called in messages."""
    url = PREFECT_API_URL.value()
    return str(plain(url)) if url else "this machine's own database (PREFECT_API_URL is not set)"


@asynccontextmanager
async def prefect_api() -> AsyncIterator[PrefectClient]:
    """A client of the Prefect API, whose failures are errors with a hint.

    Raises:
        ConfigurationError: Prefect's settings name no API, or cannot work.
        Unavailable: The API can not be reached, or fails.
        PinnedECSError: It refuses.
    """
    where = prefect_server()
    hint = "check PREFECT_API_URL and PREFECT_API_KEY: `prefect config view`"
    made = new_client()
    try:
        with waiting_for(f"the Prefect API at {where}"):
            async with made as client:
                yield client
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        kind = Unavailable if status >= 500 or status in _LATER else PinnedECSError
        raise kind("the Prefect API refuses", f"HTTP {status} from {where}", hint) from error
    except json.JSONDecodeError as error:
        raise Unavailable("cannot read the Prefect API", f"no JSON from {where}", hint) from error
    except httpx.LocalProtocolError:  # it quotes the header, which may be a key
        hint = "check PREFECT_CLIENT_CUSTOM_HEADERS: `prefect config view`"
        raise ConfigurationError(
            "cannot use the Prefect API", "a header is not valid", hint
        ) from None
    except (httpx.HTTPError, OSError) as error:
        why = f"{where}: {type(error).__name__} {plain(str(error))}".rstrip()
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            proxy = proxy_of(PREFECT_API_URL.value() or "")
            through = f", and {proxy[0]}, which is the proxy in use" if proxy else ""
            hint = f"check PREFECT_API_URL, and that the server runs{through}"
        if "CERTIFICATE_VERIFY_FAILED" in why:
            hint = "set PREFECT_API_SSL_CERT_FILE to the certificates of its authority (PEM)"
        raise Unavailable("cannot reach the Prefect API", why, hint) from error


async def read_document(client: PrefectClient, reference: str, slug: str = SLUG) -> BlockDocument:
    """The document of a saved block, secrets included.

    Args:
        client: Of the Prefect API.
        reference: ``slug/NAME``, or ``NAME`` alone.
        slug: The block type that is needed.

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
        with readable():
            return await client.read_block_document_by_name(name=name, block_type_slug=slug)
    except ObjectNotFound as error:
        await check_api(client)
        raise no_such(f"cannot use block '{slug}/{name}'", "block", "prefect block ls") from error


async def check_api(client: PrefectClient) -> None:
    """Refuse an address that is not of a Prefect API: a 404 there is not about a name.

    Raises:
        PinnedECSError: It has no health check. (Prefect Cloud is not asked: it documents none.)
    """
    if client.server_type is not ServerType.CLOUD and await client.api_healthcheck() is not None:
        raise PinnedECSError(
            "cannot use the Prefect API",
            f"{prefect_server()} is not the address of one",
            "correct PREFECT_API_URL: it ends with /api; `prefect config view`",
        )


def no_such(what: str, thing: str, listing: str) -> ConfigurationError:
    """The error for a name that the Prefect API does not have.

    Args:
        what: What could not be done.
        thing: ``block`` or ``work pool``.
        listing: The command that shows those that are there.
    """
    hint = f"see `{listing}`, and PREFECT_API_URL"
    if not PREFECT_API_URL.value():
        hint = "set PREFECT_API_URL, for example to http://127.0.0.1:4200/api"
    return ConfigurationError(what, f"there is no such {thing} on {prefect_server()}", hint)


async def read_documents(client: PrefectClient, slug: str = SLUG) -> list[BlockDocument]:
    """The documents of all saved blocks of a type, by name; secrets included."""
    try:
        with readable():
            found = await client.read_block_documents_by_type(slug)
    except ObjectNotFound:  # nobody has registered the type
        return []
    return sorted(found, key=lambda document: document.name or "")


async def read_deployments(client: PrefectClient) -> list[Deployment]:
    """All deployments that run on a saved block of any type, by name."""
    flows = {flow.id: flow.name for flow in await all_pages(client.read_flows)}
    pools = {pool.name: pool for pool in await all_pages(client.read_work_pools)}
    found = []
    for deployment in await all_pages(client.read_deployments):
        pool = pools.get(deployment.work_pool_name or "")
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
    for pool in await all_pages(client.read_work_pools):
        properties = (pool.base_job_template.get("variables") or {}).get("properties") or {}
        default = (properties.get("task_definition_arn") or {}).get("default")
        links.append((f"work pool {pool.name}", default))
    for deployment in await all_pages(client.read_deployments):
        if deployment.infrastructure_document_id is None:
            variables = deployment.job_variables or {}
            links.append((f"deployment {deployment.name}", variables.get("task_definition_arn")))
    return [(name, str(link)) for name, link in links if link]


def _document_of_pool(template: Mapping[str, Any], deployment: DeploymentResponse) -> UUID | None:
    """Id of the document that a work pool of type `block` names, for one deployment."""
    properties = (template.get("variables") or {}).get("properties") or {}
    default = (properties.get("block") or {}).get("default")
    reference: Any = (deployment.job_variables or {}).get("block", default)
    try:
        return UUID(reference["$ref"]["block_document_id"])
    except (KeyError, TypeError, ValueError):
        return None
