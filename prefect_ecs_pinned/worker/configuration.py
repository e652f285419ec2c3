"""What one flow run's job is configured to be: the rendered template of a work pool.

Templates are edited by people. ``task_definition`` and ``task_run_request`` are read as data, in
`worker.spec`; nothing here assumes the shape of the default template.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar, cast

from prefect.settings import Settings, get_current_settings
from prefect.workers.base import BaseJobConfiguration
from prefect_aws.workers.ecs_worker import ECSJobConfiguration
from pydantic import ConfigDict, Field, PrivateAttr, field_validator, model_validator

from prefect_ecs_pinned.core.fingerprint import PREFECT_CONTAINER
from prefect_ecs_pinned.core.placement import MANAGED_INSTANCES, providers
from prefect_ecs_pinned.core.showable import OF_JOBS
from prefect_ecs_pinned.core.shown import named, part, plain, shown
from prefect_ecs_pinned.runs.spec import RUN
from prefect_ecs_pinned.worker.variables import (
    DAY_SECONDS,
    LAUNCH_TIMEOUT_SECONDS,
    POLL_SECONDS,
    START_TIMEOUT_SECONDS,
)

T = TypeVar("T")

#: Fields that a job variable may set to null, and that have a default.
_NULL_IS_DEFAULT = (
    "network_configuration",
    "cloudwatch_logs_options",
    "subnets",
    "security_groups",
    "secrets",
    "registration",
    "launch_timeout_seconds",
    "task_start_timeout_seconds",
    "task_watch_poll_interval",
)

#: Field -> the variable that a secret of this ARN provides.
_SECRETS = {
    "prefect_api_key_secret_arn": "PREFECT_API_KEY",
    "prefect_api_auth_string_secret_arn": "PREFECT_API_AUTH_STRING",
}


class PinnedECSJobConfiguration(ECSJobConfiguration):
    """The job of one flow run. Every field of `ECSJobConfiguration` keeps its meaning."""

    model_config = ConfigDict(hide_input_in_errors=True)  # variables may be secrets

    subnets: list[str] = Field(default_factory=list)
    security_groups: list[str] = Field(default_factory=list)
    assign_public_ip: Literal["ENABLED", "DISABLED"] | None = None
    secrets: dict[str, str] = Field(default_factory=dict)
    registration: Literal["on-change", "never"] = "on-change"
    launch_timeout_seconds: int = Field(default=LAUNCH_TIMEOUT_SECONDS, ge=0, le=DAY_SECONDS)
    # 0 is what templates of `ecs` pools say since prefect-aws does not wait for the start.
    task_start_timeout_seconds: int = Field(default=START_TIMEOUT_SECONDS, ge=0, le=DAY_SECONDS)
    max_live_tasks: int | None = Field(default=None, ge=1)

    _explicit_env: Mapping[str, str | None] | None = PrivateAttr(default=None)

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """What may be shown of each field."""
        may = {**RUN, **OF_JOBS}
        return [
            (name, shown(value, part(may, name or ""))) for name, value in super().__repr_args__()
        ]

    @field_validator(*_NULL_IS_DEFAULT, mode="before")
    @classmethod
    def _default_for_null(cls, value: Any, info: Any) -> Any:
        if value is not None:
            return value
        return cls.model_fields[info.field_name].get_default(call_default_factory=True)

    @field_validator("env", mode="before")
    @classmethod
    def _coerce_env(cls, value: Any) -> Any:
        """As the parent does, which raises AttributeError for anything but a mapping."""
        if not isinstance(value, Mapping):
            return value
        return {name: None if each is None else str(each) for name, each in value.items()}

    @field_validator("assign_public_ip", mode="before")
    @classmethod
    def _public_ip_from_bool(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return "ENABLED" if value else "DISABLED"
        return value or None

    @model_validator(mode="after")
    def network_configuration_requires_vpc_id(self) -> PinnedECSJobConfiguration:
        """Instead of the parent's: no VPC is needed, since ECS itself refuses other subnets."""
        return self

    @model_validator(mode="after")
    def container_name_default_from_task_definition(self) -> PinnedECSJobConfiguration:
        """As the parent's, of whatever shape the definition is: `worker.spec` checks it."""
        if self.container_name is None:
            names = [c.get("name") for c in self._containers if isinstance(c, Mapping)]
            name = PREFECT_CONTAINER if PREFECT_CONTAINER in names else next(iter(names), None)
            self.container_name = name if isinstance(name, str) else None
        return self

    @model_validator(mode="after")
    def at_least_one_container_is_essential(self) -> PinnedECSJobConfiguration:
        """As the parent's, of whatever shape the definition is."""
        if self._containers and all(
            isinstance(c, Mapping) and c.get("essential") is False for c in self._containers
        ):
            raise ValueError("at least one container in task_definition has to be essential")
        return self

    @property
    def _containers(self) -> list[Any]:
        listed = self.task_definition.get("containerDefinitions")
        return listed if isinstance(listed, list) else []

    @property
    def start_timeout_seconds(self) -> int:
        """Seconds from RunTask's success to RUNNING."""
        # Not as an attribute: reading that warns, since prefect-aws does not use it any more.
        return int(self.__dict__["task_start_timeout_seconds"]) or START_TIMEOUT_SECONDS

    @property
    def poll_seconds(self) -> float:
        """Seconds between two looks at the task."""
        given = float(self.__dict__["task_watch_poll_interval"])
        return given if given > 0 else POLL_SECONDS

    @property
    def explicit_env(self) -> Mapping[str, str | None]:
        """Variables that the pool, the deployment or the flow run asks for; None unsets one."""
        return self.env if self._explicit_env is None else self._explicit_env

    @property
    def prefect_secrets(self) -> Mapping[str, str]:
        """Variable -> ARN, of the secrets that have a field of their own."""
        arns = {variable: getattr(self, name, None) for name, variable in _SECRETS.items()}
        return {variable: arn for variable, arn in arns.items() if arn}

    @property
    def ignored(self) -> list[str]:
        """What the job asks for and does not get, as lines for the log."""
        found = []
        if self.auto_deregister_task_definition:
            found.append(
                "auto_deregister_task_definition is ignored: all flow runs share one revision, and "
                "deregistering it when one of them ends crashes those that have not started. "
                "`pinned-ecs prune` removes old revisions"
            )
        request = self.task_run_request or {}
        launch_type, strategy = request.get("launchType"), request.get("capacityProviderStrategy")
        if strategy and launch_type and launch_type != MANAGED_INSTANCES:
            names = [name for name, takes in providers(strategy) if takes]
            if names != [launch_type]:
                where = ", ".join(map(named, names))
                found.append(
                    f"launch_type {plain(launch_type)!r} is not sent: ECS accepts no launch type "
                    f"with a capacity provider strategy, and runs the tasks on {where}. Set "
                    "launch_type to null, or leave the strategy out"
                )
        return found

    def prepare_for_flow_run(self, *args: Any, **kwargs: Any) -> None:
        """Add what Prefect gives to every flow run: variables, labels, command, name.

        Not through the parent, which raises when the worker has no API key that a secret would
        replace.
        """
        self._explicit_env = dict(self.env)
        BaseJobConfiguration.prepare_for_flow_run(self, *args, **kwargs)
        for variable in self.prefect_secrets:
            self.env.pop(variable, None)
        self._share()

    def _share(self) -> None:
        """Hold what is equal to the last job's instead of what is this one's alone.

        A worker holds a job for as long as its run waits. Nothing of it is changed from now on.
        """
        self.aws_credentials = _last_of("credentials", self.aws_credentials)
        self.task_definition = _last_of("definition", self.task_definition)
        for kind in ("deployment", "flow"):
            if (known := self._related_objects.get(kind)) is not None:
                self._related_objects[kind] = _last_of(kind, known)

    def prepare_without_flow_run(self) -> None:
        """As `prepare_for_flow_run`, except for what is a single flow run's own; for commands."""
        self._explicit_env = dict(self.env)
        env = {**self._base_environment(), **self.env}
        dropped = self.prefect_secrets
        self.env = {k: v for k, v in env.items() if v is not None and k not in dropped}
        self.command = self.command or self._base_flow_run_command()

    @classmethod
    def _base_environment(cls) -> dict[str, str]:
        """The worker's own settings, as variables; not to be changed.

        To write them takes 18 ms of CPU. Settings never change, others replace them; so one
        look at which they are says whether the variables are the same.
        """
        global _last_environment
        settings, last = get_current_settings(), _last_environment
        if last is None or last[0] is not settings:
            _last_environment = last = (settings, super()._base_environment())
        return last[1]


#: The settings that were asked for last, and the variables that they give.
_last_environment: tuple[Settings, dict[str, str]] | None = None

#: What a job had last, of each kind, and what it is compared by.
_last: dict[str, tuple[object, Any]] = {}


def _last_of(kind: str, new: T) -> T:
    """What is equal to a thing, and was given the last time; or else the thing itself.

    JSON is compared as it is written: to Python 1, 1.0 and True are equal.
    """
    written = repr(new) if isinstance(new, dict) else new
    last = _last.get(kind)
    if last is not None and type(last[0]) is type(written) and last[0] == written:
        return cast(T, last[1])
    _last[kind] = written, new
    return new
