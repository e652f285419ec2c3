"""The RunTask request of a run; the only place where one is put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jsonpatch import JsonPatch, JsonPatchException
from jsonpointer import JsonPointerException

from prefect_ecs_pinned.core.definition import FARGATE_LAUNCH_TYPES
from prefect_ecs_pinned.core.placement import runs_on_fargate
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.core.request import (
    LaunchSpec,
    Sizes,
    run_task_request,
    stated_sizes,
)
from prefect_ecs_pinned.core.shown import json_pointer, named, patch_operation, plain
from prefect_ecs_pinned.core.starting import laid_over, left_open, variables_of
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.runs.spec import RunSpec

#: What jsonpatch raises for a patch and a document that are not made for one another.
_MISFITS = (
    JsonPatchException,
    JsonPointerException,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


def launch_request(
    spec: RunSpec,
    desired: Desired,
    revision: str | None,
    subnets: Sequence[str] | str,
    task_definition: str = "",
    default: Sequence[Mapping[str, Any]] | None = None,
    unasked: bool = False,
) -> dict[str, Any]:
    """The RunTask request of a run: the job's own first, customizations applied last.

    Args:
        spec: The run's.
        desired: The definition that it will run.
        revision: A revision that is used as it is: its sizes are its own.
        subnets: Those that were looked up, or a placeholder for them; see `looks_up_subnets`.
        task_definition: ``taskDefinition`` of the request; the family unless given.
        default: The cluster's default strategy, as far as it is known; see `undecided_cluster`.
        unasked: The cluster will be asked if it decides: a customization may fit what it decides.

    Raises:
        ConfigurationError: A variable is given in clear that a secret provides, or a
            customization does not apply.
    """
    start = spec.job_request or {}
    sizes = Sizes()
    if revision is None:
        stated = stated_sizes(desired.definition, desired.container)
        sizes = left_open(stated, start, spec.container_name)
    launch = LaunchSpec(
        environment=_environment(spec, desired),
        command=spec.command,
        cpu=spec.cpu,
        memory=spec.memory,
        execution_role_arn=spec.execution_role_arn,
        task_role_arn=spec.task_role_arn,
        cluster=spec.cluster,
        launch_type=spec.launch_type,
        labels=spec.labels,
        container_name=spec.container_name,
        strategy=spec.capacity_provider_strategy or (),
        ephemeral_storage=spec.ephemeral_storage,
        members=_members(spec),
    )
    request = run_task_request(launch, task_definition or desired.family, sizes, None)
    if start:
        request = laid_over(start, request, spec.container_name)
    if spec.flow_run_id:
        request.setdefault("startedBy", spec.flow_run_id)  # a task can be found by it (ListTasks)
    if not _has_network(desired):
        return _customized(request, spec.task_customizations)
    return _placed(spec, request, desired, subnets, default, unasked)


def _members(spec: RunSpec) -> dict[str, Any]:
    """Members of the request that are fields unchanged; those that are not set are not sent."""
    members = {
        "platformVersion": spec.platform_version,
        "propagateTags": spec.propagate_tags,
        "enableECSManagedTags": spec.enable_ecs_managed_tags,
        "enableExecuteCommand": spec.enable_execute_command,
    }
    return {name: value for name, value in members.items() if value}


def check_network(spec: RunSpec, desired: Desired) -> None:
    """Refuse network fields that a definition's network mode has no use for.

    Raises:
        ConfigurationError: Some are set.
    """
    if not _has_network(desired) and (spec.subnets or spec.security_groups):
        raise ConfigurationError(
            "cannot use subnets and security_groups",
            f"network mode {plain(desired.definition.get('networkMode', 'bridge'))!r} does not "
            "use them",
            "set networkMode to 'awsvpc' in task_definition, or leave them empty",
        )


def looks_up_subnets(spec: RunSpec, desired: Desired) -> bool:
    """Whether the subnets of a request are those of the VPC."""
    return _has_network(desired) and not (spec.subnets or _given_network(spec).get("subnets"))


def _given_network(spec: RunSpec) -> Mapping[str, Any]:
    """The awsvpcConfiguration to start from."""
    network = (spec.job_request or {}).get("networkConfiguration") or {}
    return spec.network_configuration or network.get("awsvpcConfiguration") or {}


def subnets_of(request: Mapping[str, Any]) -> Any:
    """The subnets of a request; None without any."""
    network = request.get("networkConfiguration") or {}
    return (network.get("awsvpcConfiguration") or {}).get("subnets")


def undecided_cluster(spec: RunSpec, desired: Desired, request: Mapping[str, Any]) -> str | None:
    """The cluster whose default strategy decides whether a task gets a public IP; None if none.

    Args:
        spec: The run's.
        desired: The definition that it will run.
        request: Its request, customizations applied.
    """
    if spec.assign_public_ip or not _has_network(desired):
        return None
    if runs_on_fargate(request, desired.definition) is not None:
        return None
    return str(request.get("cluster") or "default")


def _has_network(desired: Desired) -> bool:
    return desired.definition.get("networkMode") == "awsvpc"


def _placed(
    spec: RunSpec,
    request: Mapping[str, Any],
    desired: Desired,
    subnets: Sequence[str] | str,
    default: Sequence[Mapping[str, Any]] | None,
    unasked: bool,
) -> dict[str, Any]:
    """A request with its network, customized.

    Whether a task gets a public IP by itself depends on whether it runs on Fargate, which the
    customizations may decide, and they may change the public IP as well. So they are applied to
    what the fields suggest, and if that was not right, to the other one. As long as the cluster
    may decide, and is `unasked`, either is right.

    Raises:
        ConfigurationError: A customization does not apply.
    """
    on_fargate_by_fields = spec.placed_on in FARGATE_LAUNCH_TYPES
    made, misfit = [], None
    for guess in (on_fargate_by_fields, not on_fargate_by_fields):
        network = _network(spec, subnets, guess)
        try:
            customized = _customized(
                {**request, "networkConfiguration": network}, spec.task_customizations
            )
        except ConfigurationError as error:
            misfit = misfit or error
            continue
        on_fargate = runs_on_fargate(customized, desired.definition, default)
        if bool(on_fargate) == guess:
            return customized
        if guess == on_fargate_by_fields or (unasked and on_fargate is None):
            made.append(customized)
    if misfit is not None and not made:
        raise misfit
    return made[0]


def _network(spec: RunSpec, subnets: Sequence[str] | str, on_fargate: bool) -> dict[str, Any]:
    """``networkConfiguration``, in the shape that `ECSTask` sends.

    One that is given with its subnets gets no public IP that it does not ask for.
    """
    given = _given_network(spec)
    wanted = spec.subnets or given.get("subnets") or subnets
    configuration: dict[str, Any] = {
        **given,
        "subnets": wanted if isinstance(wanted, str) else list(wanted),
    }
    if spec.security_groups or not given:
        configuration["securityGroups"] = list(spec.security_groups or [])
    by_default = "ENABLED" if on_fargate and not given.get("subnets") else None
    if assign := spec.assign_public_ip or given.get("assignPublicIp") or by_default:
        configuration["assignPublicIp"] = assign
    return {"awsvpcConfiguration": configuration}


def _environment(spec: RunSpec, desired: Desired) -> dict[str, str]:
    """Variables of the Prefect container; a secret's value is never sent in clear.

    A variable in clear overrides the definition's secret of the same name, so inherited
    variables (``PREFECT_API_KEY``) are left out for secrets, and an explicit ``env`` is refused.
    """
    start = variables_of(spec.job_request or {}, spec.container_name)
    explicit = {name for name, value in {**start, **spec.env}.items() if value is not None}
    clash = sorted(map(named, desired.secret_names & explicit))
    if clash:
        raise ConfigurationError(
            "cannot set plain variables",
            f"a secret provides {', '.join(clash)}, and env would override it",
            f"remove {', '.join(clash)} from env, or from secrets",
        )
    return {
        name: value
        for name, value in {**spec.inherited_env, **spec.env}.items()
        if value is not None and name not in desired.secret_names
    }


def _customized(request: Any, patches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A request with JSON patches applied.

    The exceptions of jsonpatch show the document, and with it values of environment variables:
    they are neither quoted nor chained.

    Raises:
        ConfigurationError: Some do not apply; it names each, and what does not fit after it.
    """
    misfits = []
    for number, patch in enumerate(patches):
        try:
            request = JsonPatch([patch]).apply(request)
        except _MISFITS as exception:
            what, where = patch_operation(patch.get("op")), json_pointer(patch.get("path"))
            misfits.append(
                f"operation {what!r} of {where!r} (number {number}, from 0) does not fit the "
                f"RunTask request ({type(exception).__name__})"
            )
    if misfits:
        raise ConfigurationError(
            "cannot apply task_customizations",
            "; ".join(misfits),
            "see what `preview()` shows without it; missing members need 'add'",
        )
    if not isinstance(request, dict):
        raise ConfigurationError(
            "cannot apply task_customizations",
            "the patched RunTask request is not an object",
            "remove the patch of ''",
        )
    return request
