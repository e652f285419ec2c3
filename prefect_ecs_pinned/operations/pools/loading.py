"""From a work pool and a deployment to what its flow runs ask for."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectNotFound
from prefect.utilities.collections import set_in_dict
from prefect_aws import AwsCredentials
from pydantic import ValidationError

from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.core.shown import named
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.faces.access import access_of
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.configuration import Configuration, faults_in_words
from prefect_ecs_pinned.operations.families import describe
from prefect_ecs_pinned.operations.overriding import check_names
from prefect_ecs_pinned.operations.pools.reading import Deployment, called
from prefect_ecs_pinned.operations.pools.variables import check_value, names_of, typed
from prefect_ecs_pinned.runs.spec import RunSpec
from prefect_ecs_pinned.worker import PinnedECSWorker
from prefect_ecs_pinned.worker.configuration import PinnedECSJobConfiguration
from prefect_ecs_pinned.worker.spec import named_revision, run_spec

#: What a template, a job variable or a block can be wrong in, as Prefect raises it.
_DOES_NOT_LOAD = (ValidationError, ValueError, TypeError, KeyError, AttributeError)


class Loading:
    """Makes configurations; a revision that several name is described once.

    Args:
        client: Of the Prefect API, which resolves blocks and variables in templates.
    """

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._described: dict[tuple[str, str], Mapping[str, Any]] = {}

    async def configuration(
        self,
        pool: WorkPool,
        deployment: Deployment | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Configuration:
        """What flow runs of a pool ask for, a flow run's own values apart.

        Args:
            pool: The work pool.
            deployment: Whose job variables are applied; None for the template alone.
            more: Further job variables, by dotted path, which win; words are read by the schema.

        Raises:
            ConfigurationError: The worker could not make a job of it either.
            PinnedECSError: A revision that it names could not be described.
        """
        what = f"cannot load {called(pool)}"
        if deployment is not None:
            what += f" with the job variables of deployment {named(deployment.name)!r}"
        job = await self._job(what, pool, deployment, more or {})
        access = access_of(job.aws_credentials or AwsCredentials())
        try:
            revision = named_revision(job)
            described = await self._describe(access, revision) if revision else None
            spec = run_spec(job, pool.name, described=described)
        except ConfigurationError as error:
            raise ConfigurationError(what, error.why or error.what, error.hint) from error
        return Configuration(
            called(pool),
            deployment.name if deployment is not None else None,
            spec,
            access,
            image_unset=described is None and not _names_image(job, spec),
        )

    async def _job(
        self,
        what: str,
        pool: WorkPool,
        deployment: Deployment | None,
        more: Mapping[str, Any],
    ) -> PinnedECSJobConfiguration:
        variables = deployment.job_variables if deployment is not None else {}
        template = template_of(pool)
        check_names(more, names_of(template), called(pool))
        more = {path: typed(template, path, value) for path, value in more.items()}
        try:
            values = _with(variables, more)
        except _DOES_NOT_LOAD as error:
            raise ConfigurationError(what, _reason(error), _CORRECT) from error
        for name in {path.partition(".")[0] for path in more}:
            check_value(template, name, values[name])
        try:
            job: PinnedECSJobConfiguration = (
                await PinnedECSJobConfiguration.from_template_and_values(
                    base_job_template=template,
                    values=values,
                    client=self._client,
                )
            )
        except ObjectNotFound as error:
            raise ConfigurationError(
                what, "it refers to a block or a variable that does not exist", _CORRECT
            ) from error
        except _DOES_NOT_LOAD as error:
            raise ConfigurationError(what, _reason(error), _CORRECT) from error
        job.prepare_without_flow_run()
        return job

    async def _describe(self, access: Access, revision: str) -> Mapping[str, Any]:
        """A revision; empty when there is none, of which every user reports this."""
        key = (access.key, revision)
        if key not in self._described:
            self._described[key] = await describe(Calls.of(access), revision) or {}
        return self._described[key]


_CORRECT = "correct the pool's base job template, or the deployment's job variables"


def template_of(pool: WorkPool) -> dict[str, Any]:
    """A pool's template; of a pool without one, what the worker gives it when it begins to poll."""
    if not pool.base_job_template:
        return PinnedECSWorker.get_default_base_job_template()
    return copy.deepcopy(pool.base_job_template)


def _with(variables: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Job variables with others written over them.

    Raises:
        TypeError: A path leads through something that is not an object.
    """
    result: dict[str, Any] = copy.deepcopy(dict(variables))
    for path, value in more.items():
        result.pop(path, None)  # names with dots are replaced by nested ones
        set_in_dict(result, path, value)
    return result


def _names_image(job: PinnedECSJobConfiguration, spec: RunSpec) -> bool:
    """Whether the template or a job variable names an image for the flow's container."""
    containers = (job.task_definition or {}).get("containerDefinitions") or []
    own = [
        container
        for container in containers
        if isinstance(container, Mapping)
        and container.get("name") in (None, "", spec.container_name)
    ]
    return any(container.get("image") for container in own)


def _reason(error: BaseException) -> str:
    """Why something does not load; pydantic's messages without what they refuse."""
    if isinstance(error, ValidationError):
        return faults_in_words(error.errors(include_input=False, include_url=False))
    if isinstance(error, KeyError):
        return f"the base job template has no {error}"
    return f"{type(error).__name__} when the template was filled in"
