"""RunTask: what it checks, what it refuses inside a 200, and what a client token replays.

Source: API_RunTask, https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html,
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from prefect_ecs_pinned.local.errors import AwsRefusal, invalid
from prefect_ecs_pinned.local.limits import check_fargate_size, digits
from prefect_ecs_pinned.local.tags import check_tags

#: API_RunTask, "overrides".
OVERRIDES_LIMIT = 8192

#: API_RunTask, "count" and "startedBy".
MOST_TASKS = 10
_STARTED_BY = re.compile(r"[a-zA-Z0-9_/-]{0,128}")

#: API_AwsVpcConfiguration.
MOST_IN_NETWORK = {"subnets": 16, "securityGroups": 5}

VCPU_REFUSAL = "You've reached the limit on the number of vCPUs you can run concurrently"
CAPACITY_REFUSAL = "RESOURCE:MEMORY"

_FARGATE = ("FARGATE", "FARGATE_SPOT")


def placement(request: Mapping[str, Any], cluster: Mapping[str, Any]) -> tuple[str, str | None]:
    """Launch type and capacity provider of a request: its own, else the cluster's default.

    Of several providers it is the first that may take tasks.
    """
    strategy = request.get("capacityProviderStrategy") or []
    launch_type = request.get("launchType")
    if strategy and launch_type:
        raise invalid(
            "Specifying both a launch type and capacity provider strategy is not supported."
        )
    if not strategy and not launch_type:
        strategy = cluster.get("defaultCapacityProviderStrategy") or []
    if not strategy:
        return launch_type or "EC2", None
    names = [item["capacityProvider"] for item in strategy]
    if len({name in _FARGATE for name in names}) > 1:
        raise invalid(
            "A capacity provider strategy cannot contain a mix of capacity providers using Auto "
            "Scaling groups and Fargate providers."
        )
    weighted = [i["capacityProvider"] for i in strategy if i.get("weight") or i.get("base")]
    provider = (weighted or names)[0]
    return ("FARGATE" if provider in _FARGATE else "EC2"), provider


def bucket(request: Mapping[str, Any], cluster: Mapping[str, Any]) -> str:
    """Whose quota a request draws on: FARGATE, FARGATE_SPOT, or EC2 for all others."""
    launch_type, provider = placement(request, cluster)
    return (provider or launch_type) if launch_type == "FARGATE" else "EC2"


def check(
    request: Mapping[str, Any],
    definition: Mapping[str, Any],
    cluster: Mapping[str, Any],
    instances: int,
) -> None:
    """Refuse a request as ECS does.

    Args:
        request: RunTask's parameters.
        definition: The revision that it names.
        cluster: The cluster, as DescribeClusters answers it.
        instances: Container instances of the cluster.
    """
    if definition["status"] != "ACTIVE":
        raise invalid("TaskDefinition is inactive")
    if not 1 <= int(request.get("count") or 1) <= MOST_TASKS:
        raise invalid("count must be between 1 and 10.")
    if not _STARTED_BY.fullmatch(request.get("startedBy") or ""):
        raise invalid(
            "startedBy can have at most 128 letters, numbers, hyphens, slashes and underscores."
        )
    check_tags(request.get("tags") or [])
    launch_type, _ = placement(request, cluster)
    if launch_type in ("EC2", "EXTERNAL") and not instances:
        raise invalid("No Container Instances were found in your cluster.")
    if launch_type == "FARGATE" and "FARGATE" not in definition["compatibilities"]:
        raise invalid("Task definition does not support launch_type FARGATE.")
    _check_overrides(request, definition, launch_type)
    _check_network(request, definition, launch_type)


def _check_overrides(
    request: Mapping[str, Any], definition: Mapping[str, Any], launch_type: str
) -> None:
    overrides = request.get("overrides") or {}
    if len(json.dumps(overrides, separators=(",", ":"), ensure_ascii=False)) > OVERRIDES_LIMIT:
        raise invalid("Container Overrides length must be at most 8192")
    names = {container["name"] for container in definition["containerDefinitions"]}
    for container in overrides.get("containerOverrides") or []:
        if container.get("name") not in names:
            raise invalid(
                f"Override for container named {container.get('name')} is not a container in the "
                "TaskDefinition."
            )
        if not all(variable.get("name") for variable in container.get("environment") or []):
            raise invalid("Environment variable name must not be blank.")
    if launch_type == "FARGATE":
        check_fargate_size(
            digits(overrides.get("cpu") or definition.get("cpu")),
            digits(overrides.get("memory") or definition.get("memory")),
        )


def _check_network(
    request: Mapping[str, Any], definition: Mapping[str, Any], launch_type: str
) -> None:
    network = request.get("networkConfiguration")
    if definition["networkMode"] != "awsvpc":
        if network:
            raise invalid(
                "Network Configuration is not valid for the given networkMode of this "
                "task definition."
            )
        return
    if not network:
        raise invalid(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified."
        )
    configuration = network.get("awsvpcConfiguration") or {}
    if not configuration.get("subnets"):
        raise invalid("subnets can not be empty.")
    for name, most in MOST_IN_NETWORK.items():
        if len(configuration.get(name) or []) > most:
            raise invalid(f"{name} can have at most {most} items.")
    if configuration.get("assignPublicIp") == "ENABLED" and launch_type != "FARGATE":
        raise invalid("Assign public IP is not supported for this launch type.")


class Tokens:
    """What client tokens were answered, scoped to a cluster.

    A token replays refusals too. Throttles were never decided on, and are not kept.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[str, dict[str, Any] | AwsRefusal]] = {}

    def recall(self, cluster: str, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """The original answer to a token, or its original refusal raised; None for a new one."""
        token = request.get("clientToken")
        known = self._known.get((cluster, token)) if token else None
        if known is None:
            return None
        parameters, answer = known
        if parameters != _parameters(request):
            arns = [] if isinstance(answer, AwsRefusal) else answer["arns"]
            raise AwsRefusal(
                "ConflictException",
                "The request could not be processed because of conflict in the current state of "
                "the resource.",
                members={"resourceIds": arns},
            )
        if isinstance(answer, AwsRefusal):
            raise answer
        return answer

    def keep(
        self, cluster: str, request: Mapping[str, Any], answer: dict[str, Any] | AwsRefusal
    ) -> None:
        """Keep what a token was answered."""
        if token := request.get("clientToken"):
            self._known[cluster, token] = (_parameters(request), answer)


def _parameters(request: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in request.items() if name != "clientToken"}
    return json.dumps(rest, sort_keys=True)
