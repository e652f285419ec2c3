"""The last look at a revision before it is deregistered: its tag, and its age by AWS's clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind, as_error
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.clocks import DATE_GRAIN, date_of
from prefect_ecs_pinned.operations.prune.references import KEEP_TAG
from prefect_ecs_pinned.operations.prune.rules import ago


async def last_look(calls: Calls, arn: str, min_age: timedelta) -> str:
    """Why a revision that nobody seems to need is kept anyway; empty when it is not.

    Args:
        calls: Reach AWS.
        arn: The revision.
        min_age: If it is younger, it is kept, whatever this machine's clock says.

    Raises:
        AccessDenied: Its tags may not be read, so that it is unknown.
        PinnedECSError: AWS could not be reached.
    """
    try:
        answer = await calls.attempt(
            "ecs", "DescribeTaskDefinition", taskDefinition=arn, include=["TAGS"]
        )
    except Fault as fault:
        if fault.kind is Kind.NO_DEFINITION:
            return "it no longer exists"
        raise as_error(
            fault,
            f"cannot find out whether {arn} is kept by the tag {KEEP_TAG}",
            allow="allow ecs:DescribeTaskDefinition, and ecs:ListTagsForResource, to the "
            "credentials",
        ) from fault
    keys = [str(tag.get("key")) for tag in answer.get("tags") or []]
    if any(key.lower() == KEEP_TAG for key in keys):
        return f"it has the tag {KEEP_TAG}"
    return _too_young(answer, min_age)


def _too_young(answer: Mapping[str, Any], min_age: timedelta) -> str:
    if not min_age:
        return ""
    date = date_of(answer)
    if date is None:  # this machine's clock may be wrong
        return "its age is unknown: AWS's answer has no Date"
    age = date + DATE_GRAIN - answer["taskDefinition"]["registeredAt"]
    return f"registered {ago(age)} ago by AWS's clock" if age < min_age else ""
