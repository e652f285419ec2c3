"""What means something else once an `ECSTask` has become a `PinnedECSTask`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prefect_ecs_pinned.aws.pinning.registrable import make
from prefect_ecs_pinned.block import PinnedECSTask
from prefect_ecs_pinned.block.spec import run_spec
from prefect_ecs_pinned.runs.revision import definition_spec

#: `ECSTask`'s default of task_start_timeout_seconds (prefect-aws 0.4). Python's `.save()` stores
#: defaults too, so a stored 120 is taken for the default.
SOURCE_START_TIMEOUT = 120


@dataclass(frozen=True)
class Change:
    """A setting that means something else afterwards.

    Attributes:
        field: The block's field, or what it is about.
        before: What it was, under `ECSTask`.
        after: What it is, under `PinnedECSTask`.
        meaning: What that comes to.
    """

    field: str
    before: str
    after: str
    meaning: str


def changes(data: Mapping[str, Any], block: PinnedECSTask, name: str) -> list[Change]:
    """What means something else once an `ECSTask` has become a `PinnedECSTask`.

    Args:
        data: The `ECSTask`'s.
        block: What it has become.
        name: Name of both.
    """
    rules: tuple[Callable[[Mapping[str, Any], PinnedECSTask, str], Change | None], ...] = (
        _family,
        _deregistering,
        _start_timeout,
        _refusals,
        _log_streams,
        _client_parameters,
    )
    return [change for rule in rules if (change := rule(data, block, name)) is not None]


def _family(data: Mapping[str, Any], block: PinnedECSTask, name: str) -> Change | None:
    inner = (block.task_definition or {}).get("family")
    if block.family or inner or block.task_definition_arn:
        return None
    return Change(
        "family",
        "prefect__FLOW__DEPLOYMENT",
        f"prefect-{name}",
        "one family for all flows and deployments on the block, so that they share a revision",
    )


def _deregistering(data: Mapping[str, Any], block: PinnedECSTask, name: str) -> Change | None:
    if data.get("auto_deregister_task_definition") is False:
        return None
    return Change(
        "auto_deregister_task_definition",
        "true",
        "false",
        "the revision stays when a run ends, because others use it; `pinned-ecs prune` removes "
        "old ones",
    )


def _start_timeout(data: Mapping[str, Any], block: PinnedECSTask, name: str) -> Change | None:
    before = data.get("task_start_timeout_seconds") or SOURCE_START_TIMEOUT
    return Change(
        "task_start_timeout_seconds",
        str(before),
        str(block.task_start_timeout_seconds),
        "counts from the moment when ECS accepts the task; when it ends the task is stopped, "
        "and does not continue",
    )


def _refusals(data: Mapping[str, Any], block: PinnedECSTask, name: str) -> Change | None:
    return Change(
        "launch_timeout_seconds",
        "none",
        str(block.launch_timeout_seconds),
        "a launch that AWS throttles, or has no capacity for, waits and does not crash the run",
    )


def _log_streams(data: Mapping[str, Any], block: PinnedECSTask, name: str) -> Change | None:
    if not block.configure_cloudwatch_logs:
        return None
    if "awslogs-stream-prefix" in block.cloudwatch_logs_options:
        return None
    family = "the family"
    if not block.task_definition_arn:
        # The name that the block will have is not its own yet.
        spec = definition_spec(run_spec(block), "us-east-1")
        family = make(spec).family if block.family or spec.base else f"prefect-{name}"
    return Change(
        "awslogs-stream-prefix",
        "the flow run's name",
        family,
        "the streams of all runs have one prefix; the run's page shows its stream",
    )


def _client_parameters(data: Mapping[str, Any], block: PinnedECSTask, name: str) -> Change | None:
    parameters = block.aws_credentials.aws_client_parameters
    stated = {
        field: value
        for field, value in parameters.dict().items()
        if value != type(parameters).__fields__[field].get_default()
    }
    if not stated:
        return None
    return Change(
        "aws_credentials.aws_client_parameters",
        "ignored",
        "honoured",
        f"{', '.join(sorted(stated))} of the credentials take effect",
    )
