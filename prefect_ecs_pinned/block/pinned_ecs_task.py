"""`PinnedECSTask`: `ECSTask` with one task-definition revision for all of its runs.

This module holds the validation of fields, and what Prefect calls. `fields` declares the block's
own ones. `spec` makes a `RunSpec` of all, `host` a `Host` of Prefect; what a run does with them is
in `prefect_ecs_pinned.runs`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Literal

import anyio.abc
import prefect_aws.ecs
import yaml
from jsonpatch import JsonPatchException
from jsonpointer import JsonPointerException
from prefect.blocks.core import Block, BlockNotSavedError
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound
from prefect.infrastructure.base import Infrastructure
from prefect.utilities.asyncutils import sync_compatible
from prefect.utilities.pydantic import JsonPatch
from pydantic.v1 import ValidationError, root_validator, validator

from prefect_ecs_pinned.aws import control_plane
from prefect_ecs_pinned.aws.pinning.registrable import make
from prefect_ecs_pinned.block import form
from prefect_ecs_pinned.block.fields import OwnFields
from prefect_ecs_pinned.block.host import PrefectHost
from prefect_ecs_pinned.block.logs import run_logger
from prefect_ecs_pinned.block.quoting import without_values
from prefect_ecs_pinned.block.spec import run_spec
from prefect_ecs_pinned.core.arn import TaskIdentifier, cluster_name
from prefect_ecs_pinned.core.definition import FARGATE_LAUNCH_TYPES
from prefect_ecs_pinned.core.fingerprint import PREFECT_CONTAINER
from prefect_ecs_pinned.core.patches import patched
from prefect_ecs_pinned.core.placement import check_fields, check_strategy
from prefect_ecs_pinned.core.showable import DEFINITION, REQUEST
from prefect_ecs_pinned.core.shown import named, part, shown
from prefect_ecs_pinned.errors import DOCS, ClusterNotFound, PinnedECSError, TaskNotFound
from prefect_ecs_pinned.faces import events
from prefect_ecs_pinned.faces.access import access_of
from prefect_ecs_pinned.runs import run as running
from prefect_ecs_pinned.runs.check import checked_request, unread
from prefect_ecs_pinned.runs.request import launch_request
from prefect_ecs_pinned.runs.revision import definition_spec, named_revision
from prefect_ecs_pinned.runs.spec import FIELDS

#: StopTask's reason when Prefect asks for it.
_KILLED_REASON = "Cancelled in Prefect"

#: Levels of a task definition that are looked at; ECS has fewer than 10.
_MOST_LEVELS = 50

#: Of Secrets Manager or of SSM (API_Secret, "valueFrom").
_SECRET_ARN = re.compile(r"arn:[^:]+:(secretsmanager|ssm):")

#: Fields that cannot be null. The UI stores null for one that was cleared.
_NULL_IS_DEFAULT = tuple(name for name, each in OwnFields.__fields__.items() if not each.allow_none)


class PinnedECSTask(OwnFields, prefect_aws.ecs.ECSTask):  # type: ignore[misc]
    """Run flow runs on Amazon ECS, all from one pinned task-definition revision.

    A drop-in for `prefect_aws.ecs.ECSTask`: every field keeps its meaning. The task definition
    is built from the block's configuration alone, registered when that changes, and shared by
    all flow runs, processes and deployments.

    Example:
        ```python
        from prefect_ecs_pinned import PinnedECSTask

        block = PinnedECSTask.load("BLOCK_NAME")
        ```
    """

    _block_type_slug = "pinned-ecs-task"
    _block_type_name = "Pinned ECS Task"
    _description = (
        "Run hundreds of flow runs on Amazon ECS from one pinned task-definition revision. It is "
        "registered only when the configuration changes."
    )
    #: The emblem of Amazon ECS, which Prefect's own ECS block has.
    _logo_url = form.emblem(prefect_aws.ecs.ECSTask._logo_url)
    _documentation_url = DOCS
    _code_example = """```python
from prefect_ecs_pinned import PinnedECSTask

pinned_ecs_task_block = PinnedECSTask.load("BLOCK_NAME")
```"""

    # The fields of its own are in `fields`.
    type: Literal["pinned-ecs-task"] = "pinned-ecs-task"
    auto_deregister_task_definition: bool = False

    class Config:
        """Pydantic's configuration of the class."""

        @staticmethod
        def schema_extra(schema: dict[str, Any], model: type[PinnedECSTask]) -> None:
            """Make the JSON schema that the UI draws the form from."""
            prefect_aws.ecs.ECSTask.__config__.schema_extra(schema, model)
            form.present(schema)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Not through the parents: their only addition is a deprecation warning each, and the
        # agent makes a block for every flow run.
        try:
            Block.__init__(self, *args, **kwargs)  # type: ignore[no-untyped-call]
        except ValidationError as error:
            refused = without_values(error, kwargs)
        else:
            return
        raise refused  # not within the except clause: its context would contain the original

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """What may be shown of each field: Prefect's block worker prints blocks."""
        return [
            (name, shown(getattr(value, "patch", value), part(FIELDS, name)))
            for name, value in super().__repr_args__()
        ]

    # -- validation ----------------------------------------------------------------------------

    @validator(*_NULL_IS_DEFAULT, pre=True)
    def _default_for_null(cls, value: Any, field: Any) -> Any:  # noqa: N805
        return field.get_default() if value is None else value

    @validator("container_name", pre=True)
    def _default_for_cleared_text(cls, value: Any, field: Any) -> Any:  # noqa: N805
        return value or field.default

    @validator("launch_type", pre=True)
    def _none_for_the_forms_none(cls, value: Any) -> Any:  # noqa: N805
        return None if value in ("", form.NO_LAUNCH_TYPE) else value

    @validator("platform_version", "propagate_tags", "capacity_provider_strategy", pre=True)
    def _none_for_cleared(cls, value: Any) -> Any:  # noqa: N805
        return value or None

    @validator("capacity_provider_strategy")
    def _strategy_as_ecs_takes_it(cls, value: Any) -> Any:  # noqa: N805
        check_strategy(value or [])
        return value

    @root_validator(pre=True)
    def image_is_required(cls, values: dict[str, Any]) -> dict[str, Any]:  # noqa: N805
        """As the parent does, for the container that is named, in a definition of any shape."""
        name = values.get("container_name") or PREFECT_CONTAINER
        definition = values.get("task_definition")
        containers = definition.get("containerDefinitions") if isinstance(definition, dict) else ()
        listed = containers if isinstance(containers, list | tuple) else ()
        proper = [c for c in listed if isinstance(c, dict) and c.get("name") == name]
        own = [{**c, "name": PREFECT_CONTAINER} for c in proper]  # as the parent looks for it
        seen = {**values, "task_definition": {"containerDefinitions": own}}
        seen = prefect_aws.ecs.ECSTask.image_is_required(seen)
        return {**values, "image": seen["image"]} if "image" in seen else values

    @root_validator(pre=True)
    def _a_strategy_stands_for_the_launch_type(cls, values: dict[str, Any]) -> dict[str, Any]:  # noqa: N805
        """A strategy replaces the default, not of a launch type that is given."""
        if values.get("capacity_provider_strategy") and "launch_type" not in values:
            return {**values, "launch_type": None}
        return values

    @root_validator(skip_on_failure=True)
    def _placed_as_ecs_can(cls, values: dict[str, Any]) -> dict[str, Any]:  # noqa: N805
        check_fields(
            values.get("launch_type"),
            values.get("capacity_provider_strategy"),
            values.get("platform_version"),
            values.get("ephemeral_storage"),
        )
        return values

    @validator("task_definition", pre=True)
    def _not_too_deep(cls, value: Any) -> Any:  # noqa: N805
        level = [value]
        for _ in range(_MOST_LEVELS):
            level = [
                item
                for outer in level
                if isinstance(outer, dict | list | tuple)
                for item in (outer.values() if isinstance(outer, dict) else outer)
            ]
        if level:
            raise ValueError(
                f"task_definition has more than {_MOST_LEVELS} levels. hint: ECS has fewer than 10"
            )
        return value

    @validator("task_customizations", pre=True)
    def cast_customizations_to_a_json_patch(cls, value: Any) -> Any:  # noqa: N805
        """As the parent does; its own exception would pass by pydantic, and quotes the patch."""
        try:
            patch = prefect_aws.ecs.ECSTask.cast_customizations_to_a_json_patch(value)
            what = type(patch).__name__
            if isinstance(patch, JsonPatch):
                return patch
        except (JsonPatchException, JsonPointerException, ValueError, TypeError) as exception:
            what = type(exception).__name__
        raise ValueError(
            f"task_customizations is not a valid JSON patch ({what}). hint: give a list such as "
            '[{"op": "add", "path": "/group", "value": "nightly"}]'
        )

    @validator("auto_deregister_task_definition")
    def _never_deregister(cls, value: bool) -> bool:  # noqa: N805
        if value:
            raise ValueError(
                "auto_deregister_task_definition cannot be switched on: all flow runs share one "
                "revision, and deregistering it when one of them ends crashes those that have "
                "not started. hint: remove the field; `pinned-ecs prune` removes old revisions"
            )
        return value

    @validator("assign_public_ip", pre=True)
    def _public_ip_from_bool(cls, value: Any) -> Any:  # noqa: N805
        if isinstance(value, bool):
            return "ENABLED" if value else "DISABLED"
        return value or None

    @validator("secrets")
    def _secrets_by_arn(cls, value: dict[str, str]) -> dict[str, str]:  # noqa: N805
        for name, reference in value.items():
            if not _SECRET_ARN.match(reference):
                raise ValueError(
                    f"secrets[{named(name)!r}] is not an ARN of a secret. hint: give the ARN of a "
                    "secret in Secrets Manager or of a parameter in SSM, never the secret itself"
                )
        return value

    @root_validator(skip_on_failure=True)
    def _secrets_are_consistent(cls, values: dict[str, Any]) -> dict[str, Any]:  # noqa: N805
        secrets, env = values.get("secrets") or {}, values.get("env") or {}
        clash = sorted(named(name) for name in secrets if env.get(name) is not None)
        if clash:
            raise ValueError(
                f"{', '.join(clash)} is set in both env and secrets; the plain value would "
                "override the secret. hint: remove it from one of them"
            )
        on_fargate = values.get("launch_type") in FARGATE_LAUNCH_TYPES
        definition = values.get("task_definition") or {}
        has_role = values.get("execution_role_arn") or definition.get("executionRoleArn")
        if secrets and on_fargate and not has_role and not values.get("task_definition_arn"):
            raise ValueError(
                "secrets need an execution role on Fargate: ECS reads them with it. hint: set "
                "execution_role_arn"
            )
        return values

    # -- what Prefect calls ----------------------------------------------------------------------

    @classmethod
    @cache
    def get_block_type_slug(cls) -> str:
        """The slug, made once per class: Prefect asks for it whenever a block is copied."""
        return str(super().get_block_type_slug())

    def prepare_for_flow_run(self, *args: Any, **kwargs: Any) -> Any:
        """A copy of the block for one flow run.

        Unlike `ECSTask`, no family is made of the flow's and the deployment's names.
        """
        return Infrastructure.prepare_for_flow_run(self, *args, **kwargs)

    @sync_compatible
    async def run(
        self, task_status: anyio.abc.TaskStatus[str] | None = None
    ) -> prefect_aws.ecs.ECSTaskResult:
        """Run the configured task on ECS. See `prefect_ecs_pinned.runs.run`."""
        spec = run_spec(self)
        host = PrefectHost(run_logger(self.logger.name), spec.flow_run_id, spec.name, task_status)
        try:
            result = await running.run(spec, self._control_plane(), host)
        except PinnedECSError as error:
            if task_status is None:  # called from Python, by somebody who may need the cause
                raise
            # An agent logs its traceback: without what led to it, the hint is in a dozen lines.
            raise error.with_traceback(None) from None
        return prefect_aws.ecs.ECSTaskResult(
            identifier=result.identifier, status_code=result.status_code
        )

    @sync_compatible
    async def kill(
        self,
        identifier: str | None = None,
        grace_seconds: int = 30,
        infrastructure_pid: str | None = None,
    ) -> None:
        """Stop a task. Stopping one that has stopped already changes nothing.

        Args:
            identifier: ``cluster::task-arn``, as the agent passes it.
            grace_seconds: ECS has a fixed grace period of its own (30 s unless configured).
            infrastructure_pid: The same identifier, as Prefect's `block` worker passes it.

        Raises:
            InfrastructureNotAvailable: The task is in another cluster than the block's.
            InfrastructureNotFound: There is no such task or cluster.
            PinnedECSError: AWS refused, or could not be reached.
        """
        if grace_seconds != 30:
            self.logger.warning(
                "Kill grace period of %ss requested, but AWS does not "
                "support dynamic grace period configuration so 30s will be used. "
                "See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html"
                " for configuration of grace periods.",
                grace_seconds,
            )
        cluster, task = TaskIdentifier.parse(identifier or infrastructure_pid or "")
        if not self._has_access_to(cluster):
            raise InfrastructureNotAvailable(
                "Cannot stop ECS task: this infrastructure block has access to cluster "
                f"{self.cluster!r} but the task is running in cluster {cluster!r}."
            )
        try:
            await self._control_plane().stop(cluster, task, _KILLED_REASON)
        except ClusterNotFound as error:
            raise InfrastructureNotFound(
                f"Cannot stop ECS task: the cluster {cluster!r} could not be found."
            ) from error
        except TaskNotFound as error:
            if "no registered tasks" in error.why:
                reason = f"the cluster {cluster!r} has no tasks."
            else:
                reason = f"the task {task!r} could not be found in cluster {cluster!r}."
            raise InfrastructureNotFound(f"Cannot stop ECS task: {reason}") from error

    def preview(self) -> str:
        """The task definition and the RunTask request, as YAML, as far as they may be shown."""
        spec, text = run_spec(self), ""
        linked = named_revision(spec)
        region = self.aws_credentials.region_name or "<loaded from client at runtime>"
        if linked:  # what it holds is not read
            desired = unread(spec, linked)
        else:
            desired = make(definition_spec(spec, region))
            definition = shown(desired.definition, DEFINITION)
            text += "---\n# Task definition\n" + yaml.dump(definition) + "\n"
        subnets = f"<loaded from {spec.vpc_id or 'the default VPC'} at runtime>"
        checked_request(spec, desired, linked, ["subnet"])
        request = launch_request(spec, desired, linked, subnets, linked or "<pinned at runtime>")
        return text + "---\n# Task run request\n" + yaml.dump(shown(request, REQUEST))

    @staticmethod
    def get_corresponding_worker_type() -> str:
        """The `block` worker, which runs this block; an `ecs` worker uses no pinned revisions."""
        return "block"

    async def generate_work_pool_base_job_template(self) -> dict[str, Any]:
        """A base job template for a work pool of type `block`.

        Prefect's own holds the block's whole schema, which its server refuses: nested
        definitions are not found. The reference to the block is all that the worker reads.
        """
        if self._block_document_id is None:
            raise BlockNotSavedError(
                "Cannot publish as work pool, block has not been saved. Please call"
                " `.save()` on your block before publishing."
            )
        name = type(self).__name__
        return {
            "job_configuration": {"block": "{{ block }}"},
            "variables": {
                "type": "object",
                "properties": {
                    "block": {
                        "title": "Block",
                        "description": "The infrastructure block to use for job creation.",
                        "allOf": [{"$ref": f"#/definitions/{name}"}],
                        "default": {"$ref": {"block_document_id": str(self._block_document_id)}},
                    }
                },
                "required": ["block"],
                "definitions": {name: {"type": "object"}},
            },
        }

    # -- of its own ------------------------------------------------------------------------------

    def _control_plane(self) -> control_plane.ControlPlane:
        return control_plane.shared(access_of(self.aws_credentials), events.emit)

    def _has_access_to(self, cluster: str) -> bool:
        """Whether a task of that cluster may be one of this block's."""
        named = patched(self.task_customizations.patch, "cluster", self.cluster)
        return not isinstance(named, str) or cluster_name(named) == cluster_name(cluster)


for _heading in form.HEADINGS:
    setattr(PinnedECSTask, _heading, None)  # `save` reads an attribute for each property
