"""Which revision a run has: the one that it names, or one of the definition that it asks for."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from prefect_ecs_pinned.aws.pinning.linked_revision import LinkedRevision
from prefect_ecs_pinned.aws.pinning.registrable import make, read_definition
from prefect_ecs_pinned.core.canonical import DESCRIBED_ONLY
from prefect_ecs_pinned.core.definition import DefinitionSpec
from prefect_ecs_pinned.core.patches import patched
from prefect_ecs_pinned.core.plan import Desired, differences
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.runs.spec import ASKED, RunSpec

#: Member of the Prefect container -> the field that changes it, for messages.
_FIELD_OF_MEMBER = (
    ("image", "image"),
    ("logConfiguration", "cloudwatch_logs_options"),
    ("secrets", "secrets"),
    ("environment", "env"),
)

_CAPITAL = re.compile(r"[A-Z]")

#: Attributes of a definition's spec that are a run's, unchanged.
_SHARED = tuple(
    sorted(
        {each.name for each in fields(DefinitionSpec)}
        & {each.name for each in fields(RunSpec)} - {"family", "launch_type"}
    )
)

#: Makes a definition of a configuration, or remembers it.
Make = Callable[[DefinitionSpec], Awaitable[Desired]]

#: Reads the revision that `named_revision` names, with its tags if that is said; None for none.
Read = Callable[[bool], Awaitable[LinkedRevision | None]]


async def choose(
    spec: RunSpec, region: str, read: Read, making: Make
) -> tuple[Desired, str | None]:
    """The definition that a run would have, and its revision when that is used as it is.

    Args:
        spec: The run's.
        region: AWS Region.
        read: How a named revision is read; with its tags only if another is made of it.
        making: How a definition is made.

    Raises:
        ConfigurationError: What is asked for cannot become a definition, or would change a
            revision that may not be changed.
        PinnedECSError: What `read` raises.
    """
    linked = await read(bool(spec.task_definition_tags))
    if linked is None:
        return await making(definition_spec(spec, region)), None
    held = linked.desired(spec.container_name)
    if patched := patched_revision(spec):
        return held, patched
    wanted = definition_spec(spec, region, linked)
    if spec.registration == "never":
        # The sizes and the compatibilities that a launch type asks for are left to ECS.
        unsized = replace(wanted, launch_type=None, cpu=None, memory=None, sized=False)
        _refuse_changes(spec, held, await making(unsized))
        return held, linked.arn
    desired = await making(wanted)
    if desired.same_as(held):
        return held, linked.arn
    tagged = await read(True)  # what is made of it keeps its tags
    return await making(definition_spec(spec, region, tagged)), None


async def make_now(spec: DefinitionSpec) -> Desired:
    """A definition that nobody remembers, for commands."""
    return make(spec)


def named_revision(spec: RunSpec) -> str | None:
    """The revision that is named: by the request before ``task_definition_arn``.

    Raises:
        ConfigurationError: It is not text.
    """
    named: Any = patched_revision(spec) or spec.task_definition_arn
    if named is not None and not isinstance(named, str):
        raise ConfigurationError(
            f"cannot apply {_request_field(spec)}",
            "they set a taskDefinition that is not text, or is copied from another member",
            "give the ARN or the name of a revision as a value",
        )
    return named


def patched_revision(spec: RunSpec) -> Any:
    """The ``taskDefinition`` of the request, if the job's or the customizations set it."""
    given = (spec.job_request or {}).get("taskDefinition")
    return patched(spec.task_customizations, "taskDefinition", given)


def _request_field(spec: RunSpec) -> str:
    return "task_customizations" if spec.task_customizations else "task_run_request"


def definition_spec(
    spec: RunSpec, region: str, linked: LinkedRevision | None = None
) -> DefinitionSpec:
    """The part of a run's spec that decides what its revision looks like.

    What has the same name in both is the same, except what is set below.

    Raises:
        ConfigurationError: ``task_definition`` is not a definition.
    """
    shared: dict[str, Any] = {name: getattr(spec, name) for name in _SHARED}
    return DefinitionSpec(
        **shared,
        family=spec.default_family,
        region=region,
        explicit_family=spec.family,
        base=linked.definition if linked is not None else _base(spec),
        linked=linked is not None,
        launch_type=spec.placed_on,
        logs=spec.cloudwatch_logs,
        unset=frozenset(name for name, value in spec.env.items() if value is None),
        tags=spec.task_definition_tags,
    )


def _base(spec: RunSpec) -> dict[str, Any] | None:
    if spec.task_definition is None:
        return None
    return read_pasted(spec.task_definition)


def read_pasted(given: Any) -> dict[str, Any]:
    """A definition that somebody has written, or has copied from what ECS describes.

    Raises:
        ConfigurationError: A member is unknown or of another type; the message has its path.
    """
    if isinstance(given, Mapping):
        given = {name: content for name, content in given.items() if name not in DESCRIBED_ONLY}
    return read_definition(given)


def _refuse_changes(spec: RunSpec, linked: Desired, desired: Desired) -> None:
    if desired.same_as(linked):
        return
    changed = list(differences(linked.definition, desired.definition, spec.container_name))
    if desired.family != linked.family:
        changed.append("family")
    if not changed:
        return
    fields = sorted({_field_of(spec, path) for path in changed})
    raise ConfigurationError(
        f"cannot use {spec.task_definition_arn!r} unchanged",
        f"registration is 'never', and {', '.join(fields)} would change {', '.join(changed)}",
        f"unset {', '.join(fields)}, link a revision that has it, or set registration to "
        "'on-change'",
    )


def _field_of(spec: RunSpec, path: str) -> str:
    """The field that changes what is at a path within a definition."""
    if path.split(".")[0].split("[")[0] == "tags":
        return "task_definition_tags"
    if not path.startswith("containerDefinitions"):
        field = _CAPITAL.sub(lambda found: f"_{found[0].lower()}", path)
        return field if field in ASKED else path
    member = path.removeprefix(f"containerDefinitions.{spec.container_name}.")
    field = next((field for start, field in _FIELD_OF_MEMBER if member.startswith(start)), "image")
    if field == "cloudwatch_logs_options" and not spec.cloudwatch_logs:
        return "configure_cloudwatch_logs"
    return field
