"""What means something else once a pool of type `ecs` has become one of type `pinned-ecs`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.worker.variables import START_TIMEOUT_SECONDS


@dataclass(frozen=True)
class Change:
    """A setting that means something else afterwards.

    Attributes:
        field: The job variable, or what it is about.
        before: What it is for a worker of type `ecs`.
        after: What it is for one of type `pinned-ecs`.
        meaning: What that comes to.
    """

    field: str
    before: str
    after: str
    meaning: str


def changes(template: Mapping[str, Any], found: Iterable[Configuration]) -> list[Change]:
    """What means something else.

    Args:
        template: The pool's base job template.
        found: What the runs of its deployments ask for of the new pool.
    """
    configurations = list(found)
    rules: tuple[Callable[[Mapping[str, Any], list[Configuration]], Change | None], ...] = (
        _family,
        _log_streams,
        _deregistering,
        _start_timeout,
        _refusals,
        _client_parameters,
        _ends,
        _limit,
    )
    return [change for rule in rules if (change := rule(template, configurations)) is not None]


def _family(template: Mapping[str, Any], found: list[Configuration]) -> Change | None:
    own = {c.spec.default_family for c in found if _default_family(c)}
    if not own:
        return None
    return Change(
        "family",
        "prefect_POOL_DEPLOYMENT-ID",
        ", ".join(sorted(own)),
        "one family for the pool: deployments whose definitions are equal share a revision",
    )


def _default_family(configuration: Configuration) -> bool:
    definition = configuration.spec.task_definition
    family = definition.get("family") if definition is not None else None
    return bool(family == configuration.spec.default_family)


def _log_streams(template: Mapping[str, Any], found: list[Configuration]) -> Change | None:
    logs = [c.spec.cloudwatch_logs for c in found if c.spec.cloudwatch_logs is not None]
    prefixes = sorted({log["awslogs-stream-prefix"] for log in logs})
    defaults = [prefix for prefix in prefixes if prefix.startswith("prefect-logs_")]
    if not defaults:
        return None
    return Change(
        "cloudwatch_logs_prefix",
        "prefect-logs_POOL_DEPLOYMENT-ID",
        ", ".join(defaults),
        "the streams of all deployments have one prefix; the run's page shows its stream",
    )


def _deregistering(template: Mapping[str, Any], found: list[Configuration]) -> Change | None:
    if not _default(template, "auto_deregister_task_definition"):
        return None
    return Change(
        "auto_deregister_task_definition",
        "true",
        "ignored",
        "revisions stay when a run ends, because others use them; `pinned-ecs prune` removes old "
        "ones",
    )


def _start_timeout(template: Mapping[str, Any], found: list[Configuration]) -> Change | None:
    seconds = sorted({c.spec.task_start_timeout_seconds for c in found})
    after = ", ".join(f"{each:g}" for each in seconds) or str(START_TIMEOUT_SECONDS)
    return Change(
        "task_start_timeout_seconds",
        "ignored",
        after,
        "a task that has not started by then is stopped, and its run crashes with the reason; 0 "
        "means {START_TIMEOUT_SECONDS}",
    )


def _refusals(template: Mapping[str, Any], found: list[Configuration]) -> Change | None:
    seconds = sorted({c.spec.launch_timeout_seconds for c in found})
    return Change(
        "launch_timeout_seconds",
        "none",
        ", ".join(f"{each:g}" for each in seconds),
        "a launch that AWS throttles, or has no capacity for, waits and does not crash the run",
    )


def _client_parameters(template: Mapping[str, Any], found: list[Configuration]) -> Change | None:
    if not any(c.access.client_parameters() for c in found):
        return None
    return Change(
        "aws_credentials.aws_client_parameters",
        "used by some clients",
        "used by all",
        "endpoint, proxies and timeouts of the credentials apply to every call",
    )


def _ends(template: Mapping[str, Any], found: list[Configuration]) -> Change | None:
    return Change(
        "how a task's end is noticed",
        "EventBridge and SQS, where they are set up",
        "DescribeTasks, in batches",
        "a run whose task fails or vanishes becomes Crashed with AWS's reason; no rule and no "
        "queue is needed; existing ones may stay",
    )


def _limit(template: Mapping[str, Any], found: list[Configuration]) -> Change | None:
    return Change(
        "prefect worker start --limit",
        "runs that are being submitted",
        "runs that ECS has not accepted yet",
        "leave it unset: a limit that is full of runs waiting for capacity stops polling; "
        "max_live_tasks bounds live tasks",
    )


def _default(template: Mapping[str, Any], name: str) -> Any:
    properties = (template.get("variables") or {}).get("properties") or {}
    return (properties.get(name) or {}).get("default")
