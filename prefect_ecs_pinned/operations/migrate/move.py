"""From a saved `ECSTask` to a saved `PinnedECSTask`, and its deployments with it.

The `ECSTask` stays as it is. Everything is checked before anything is written, and what is there
already is left alone: running it again changes nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import BlockDocumentCreate
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectNotFound
from pydantic.v1 import ValidationError

from prefect_ecs_pinned.aws.pinning.registrable import make
from prefect_ecs_pinned.block import PinnedECSTask
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.operations.blocks import of_block, overridden_data
from prefect_ecs_pinned.operations.migrate.changes import SOURCE_START_TIMEOUT, Change, changes
from prefect_ecs_pinned.operations.saved import (
    SLUG,
    Deployment,
    prefect_api,
    read_deployments,
    read_document,
)
from prefect_ecs_pinned.runs.check import checked_request, unread
from prefect_ecs_pinned.runs.revision import definition_spec, named_revision

#: Slug of `ECSTask`.
SOURCE_SLUG = "ecs-task"

#: What a patch of the RunTask request may not set: it makes a launch unsafe to repeat.
_RESERVED = ("/clientToken", "/count")


@dataclass(frozen=True)
class Migration:
    """What is done, or would be.

    Attributes:
        source: ``ecs-task/NAME``.
        target: ``pinned-ecs-task/NAME``.
        exists: The target was there before, and is left as it is.
        changes: What means something else.
        moved: Deployments that are pointed at the target.
        waiting: Deployments that would be, with `deployments`.
        by_worker: Deployments on a work pool that names the source: they follow the pool.
        dry_run: Nothing was changed.
    """

    source: str
    target: str
    exists: bool
    changes: tuple[Change, ...]
    moved: tuple[str, ...]
    waiting: tuple[str, ...]
    by_worker: tuple[str, ...]
    dry_run: bool


async def migrate(reference: str, deployments: bool = False, dry_run: bool = False) -> Migration:
    """Make a `PinnedECSTask` of a saved `ECSTask`.

    Args:
        reference: ``ecs-task/NAME``, or ``NAME``.
        deployments: Point the deployments that run on it at the new block.
        dry_run: Only say what would be done.

    Raises:
        ConfigurationError: No such block; or it, or the overrides of a deployment that is to be
            moved, would not load as a `PinnedECSTask`. Nothing has been changed then.
        Unavailable: The Prefect API can not be reached.
    """
    async with prefect_api() as client:
        source = await read_document(client, reference, SOURCE_SLUG)
        target = await _existing(client, str(source.name))
        users = [d for d in await read_deployments(client) if d.document_id == source.id]
        movable = [deployment for deployment in users if not deployment.by_worker]
        changed = source.copy(update={"data": converted(source.data)})
        block = _load(changed, None)
        for deployment in movable:
            _load(target or changed, deployment)
        if not dry_run:
            target_id = target.id if target is not None else await _save(client, changed, block)
            for deployment in movable if deployments else []:
                await _point(client, deployment, target_id)
    names = tuple(deployment.name for deployment in movable)
    return Migration(
        source=f"{SOURCE_SLUG}/{source.name}",
        target=f"{SLUG}/{source.name}",
        exists=target is not None,
        changes=tuple(changes(source.data, block, str(source.name))),
        moved=names if deployments else (),
        waiting=() if deployments else names,
        by_worker=tuple(d.name for d in users if d.by_worker),
        dry_run=dry_run,
    )


async def _existing(client: PrefectClient, name: str) -> BlockDocument | None:
    try:
        return await read_document(client, name, SLUG)
    except ConfigurationError as error:
        if isinstance(error.__cause__, ObjectNotFound):
            return None
        raise


def converted(data: Mapping[str, Any]) -> dict[str, Any]:
    """An `ECSTask`'s data as a `PinnedECSTask`'s: two settings take their new defaults."""
    dropped = {"type", "block_type_slug", "auto_deregister_task_definition"}
    if data.get("task_start_timeout_seconds") in (None, SOURCE_START_TIMEOUT):
        dropped.add("task_start_timeout_seconds")
    return {name: value for name, value in data.items() if name not in dropped}


def _load(document: BlockDocument, deployment: Deployment | None) -> PinnedECSTask:
    """A document's data as a `PinnedECSTask`, with a deployment's overrides.

    Raises:
        ConfigurationError: It does not load, or would be refused by every launch.
    """
    whose = f"deployment {deployment.name!r}" if deployment else f"block {document.name!r}"
    try:
        block: PinnedECSTask = PinnedECSTask.parse_obj(overridden_data(document, deployment))
    except ValidationError as error:
        why = "; ".join(
            f"{'.'.join(map(str, e['loc'])).removeprefix('__root__')}: {e['msg']}".lstrip(": ")
            for e in error.errors()
        )
        where = "in its overrides" if deployment else "in the ECSTask"
        raise ConfigurationError(
            f"cannot migrate {whose}", why, f"correct what is named {where}"
        ) from error
    reserved = [p["path"] for p in block.task_customizations.patch if p.get("path") in _RESERVED]
    if reserved:
        raise ConfigurationError(
            f"cannot migrate {whose}",
            f"task_customizations sets {', '.join(reserved)}, which a launch refuses",
            f"remove the patch of {', '.join(reserved)}",
        )
    try:
        _check_requests(block)
    except ConfigurationError as error:
        raise ConfigurationError(f"cannot migrate {whose}", error.text, error.hint) from error
    return block


def _check_requests(block: PinnedECSTask) -> None:
    """Make the requests of a run, patches applied, as far as they are known without AWS.

    Raises:
        ConfigurationError: Every launch would be refused.
    """
    spec = of_block(block, SLUG).of_a_run()
    if revision := named_revision(spec):
        desired = unread(spec, revision)
    else:
        desired = make(definition_spec(spec, block.aws_credentials.region_name or "us-east-1"))
    checked_request(spec, desired, revision, ["subnet"])


async def _save(client: PrefectClient, document: BlockDocument, block: Any) -> UUID:
    """Save a block under a document's name, with the saved blocks that it links.

    Not by `Block.save`, which would store the image of this Prefect version where none was set.
    """
    block._define_metadata_on_nested_blocks(document.block_document_references)
    await block.register_type_and_schema(client=client)
    made = block._to_block_document(name=document.name)
    if not document.data.get("image"):
        made.data.pop("image", None)
    saved = await client.create_block_document(
        BlockDocumentCreate(
            name=made.name,
            data=made.data,
            block_schema_id=made.block_schema_id,
            block_type_id=made.block_type_id,
        )
    )
    return saved.id


async def _point(client: PrefectClient, deployment: Deployment, document_id: UUID) -> None:
    """Set a deployment's block, and nothing else of it.

    `PrefectClient.update_deployment` sends every field, and with it an old schedule.
    """
    response = await client._client.patch(
        f"/deployments/{deployment.id}", json={"infrastructure_document_id": str(document_id)}
    )
    response.raise_for_status()
