"""A RunTask request on top of one to start from.

What a job template or a configuration says of the request is the start; what a launch has to say
itself is laid over it. API_RunTask has the members, API_TaskOverride the overrides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from prefect_ecs_pinned.core.request import Sizes
from prefect_ecs_pinned.core.tags import tags_of
from prefect_ecs_pinned.errors import ConfigurationError


def laid_over(
    start: Mapping[str, Any], request: Mapping[str, Any], container_name: str
) -> dict[str, Any]:
    """A request with the members of another one where it does not have one.

    Overrides are joined container by container, variables by name, tags by key; other members are
    replaced as a whole. Of a list the start's members come first.

    Args:
        start: In RunTask's shape.
        request: What wins.
        container_name: The container of an override in ``start`` that names none.
    """
    joined = {**start, **request}
    overrides = _overrides(start.get("overrides") or {}, request["overrides"], container_name)
    return {**joined, "overrides": overrides, "tags": _tags(start, request)}


def check_names(request: Mapping[str, Any]) -> None:
    """Refuse tags, variables and overrides of containers without a name, which ECS cannot use.

    The first of the overrides need not have one: it is that of the container for the flow.

    Args:
        request: In RunTask's shape.

    Raises:
        ConfigurationError: There is one.
    """
    containers = (request.get("overrides") or {}).get("containerOverrides") or []
    where = "overrides.containerOverrides"
    others = [{"name": "of the container for the flow"}, *containers[1:]]
    lists = [("tags", request.get("tags") or [], "key"), (where, others, "name")]
    lists += [
        (f"{where}[{number}].environment", container.get("environment") or [], "name")
        for number, container in enumerate(containers)
    ]
    for path, items, member in lists:
        for number, item in enumerate(items):
            if not item.get(member):
                raise ConfigurationError(
                    "cannot launch",
                    f"{path}[{number}] has no {member}",
                    "correct task_customizations, or task_run_request of the work pool",
                )


def left_open(sizes: Sizes, start: Mapping[str, Any], container_name: str) -> Sizes:
    """The sizes that a start does not state itself."""
    overrides = start.get("overrides") or {}
    named = _named(overrides.get("containerOverrides") or (), container_name)
    own = next((o for o in named if o["name"] == container_name), {})
    return replace(
        sizes,
        cpu=None if overrides.get("cpu") else sizes.cpu,
        memory=None if overrides.get("memory") else sizes.memory,
        container_cpu=None if own.get("cpu") else sizes.container_cpu,
        container_memory=None
        if own.get("memory") or own.get("memoryReservation")
        else sizes.container_memory,
    )


def variables_of(start: Mapping[str, Any], container_name: str) -> dict[str, str | None]:
    """Name -> value of the variables that a start sets in a container."""
    overrides = start.get("overrides") or {}
    return {
        variable["name"]: variable.get("value")
        for override in _named(overrides.get("containerOverrides") or (), container_name)
        if override["name"] == container_name
        for variable in override.get("environment") or ()
    }


def _overrides(
    start: Mapping[str, Any], own: Mapping[str, Any], container_name: str
) -> dict[str, Any]:
    containers = {
        o["name"]: o for o in _named(start.get("containerOverrides") or (), container_name)
    }
    for override in own["containerOverrides"]:
        name = override["name"]
        containers[name] = _container(containers.get(name, {}), override)
    return {**start, **own, "containerOverrides": list(containers.values())}


def _container(start: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    joined = {**start, **own}
    listed = {v["name"]: v for v in start.get("environment") or ()}
    for variable in own.get("environment") or ():
        listed.pop(variable["name"], None)  # what wins comes last
        listed[variable["name"]] = variable
    if listed:
        joined["environment"] = list(listed.values())
    return joined


def _named(overrides: Sequence[Mapping[str, Any]], container_name: str) -> list[dict[str, Any]]:
    """Overrides of containers; the first of them need not say which: it is the one for the flow."""
    named = [dict(override) for override in overrides]
    if named and not named[0].get("name"):
        named[0]["name"] = container_name
    return named


def _tags(start: Mapping[str, Any], request: Mapping[str, Any]) -> list[dict[str, str]]:
    own = {tag["key"]: tag["value"] for tag in request.get("tags") or ()}
    given = {tag["key"]: tag.get("value") or "" for tag in start.get("tags") or ()}
    return tags_of({**{key: given[key] for key in given if key not in own}, **own})
