"""Checks of what a flow run would send, for which AWS need not be asked."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from prefect_ecs_pinned.core.request import OVERRIDES_LIMIT, check, overrides_length
from prefect_ecs_pinned.core.shown import named, plain
from prefect_ecs_pinned.core.url import fault_of_url
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.operations.containers import HINT, added
from prefect_ecs_pinned.operations.doctor.findings import Answer, fail, ok, warn
from prefect_ecs_pinned.operations.doctor.subject import Subject

#: Share of the limit of the overrides from which on one is warned: variables come and go.
_NEARLY = 0.9

_THIS_MACHINE = ("localhost", "0.0.0.0", "::1", "host.docker.internal")


async def size(subject: Subject) -> list[Answer]:
    """Fargate offers the size."""
    request = {**subject.request, "overrides": dict(subject.request.get("overrides") or {})}
    request["overrides"].pop("containerOverrides", None)
    try:
        check(request, subject.desired.definition, subject.default)
    except ConfigurationError as error:
        return [fail(error.why, error.hint)]
    sizes = {**subject.desired.definition, **request["overrides"]}
    cpu, memory = plain(sizes.get("cpu", "of the container")), plain(sizes.get("memory", ""))
    return [ok(f"cpu {cpu}, memory {memory}")]


async def overrides(subject: Subject) -> list[Answer]:
    """The overrides of a run fit into a RunTask request, with the id of its launch."""
    stated = subject.request.get("overrides") or {}
    length, with_id = overrides_length(
        subject.request, subject.desired.definition, subject.spec.container_name
    )
    limit = OVERRIDES_LIMIT - (with_id - length)
    detail = f"{length} of {limit} characters"
    hint = "move large values into the task definition or a secret; " + _largest(stated)
    if length > limit:
        return [fail(detail, hint)]
    return [warn(detail, hint)] if length > limit * _NEARLY else [ok(detail)]


def _largest(stated: dict[str, Any]) -> str:
    sizes = {
        str(variable.get("name", "")): len(variable.get("value") or "")
        for container in stated.get("containerOverrides") or []
        for variable in container.get("environment") or []
    }
    name = max(sizes, key=lambda name: sizes[name], default="none")
    return f"the largest variable is {named(name)} ({sizes.get(name, 0)})"


async def api_url(subject: Subject) -> list[Answer]:
    """The container has the address of a Prefect API that is not on this machine."""
    if "PREFECT_API_URL" in subject.desired.secret_names:
        return [ok("a secret provides PREFECT_API_URL")]
    hint = "set PREFECT_API_URL where the agent or worker runs, or in env of the block or work "
    hint += "pool, to an address that the subnets reach"
    url = _variable(subject, "PREFECT_API_URL")
    if not url:
        return [fail("the container gets no PREFECT_API_URL", hint)]
    if fault := fault_of_url(url):
        return [fail(f"PREFECT_API_URL of the container: {fault}", hint)]
    host = urlsplit(url).hostname or ""
    if host in _THIS_MACHINE or host.startswith("127."):
        if subject.embedded:
            return [ok(f"{host}: the embedded ECS runs tasks on this machine")]
        return [
            fail(
                f"PREFECT_API_URL is on {host}, which inside a container is the container itself",
                hint,
            )
        ]
    return [ok(host)]


def _variable(subject: Subject, name: str) -> str:
    """A variable of the Prefect container: the request's, otherwise the definition's."""
    overridden = (subject.request.get("overrides") or {}).get("containerOverrides") or []
    mine = [c for c in overridden if c.get("name") == subject.desired.container_name]
    for container in (*mine, subject.desired.container):
        for variable in container.get("environment") or []:
            if variable.get("name") == name:
                return str(variable.get("value") or "")
    return ""


async def image_is_set(subject: Subject) -> list[Answer]:
    """The image does not follow the Prefect version that loads it."""
    image = subject.desired.image
    if subject.configuration.image_unset:
        return [
            warn(
                f"image is not set, and means {image} here; another Prefect version needs "
                "another revision",
                "set image",
            )
        ]
    return [ok(image)]


async def container(subject: Subject) -> list[Answer]:
    """The container that runs the flow is one of the definition's, or the only one."""
    if said := added(subject.desired):
        return [warn(said, HINT)]
    return [ok(named(subject.spec.container_name))]
