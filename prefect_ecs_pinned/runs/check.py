"""The requests of a run, checked before anything is changed: the one check of runs and commands.

A definition is checked where it is made (`aws.pinning.registrable`), for all who make one. What is
here does the same for the RunTask request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.aws.calls.api import check_run_task
from prefect_ecs_pinned.aws.pinning.registrable import read_request
from prefect_ecs_pinned.core.definition import FARGATE_LAUNCH_TYPES
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.core.request import check, check_reserved
from prefect_ecs_pinned.core.shown import named
from prefect_ecs_pinned.core.starting import check_names
from prefect_ecs_pinned.core.tags import check_tags
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.runs.request import check_network, launch_request
from prefect_ecs_pinned.runs.spec import RunSpec

#: API_AwsVpcConfiguration, "subnets" and "securityGroups".
SUBNETS_LIMIT = 16
SECURITY_GROUPS_LIMIT = 5

#: API_RunTask: members of which there may be so many.
_LIMITS = (
    ("capacityProviderStrategy", 20),
    ("placementConstraints", 10),
    ("placementStrategy", 5),
)

#: Characters, API_RunTask, "startedBy".
_STARTED_BY_LIMIT = 128
_STARTED_BY = re.compile(rf"[A-Za-z0-9/_-]{{0,{_STARTED_BY_LIMIT}}}")

_WHAT = "cannot launch"


def checked_request(
    spec: RunSpec,
    desired: Desired,
    revision: str | None,
    subnets: Sequence[str],
    default: Sequence[Mapping[str, Any]] | None = None,
    unasked: bool = False,
) -> dict[str, Any]:
    """The RunTask request of a run, of which is known that ECS can take it.

    Args:
        spec: The run's.
        desired: The definition that it will run; without containers when a revision was not read.
        revision: A revision that is used as it is.
        subnets: Those that were looked up, or a placeholder for them.
        default: The cluster's default strategy, as far as it is known.
        unasked: See `runs.request.launch_request`.

    Raises:
        ConfigurationError: ECS cannot.
    """
    if "containerDefinitions" in desired.definition:
        check_network(spec, desired)
    request = well_formed_request(spec, desired, revision, subnets, default, unasked)
    check(request, desired.definition, default, spec.container_name)
    return request


def unread(spec: RunSpec, revision: str) -> Desired:
    """The placeholder for a named revision that is not read: one that fits fields and patches.

    On Fargate, and where subnets or security groups are set, it has its own network (awsvpc), since
    another could not be launched. Otherwise only if the patches need it.
    """
    bare, awsvpc = Desired({}), Desired({"networkMode": "awsvpc"})
    if spec.placed_on in FARGATE_LAUNCH_TYPES or spec.subnets or spec.security_groups:
        return awsvpc
    try:
        launch_request(spec, bare, revision, ["subnet"], revision)
    except ConfigurationError:
        return awsvpc
    return bare


def well_formed_request(
    spec: RunSpec,
    desired: Desired,
    revision: str | None,
    subnets: Sequence[str],
    default: Sequence[Mapping[str, Any]] | None = None,
    unasked: bool = False,
) -> dict[str, Any]:
    """As `checked_request`, for `doctor`, which has checks of their own for the rest.

    These are `check` (sizes, the length of the overrides) and `check_network`.

    Raises:
        ConfigurationError: A member is unknown, of another type, or beyond a limit.
    """
    family = str(desired.definition.get("family", "")) or "unknown"
    request = launch_request(spec, desired, revision, subnets, family, default, unasked)
    check_reserved(request)
    # What else is sent has values of the fields' own types.
    given = request if spec.task_customizations else spec.job_request
    if given:
        read_request(given)
    check_run_task({"taskDefinition": family, **request})
    check_names(request)
    _check_limits(request)
    if "containerDefinitions" in desired.definition:
        _check_containers(request, desired.definition)
    return request


def _check_limits(request: Mapping[str, Any]) -> None:
    network = (request.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
    lists = [
        ("subnets", network.get("subnets"), SUBNETS_LIMIT),
        ("security groups", network.get("securityGroups"), SECURITY_GROUPS_LIMIT),
        *((name, request.get(name), limit) for name, limit in _LIMITS),
    ]
    for name, items, limit in lists:
        if len(items or ()) > limit:
            raise ConfigurationError(
                _WHAT,
                f"there are {len(items or ())} {name}, and ECS accepts {limit}",
                "set fewer",
            )
    if not _STARTED_BY.fullmatch(request.get("startedBy") or ""):
        raise ConfigurationError(
            _WHAT,
            f"startedBy has other characters than ECS accepts, or more than {_STARTED_BY_LIMIT}",
            "use letters, numbers, hyphens, slashes and underscores",
        )
    check_tags(request.get("tags") or (), _WHAT, "tags of the task")


def _check_containers(request: Mapping[str, Any], definition: Mapping[str, Any]) -> None:
    """Refuse overrides of containers that the definition does not have, as RunTask does."""
    there = [named(c.get("name")) for c in definition.get("containerDefinitions") or ()]
    overrides = (request.get("overrides") or {}).get("containerOverrides") or ()
    for name in (named(override.get("name")) for override in overrides):
        if name not in there:
            raise ConfigurationError(
                _WHAT,
                f"it has no container {name!r}; its containers are " + ", ".join(map(repr, there)),
                f"name the container that runs the flow {name!r}, or use a definition that has it",
            )
