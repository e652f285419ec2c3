"""The variables of a work pool of type `pinned-ecs`: those of `ecs`, and a few of its own."""

from __future__ import annotations

from typing import Literal

from prefect_aws.workers.ecs_worker import ECSVariables
from pydantic import ConfigDict, Field

from prefect_ecs_pinned.worker.variable_texts import present

#: Longest that a launch is tried, and that a start is waited for. RunTask's clientToken lives for
#: 24 h (Amazon ECS, "Ensuring idempotency").
DAY_SECONDS = 24 * 60 * 60

LAUNCH_TIMEOUT_SECONDS = 900
START_TIMEOUT_SECONDS = 600
POLL_SECONDS = 5.0


LaunchType = Literal["FARGATE", "EC2", "EXTERNAL", "FARGATE_SPOT", "MANAGED_INSTANCES"]


class PinnedECSVariables(ECSVariables):
    """Variables for the job template; what `ECSVariables` has keeps its meaning."""

    model_config = ConfigDict(json_schema_extra=present)

    launch_type: LaunchType = Field(  # type: ignore[assignment] # one more than the parent's
        default="FARGATE",
        description=(
            "The type of ECS task run infrastructure. FARGATE_SPOT becomes a capacity provider "
            "strategy. MANAGED_INSTANCES needs a strategy with the capacity provider of the "
            "managed instances."
        ),
    )
    subnets: list[str] = Field(
        default_factory=list,
        description=(
            "IDs of the subnets that tasks run in, for the network mode awsvpc. If there are "
            "none, here or in the network configuration, the subnets of the VPC are looked up, "
            "once per worker."
        ),
    )
    security_groups: list[str] = Field(
        default_factory=list,
        description="IDs of the security groups of tasks, for the network mode awsvpc.",
    )
    assign_public_ip: Literal["ENABLED", "DISABLED"] | None = Field(
        default=None,
        title="Assign Public IP",
        description=(
            "Whether a task gets a public IP. If empty, it does on Fargate, unless a network "
            "configuration has subnets and does not set this."
        ),
    )
    secrets: dict[str, str] = Field(
        default_factory=dict,
        description=(
            "Environment variables of the Prefect container whose values ECS reads from Secrets "
            "Manager or from SSM: name of the variable, and ARN of the secret."
        ),
    )
    registration: Literal["on-change", "never"] = Field(
        default="on-change",
        description=(
            "'on-change' registers a task definition when the configuration changes, 'never' "
            "launches only from revisions that exist, such as those that a deployment pipeline "
            "has pinned."
        ),
    )
    launch_timeout_seconds: int = Field(
        default=LAUNCH_TIMEOUT_SECONDS,
        ge=0,
        le=DAY_SECONDS,
        description="Maximum time for which a launch waits for capacity. Throttles do not count.",
    )
    task_start_timeout_seconds: int = Field(
        default=START_TIMEOUT_SECONDS,
        ge=0,
        le=DAY_SECONDS,
        description=(
            "Maximum time in which a launched task must start. After it, the task is stopped, "
            "and the flow run crashes with the reason. Waiting for EC2 instances to be added "
            "does not count."
        ),
    )
    max_live_tasks: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Maximum number of live tasks of this worker; further flow runs wait. Unlike the "
            "worker's --limit, it does not stop the worker from polling."
        ),
    )
