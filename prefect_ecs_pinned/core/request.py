"""What one launch sends: the RunTask request, and what can be known to be wrong with it.

Everything that differs from run to run goes here and never into the definition. It keeps the
shape that `ECSTask` sends (prefect-aws 0.4, ``ECSTask._prepare_task_run``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect_ecs_pinned.core.alike import VARIABLES
from prefect_ecs_pinned.core.canonical import size_number, task_size
from prefect_ecs_pinned.core.fingerprint import PREFECT_CONTAINER
from prefect_ecs_pinned.core.members_together import check_sizes
from prefect_ecs_pinned.core.network import check_network_of
from prefect_ecs_pinned.core.placement import check_placement, placed, providers, runs_on_fargate
from prefect_ecs_pinned.core.shown import named
from prefect_ecs_pinned.core.tags import tags_of
from prefect_ecs_pinned.errors import ConfigurationError, OverridesTooLarge

#: API_RunTask, "overrides": "A total of 8192 characters are allowed for overrides. This limit
#: includes the JSON formatting characters of the override structure."
OVERRIDES_LIMIT = 8192

#: Variable of the Prefect container that holds the random id of a submission, by which its task is
#: known: ECS describes overrides back (API_Task, "overrides").
SUBMISSION_VARIABLE = "PINNED_ECS_ID"

#: Length of such an id, a submission's own or that of a worker's claim.
SUBMISSION_ID_LENGTH = 24

#: Launch types that do not draw on a quota of Fargate's.
_ON_INSTANCES = ("EC2", "EXTERNAL", "MANAGED_INSTANCES")

#: How many variables an `OverridesTooLarge` names.
_NAMED_VARIABLES = 3

#: Memory in MiB that Fargate offers per CPU units, (lowest, highest, step). Not all that it will
#: ever offer: sizes with other CPU units are left to ECS.
#: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
FARGATE_SIZES: Mapping[int, Sequence[int]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4096 + 1, 1024),
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16384 + 1, 1024),
    4096: range(8192, 30720 + 1, 1024),
    8192: range(16384, 61440 + 1, 4096),
    16384: range(32768, 122880 + 1, 8192),
}


@dataclass(frozen=True)
class LaunchSpec:
    """The part of a block's configuration that goes into every RunTask request.

    Attributes:
        environment: Name -> value of the Prefect container's variables.
        command: Command of the Prefect container; None keeps the definition's.
        cpu: CPU units that the block states, or None.
        memory: MiB that the block states, or None.
        execution_role_arn: Overrides the definition's, when set.
        task_role_arn: Overrides the definition's, when set.
        cluster: Name or ARN; None is the account's default cluster.
        launch_type: FARGATE, FARGATE_SPOT, EC2, EXTERNAL, MANAGED_INSTANCES or None.
        labels: Become the task's tags.
        container_name: Name of the Prefect container.
        strategy: Capacity providers, as API_RunTask has them; empty for none.
        ephemeral_storage: GiB; None keeps the definition's.
        members: More members of the request, such as ``platformVersion``.
    """

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    command: Sequence[str] | None = field(default=None, repr=False)
    cpu: int | None = None
    memory: int | None = None
    execution_role_arn: str | None = None
    task_role_arn: str | None = None
    cluster: str | None = None
    launch_type: str | None = "FARGATE"
    labels: Mapping[str, str] = field(default_factory=dict, repr=False)
    container_name: str = PREFECT_CONTAINER
    strategy: Sequence[Mapping[str, Any]] = ()
    ephemeral_storage: int | None = None
    members: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sizes:
    """Sizes that a launch sends because the revision's own values may be another run's.

    Attributes:
        cpu: CPU units of the task, as ECS writes them.
        memory: MiB of the task, as ECS writes them.
        container_cpu: CPU units of the Prefect container.
        container_memory: MiB of the Prefect container.
    """

    cpu: str | None = None
    memory: str | None = None
    container_cpu: int | None = None
    container_memory: int | None = None


def stated_sizes(definition: Mapping[str, Any], container: Mapping[str, Any]) -> Sizes:
    """The sizes of a definition whose values its fingerprint leaves out."""
    on_fargate = "FARGATE" in (definition.get("requiresCompatibilities") or [])
    return Sizes(
        cpu=task_size(definition["cpu"]) if definition.get("cpu") else None,
        memory=task_size(definition["memory"]) if definition.get("memory") else None,
        container_cpu=None if on_fargate else container.get("cpu"),
        container_memory=None if on_fargate else container.get("memory"),
    )


def run_task_request(
    spec: LaunchSpec,
    task_definition: str,
    sizes: Sizes,
    network_configuration: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The RunTask request of one flow run, before the block's customizations."""
    request: dict[str, Any] = {
        "overrides": _overrides(spec, sizes),
        "tags": tags_of(spec.labels),
        "taskDefinition": task_definition,
        **spec.members,
    }
    if spec.cluster:
        request["cluster"] = spec.cluster
    request.update(placed(spec.launch_type, spec.strategy))
    if network_configuration:
        request["networkConfiguration"] = dict(network_configuration)
    return request


def _overrides(spec: LaunchSpec, sizes: Sizes) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": spec.container_name,
        "environment": [VARIABLES.of(name, v) for name, v in spec.environment.items()],
    }
    overrides: dict[str, Any] = {"containerOverrides": [container]}
    if spec.command:
        container["command"] = list(spec.command)
    if spec.execution_role_arn:
        overrides["executionRoleArn"] = spec.execution_role_arn
    if spec.task_role_arn:
        overrides["taskRoleArn"] = spec.task_role_arn
    if memory := spec.memory or sizes.container_memory:
        container["memory"] = memory
    if cpu := spec.cpu or sizes.container_cpu:
        container["cpu"] = cpu
    if task_memory := _text(spec.memory) or sizes.memory:
        overrides["memory"] = task_memory
    if task_cpu := _text(spec.cpu) or sizes.cpu:
        overrides["cpu"] = task_cpu
    if spec.ephemeral_storage:
        overrides["ephemeralStorage"] = {"sizeInGiB": spec.ephemeral_storage}
    return overrides


def _text(size: int | None) -> str | None:
    return str(size) if size else None


def with_submission_id(
    request: Mapping[str, Any],
    submission_id: str,
    definition: Mapping[str, Any] | None = None,
    container_name: str = PREFECT_CONTAINER,
) -> dict[str, Any]:
    """A request with a recognisable task: the id is in the environment of its overrides.

    It goes to the Prefect container, which `core.task_state` finds by it. Otherwise it goes to the
    first one that is overridden or defined.
    """
    overrides = dict(request.get("overrides") or {})
    containers = [dict(container) for container in overrides.get("containerOverrides") or ()]
    defined = [c.get("name") for c in (definition or {}).get("containerDefinitions") or ()]
    overridden = [c.get("name") for c in containers]
    if container_name not in overridden and (container_name in defined or not overridden):
        if container_name in defined or not defined:
            defined = [container_name]
        containers.append({"name": defined[0]})
    chosen = next((c for c in containers if c.get("name") == container_name), containers[0])
    chosen["environment"] = [
        *(v for v in chosen.get("environment") or () if v.get("name") != SUBMISSION_VARIABLE),
        {"name": SUBMISSION_VARIABLE, "value": submission_id},
    ]
    return {**request, "overrides": {**overrides, "containerOverrides": containers}}


def overrides_length(
    request: Mapping[str, Any],
    definition: Mapping[str, Any] | None = None,
    container_name: str = PREFECT_CONTAINER,
) -> tuple[int, int]:
    """Characters of a request's overrides as ECS counts them: as they are, and with an id.

    What the id takes depends on the request: a patch may have removed the variables of the Prefect
    container, or its override, and they come back with the id (`with_submission_id`).
    """
    with_id = with_submission_id(request, "-" * SUBMISSION_ID_LENGTH, definition, container_name)
    bare, whole = (_written(of.get("overrides") or {}) for of in (request, with_id))
    return len(bare), len(whole)


def _written(overrides: Mapping[str, Any]) -> str:
    return json.dumps(overrides, separators=(",", ":"), ensure_ascii=False)


def submission_ids(task: Mapping[str, Any]) -> frozenset[str]:
    """The ids of submissions in the overrides of a request, or of a described task."""
    overrides = task.get("overrides") or {}
    return frozenset(
        str(variable.get("value"))
        for container in overrides.get("containerOverrides") or ()
        for variable in container.get("environment") or ()
        if variable.get("name") == SUBMISSION_VARIABLE
    )


def launch_type_of(request: Mapping[str, Any]) -> str:
    """The quota that a RunTask request draws on: FARGATE, FARGATE_SPOT, or EC2.

    A capacity provider with a name of its own is one for EC2 (API_RunTask,
    "capacityProviderStrategy"). What is not known counts as FARGATE: a request that leaves it to
    the cluster, and a strategy that has FARGATE next to others. One that mixes Fargate with
    instances is refused before it comes to that (`core.placement`).
    """
    names = [name for name, takes in providers(request.get("capacityProviderStrategy")) if takes]
    if "FARGATE" in names:
        return "FARGATE"
    if "FARGATE_SPOT" in names:
        return "FARGATE_SPOT"
    if names or request.get("launchType") in _ON_INSTANCES:
        return "EC2"
    return "FARGATE"


def check_reserved(request: Mapping[str, Any]) -> None:
    """Refuse members that launching sets itself, whatever their values.

    Raises:
        ConfigurationError: Customizations, or a work pool's request, have set one.
    """
    for reserved in ("clientToken", "count"):
        if reserved in request:
            raise ConfigurationError(
                "cannot launch",
                f"the request sets {reserved!r}, which makes a launch unsafe to repeat",
                "remove it from task_customizations, or from task_run_request of the work pool",
            )


def check(
    request: Mapping[str, Any],
    definition: Mapping[str, Any],
    default: Sequence[Mapping[str, Any]] | None = None,
    container_name: str = PREFECT_CONTAINER,
) -> None:
    """Refuse what ECS would refuse, before anything is registered or launched.

    Args:
        request: The RunTask request, customizations applied.
        definition: The definition that it will run.
        default: The cluster's default strategy; see `core.placement.runs_on_fargate`.
        container_name: Name of the Prefect container.

    Raises:
        ConfigurationError: A reserved member is set, it can not be placed so, its network does
            not fit, or the size does not exist on Fargate.
        OverridesTooLarge: The overrides, and the launch's own id, are longer than ECS accepts.
    """
    check_reserved(request)
    check_placement(request, definition, default)
    check_network_of(request, definition, default)
    if "FARGATE" in (definition.get("requiresCompatibilities") or ()):
        _check_size({}, definition)  # ECS looks at it when it is registered
    check_sizes(request.get("overrides") or {}, "cannot launch")
    if runs_on_fargate(request, definition, default):
        _check_size(request, definition)
    _check_overrides(request, definition, container_name)


def _check_size(request: Mapping[str, Any], definition: Mapping[str, Any]) -> None:
    overrides = request.get("overrides") or {}
    cpu = task_size(overrides.get("cpu") or definition.get("cpu") or "")
    memory = size_number(overrides.get("memory") or definition.get("memory") or "")
    offered = next((o for units, o in FARGATE_SIZES.items() if str(units) == cpu), None)
    if offered is None or memory is None:
        return
    if memory not in offered:
        raise ConfigurationError(
            "cannot launch on Fargate",
            f"there is no size with cpu {cpu} and memory {memory}",
            f"with cpu {cpu}, set memory to one of {_range(offered)}",
        )


def is_text(written: str) -> bool:
    """Whether a text can be sent: not if it has half of a character."""
    try:
        written.encode()
    except UnicodeEncodeError:
        return False
    return True


def _range(offered: Sequence[int]) -> str:
    if isinstance(offered, range):
        return f"{offered[0]} to {offered[-1]} in steps of {offered.step}"
    return ", ".join(map(str, offered))


def _check_overrides(
    request: Mapping[str, Any], definition: Mapping[str, Any], container_name: str
) -> None:
    overrides = request.get("overrides") or {}
    if not is_text(_written(overrides)):
        raise ConfigurationError(
            "cannot launch",
            "the overrides contain half of a character (a lone surrogate)",
            "correct env, command or task_customizations",
        )
    size, with_id = overrides_length(request, definition, container_name)
    if with_id <= OVERRIDES_LIMIT:
        return
    variables = [
        variable
        for container in overrides.get("containerOverrides") or ()
        for variable in container.get("environment") or ()
    ]
    variables.sort(key=lambda variable: len(variable.get("value") or ""), reverse=True)
    largest = [named(v.get("name", "")) for v in variables[:_NAMED_VARIABLES]]
    lengths = [len(v.get("value") or "") for v in variables[:_NAMED_VARIABLES]]
    raise OverridesTooLarge(
        "cannot launch",
        f"the overrides are {size} characters long, and ECS accepts {OVERRIDES_LIMIT}, "
        f"{with_id - size} of which are kept for the launch's own id",
        "move large values into the task definition, a secret or a file; the largest variables "
        "are "
        + ", ".join(f"{name} ({length})" for name, length in zip(largest, lengths, strict=True)),
        size=size,
        largest=largest,
    )
