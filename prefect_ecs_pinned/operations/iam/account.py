"""Whose account and Region a policy is for; placeholders where AWS cannot be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect_ecs_pinned.core.arn import parse_revision
from prefect_ecs_pinned.errors import PinnedECSError
from prefect_ecs_pinned.operations.calls import Calls

#: What is in a policy for what is not known. None of them can be taken for a value.
ACCOUNT_ID, REGION, EXECUTION_ROLE = "ACCOUNT_ID", "REGION", "EXECUTION_ROLE"
PLACEHOLDERS = (ACCOUNT_ID, REGION, EXECUTION_ROLE)

#: How the name of a Region begins -> its partition.
_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}


@dataclass(frozen=True)
class Account:
    """Where a block's runs are launched.

    Attributes:
        partition: ``aws``, ``aws-cn`` or ``aws-us-gov``.
        region: AWS Region, or `REGION`.
        account: Account ID, or `ACCOUNT_ID`.
        unknown: Why AWS could not be asked; None when it was.
    """

    partition: str
    region: str
    account: str
    unknown: PinnedECSError | None = None


async def read_account(calls: Calls) -> Account:
    """Ask AWS whose credentials these are; placeholders where that fails, whatever the cause."""
    region, unknown = REGION, None
    try:
        region = await calls.region()
        identity = await calls.call("sts", "GetCallerIdentity")
    except PinnedECSError as error:
        unknown = error
    else:
        return Account(str(identity["Arn"]).split(":")[1], region, str(identity["Account"]))
    found = (name for start, name in _PARTITIONS.items() if region.startswith(start))
    return Account(next(found, "aws"), region, ACCOUNT_ID, unknown)


def stand_in(named: str, account: Account, container: str) -> Mapping[str, Any]:
    """The placeholder for a revision that cannot be read: it has an execution role, on Fargate.

    Args:
        named: Its ARN or name.
        account: Where it is.
        container: Name of the Prefect container.
    """
    name = parse_revision(named)
    prefix = f"arn:{account.partition}:ecs:{account.region}:{account.account}:task-definition/"
    role = f"arn:{account.partition}:iam::{account.account}:role/{EXECUTION_ROLE}"
    return {
        "taskDefinitionArn": named if named.startswith("arn:") else f"{prefix}{name}",
        "family": name.family,
        "revision": name.revision or 1,
        "containerDefinitions": [{"name": container, "image": "IMAGE"}],
        "executionRoleArn": role,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "1024",
        "memory": "2048",
        "status": "ACTIVE",
    }
