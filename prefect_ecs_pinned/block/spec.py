"""From the block's fields to the `RunSpec` of a run."""

from __future__ import annotations

from collections.abc import Mapping

from prefect.settings import Settings, get_current_settings
from prefect_aws.ecs import ECSTask

from prefect_ecs_pinned.connections import passed_on
from prefect_ecs_pinned.runs.spec import ASKED, RunSpec

#: Family of a block that has no name.
ANONYMOUS_FAMILY = "prefect-pinned"


def run_spec(block: ECSTask) -> RunSpec:
    """All that a run of this block asks for: its fields unchanged, except for those below."""
    asked = {name: getattr(block, name) for name in ASKED}
    asked.update(
        default_family=_default_family(block),
        log_prefix=block._log_prefix,
        flow_run_id=block.env.get("PREFECT__FLOW_RUN_ID") or None,
        inherited_env=_inherited(block),
        cloudwatch_logs=block.cloudwatch_logs_options if block.configure_cloudwatch_logs else None,
        task_customizations=block.task_customizations.patch,
        stream_output=bool(block.stream_output),
    )
    return RunSpec(**asked)


def _default_family(block: ECSTask) -> str:
    name = block._block_document_name
    return f"prefect-{name}" if name and not block._is_anonymous else ANONYMOUS_FAMILY


#: Of the settings and the class that were asked for last: the variables that they give.
_last_inherited: tuple[Settings, type, Mapping[str, str]] | None = None


def _inherited(block: ECSTask) -> Mapping[str, str]:
    """Variables that Prefect passes to all infrastructure: the agent's own settings.

    Settings never change, others replace them; so one look at which they are says whether
    the variables are the same.
    """
    global _last_inherited
    settings, last = get_current_settings(), _last_inherited
    if last is None or last[0] is not settings or last[1] is not type(block):
        variables = passed_on(block._base_environment())
        _last_inherited = last = (settings, type(block), variables)
    return last[2]
