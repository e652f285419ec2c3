"""From the block's fields to the `RunSpec` of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prefect.settings import Settings, get_current_settings

from prefect_ecs_pinned.runs.spec import RunSpec

if TYPE_CHECKING:
    from prefect_ecs_pinned.block.pinned_ecs_task import PinnedECSTask

#: Family of a block that has no name.
ANONYMOUS_FAMILY = "prefect-pinned"


def run_spec(block: PinnedECSTask) -> RunSpec:
    """All that a run of this block asks for."""
    return RunSpec(
        default_family=_default_family(block),
        log_prefix=block._log_prefix,
        name=block.name,
        flow_run_id=block.env.get("PREFECT__FLOW_RUN_ID") or None,
        family=block.family,
        task_definition=block.task_definition,
        task_definition_arn=block.task_definition_arn,
        registration=block.registration,
        image=block.image,
        cpu=block.cpu,
        memory=block.memory,
        env=block.env,
        inherited_env=_inherited(block),
        command=block.command,
        labels=block.labels,
        secrets=block.secrets,
        execution_role_arn=block.execution_role_arn,
        task_role_arn=block.task_role_arn,
        container_name=block.container_name,
        launch_type=block.launch_type,
        capacity_provider_strategy=block.capacity_provider_strategy,
        platform_version=block.platform_version,
        ephemeral_storage=block.ephemeral_storage,
        propagate_tags=block.propagate_tags,
        enable_ecs_managed_tags=block.enable_ecs_managed_tags,
        enable_execute_command=block.enable_execute_command,
        task_definition_tags=block.task_definition_tags,
        cluster=block.cluster,
        vpc_id=block.vpc_id,
        subnets=block.subnets,
        security_groups=block.security_groups,
        assign_public_ip=block.assign_public_ip,
        cloudwatch_logs=block.cloudwatch_logs_options if block.configure_cloudwatch_logs else None,
        task_customizations=block.task_customizations.patch,
        stream_output=bool(block.stream_output),
        launch_timeout_seconds=block.launch_timeout_seconds,
        task_start_timeout_seconds=block.task_start_timeout_seconds,
        task_watch_poll_interval=block.task_watch_poll_interval,
    )


def _default_family(block: PinnedECSTask) -> str:
    name = block._block_document_name
    return f"prefect-{name}" if name and not block._is_anonymous else ANONYMOUS_FAMILY


#: Of the settings and the class that were asked for last: the variables that they give.
_last_inherited: tuple[Settings, type, Mapping[str, str]] | None = None


def _inherited(block: PinnedECSTask) -> Mapping[str, str]:
    """Variables that Prefect passes to all infrastructure: the agent's own settings.

    Settings never change, others replace them; so one look at which they are says whether
    the variables are the same.
    """
    global _last_inherited
    settings, last = get_current_settings(), _last_inherited
    if last is None or last[0] is not settings or last[1] is not type(block):
        _last_inherited = last = (settings, type(block), block._base_environment())
    return last[2]
