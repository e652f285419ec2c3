"""The settings of an embedded ECS: quotas, latencies, the life of tasks, faults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The account that moto answers for, and so do we.
ACCOUNT_ID = "123456789012"

#: The principal of the access key itself, as GetCallerIdentity and ``registeredBy`` name it.
ROOT = f"arn:aws:iam::{ACCOUNT_ID}:root"

#: The Region of a request without a credential scope, and of every client made here.
DEFAULT_REGION = "us-east-1"

#: Secret access key of every client. Signatures are not computed: the access key is the secret.
SECRET_ACCESS_KEY = "local"

#: Seconds that a call takes. RunTask takes some hundred milliseconds on AWS, a registration
#: somewhat less, reads tens of milliseconds.
LATENCIES: Mapping[str, float] = {"RunTask": 0.3, "RegisterTaskDefinition": 0.2, "*": 0.02}


def client_environment(endpoint_url: str, access_key: str) -> dict[str, str]:
    """Variables that send every AWS client to an embedded ECS.

    Args:
        endpoint_url: Where it listens.
        access_key: Its key: a secret, since who has it can execute commands. See `access`.
    """
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_DEFAULT_REGION": DEFAULT_REGION,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
    }


def unconfigured(environment: Mapping[str, str]) -> dict[str, str]:
    """The same variables, with which an AWS client has no configuration of this machine.

    moto makes sessions of boto3: a profile that does not exist would break them.

    Args:
        environment: As of `os.environ`.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith("AWS_")}
    return {**kept, "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def by_action(values: Mapping[str, float], action: str) -> float:
    """The value for an action, of a mapping in which ``*`` is for all others."""
    return values.get(action, values.get("*", 0.0))


@dataclass(frozen=True)
class Phases:
    """Seconds that a task spends in each status on its way to RUNNING, and to STOPPED."""

    provisioning: float = 0.4
    pending: float = 0.4
    activating: float = 0.2
    deactivating: float = 0.1
    stopping: float = 0.1
    deprovisioning: float = 0.2


#: What a field may be given, by its annotation.
_KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "bool | None": (bool, type(None)),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "Mapping[str, float]": (Mapping,),
    "Mapping[str, float] | None": (Mapping, type(None)),
    "Mapping[str, Any]": (Mapping,),
    "Sequence[Any]": (list, tuple),
    "Phases": (Phases, Mapping),
}


def check_kind(name: str, annotation: str, value: object) -> None:
    """Check the type of a value for a field of a dataclass here.

    Raises:
        TypeError: It is another than the field's.
    """
    kinds = _KINDS[annotation]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(f"{name} is {annotation}, not {type(value).__name__}")
    if isinstance(value, Mapping) and annotation != "Mapping[str, Any]":
        for key, item in value.items():
            check_kind(f"{name}.{key}", "float", item)


@dataclass
class Settings:
    """How an embedded ECS behaves.

    Attributes:
        quota_scale: Request quotas as a multiple of AWS's; None switches them off.
        latencies: Seconds by action; ``*`` is for all others.
        vcpu_quota: vCPUs of Fargate tasks that may run at the same time, on demand and on Spot
            each, counted by the tasks' sizes; None for no limit.
        capacity: EC2 tasks that a cluster has room for at the same time; None for no limit.
        container_instances: EC2 instances of every cluster; 0 refuses launch type EC2.
        instance_size: What each of them has of `cpu`, `memory` and `gpu`, in CPU units, MiB and
            number; a task has to fit on one. None for no limit.
        phases: Durations of the statuses of the tasks that start from then on.
        task_seconds: How long a task without a process runs.
        exit_code: Its exit code; None for a container that reports none.
        scale_out_seconds: How long a task waits under an EC2 capacity provider.
        missing_seconds: How long a new task is MISSING to DescribeTasks.
        invisible_seconds: How long a new revision is not seen, by action: RunTask,
            DescribeTaskDefinition, ListTaskDefinitions; `*` is for all others.
        rewrites: Members of revisions that are described in other words: path -> value, None for
            a member that is left out. `LocalECS.rewrite` takes a function.
        retention_seconds: How long a stopped task can be described.
        execute: Run each task's command as a local process.
        max_processes: Tasks that run at the same time; the rest stay PENDING.
        stop_seconds: From SIGTERM to SIGKILL, unless the container says otherwise.
        check_subnets: Refuse subnets that EC2 does not know.
        seed: Of the randomness of faults.
    """

    quota_scale: float | None = 1.0
    latencies: Mapping[str, float] = field(default_factory=lambda: dict(LATENCIES))
    vcpu_quota: float | None = None
    capacity: int | None = None
    container_instances: int = 1
    instance_size: Mapping[str, float] | None = None
    phases: Phases = field(default_factory=Phases)
    task_seconds: float = 30.0
    exit_code: int | None = 0
    scale_out_seconds: float = 0.0
    missing_seconds: float = 0.0
    invisible_seconds: Mapping[str, float] = field(default_factory=dict)
    rewrites: Mapping[str, Any] = field(default_factory=dict)
    retention_seconds: float = 3600.0
    execute: bool = False
    max_processes: int = field(default_factory=lambda: 2 * (os.cpu_count() or 1))
    stop_seconds: float = 30.0
    check_subnets: bool = True
    seed: int = 0
