"""Rows with answers that are in no table, credentials that expire, and things that come late."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from prefect_ecs_pinned.local.faults import Fault
from tests.faults.row import Row, a_fifth
from tests.faults.runs import WELL, Day, Outcome

#: The actions of a launch and a watch. Each is answered oddly the first time, and one time in four.
ACTIONS = (
    "RunTask",
    "DescribeTasks",
    "RegisterTaskDefinition",
    "DescribeTaskDefinition",
    "ListTaskDefinitions",
    "ListTasks",
    "DescribeVpcs",
    "DescribeSubnets",
)

PROXY = "<html><head><title>403</title></head><body><h1>Blocked by the proxy</h1></body></html>"


def in_four(actions: tuple[str, ...] = ACTIONS, **rule: Any) -> list[Mapping[str, Any]]:
    """A rule for one call in four of each action, beginning with the first."""
    return [
        {**rule, "action": action, **when}
        for action in actions
        for when in ({"times": 1}, {"probability": 0.25})
    ]


def odd(what: str, actions: tuple[str, ...] = ACTIONS, quick: bool = False, **rule: Any) -> Row:
    """A row for one odd answer."""
    return Row(f"odd answers, 1 in 4: {what}", faults=in_four(actions, **rule), quick=quick)


_ODD = (
    odd("an unknown 4xx code", kind="error", code="FuturisticException", status=400),
    odd("408", kind="error", code="RequestTimeoutException", status=408),
    odd("429", kind="error", code="TooManyRequestsException", status=429),
    odd("a proxy's page, 403", kind="raw", message=PROXY, status=403),
    odd("a proxy's page, 502", kind="raw", message="<html>Bad Gateway</html>", status=502),
    odd("500", kind="error", code="InternalFailure", status=500),
    odd("JSON that is cut short", kind="raw", message='{"tasks": [{"taskArn": "arn', status=200),
    odd("{}", kind="raw", message="{}", status=200, quick=True),
    odd("an unknown reason", ("RunTask",), kind="in-band", failures=["MOON:PHASE"]),
    odd(
        "an odd task among those described",
        ("DescribeTasks",),
        kind="rewrite",
        members={"tasks[0]": {"taskArn": 7, "lastStatus": None, "containers": "none"}},
        quick=True,
    ),
)


# -- credentials -----------------------------------------------------------------------------------


async def expire(day: Day) -> None:
    """When a part of the runs has been launched, the token expires; 5 s later it is accepted."""
    await _until_launched(day, 10)
    day.ecs.add_faults(
        Fault(
            "error",
            code="ExpiredTokenException",
            message="The security token included in the request is expired",
            duration=5.0,
        )
    )


async def _until_launched(day: Day, number: int) -> None:
    while len(day.ecs.launches) < number:  # noqa: ASYNC110 - the server is in another thread
        await asyncio.sleep(0.01)


# -- lost answers that cannot be looked up ---------------------------------------------------------

_MAY_RUN = rf"{WELL}|MayRun: cannot launch .* may be running; looking for it: .*"


def never_twice(outcome: Outcome) -> list[str]:
    """Launched once, or told as "may run"; and most are launched."""
    told = sum(run.end != WELL for run in outcome.each)
    unlaunched = sum(not run.launches for run in outcome.each if run.end == WELL)
    return [
        *([f"{unlaunched} ended well without a task"] if unlaunched else []),
        *([f"{told} were given up as 'may run'"] if told > len(outcome.each) // 2 else []),
    ]


# -- a subnet that is replaced ---------------------------------------------------------------------


async def replace_subnet(day: Day) -> None:
    """When a part of the runs has been launched, another subnet takes the place of one."""
    await _until_launched(day, 10)
    await asyncio.to_thread(_replace_subnet, day.ecs.client("ec2"))


def _replace_subnet(ec2: Any) -> None:
    first = ec2.describe_subnets()["Subnets"][0]
    ec2.delete_subnet(SubnetId=first["SubnetId"])
    members = {name: first[name] for name in ("VpcId", "CidrBlock", "AvailabilityZone")}
    ec2.create_subnet(**members)


def looked_up_once_more(outcome: Outcome) -> list[str]:
    """By the product: twice; once more by this test."""
    looks = outcome.calls.get("DescribeSubnets", 0)
    return [f"{looks} calls of DescribeSubnets"] if not 3 <= looks <= 4 else []


ROWS = (
    *_ODD,
    Row(
        "ExpiredToken for 5 s, whatever is called",
        settings={"vcpu_quota": a_fifth},
        fields={"cpu": 1024, "memory": 2048},
        meanwhile=expire,
    ),
    Row(
        "new revisions invisible to RunTask for 5 s",
        settings={"invisible_seconds": {"RunTask": 5.0}},
    ),
    Row(
        "RunTask replies lost, 30 %, and ListTasks denied",
        settings={"vcpu_quota": a_fifth},
        fields={"cpu": 1024, "memory": 2048},
        faults=[
            {"kind": "lost-reply", "action": "RunTask", "probability": 0.3},
            {
                "kind": "error",
                "action": "ListTasks",
                "code": "AccessDeniedException",
                "message": "User: arn:aws:iam::123456789012:root is not authorized to perform: "
                "ecs:ListTasks",
            },
        ],
        stated=lambda number, runs: _MAY_RUN,
        also=never_twice,
    ),
    Row(
        "a subnet replaced while runs are queued",
        settings={"vcpu_quota": a_fifth},
        fields={"cpu": 1024, "memory": 2048},
        meanwhile=replace_subnet,
        also=looked_up_once_more,
    ),
)
