"""What ECS refuses of a request's network, from fields, a job template or patches.

API_RunTask, "networkConfiguration": "This parameter is required for task definitions that use the
awsvpc network mode [...], and it isn't supported for other network modes."
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.core.shown import plain
from prefect_ecs_pinned.errors import ConfigurationError

_WHAT = "cannot launch"

#: Launch types whose tasks get no public IP. What a capacity provider has is left to ECS. Source:
#: Amazon ECS developer guide, "Task networking for tasks on Amazon EC2", and "Allocate a network
#: interface for tasks on Amazon ECS Managed Instances".
_WITHOUT_PUBLIC_IP = ("EC2", "EXTERNAL", "MANAGED_INSTANCES")


def check_network_of(
    request: Mapping[str, Any],
    definition: Mapping[str, Any],
    default: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Refuse a network that ECS would refuse.

    Args:
        request: The RunTask request, customizations applied.
        definition: The definition that it will run; without containers when it was not read, and
            then nothing is refused.
        default: See `core.placement.runs_on_fargate`.

    Raises:
        ConfigurationError: It cannot be launched.
    """
    if "containerDefinitions" not in definition:
        return
    mode = definition.get("networkMode") or "bridge"
    network = request.get("networkConfiguration") or {}
    if mode != "awsvpc":
        if network:
            raise ConfigurationError(
                _WHAT,
                f"the request has a networkConfiguration, and network mode {plain(mode)!r} does "
                "not use it",
                "remove it from the request, or set networkMode to 'awsvpc' in task_definition",
            )
        return
    awsvpc = network.get("awsvpcConfiguration") or {}
    if not awsvpc.get("subnets"):
        raise ConfigurationError(
            _WHAT,
            "the request has no subnets, and network mode 'awsvpc' requires them",
            "correct the patch or the member that removes them, or set subnets",
        )
    if awsvpc.get("assignPublicIp") == "ENABLED" and _is_without_public_ip(request, default):
        raise ConfigurationError(
            _WHAT,
            "assign_public_ip is 'ENABLED', and tasks get a public IP on Fargate only",
            "set assign_public_ip to 'DISABLED', or leave it empty",
        )


def _is_without_public_ip(
    request: Mapping[str, Any], default: Sequence[Mapping[str, Any]] | None
) -> bool:
    if launch_type := request.get("launchType"):
        return launch_type in _WITHOUT_PUBLIC_IP
    has_default = default is None or bool(default)  # or it is not known
    return not (request.get("capacityProviderStrategy") or has_default)
