"""What a block's configuration registers: the definition, built from configuration alone.

``build`` never sees a flow run, its name, labels, command or the values of environment
variables, so they cannot leak into a revision. It keeps the meaning that `ECSTask` gives to
its fields (prefect-aws 0.4, ``ECSTask._prepare_task_definition``).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from slugify import slugify

from prefect_ecs_pinned.core.canonical import task_size
from prefect_ecs_pinned.core.fingerprint import PREFECT_CONTAINER, prefect_container
from prefect_ecs_pinned.core.placement import MANAGED_INSTANCES
from prefect_ecs_pinned.core.shown import named, plain
from prefect_ecs_pinned.errors import ConfigurationError

#: Sizes of a task whose configuration states none, as `ECSTask` has them: CPU units and MiB.
DEFAULT_CPU = 1024
DEFAULT_MEMORY = 2048

#: API_RegisterTaskDefinition, "family": up to 255 letters, numbers, underscores, hyphens.
FAMILY_LENGTH = 255
_FAMILY = re.compile(rf"[a-zA-Z0-9_-]{{1,{FAMILY_LENGTH}}}")

#: Of a size in a container, which is a 32-bit number.
_MOST_DIGITS = 9

FARGATE_LAUNCH_TYPES = ("FARGATE", "FARGATE_SPOT")

#: CloudWatch options of `ECSTask`; "awslogs-region" and the prefix are added in `build`.
_LOG_OPTIONS = {"awslogs-create-group": "true", "awslogs-group": "prefect"}


@dataclass(frozen=True)
class DefinitionSpec:
    """The part of a block's configuration that decides what its revision looks like.

    Attributes:
        family: The family unless another is set: it is made of the block's name.
        region: Region of the awslogs driver.
        explicit_family: The block's ``family`` field; wins over the base's.
        base: ``task_definition``, or what the linked revision holds; None for neither.
        linked: The base is the revision that ``task_definition_arn`` names.
        image: Image of the Prefect container; None keeps the base's.
        launch_type: FARGATE, FARGATE_SPOT, EC2, EXTERNAL, MANAGED_INSTANCES or None.
        cpu: CPU units; None keeps the base's.
        memory: MiB; None keeps the base's.
        execution_role_arn: As the block states it.
        logs: Extra awslogs options; None when CloudWatch logs are not configured.
        secrets: Environment name -> Secrets Manager or SSM ARN.
        unset: Names of variables that the block sets to None.
        sized: State sizes where the base does not have one; otherwise they are left as they are.
        container_name: Name of the Prefect container.
        tags: Tags of the definition; they replace those of the same key in the base.
    """

    family: str
    region: str
    explicit_family: str | None = None
    base: Mapping[str, Any] | None = field(default=None, repr=False)
    linked: bool = False
    image: str | None = None
    launch_type: str | None = "FARGATE"
    cpu: int | None = None
    memory: int | None = None
    execution_role_arn: str | None = None
    logs: Mapping[str, str] | None = field(default=None, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    unset: frozenset[str] = frozenset()
    sized: bool = True
    container_name: str = PREFECT_CONTAINER
    tags: Mapping[str, str] = field(default_factory=dict, repr=False)

    def key(self) -> str:
        """A text that is equal for equal specs: what a built definition is remembered by."""
        members = [getattr(self, name) for name in _MEMBERS]
        return json.dumps(members, sort_keys=True, default=_in_key)


_MEMBERS = tuple(each.name for each in fields(DefinitionSpec))


def _in_key(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def build(spec: DefinitionSpec) -> dict[str, Any]:
    """The definition to register for a configuration, in RegisterTaskDefinition's shape.

    Raises:
        ConfigurationError: The configuration can not become a definition that ECS accepts.
    """
    definition: dict[str, Any] = copy.deepcopy(dict(spec.base or {}))
    definition["family"] = _family(spec, definition)
    container = _container(definition, spec.container_name)
    if spec.image:
        container["image"] = spec.image
    if not container.get("image"):
        raise ConfigurationError(
            "cannot run the Prefect container",
            "neither the block nor the task definition names an image for container "
            f"{plain(spec.container_name)!r}{_others(definition, spec.container_name)}",
            "set image, or name the container that runs the flow "
            f"{plain(spec.container_name)!r}, or give its name in container_name",
        )
    _remove_unset(container, spec.unset)
    if not spec.linked:  # ECS has put the list of a linked one into another order
        _remove_duplicates(definition)
    if spec.logs is not None:
        container["logConfiguration"] = _log_configuration(spec, definition["family"])
    if spec.secrets:
        _provide_secrets(container, spec.secrets)
    _state_sizes(spec, definition, container)
    if spec.execution_role_arn and not spec.linked:
        definition["executionRoleArn"] = spec.execution_role_arn
    _check_execution_role(spec, definition, container)
    if spec.tags:
        others = [tag for tag in definition.get("tags") or [] if tag.get("key") not in spec.tags]
        own = [{"key": key, "value": value} for key, value in sorted(spec.tags.items())]
        definition["tags"] = others + own
    if not definition.get("tags"):  # ECS refuses an empty list
        definition.pop("tags", None)
    return definition


def added_to(spec: DefinitionSpec) -> tuple[str, ...]:
    """Names of the base's containers, fit to be shown; empty if one is the Prefect container.

    `build` adds it to them, as `ECSTask` does.
    """
    base = spec.base or {}
    if prefect_container(base, spec.container_name) is not None:
        return ()
    return tuple(named(c.get("name")) for c in base.get("containerDefinitions") or ())


def family_name(given: str) -> str:
    """A family of a name that somebody has given: the name, if ECS accepts it.

    Raises:
        ConfigurationError: Nothing of it could be a family.
    """
    family = given if _FAMILY.fullmatch(given) else former_family(given)
    if not family:
        raise ConfigurationError(
            f"cannot name a family {plain(given)!r}",
            "ECS accepts letters, digits, hyphens and underscores, and there is none",
            "set family",
        )
    return family


def former_family(given: str) -> str:
    """The family that `ECSTask` makes of a name, as earlier versions of this package did.

    In lower case, with single hyphens, none at the ends.
    """
    return str(slugify(given, max_length=FAMILY_LENGTH, regex_pattern=r"[^a-zA-Z0-9-_]+"))


def _family(spec: DefinitionSpec, definition: Mapping[str, Any]) -> str:
    if spec.linked and not spec.explicit_family:
        return str(definition["family"])
    given = spec.explicit_family or definition.get("family")
    return family_name(str(given)) if given else former_family(spec.family)


def _container(definition: dict[str, Any], name: str) -> dict[str, Any]:
    container = prefect_container(definition, name)
    if container is None:
        container = {"name": name}
        others: list[dict[str, Any]] = definition.get("containerDefinitions") or []
        definition["containerDefinitions"] = [*others, container]
    return container


def _others(definition: Mapping[str, Any], name: str) -> str:
    names = [named(c.get("name")) for c in definition["containerDefinitions"]]
    others = [repr(other) for other in names if other != name]
    return f"; its containers are {', '.join(others)}" if others else ""


def _remove_unset(container: dict[str, Any], unset: frozenset[str]) -> None:
    if unset and container.get("environment"):
        container["environment"] = _without(container["environment"], unset)


def _remove_duplicates(definition: dict[str, Any]) -> None:
    """Of variables of one name in a container, leave the last, as Docker does."""
    for container in definition["containerDefinitions"]:
        variables = container.get("environment")
        if variables and len({v.get("name") for v in variables}) < len(variables):
            container["environment"] = list({v.get("name"): v for v in variables}.values())


def _without(named: list[dict[str, Any]], names: Collection[str]) -> list[dict[str, Any]]:
    return [item for item in named if item.get("name") not in names]


def _log_configuration(spec: DefinitionSpec, family: str) -> dict[str, Any]:
    return {
        "logDriver": "awslogs",
        "options": {
            **_LOG_OPTIONS,
            "awslogs-region": spec.region,
            # Never the flow run's name: it would make every definition another one.
            "awslogs-stream-prefix": family,
            **(spec.logs or {}),
        },
    }


def _provide_secrets(container: dict[str, Any], secrets: Mapping[str, str]) -> None:
    """Let the block's secrets replace secrets and clear values of the same names.

    ECS refuses a container that has one name in both (API_ContainerDefinition, "secrets").
    """
    if container.get("environment"):
        container["environment"] = _without(container["environment"], secrets)
    others = _without(container.get("secrets") or [], secrets)
    container["secrets"] = others + [
        {"name": name, "valueFrom": arn} for name, arn in sorted(secrets.items())
    ]


def _state_sizes(
    spec: DefinitionSpec, definition: dict[str, Any], container: dict[str, Any]
) -> None:
    if not spec.sized:
        return
    cpu = spec.cpu or definition.get("cpu") or DEFAULT_CPU
    memory = spec.memory or definition.get("memory") or DEFAULT_MEMORY
    if spec.launch_type in FARGATE_LAUNCH_TYPES:
        definition["cpu"], definition["memory"] = str(cpu), str(memory)
        compatibilities = definition.setdefault("requiresCompatibilities", [])
        if "FARGATE" not in compatibilities:
            compatibilities.append("FARGATE")
        mode = definition.setdefault("networkMode", "awsvpc")
        if mode != "awsvpc":
            raise ConfigurationError(
                "cannot use the task definition",
                f"Found network mode {plain(mode)!r} which is not compatible with launch type "
                f"{spec.launch_type!r}",
                "set networkMode to 'awsvpc' in task_definition, or launch_type to 'EC2'",
            )
    elif spec.launch_type is None and "FARGATE" in definition.get("requiresCompatibilities", ()):
        definition["cpu"], definition["memory"] = str(cpu), str(memory)  # required there
    elif spec.launch_type in ("EC2", MANAGED_INSTANCES) or not (
        spec.linked or definition.get("memory")
    ):
        if spec.launch_type == MANAGED_INSTANCES:
            _make_for_managed_instances(definition)
        container.setdefault("cpu", _digits("cpu", cpu))
        if not container.get("memoryReservation"):  # a complete size by itself
            container.setdefault("memory", _digits("memory", memory))
        _hold_what_is_asked_for(spec, definition)
    if "FARGATE" in definition.get("requiresCompatibilities", ()):  # required there
        definition.setdefault("cpu", str(cpu))
        definition.setdefault("memory", str(memory))


def _hold_what_is_asked_for(spec: DefinitionSpec, definition: dict[str, Any]) -> None:
    """A container larger than its task is not registered, whatever launches set for both."""
    for size, asked in (("cpu", spec.cpu), ("memory", spec.memory)):
        if asked and definition.get(size) and _digits(size, definition[size]) < asked:
            definition[size] = str(asked)


def _make_for_managed_instances(definition: dict[str, Any]) -> None:
    """Fill in that the network mode is awsvpc; sizes may be in the container, as on EC2.

    Amazon ECS, "Task definition parameters for Amazon ECS Managed Instances".
    """
    compatibilities = definition.setdefault("requiresCompatibilities", [])
    if MANAGED_INSTANCES not in compatibilities:
        compatibilities.append(MANAGED_INSTANCES)
    mode = definition.setdefault("networkMode", "awsvpc")
    if mode not in ("awsvpc", "host"):
        raise ConfigurationError(
            "cannot use the task definition",
            f"network mode {plain(mode)!r} is not compatible with launch type 'MANAGED_INSTANCES'",
            "set networkMode to 'awsvpc' or 'host' in task_definition, or launch_type to 'EC2'",
        )


def _digits(name: str, size: Any) -> int:
    """A task's size as a container's, which has no units."""
    text = task_size(size)
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise ConfigurationError(
            "cannot use the task definition",
            f"its {name} is {plain(size)!r}",
            f"give {name} as a number, or with the unit {'vCPU' if name == 'cpu' else 'GB'}",
        )
    return int(text)


def _check_execution_role(
    spec: DefinitionSpec, definition: Mapping[str, Any], container: Mapping[str, Any]
) -> None:
    role = definition.get("executionRoleArn")
    if spec.logs is not None and not role:
        raise ConfigurationError(
            "cannot configure CloudWatch logs",
            "an execution role arn must be set on the task definition to use "
            "`configure_cloudwatch_logs` or `stream_output`, but there is none",
            _how_to_set_role(spec),
        )
    if container.get("secrets") and not role and spec.launch_type in FARGATE_LAUNCH_TYPES:
        raise ConfigurationError(
            "cannot provide secrets",
            "on Fargate, ECS reads secrets with the execution role, and there is none",
            f"{_how_to_set_role(spec)}; the role has to be allowed to read "
            + ", ".join(sorted(named(s.get("name")) for s in container["secrets"])),
        )


def _how_to_set_role(spec: DefinitionSpec) -> str:
    if spec.linked:  # there, the field is an override of the launch, as with `ECSTask`
        return "link a revision that has an executionRoleArn"
    return "set execution_role_arn, or executionRoleArn in the task definition"
