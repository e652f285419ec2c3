"""Names that ECS gives to things, taken apart.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-account-settings.html
(ARN formats) and API_DescribeTaskDefinition (``family``, ``family:revision`` or the full ARN).
"""

from __future__ import annotations

from typing import NamedTuple


class Revision(NamedTuple):
    """``family`` and ``revision`` of a task definition; ``revision`` 0 means "the newest"."""

    family: str
    revision: int

    def __str__(self) -> str:
        return f"{self.family}:{self.revision}" if self.revision else self.family


def parse_revision(identifier: str) -> Revision:
    """Read ``family``, ``family:revision`` or a task-definition ARN.

    Raises:
        ValueError: The text is none of the three.
    """
    name = identifier.rsplit("/", 1)[-1] if identifier.startswith("arn:") else identifier
    family, colon, number = name.partition(":")
    if not family or (colon and not number.isdigit()):
        raise ValueError(f"{identifier!r} is not a task-definition family, family:revision or ARN")
    return Revision(family, int(number) if number else 0)


def cluster_name(cluster: str) -> str:
    """The short name of a cluster given by name or ARN."""
    return cluster.rsplit("/", 1)[-1]


def task_id(task_arn: str) -> str:
    """The last part of a task's ARN, as it stands in log stream names."""
    return task_arn.rsplit("/", 1)[-1]


def cluster_of_task(task_arn: str) -> str:
    """The cluster in a task's ARN; "default" for ARNs of the old format, which have none."""
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
