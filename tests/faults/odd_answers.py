"""Rows with answers that are in no table, credentials that expire, and things that come late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from prefect_ecs_pinned.local.faults import Fault
from tests.faults.row import Row, a_fifth
from tests.faults.runs import WELL, Day, Outcome

#: The actions of a launch and a watch. Each is answered oddly the first time, and one time in four.
#: Those that only some runs need have rows of their own: here, in `cancelling` and `output_rows`.
ACTIONS = (
    "RunTask",
    "DescribeTasks",
    "RegisterTaskDefinition",
    "DescribeTaskDefinition",
    "ListTaskDefinitions",
    "ListTasks",
    "GetCallerIdentity",
    "DescribeVpcs",
    "DescribeSubnets",
)

PROXY = "<html><head><title>403</title></head><body><h1>Blocked by the proxy</h1></body></html>"

#: Answers that every action may get.
ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "an unknown 4xx code": {"kind": "error", "code": "FuturisticException", "status": 400},
    "408": {"kind": "error", "code": "RequestTimeoutException", "status": 408},
    "429": {"kind": "error", "code": "TooManyRequestsException", "status": 429},
    "a proxy's page, 403": {"kind": "raw", "message": PROXY, "status": 403},
    "a proxy's page, 502": {"kind": "raw", "message": "<html>Bad Gateway</html>", "status": 502},
    "500": {"kind": "error", "code": "InternalFailure", "status": 500},
    "JSON that is cut short": {
        "kind": "raw",
        "message": '{"tasks": [{"taskArn": "arn',
        "status": 200,
    },
    "{}": {"kind": "raw", "message": "{}", "status": 200},
}


def in_four(actions: Sequence[str] = ACTIONS, **rule: Any) -> list[Mapping[str, Any]]:
    """A rule for one call in four of each action, beginning with the first."""
    return [
        {**rule, "action": action, **when}
        for action in actions
        for when in ({"times": 1}, {"probability": 0.25})
    ]


def each_in_four(*actions: str) -> list[Mapping[str, Any]]:
    """Rules for one call in four of each action, with any of the answers; all of them at first."""
    share = 0.25 / len(ANSWERS)
    return [
        {**rule, "action": action, **when}
        for when in ({"times": 1}, {"probability": share})
        for rule in ANSWERS.values()
        for action in actions
    ]


def called(*actions: str, least: int = len(ANSWERS)) -> Callable[[Outcome], list[str]]:
    """Complains if an action was not called often enough to get all of the answers."""
    return lambda outcome: [
        f"{action} was called {outcome.calls.get(action, 0)} times"
        for action in actions
        if outcome.calls.get(action, 0) < least
    ]


def odd(what: str, actions: Sequence[str] = ACTIONS, quick: bool = False, **rule: Any) -> Row:
    """A row for one odd answer."""
    return Row(f"odd answers, 1 in 4: {what}", faults=in_four(actions, **rule), quick=quick)


_ODD = (
    *(odd(what, **rule, quick=what == "{}") for what, rule in ANSWERS.items()),
    odd("an unknown reason", ("RunTask",), kind="in-band", failures=["MOON:PHASE"]),
    odd(
        "an odd task among those described",
        ("DescribeTasks",),
        kind="rewrite",
        members={"tasks[0]": {"taskArn": 7, "lastStatus": None, "containers": "none"}},
        quick=True,
    ),
)


# -- a cluster whose own strategy decides ----------------------------------------------------------

_SPOT = {
    "clusterName": "spot",
    "defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}],
}

_EITHER = {
    "task_definition": {"networkMode": "awsvpc", "requiresCompatibilities": ["EC2", "FARGATE"]},
    "cpu": 1024,
    "memory": 2048,
}


@contextmanager
def spot_by_default(day: Day) -> Iterator[None]:
    """A cluster of Fargate Spot; afterwards each task has the public IP that it needs there."""
    day.ecs.model.answer("CreateCluster", _SPOT, "us-east-1")
    yield
    networks = []
    for launch in day.ecs.launches:
        task = day.ecs.model.find(str(launch["taskArn"]))
        assert task is not None
        networks.append(task.request["networkConfiguration"]["awsvpcConfiguration"])
    if without := sum(network.get("assignPublicIp") != "ENABLED" for network in networks):
        day.notes.append(f"{without} tasks without a public IP")


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
    """Launched once, or reported as "may run"; and most are launched."""
    given_up = sum(run.end != WELL for run in outcome.each)
    unlaunched = sum(not run.launches for run in outcome.each if run.end == WELL)
    return [
        *([f"{unlaunched} ended well without a task"] if unlaunched else []),
        *([f"{given_up} were given up as 'may run'"] if given_up > len(outcome.each) // 2 else []),
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
        "odd answers of each kind, 1 in 4: DescribeClusters",
        faults=each_in_four("DescribeClusters"),
        fields={**_EITHER, "launch_type": None, "cluster": "spot"},
        around=spot_by_default,
        also=called("DescribeClusters"),
    ),
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
