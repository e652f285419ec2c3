"""Names that ECS gives to things, taken apart.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-account-settings.html
(ARN formats) and API_DescribeTaskDefinition (``family``, ``family:revision`` or the full ARN).
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: A revision's number (API_TaskDefinition, "revision": Integer).
_REVISION = re.compile(r"[0-9]{1,18}")


class Revision(NamedTuple):
    """``family`` and ``revision`` of a task definition; ``revision`` 0 means "the newest"."""

    family: str
    revision: int

    def __str__(self) -> str:
        return f"{self.family}:{self.revision}" if self.revision else self.family


def parse_revision(identifier: str) -> Revision:
    """Read ``family``, ``family:revision`` or a task-definition ARN.

    Raises:
        ValueError: The text is not one of the three.
    """
    name = identifier.rsplit("/", 1)[-1] if identifier.startswith("arn:") else identifier
    family, colon, number = name.partition(":")
    if not family or (colon and not _REVISION.fullmatch(number)):
        raise ValueError(f"{identifier!r} is not a task-definition family, family:revision or ARN")
    return Revision(family, int(number) if number else 0)


def account_of(arn: str) -> str:
    """The account of an ARN; empty when the text is not an ARN."""
    return _parts(arn)[4]


def region_of(arn: str) -> str:
    """The Region of an ARN; empty when the text is not an ARN."""
    return _parts(arn)[3]


def _parts(arn: str) -> list[str]:
    parts = arn.split(":", 5)
    return parts if len(parts) == 6 and parts[0] == "arn" else [""] * 6


def cluster_arn(cluster: str, of: str) -> str:
    """The ARN of a cluster given by name or ARN.

    Args:
        cluster: The cluster.
        of: ARN of anything of ECS in the same account and Region.

    Returns:
        Empty when ``cluster`` is a name, and ``of`` no ARN.
    """
    if cluster.startswith("arn:"):
        return cluster
    arn, *rest = _parts(of)
    return ":".join((arn, *rest[:4], f"cluster/{cluster}")) if arn else ""


_ROLE = re.compile(r"arn:[^:]+:iam::(?P<account>\d*):role/(?P<name>.+)")


def same_role(one: str, other: str, account: str) -> bool:
    """Whether two texts name the same role, as seen from an account.

    RegisterTaskDefinition takes a role's short name for one of its own account, and the revision
    is described with the ARN. A name is unique within an account, with any path
    (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html). So a name without
    a path means the role on any path, and a name with a path only that role.
    """
    if one == other:
        return True
    arn, name = (one, other) if one.startswith("arn:") else (other, one)
    found = _ROLE.fullmatch(arn)
    if found is None or found["account"] != account or ":" in name:
        return False
    name = name.lstrip("/")
    return bool(name) and name in (found["name"], found["name"].rsplit("/", 1)[-1])


_SESSION = re.compile(r"arn:([^:]+):sts::(\d+):assumed-role/([^/]+)/.*")
_OWN_ROLE = re.compile(r"arn:([^:]+):iam::(\d+):role/(?:.*/)?([^/]+)")


def same_principal(one: str, other: str) -> bool:
    """Whether two ARNs, of GetCallerIdentity or ``registeredBy``, name one principal.

    Sessions of one assumed role are one principal: every process has a session of its own.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
    """
    return bool(one) and _principal(one) == _principal(other)


def _principal(arn: str) -> tuple[str, ...]:
    found = _SESSION.fullmatch(arn) or _OWN_ROLE.fullmatch(arn)
    return found.groups() if found is not None else (arn,)


def cluster_name(cluster: str) -> str:
    """The short name of a cluster given by name or ARN."""
    return cluster.rsplit("/", 1)[-1]


def task_id(task_arn: str) -> str:
    """The last part of a task's ARN, as it is in log stream names."""
    return task_arn.rsplit("/", 1)[-1]


def cluster_of_task(task_arn: str) -> str:
    """The cluster in a task's ARN; "default" for ARNs of the old format, which do not have one."""
    parts = task_arn.split("/")
    return parts[1] if len(parts) == 3 else "default"


class TaskIdentifier(NamedTuple):
    """``cluster::task-arn``: what Prefect stores as a flow run's ``infrastructure_pid``."""

    cluster: str
    task_arn: str

    def __str__(self) -> str:
        return f"{self.cluster}::{self.task_arn}"

    @classmethod
    def parse(cls, text: str) -> TaskIdentifier:
        """Read an ``infrastructure_pid``.

        Raises:
            ValueError: There is no ``::`` in the text.
        """
        cluster, separator, task = text.partition("::")
        if not separator or not cluster or not task:
            raise ValueError(f"{text!r} is not of the form 'cluster::task-arn'")
        return cls(cluster, task)


def console_url(task_arn: str) -> str:
    """The page of a task in the AWS console."""
    _, partition, _, region, *_ = task_arn.split(":", 5)
    task = task_id(task_arn)
    host = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}.get(
        partition, "console.aws.amazon.com"
    )
    cluster = cluster_of_task(task_arn)
    return f"https://{region}.{host}/ecs/v2/clusters/{cluster}/tasks/{task}?region={region}"
