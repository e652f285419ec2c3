"""From a job's configuration to the `RunSpec` of a run; the only place that translates.

What it makes of a template is what `ECSWorker` of prefect-aws 0.7 registers and sends, except for
what ``docs/deviations-worker.md`` lists. The rendered ``task_definition`` and ``task_run_request``
may have any shape.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

import prefect
from prefect.utilities.dockerutils import get_prefect_image_name

from prefect_ecs_pinned.aws.pinning.registrable import read_request
from prefect_ecs_pinned.core.definition import FARGATE_LAUNCH_TYPES
from prefect_ecs_pinned.core.fingerprint import PREFECT_CONTAINER, prefect_container
from prefect_ecs_pinned.core.placement import MANAGED_INSTANCES, on_fargate_providers
from prefect_ecs_pinned.core.shown import named
from prefect_ecs_pinned.core.starting import check_names
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.runs.revision import read_pasted
from prefect_ecs_pinned.runs.spec import RunSpec
from prefect_ecs_pinned.worker.configuration import PinnedECSJobConfiguration
from prefect_ecs_pinned.worker.template import (
    in_shape,
    without_empty,
    without_null,
    words_of,
)

_WHAT = "cannot run the job"

#: What a version of Prefect looks like that has an image of the same name.
_RELEASE = re.compile(r"\d+\.\d+\.\d+(rc\d+)?")


def run_spec(
    configuration: PinnedECSJobConfiguration,
    pool: str,
    flow_run_id: UUID | None = None,
    name: str | None = None,
    described: Mapping[str, Any] | None = None,
) -> RunSpec:
    """All that a flow run of a work pool asks for.

    Args:
        configuration: Of its job, prepared for it.
        pool: Name of the work pool.
        flow_run_id: The flow run; None for none.
        name: Its name.
        described: The revision that `named_revision` names, as ECS describes it.

    Raises:
        ConfigurationError: The template asks for what can not be.
    """
    request = _request(configuration)
    definition = None if described is not None else _definition(configuration, pool)
    container = _container_name(configuration, described or definition or {})
    launch_type, strategy, made_for = _placement(request, described or definition or {})
    explicit = {
        k: v for k, v in configuration.explicit_env.items() if not _is_secret(configuration, k)
    }
    return RunSpec(
        default_family=_default_family(pool),
        log_prefix=f"Flow run {name!r}" if name else "Flow run",
        name=name,
        flow_run_id=str(flow_run_id) if flow_run_id else None,
        task_definition=definition,
        registration=configuration.registration,
        container_name=container,
        env=explicit,
        inherited_env={
            k: v for k, v in configuration.env.items() if k not in explicit and v is not None
        },
        command=words_of(configuration.command) if configuration.command else None,
        labels={key: value for key, value in configuration.labels.items() if value is not None},
        secrets=_secrets(configuration, described),
        launch_type=launch_type,
        capacity_provider_strategy=strategy,
        made_for=made_for,
        cluster=request.pop("cluster", None) or configuration.cluster,
        vpc_id=configuration.vpc_id,
        subnets=configuration.subnets or None,
        security_groups=configuration.security_groups or None,
        assign_public_ip=configuration.assign_public_ip,
        cloudwatch_logs=None if described is not None else _logs(configuration, pool),
        network_configuration=_network_configuration(configuration),
        job_request=request,
        launch_timeout_seconds=configuration.launch_timeout_seconds,
        task_start_timeout_seconds=configuration.start_timeout_seconds,
        task_watch_poll_interval=configuration.poll_seconds,
    )


def named_revision(configuration: PinnedECSJobConfiguration) -> str | None:
    """The revision that the job is to be launched from as it is: ARN, name or family."""
    given = (configuration.task_run_request or {}).get("taskDefinition")
    if given and not isinstance(given, str):
        raise ConfigurationError(
            _WHAT,
            "taskDefinition in task_run_request is not text",
            "give the ARN or the name of a revision",
        )
    return given or None


# -- definition --------------------------------------------------------------------------------


def _default_family(pool: str) -> str:
    """One for each work pool: deployments whose definitions are equal share a revision."""
    return f"prefect_{pool}"


def _definition(configuration: PinnedECSJobConfiguration, pool: str) -> dict[str, Any]:
    """``task_definition`` with what it leaves to the worker: a family, a container, its image."""
    given = without_empty(configuration.task_definition)
    if isinstance(listed := given.get("containerDefinitions"), list):
        given["containerDefinitions"] = [container for container in listed if container]
    definition = read_pasted(given)
    containers = definition.setdefault("containerDefinitions", [])
    name = _container_name(configuration, definition)
    container = prefect_container(definition, name)
    if container is None:
        container = _unnamed_container(containers, name)
    container.setdefault("image", _default_image())
    for each in containers:
        if "environment" in each:
            each["environment"] = [v for v in each["environment"] if "value" in v]
    definition.setdefault("family", _default_family(pool))
    return definition


def _unnamed_container(containers: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The container for the flow in a definition without one of its name."""
    if name != PREFECT_CONTAINER:
        raise ConfigurationError(
            _WHAT,
            f"task_definition has no container {named(name)!r}",
            "set container_name to one that it has: "
            + ", ".join(repr(named(c.get("name"))) for c in containers),
        )
    container = next((c for c in containers if "name" not in c), None)
    if container is None:
        container = {}
        containers.append(container)
    container["name"] = name
    return container


def _container_name(configuration: PinnedECSJobConfiguration, definition: Mapping[str, Any]) -> str:
    """As it is set; else `prefect` if there is such a container; else the first one's."""
    containers = definition.get("containerDefinitions") or []
    if configuration.container_name:
        return str(configuration.container_name)
    if not containers or prefect_container(definition) is not None:
        return PREFECT_CONTAINER
    return str(containers[0].get("name") or PREFECT_CONTAINER)


@cache
def _default_image() -> str:
    """Prefect's own for this version.

    Of a release, its name follows from the version. Only for others is Prefect asked, which starts
    `git`: outside a repository that prints an error.
    """
    if _RELEASE.fullmatch(prefect.__version__):
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"prefecthq/prefect:{prefect.__version__}-python{python}"
    return str(get_prefect_image_name())


# -- request -----------------------------------------------------------------------------------


def _request(configuration: PinnedECSJobConfiguration) -> dict[str, Any]:
    """``task_run_request`` in RunTask's shape, without what is null."""
    request: dict[str, Any] = without_null(configuration.task_run_request or {})
    request = {name: value for name, value in request.items() if value not in ("", [], {})}
    if request.get("count") == 1:
        del request["count"]  # what RunTask assumes
    request = read_request(in_shape(request))
    check_names(request)
    dropped = {
        name
        for name in (*configuration.explicit_env, *configuration.prefect_secrets)
        if configuration.explicit_env.get(name) is None or _is_secret(configuration, name)
    }
    for override in request.get("overrides", {}).get("containerOverrides", ()):
        if "environment" in override:
            override["environment"] = [
                variable
                for variable in override["environment"]
                if "value" in variable and variable["name"] not in dropped
            ]
    return request


def _network_configuration(configuration: PinnedECSJobConfiguration) -> dict[str, Any] | None:
    """``network_configuration`` in the shape of RunTask's awsvpcConfiguration; None for none."""
    given = without_null(configuration.network_configuration or {})
    read = read_request({"networkConfiguration": {"awsvpcConfiguration": given}})
    network: dict[str, Any] = read["networkConfiguration"]["awsvpcConfiguration"]
    return network or None


def _placement(
    request: dict[str, Any], definition: Mapping[str, Any]
) -> tuple[str | None, Sequence[Mapping[str, Any]] | None, str]:
    """Launch type, capacity providers, and the launch type that the definition is made for.

    They are taken out of the request. With a strategy ECS takes no launch type, which says then
    only what the definition is made for.
    """
    launch_type = request.pop("launchType", None)
    strategy = request.pop("capacityProviderStrategy", None)
    if not launch_type and not strategy:
        requires_ec2 = "EC2" in (definition.get("requiresCompatibilities") or [])
        launch_type = None if requires_ec2 else "FARGATE"
    if launch_type in FARGATE_LAUNCH_TYPES or launch_type == MANAGED_INSTANCES:
        made_for = launch_type
    else:
        made_for = "FARGATE" if not launch_type and on_fargate_providers(strategy) else "EC2"
    if strategy and launch_type != MANAGED_INSTANCES:
        launch_type = None
    return launch_type, strategy, made_for


# -- logs and secrets ----------------------------------------------------------------------------


def _logs(configuration: PinnedECSJobConfiguration, pool: str) -> dict[str, str] | None:
    """Options of the awslogs driver; no id of a deployment or of a run is among them."""
    if not configuration.configure_cloudwatch_logs:
        return None
    prefix = configuration.cloudwatch_logs_prefix or f"prefect-logs_{pool}"
    return {"awslogs-stream-prefix": prefix, **configuration.cloudwatch_logs_options}


def _secrets(
    configuration: PinnedECSJobConfiguration, described: Mapping[str, Any] | None
) -> Mapping[str, str]:
    if described is None:
        return {**configuration.secrets, **configuration.prefect_secrets}
    if configuration.secrets:
        raise ConfigurationError(
            _WHAT,
            "a revision is used as it is when it is named, and secrets would change it",
            "leave task_definition_arn empty, or put the secrets into that revision",
        )
    return {}


def _is_secret(configuration: PinnedECSJobConfiguration, variable: str) -> bool:
    """Whether a secret provides a variable that has a field of its own, whatever env says."""
    return variable in configuration.prefect_secrets
