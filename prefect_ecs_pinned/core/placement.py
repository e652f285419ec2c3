"""Where a task is placed: launch types, capacity providers, and members for one of them only.

Amazon ECS Managed Instances are reached by their capacity provider alone. API_RunTask,
"launchType": "If you want to use Amazon ECS Managed Instances, you must use the
capacityProviderStrategy request parameter and omit the launchType request parameter." So the launch
type MANAGED_INSTANCES says what a definition is made for, and is not sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.core.shown import plain
from prefect_ecs_pinned.errors import ConfigurationError

MANAGED_INSTANCES = "MANAGED_INSTANCES"

#: Capacity providers of Fargate; all others have instances of EC2.
FARGATE_PROVIDERS = ("FARGATE", "FARGATE_SPOT")

#: API_RunTask, "capacityProviderStrategy"; API_CapacityProviderStrategyItem.
MOST_PROVIDERS = 20
MOST_WEIGHT = 1000
MOST_BASE = 100_000

#: GiB that a Fargate task can be given (API_EphemeralStorage).
LEAST_STORAGE, MOST_STORAGE = 21, 200

#: Platform versions of Fargate that have no storage to be set (API_TaskOverride asks for 1.4.0).
_WITHOUT_STORAGE = ("1.0.0", "1.1.0", "1.2.0", "1.3.0")

_ITEM = ("capacityProvider", "weight", "base")

_WHAT = "cannot launch"


def on_fargate_providers(strategy: Sequence[Mapping[str, Any]] | None) -> bool:
    """Whether a strategy names providers of Fargate only."""
    return bool(strategy) and all(
        item.get("capacityProvider") in FARGATE_PROVIDERS for item in strategy or ()
    )


def runs_on_fargate(
    request: Mapping[str, Any],
    definition: Mapping[str, Any],
    default: Sequence[Mapping[str, Any]] | None = None,
) -> bool | None:
    """Whether a request runs on Fargate; None when that is not known.

    API_RunTask, "capacityProviderStrategy": "If no capacityProviderStrategy or launchType is
    specified, the defaultCapacityProviderStrategy for the cluster is used."

    Args:
        request: The RunTask request, customizations applied, of any shape.
        definition: The definition that it will run.
        default: The cluster's default strategy; empty: it does not have one, and tasks go to EC2;
            None: it is not known.
    """
    if launch_type := request.get("launchType"):
        return bool(launch_type == "FARGATE")
    strategy = request.get("capacityProviderStrategy")
    if not strategy:
        required = list(definition.get("requiresCompatibilities") or [])
        if required and ("FARGATE" not in required or len(required) == 1):
            return "FARGATE" in required
        if not default:
            return None if default is None else False
        strategy = default
    on_fargate = [name in FARGATE_PROVIDERS for name, _ in providers(strategy)]
    return None if any(on_fargate) and not all(on_fargate) else any(on_fargate)


def providers(strategy: Any) -> list[tuple[Any, bool]]:
    """The capacity providers of a strategy, of any shape, and whether each takes tasks.

    API_CapacityProviderStrategyItem, "weight": of several providers, those "with a weight of 0
    can't be used to place tasks"; a ``base`` counts for itself.
    """
    listed = strategy if isinstance(strategy, list | tuple) else ()
    items = [item for item in listed if isinstance(item, Mapping)]
    takes = [bool(item.get("weight") or item.get("base")) for item in items]
    return [
        (
            name if isinstance(name := item.get("capacityProvider"), str) else None,
            it or not any(takes),
        )
        for item, it in zip(items, takes, strict=True)
    ]


def placed(launch_type: str | None, strategy: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
    """The members of a RunTask request for a launch type and a strategy, either or none of them.

    Args:
        launch_type: FARGATE, FARGATE_SPOT, EC2, EXTERNAL, MANAGED_INSTANCES or None.
        strategy: Items as API_CapacityProviderStrategyItem has them; None or empty for none.
    """
    members: dict[str, Any] = {}
    if strategy:
        members["capacityProviderStrategy"] = [dict(item) for item in strategy]
    if launch_type == "FARGATE_SPOT":
        members.setdefault(
            "capacityProviderStrategy", [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
        )
    elif launch_type and launch_type != MANAGED_INSTANCES:
        members["launchType"] = launch_type
    return members


def check_fields(
    launch_type: str | None,
    strategy: Sequence[Mapping[str, Any]] | None,
    platform_version: str | None = None,
    ephemeral_storage: int | None = None,
) -> None:
    """Refuse fields that do not go together, whatever is patched later.

    Raises:
        ConfigurationError: They can not be launched.
    """
    if strategy and launch_type not in (None, MANAGED_INSTANCES):
        raise _both(f"launch_type is {launch_type!r}, and there is a capacity_provider_strategy")
    managed = launch_type == MANAGED_INSTANCES
    if managed and any(
        item.get("capacityProvider") in FARGATE_PROVIDERS for item in strategy or ()
    ):
        raise ConfigurationError(
            _WHAT,
            "launch_type is 'MANAGED_INSTANCES', and capacity_provider_strategy names Fargate",
            "name the capacity provider of the managed instances, or leave launch_type empty",
        )
    request = placed(launch_type, strategy)
    if platform_version:
        request["platformVersion"] = platform_version
    if ephemeral_storage:
        request["overrides"] = {"ephemeralStorage": {"sizeInGiB": ephemeral_storage}}
    check_placement(request, {"requiresCompatibilities": [MANAGED_INSTANCES]} if managed else {})


def check_placement(
    request: Mapping[str, Any],
    definition: Mapping[str, Any],
    default: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Refuse what ECS would refuse of where a request is to be placed.

    Args:
        request: The RunTask request, customizations applied.
        definition: The definition that it will run.
        default: See `runs_on_fargate`.

    Raises:
        ConfigurationError: It can not be launched.
    """
    # API_RunTask, "launchType": "If a capacityProviderStrategy is specified, the launchType
    # parameter must be omitted."
    if request.get("launchType") and request.get("capacityProviderStrategy"):
        raise _both("the request has a launch type and a capacity provider strategy")
    check_strategy(request.get("capacityProviderStrategy") or [])
    _check_fargate_only(request, runs_on_fargate(request, definition, default))
    _check_execute_command(request, definition)


def check_strategy(strategy: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a capacity provider strategy that ECS would refuse.

    Raises:
        ConfigurationError: It has a wrong shape, or breaks a rule of API_RunTask.
    """
    for number, item in enumerate(strategy):
        _check_item(item, f"capacity_provider_strategy[{number}]")
    weights = [item.get("weight") or 0 for item in strategy]
    names = [str(item["capacityProvider"]) for item in strategy]
    fargate = [name for name in names if name in FARGATE_PROVIDERS]
    why = hint = ""
    if len(strategy) > MOST_PROVIDERS:
        why = f"capacity_provider_strategy has {len(strategy)} providers, and ECS takes 20"
        hint = "leave out the others"
    elif fargate and len(fargate) < len(names):
        # Amazon ECS, "Capacity providers": one strategy has one kind of them.
        why = "capacity_provider_strategy mixes Fargate with providers of instances"
        hint = f"leave out {' and '.join(sorted(set(fargate)))}, or the others"
    elif sum(1 for item in strategy if item.get("base")) > 1:
        why, hint = "more than one capacity provider has a base", "leave base to one of them"
    elif len(strategy) > 1 and not any(weights):
        why, hint = "every capacity provider has weight 0", "give one of them a weight of 1 or more"
    if why:
        raise ConfigurationError(_WHAT, why, hint)


def _check_item(item: Any, where: str) -> None:
    hint = 'give objects such as {"capacityProvider": "etl-instances", "weight": 1}'
    if not isinstance(item, Mapping):
        raise ConfigurationError(_WHAT, f"{where} is not an object", hint)
    if unknown := sorted(str(plain(name)) for name in item if name not in _ITEM):
        raise ConfigurationError(_WHAT, f"{where} has {', '.join(unknown)}", hint)
    name = item.get("capacityProvider")
    if not isinstance(name, str) or not name:
        raise ConfigurationError(_WHAT, f"{where} names no capacityProvider", hint)
    for member, most in (("weight", MOST_WEIGHT), ("base", MOST_BASE)):
        value = item.get(member)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise ConfigurationError(
                _WHAT,
                f"{where}.{member} is not a whole number from 0 to {most}",
                f"change {member}",
            )


def _check_fargate_only(request: Mapping[str, Any], on_fargate: bool | None) -> None:
    storage = (request.get("overrides") or {}).get("ephemeralStorage") or {}
    version = request.get("platformVersion")
    fields = {"platform_version": version, "ephemeral_storage": storage}
    stated = [name for name, value in fields.items() if value]
    if stated and on_fargate is False:
        raise ConfigurationError(
            _WHAT,
            f"{' and '.join(stated)} can be set on Fargate only",
            f"leave {' and '.join(stated)} empty",
        )
    if storage and version in _WITHOUT_STORAGE:
        raise ConfigurationError(
            _WHAT,
            f"ephemeral_storage can not be set on platform version {plain(version)}",
            "set platform_version to 1.4.0 or later, or leave it empty",
        )


def _check_execute_command(request: Mapping[str, Any], definition: Mapping[str, Any]) -> None:
    """Refuse enableExecuteCommand without a task role.

    API_RunTask: "the task definition must have a task role, or you must provide one as an
    override".
    """
    role = (request.get("overrides") or {}).get("taskRoleArn") or definition.get("taskRoleArn")
    if request.get("enableExecuteCommand") and not role:
        raise ConfigurationError(
            _WHAT,
            "enable_execute_command needs a task role, and there is none",
            "set task_role_arn to a role that may open ECS Exec's channels (ssmmessages)",
        )


def _both(why: str) -> ConfigurationError:
    return ConfigurationError(
        _WHAT,
        why,
        "remove '/launchType' in task_customizations, or leave launch_type empty: ECS takes one of "
        "them",
    )
