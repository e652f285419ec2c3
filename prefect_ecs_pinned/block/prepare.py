"""From the block's fields to what is pinned and what is sent, before anything is changed.

Everything that can be known to be wrong is found here. Only reads are made: of the linked
revision, and of the VPC's subnets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jsonpatch import JsonPatchException
from jsonpointer import JsonPointerException
from prefect.settings import Settings, get_current_settings
from prefect.utilities.pydantic import JsonPatch

from prefect_ecs_pinned.aws.api import check_run_task
from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.aws.linked import Linked
from prefect_ecs_pinned.block.logs import run_logger
from prefect_ecs_pinned.core.canonical import DESCRIBED_ONLY
from prefect_ecs_pinned.core.definition import FARGATE_LAUNCH_TYPES, DefinitionSpec, build
from prefect_ecs_pinned.core.plan import Desired, differences
from prefect_ecs_pinned.core.request import (
    LaunchSpec,
    Sizes,
    check,
    check_reserved,
    run_task_request,
    stated_sizes,
)
from prefect_ecs_pinned.core.shown import json_pointer, patch_operation, plain
from prefect_ecs_pinned.errors import ConfigurationError

if TYPE_CHECKING:
    from prefect_ecs_pinned.block.pinned_ecs_task import PinnedECSTask

#: Path within a definition -> the block's field that changes it, for messages.
_FIELD_OF_PATH = (
    ("containerDefinitions.prefect.image", "image"),
    ("containerDefinitions.prefect.logConfiguration", "cloudwatch_logs_options"),
    ("containerDefinitions.prefect.secrets", "secrets"),
    ("containerDefinitions.prefect.environment", "env"),
    ("containerDefinitions", "image"),
)


@dataclass(frozen=True)
class Prepared:
    """What one run needs, decided.

    Attributes:
        desired: The definition that it will run.
        revision: ARN or name of a revision that is used as it is; None when it is to be pinned.
        may_register: Whether a revision may be made.
        linked_changed: The block's fields change the linked revision.
        request: RunTask's parameters; ``taskDefinition`` is filled in when it is pinned.
        subnets_found: Its subnets were looked up, and may be again.
        started_by: Its own ``startedBy``; empty when customizations have set another one.
    """

    desired: Desired
    revision: str | None
    may_register: bool
    linked_changed: bool
    request: Mapping[str, Any] = field(repr=False)  # variables may be secrets
    subnets_found: bool = False
    started_by: str = ""


async def prepare(block: PinnedECSTask, plane: ControlPlane) -> Prepared:
    """Decide what a run of this block pins and sends.

    Raises:
        ConfigurationError: The block asks for what cannot work.
        PinnedECSError: AWS refused a look-up, or could not be reached.
    """
    if named := named_revision(block):
        log = run_logger(block.logger.name)
        log.info(f"{block._log_prefix}: Retrieving task definition {plain(named)!r}...")

    async def read(tags: bool) -> Linked | None:
        return await plane.linked(named, tags) if named else None

    desired, revision = await choose(block, await plane.region(), read, plane.desired)
    given = revision is not None
    sizes = Sizes() if given else stated_sizes(desired.definition, desired.container)
    network = await network_configuration(block, plane, desired)
    request = launch_request(block, desired, sizes, network)
    flow_run_id = block.env.get("PREFECT__FLOW_RUN_ID") or ""
    if block.task_customizations.patch:
        check_reserved(request)
        check_run_task({"taskDefinition": desired.family, **request})
    check(request, desired.definition)
    return Prepared(
        desired=desired,
        revision=revision,
        may_register=block.registration == "on-change",
        linked_changed=bool(named) and not given,
        request=request,
        subnets_found=not block.subnets and _subnets(request) == _subnets_of(network),
        started_by=flow_run_id if request.get("startedBy") == flow_run_id else "",
    )


def _subnets(request: Mapping[str, Any]) -> Any:
    return _subnets_of(request.get("networkConfiguration"))


def _subnets_of(network: Mapping[str, Any] | None) -> Any:
    return ((network or {}).get("awsvpcConfiguration") or {}).get("subnets")


#: Makes a definition of a configuration, or remembers it.
Make = Callable[[DefinitionSpec], Awaitable[Desired]]

#: Reads the revision that `named_revision` names, with its tags if that is said; None for none.
Read = Callable[[bool], Awaitable[Linked | None]]


async def choose(
    block: PinnedECSTask, region: str, read: Read, make: Make
) -> tuple[Desired, str | None]:
    """The definition that a run would have, and its revision when that is used as it is.

    Args:
        block: The block.
        region: AWS Region.
        read: How a named revision is read; with its tags only if another is made of it.
        make: How a definition is made.

    Raises:
        ConfigurationError: The block asks for what cannot become a definition, or would change
            a revision that it may not change.
        PinnedECSError: What `read` raises.
    """
    linked = await read(False)
    if linked is None:
        return await make(definition_spec(block, region)), None
    if patched := patched_revision(block):
        return linked.desired, patched
    spec = definition_spec(block, region, linked)
    if block.registration == "never":
        # The sizes and the compatibilities that a launch type asks for are left to ECS.
        unsized = replace(spec, launch_type=None, cpu=None, memory=None)
        _refuse_changes(block, linked.desired, await make(unsized))
        return linked.desired, linked.arn
    desired = await make(spec)
    if desired.same_as(linked.desired):
        return linked.desired, linked.arn
    tagged = await read(True)  # what is made of it keeps its tags
    return await make(definition_spec(block, region, tagged)), None


async def make_now(spec: DefinitionSpec) -> Desired:
    """A definition that nobody remembers, for commands."""
    return Desired(build(spec))


def named_revision(block: PinnedECSTask) -> str | None:
    """The revision that a block names: its customizations before its ``task_definition_arn``."""
    return patched_revision(block) or block.task_definition_arn


def _refuse_changes(block: PinnedECSTask, linked: Desired, desired: Desired) -> None:
    if desired.same_as(linked):
        return
    changed = list(differences(linked.definition, desired.definition))
    if desired.family != linked.family:
        changed.append("family")
    if not changed:
        return
    fields = sorted({_field_of(block, path) for path in changed})
    raise ConfigurationError(
        f"cannot use {block.task_definition_arn!r} as it is",
        f"registration is 'never', and {', '.join(fields)} would change {', '.join(changed)}",
        f"unset {', '.join(fields)}, link a revision that has it, or set registration to "
        "'on-change'",
    )


def _field_of(block: PinnedECSTask, path: str) -> str:
    field = next((field for start, field in _FIELD_OF_PATH if path.startswith(start)), path)
    if field == "cloudwatch_logs_options" and not block.cloudwatch_logs_options:
        return "configure_cloudwatch_logs"
    return field


def definition_spec(
    block: PinnedECSTask, region: str, linked: Linked | None = None
) -> DefinitionSpec:
    """The part of the block's fields that decides what its revision looks like."""
    return DefinitionSpec(
        family=block._default_family(),
        region=region,
        explicit_family=block.family,
        base=linked.definition if linked is not None else _base(block),
        linked=linked is not None,
        image=block.image,
        launch_type=block.launch_type,
        cpu=block.cpu,
        memory=block.memory,
        execution_role_arn=block.execution_role_arn,
        logs=block.cloudwatch_logs_options if block.configure_cloudwatch_logs else None,
        secrets=block.secrets,
        unset=frozenset(name for name, value in block.env.items() if value is None),
    )


def _base(block: PinnedECSTask) -> dict[str, Any] | None:
    """``task_definition``, without what a described definition has more when it is pasted."""
    if block.task_definition is None:
        return None
    return {k: v for k, v in block.task_definition.items() if k not in DESCRIBED_ONLY}


async def network_configuration(
    block: PinnedECSTask, plane: ControlPlane, desired: Desired
) -> dict[str, Any] | None:
    """``networkConfiguration`` of a request, None off awsvpc.

    Raises:
        ConfigurationError: Network fields are set which the network mode has no use for, or the
            VPC has no subnets.
    """
    if desired.definition.get("networkMode") != "awsvpc":
        if block.subnets or block.security_groups:
            raise ConfigurationError(
                "cannot use subnets and security_groups",
                f"network mode {plain(desired.definition.get('networkMode', 'bridge'))!r} has none",
                "set networkMode to 'awsvpc' in task_definition, or leave them empty",
            )
        return None
    return awsvpc(block, block.subnets or list(await plane.subnets(block.vpc_id)))


def awsvpc(block: PinnedECSTask, subnets: list[str] | str) -> dict[str, Any]:
    """An awsvpcConfiguration in the shape that `ECSTask` sends."""
    configuration: dict[str, Any] = {
        "subnets": subnets,
        "securityGroups": list(block.security_groups or []),
    }
    on_fargate = block.launch_type in FARGATE_LAUNCH_TYPES
    if assign := block.assign_public_ip or ("ENABLED" if on_fargate else None):
        configuration["assignPublicIp"] = assign
    return {"awsvpcConfiguration": configuration}


def launch_request(
    block: PinnedECSTask,
    desired: Desired,
    sizes: Sizes,
    network: Mapping[str, Any] | None,
    task_definition: str = "",
) -> dict[str, Any]:
    """The RunTask request of a run, the block's customizations applied last.

    Raises:
        ConfigurationError: A variable is given in clear that a secret provides, or a
            customization does not apply.
    """
    spec = LaunchSpec(
        environment=_environment(block, desired),
        command=block.command,
        cpu=block.cpu,
        memory=block.memory,
        execution_role_arn=block.execution_role_arn,
        task_role_arn=block.task_role_arn,
        cluster=block.cluster,
        launch_type=block.launch_type,
        labels=block.labels,
    )
    request = run_task_request(spec, task_definition or desired.family, sizes, network)
    if flow_run_id := block.env.get("PREFECT__FLOW_RUN_ID"):
        request["startedBy"] = flow_run_id  # a task can be found by it (ListTasks)
    return _customized(request, block.task_customizations)


def _customized(request: dict[str, Any], patches: JsonPatch) -> dict[str, Any]:
    """A request with the block's JSON patches applied.

    The exceptions of jsonpatch show the document, and with it values of environment variables:
    they are neither quoted nor chained.
    """
    for number, patch in enumerate(patches.patch):
        try:
            request = JsonPatch([patch]).apply(request)
        except (JsonPatchException, JsonPointerException) as exception:
            misfit = type(exception).__name__
        else:
            continue
        what, where = patch_operation(patch.get("op")), json_pointer(patch.get("path"))
        raise ConfigurationError(
            "cannot apply task_customizations",
            f"operation {what!r} of {where!r} (number {number}, from 0) does not fit the RunTask "
            f"request ({misfit})",
            "see what `preview()` shows without it; members that are not there need 'add'",
        )
    return request


def patched_revision(block: PinnedECSTask) -> str | None:
    """The ``taskDefinition`` that the block's customizations set, if they do."""
    revision = None
    for patch in block.task_customizations.patch:
        value = patch.get("value")  # None for an operation that removes
        if patch.get("path") == "/taskDefinition":
            revision = value
        elif patch.get("path") == "" and isinstance(value, dict):
            revision = value.get("taskDefinition")
    return revision


def _environment(block: PinnedECSTask, desired: Desired) -> dict[str, str]:
    """Variables of the Prefect container; a secret's value is never sent in clear.

    A variable in clear overrides the definition's secret of the same name, so the agent's own
    settings (``PREFECT_API_KEY``) give way to secrets, and an explicit ``env`` is refused.
    """
    explicit = {name: value for name, value in block.env.items() if value is not None}
    clash = sorted(desired.secret_names & explicit.keys())
    if clash:
        raise ConfigurationError(
            "cannot set variables in clear",
            f"a secret provides {', '.join(clash)}, and env would override it",
            f"remove {', '.join(clash)} from env, or from secrets",
        )
    inherited = _inherited(block)
    return {
        name: value
        for name, value in {**inherited, **block.env}.items()
        if value is not None and name not in desired.secret_names
    }


#: Of the settings and the class that were asked for last: the variables that they give.
_last_inherited: tuple[Settings, type, Mapping[str, str]] | None = None


def _inherited(block: PinnedECSTask) -> Mapping[str, str]:
    """Variables that Prefect passes to all infrastructure: the agent's own settings.

    Settings never change, others take their place; so one look at which they are says whether
    the variables are the same.
    """
    global _last_inherited
    settings, last = get_current_settings(), _last_inherited
    if last is None or last[0] is not settings or last[1] is not type(block):
        _last_inherited = last = (settings, type(block), block._base_environment())
    return last[2]
