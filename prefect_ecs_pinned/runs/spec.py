"""`RunSpec`: all that one run asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from prefect_ecs_pinned.core.fingerprint import PREFECT_CONTAINER
from prefect_ecs_pinned.core.placement import on_fargate_providers
from prefect_ecs_pinned.core.showable import (
    DEFINITION,
    LOG_OPTIONS,
    NAMES_ONLY,
    OF_BLOCKS,
    REQUEST,
    STRATEGY,
)
from prefect_ecs_pinned.core.shown import (
    Rule,
    arn,
    hidden_texts,
    known_command,
    number,
    part,
    patches,
    plain,
    shown,
)

_AWSVPC = part(part(REQUEST, "networkConfiguration"), "awsvpcConfiguration")


def _asked(shown: Rule) -> dict[str, Any]:
    """Of an attribute that is a field of the same name: what of its value may be shown."""
    return {"shown": shown, "made": False}


def _made(shown: Rule) -> dict[str, Any]:
    """Of an attribute that a face makes: what of its value may be shown."""
    return {"shown": shown, "made": True}


@dataclass(frozen=True, repr=False, slots=True)
class RunSpec:
    """All that one run asks for, made once by its face; its values are not changed.

    Attributes are named as the fields that people set, since messages name them. The Region is
    the control plane's. Each says what of its value may be shown; ``repr`` shows no more.

    Attributes:
        default_family: Family unless another is set.
        log_prefix: How log lines of the run begin.
        name: Name of the flow run, for lines of its output; None without one.
        flow_run_id: UUID of the flow run; None without one.
        family: Family that is asked for; wins over the definition's.
        task_definition: A definition to start from, in RegisterTaskDefinition's shape.
        task_definition_arn: A revision to start from: ARN, ``family:revision`` or family.
        registration: ``on-change``, or ``never``: then no revision may be made.
        image: Image of the Prefect container; None keeps the definition's.
        container_name: Name of the container that runs the flow.
        cpu: CPU units of the task; None keeps the definition's.
        memory: MiB of the task; None keeps the definition's.
        env: Variables that are asked for; None unsets one, in the definition too.
        inherited_env: Variables that the host hands on from its own settings: they are left out for
            ``env`` and to secrets.
        command: Command of the container; None keeps the definition's.
        labels: Become the task's tags.
        secrets: Variable -> ARN in Secrets Manager or SSM.
        execution_role_arn: None keeps the definition's.
        task_role_arn: None keeps the definition's.
        launch_type: FARGATE, FARGATE_SPOT, EC2, EXTERNAL, MANAGED_INSTANCES or None.
        capacity_provider_strategy: Items as API_RunTask has them; instead of a launch type, or
            next to MANAGED_INSTANCES.
        platform_version: Of Fargate; None is the latest.
        ephemeral_storage: GiB of a Fargate task; None keeps the definition's.
        propagate_tags: TASK_DEFINITION, NONE, or None.
        enable_ecs_managed_tags: ECS adds tags of its own to the task.
        enable_execute_command: Commands can be run in the task's containers.
        task_definition_tags: Tags of the definition, over those that it has.
        cluster: Name or ARN; None is the account's default cluster.
        vpc_id: VPC whose subnets are looked up; None is the default VPC.
        subnets: IDs; then there is no look-up.
        security_groups: IDs.
        assign_public_ip: ENABLED, DISABLED; None leaves it to the launch type.
        cloudwatch_logs: Extra awslogs options; None when CloudWatch logs are not configured.
        network_configuration: An awsvpcConfiguration to start from, where the network mode has one.
        job_request: A RunTask request to start from; the other attributes win over its members. A
            ``taskDefinition`` in it is used as it is.
        made_for: Launch type that the definition is made for, where ``launch_type`` is not it.
        task_customizations: JSON patches of the RunTask request (RFC 6902), applied last.
        stream_output: Print the container's output.
        launch_timeout_seconds: Longest that room for the task is waited for.
        task_start_timeout_seconds: Longest from RunTask's success to RUNNING.
        task_watch_poll_interval: Seconds between two looks at the task.
    """

    default_family: str = field(metadata=_made(plain))
    log_prefix: str = field(metadata=_made(plain))
    name: str | None = field(default=None, metadata=_asked(plain))
    flow_run_id: str | None = field(default=None, metadata=_made(plain))
    family: str | None = field(default=None, metadata=_asked(plain))
    task_definition: Mapping[str, Any] | None = field(default=None, metadata=_asked(DEFINITION))
    task_definition_arn: str | None = field(default=None, metadata=_asked(plain))
    registration: str = field(default="on-change", metadata=_asked(plain))
    image: str | None = field(default=None, metadata=_asked(plain))
    container_name: str = field(default=PREFECT_CONTAINER, metadata=_asked(plain))
    cpu: int | None = field(default=None, metadata=_asked(number))
    memory: int | None = field(default=None, metadata=_asked(number))
    env: Mapping[str, str | None] = field(default_factory=dict, metadata=_asked(NAMES_ONLY))
    inherited_env: Mapping[str, str] = field(default_factory=dict, metadata=_made(NAMES_ONLY))
    command: Sequence[str] | None = field(default=None, metadata=_asked(known_command))
    labels: Mapping[str, str] = field(default_factory=dict, metadata=_asked(NAMES_ONLY))
    secrets: Mapping[str, str] = field(default_factory=dict, metadata=_asked({"*": arn}))
    execution_role_arn: str | None = field(default=None, metadata=_asked(plain))
    task_role_arn: str | None = field(default=None, metadata=_asked(plain))
    launch_type: str | None = field(default="FARGATE", metadata=_asked(plain))
    capacity_provider_strategy: Sequence[Mapping[str, Any]] | None = field(
        default=None, metadata=_asked(STRATEGY)
    )
    platform_version: str | None = field(default=None, metadata=_asked(plain))
    ephemeral_storage: int | None = field(default=None, metadata=_asked(number))
    propagate_tags: str | None = field(default=None, metadata=_asked(plain))
    enable_ecs_managed_tags: bool = field(default=False, metadata=_asked(number))
    enable_execute_command: bool = field(default=False, metadata=_asked(number))
    task_definition_tags: Mapping[str, str] = field(
        default_factory=dict, metadata=_asked(NAMES_ONLY)
    )
    cluster: str | None = field(default=None, metadata=_asked(plain))
    vpc_id: str | None = field(default=None, metadata=_asked(plain))
    subnets: Sequence[str] | None = field(default=None, metadata=_asked([plain]))
    security_groups: Sequence[str] | None = field(default=None, metadata=_asked([plain]))
    assign_public_ip: str | None = field(default=None, metadata=_asked(plain))
    cloudwatch_logs: Mapping[str, str] | None = field(default=None, metadata=_made(LOG_OPTIONS))
    network_configuration: Mapping[str, Any] | None = field(default=None, metadata=_made(_AWSVPC))
    job_request: Mapping[str, Any] | None = field(default=None, metadata=_made(REQUEST))
    made_for: str | None = field(default=None, metadata=_made(plain))
    task_customizations: Sequence[Mapping[str, Any]] = field(
        default=(), metadata=_asked(patches(REQUEST))
    )
    stream_output: bool = field(default=False, metadata=_asked(number))
    launch_timeout_seconds: float = field(default=900, metadata=_asked(number))
    task_start_timeout_seconds: float = field(default=600, metadata=_asked(number))
    task_watch_poll_interval: float = field(default=5.0, metadata=_asked(number))

    def __repr__(self) -> str:
        written = (f"{name}={shown(value, part(RUN, name))!r}" for name, value in self._fields())
        return f"{type(self).__name__}({', '.join(written)})"

    @property
    def placed_on(self) -> str | None:
        """The launch type whose rules count: FARGATE also for capacity providers of Fargate's."""
        if self.made_for:
            return self.made_for
        on_fargate = on_fargate_providers(self.capacity_provider_strategy)
        return "FARGATE" if self.launch_type is None and on_fargate else self.launch_type

    @property
    def may_register(self) -> bool:
        """Whether a launch may make a revision."""
        return self.registration == "on-change"

    def hidden(self, definition: Mapping[str, Any]) -> frozenset[str]:
        """The texts that nothing may show which is said about the run.

        Args:
            definition: What it runs.
        """
        return hidden_texts(dict(self._fields()), RUN) | hidden_texts(definition, DEFINITION)

    def _fields(self) -> list[tuple[str, Any]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


#: Attributes that are fields of the same name, unchanged.
ASKED = tuple(each.name for each in fields(RunSpec) if not each.metadata["made"])

#: What may be shown of a block's fields, those that it has from Prefect and from `ECSTask`
#: included. What a subclass adds is hidden.
FIELDS: Mapping[str, Rule] = {
    **OF_BLOCKS,
    **{each.name: each.metadata["shown"] for each in fields(RunSpec) if each.name in ASKED},
}

#: What may be shown of what a run asks for: as of a block's fields, and what its face adds.
RUN: Mapping[str, Rule] = {
    **FIELDS,
    **{each.name: each.metadata["shown"] for each in fields(RunSpec)},
}
