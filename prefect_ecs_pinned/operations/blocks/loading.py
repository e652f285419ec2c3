"""From a saved block to what the flow runs of a deployment get of it.

The agent rebuilds the block for each flow run: it reads the block's document, writes the
deployment's overrides over its data by dotted path, and makes a block of that. Here the same is
done ahead of time (prefect 2.20, ``PrefectAgent.get_infrastructure``; ``BlockWorker.run`` for
work pools of type ``block``), so that a command sees what a flow run would see.
"""

from __future__ import annotations

import copy
import shlex
from collections.abc import Mapping
from typing import Any

from prefect.blocks.core import Block
from prefect.client.schemas.objects import BlockDocument
from pydantic.v1 import ValidationError

from prefect_ecs_pinned.block import PinnedECSTask
from prefect_ecs_pinned.block.spec import run_spec
from prefect_ecs_pinned.core.fingerprint import PREFECT_CONTAINER, prefect_container
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.faces.access import access_of
from prefect_ecs_pinned.operations.configuration import Configuration, faults_in_words
from prefect_ecs_pinned.operations.overriding import check_names
from prefect_ecs_pinned.operations.saved import SLUG, Deployment


def of_block(
    block: PinnedECSTask, name: str, deployment: str | None = None, image_unset: bool = False
) -> Configuration:
    """What runs of a block ask for.

    Args:
        block: The block, overrides applied.
        name: Its own, ``pinned-ecs-task/NAME``.
        deployment: ``flow/deployment`` whose overrides are applied.
        image_unset: See `Configuration`.
    """
    access = access_of(block.aws_credentials)
    return Configuration(name, deployment, run_spec(block), access, image_unset)


def _load(
    document: BlockDocument, deployment: Deployment | None, data: dict[str, Any]
) -> PinnedECSTask:
    try:
        block = Block._from_block_document(document.copy(update={"data": data}))
    except ValidationError as error:
        raise ConfigurationError(
            f"cannot load {_called(document, deployment)}",
            faults_in_words(error.errors()),
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
                f"there is no {'.'.join(outer)!r} that the override {path!r} could change",
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
    """What flow runs ask for of a document's block, with a deployment's overrides.

    Args:
        document: The block's.
        deployment: The deployment; None for the block as it is saved.
        more: Further overrides, which win.

    Raises:
        ConfigurationError: The agent could not make a block of it either; the reason is the
            validation's own.
    """
    check_names(more or (), PinnedECSTask.__fields__, f"the type {SLUG!r}")
    data = overridden_data(document, deployment, more)
    name = data.get("container_name") or PREFECT_CONTAINER
    container = prefect_container(data.get("task_definition") or {}, name) or {}
    named = data.get("image") or data.get("task_definition_arn") or container.get("image")
    return of_block(
        _load(document, deployment, data),
        f"{SLUG}/{document.name}",
        deployment.name if deployment is not None else None,
        image_unset=not named,
    )
