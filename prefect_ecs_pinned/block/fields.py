"""The block's own fields: type, default and bounds of each, and how the form shows it.

`ECSTask`'s other fields, the sections and their order are in `form_texts`. A field whose name is
not among them comes last in its section.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic.v1 import BaseModel, Field

from prefect_ecs_pinned.core.fingerprint import PREFECT_CONTAINER
from prefect_ecs_pinned.core.placement import LEAST_STORAGE, MOST_BASE, MOST_STORAGE, MOST_WEIGHT

#: Longest that a launch is tried, and that a start is waited for. RunTask's clientToken lives for
#: 24 h (Amazon ECS, "Ensuring idempotency").
_DAY_SECONDS = 24 * 60 * 60

#: Longest time between two looks. ECS shows a stopped task for an hour (API_DescribeTasks), and
#: a look that fails is repeated.
_POLL_SECONDS = 600

#: API_ContainerDefinition, "name".
_CONTAINER = r"^[a-zA-Z0-9_-]+$"

#: Member of a field's JSON schema that holds its `Shown`; `form.present` takes it out.
MARK = "shown"


@dataclass(frozen=True)
class Shown:
    """How one field is shown.

    Attributes:
        title: Its heading.
        description: What it does, with unit and default; Markdown in one line.
        example: Its placeholder; an empty one shows none.
        extra: More of its JSON schema: bounds that the class does not declare.
        section: Title of its section; empty where `form_texts` names it there.
    """

    title: str
    description: str
    example: Any = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    section: str = ""


def _field(title: str, description: str, example: Any = "", **bounds: Any) -> Any:
    """A field with its texts.

    Args:
        title: See `Shown`.
        description: See `Shown`.
        example: See `Shown`.
        bounds: ``extra`` and ``section`` of `Shown`; the rest are pydantic's.
    """
    own = {name: bounds.pop(name) for name in ("extra", "section") if name in bounds}
    return Field(**bounds, shown=Shown(title, description, example, **own))  # its `MARK`


class OwnFields(BaseModel):
    """The fields that `PinnedECSTask` has, or changes, over `ECSTask`'s."""

    launch_type: (
        Literal["FARGATE", "EC2", "EXTERNAL", "FARGATE_SPOT", "MANAGED_INSTANCES"] | None
    ) = _field(
        "Launch Type",
        "`FARGATE_SPOT` is cheaper, but AWS may stop a task with two minutes' notice. `None` "
        "leaves the choice to the strategy below, or to the cluster. `MANAGED_INSTANCES` needs "
        "a strategy as well. Default: `FARGATE`.",
        default="FARGATE",
    )
    capacity_provider_strategy: list[dict[str, Any]] | None = _field(
        "Capacity Provider Strategy",
        "Capacity providers instead of a launch type, as a JSON list of at most 20. Weights "
        "are 0 to 1000; one may have a `base`, 0 to 100000. Fargate's are not mixed with "
        "others. Default: none; without a launch type, the cluster's.",
        '[{"capacityProvider": "instances", "weight": 1}]',
        extra={
            "items": {
                "type": "object",
                "required": ["capacityProvider"],
                "properties": {
                    "capacityProvider": {"type": "string", "minLength": 1},
                    "weight": {"type": "integer", "minimum": 0, "maximum": MOST_WEIGHT},
                    "base": {"type": "integer", "minimum": 0, "maximum": MOST_BASE},
                },
                "additionalProperties": False,
            },
        },
        default=None,
    )
    platform_version: str | None = _field(
        "Platform Version",
        "Platform version of Fargate. With other launch types it is an error. Default: the latest.",
        "1.4.0",
        default=None,
        max_length=32,
    )
    ephemeral_storage: int | None = _field(
        "Ephemeral Storage",
        "Disk of a Fargate task in GiB, from 21 to 200. Sent with each launch. Default: the "
        "task definition's, or Fargate's 20.",
        40,
        default=None,
        ge=LEAST_STORAGE,
        le=MOST_STORAGE,
    )
    container_name: str = _field(
        "Container Name",
        "Container of the task definition that runs the flow. Image, variables, secrets and "
        "logs are set on it. Default: `prefect`.",
        "prefect",
        default=PREFECT_CONTAINER,
        regex=_CONTAINER,
        max_length=255,
    )
    propagate_tags: Literal["TASK_DEFINITION", "NONE"] | None = _field(
        "Propagate Tags",
        "`TASK_DEFINITION`: each task also gets the tags of its task definition. Default: it "
        "does not.",
        default=None,
    )
    enable_ecs_managed_tags: bool = _field(
        "Enable ECS Managed Tags",
        "ECS tags each task with the name of its cluster, for cost reports. Default: off.",
        default=False,
    )
    enable_execute_command: bool = _field(
        "Enable Execute Command",
        "Allow commands in a running task (ECS Exec). Needs a task role that may use "
        "`ssmmessages`. Default: off.",
        default=False,
    )
    task_definition_tags: dict[str, str] = _field(
        "Task Definition Tags",
        "Tags of the task definition, as a JSON object. For tags of tasks, see Labels. A "
        "change registers one revision, unless one has these tags. Needs `ecs:TagResource`. "
        "Default: the task definition's own.",
        '{"cost-center": "data"}',
        default_factory=dict,
    )
    family: str | None = _field(
        "Family",
        "Family of the task definition, up to 255 letters, digits, `_` and `-`. Default: the "
        "family inside Task Definition, or `prefect-` and the name of this block.",
        "prefect-etl",
        default=None,
        max_length=255,
    )
    subnets: list[str] | None = _field(
        "Subnets",
        "IDs of the subnets to run in, as a JSON list. Default: all subnets of the VPC.",
        '["subnet-0123456789abcdef0"]',
        default=None,
    )
    security_groups: list[str] | None = _field(
        "Security Groups",
        "IDs of security groups, as a JSON list. Default: the VPC's own default group.",
        '["sg-0123456789abcdef0"]',
        default=None,
    )
    assign_public_ip: Literal["ENABLED", "DISABLED"] | None = _field(
        "Assign Public IP",
        "Whether a task gets a public IP address. Without one, its subnets need a NAT gateway "
        "or VPC endpoints. Default: `ENABLED` on Fargate; elsewhere ECS decides.",
        default=None,
    )
    secrets: dict[str, str] = _field(
        "Secrets",
        "Variable name to **ARN** of a secret in Secrets Manager or a parameter in SSM, as a "
        "JSON object. ECS reads the values. The agent does not send variables of these names, "
        "such as `PREFECT_API_KEY`. Default: none.",
        '{"PREFECT_API_KEY": "arn:aws:secretsmanager:us-east-1:1234…"}',
        default_factory=dict,
    )
    registration: Literal["on-change", "never"] = _field(
        "Registration",
        "`on-change`: a changed configuration registers one revision. `never`: only existing "
        "revisions are used (see `pinned-ecs pin`), and the agent needs no permission to "
        "register. Default: `on-change`.",
        default="on-change",
    )
    launch_timeout_seconds: int = _field(
        "Launch Timeout",
        "Seconds for which a launch is repeated when ECS lacks capacity or quota. They count "
        "from its first refusal; time in the queue does not count. Default: 900.",
        900,
        default=900,
        ge=0,
        le=_DAY_SECONDS,
    )
    task_start_timeout_seconds: int = _field(
        "Task Start Timeout",
        "Seconds from the launch to RUNNING. A task that takes longer is stopped. Time spent "
        "waiting for EC2 instances of a capacity provider does not count. Default: 600.",
        600,
        default=600,
        ge=1,
        le=_DAY_SECONDS,
    )
    task_watch_poll_interval: float = _field(
        "Task Watch Poll Interval",
        "Seconds between two looks at the tasks. One call covers a hundred tasks. Default: 5.",
        5,
        default=5.0,
        gt=0,
        le=_POLL_SECONDS,
    )


#: How each of them is shown.
OWN: Mapping[str, Shown] = {
    name: each.field_info.extra[MARK] for name, each in OwnFields.__fields__.items()
}
