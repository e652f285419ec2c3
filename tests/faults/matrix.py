"""The rows of the matrix, all of them; here those of the wire, of throttles and of revisions."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect_ecs_pinned import majors
from tests.faults import (
    cancelling,
    odd_answers,
    output_rows,
    prefect_rows,
    shortages,
)
from tests.faults.row import Row, a_fifth
from tests.faults.runs import Day
from tests.faults.world import FAMILY


def on_the_wire(operation: str, probability: float, **effect: Any) -> dict[str, Any]:
    """A rule of microburst for an action of ECS."""
    rule = {"service": "ecs", "probability": probability, **effect}
    return rule if operation == "*" else {**rule, "operation": operation}


def fail(code: str, status: int) -> dict[str, Any]:
    """An AWS error, in the wire format of the protocol."""
    return {"error": {"code": code, "status": status, "message": "Please try again later."}}


LOST = {"response": {"abort_frac": 0.3}}
CUT_SHORT = {"response": {"truncate_frac": 0.5}}


async def deregister_all(day: Day) -> None:
    """When a part of the runs has been launched, all revisions go."""
    ecs = day.ecs
    while len(ecs.launches) < 10:  # noqa: ASYNC110 - the server is in another thread
        await asyncio.sleep(0.01)
    for definition in ecs.model.definitions().all():
        if definition["family"] == FAMILY:
            name = definition["taskDefinitionArn"]
            ecs.model.answer("DeregisterTaskDefinition", {"taskDefinition": name}, "us-east-1")


_ROWS = (
    Row("a good day"),
    Row("5xx, 20 % of every action", wire=[on_the_wire("*", 0.2, **fail("ServerException", 500))]),
    Row(
        "RunTask replies lost, 30 %, after they took effect",
        wire=[on_the_wire("RunTask", 0.3, **LOST)],
        quick=True,
    ),
    Row(
        "replies cut short, 20 % of every action",
        wire=[on_the_wire("*", 0.2, **CUT_SHORT)],
    ),
    Row(
        "register replies lost, the first three",
        faults=[{"kind": "lost-reply", "action": "RegisterTaskDefinition", "times": 3}],
        quick=True,
    ),
    Row(
        "the first looks for the revision throttled, timed out, cut",
        faults=[
            {"kind": "throttle", "action": "DescribeTaskDefinition", "times": 2},
            {"kind": "slow", "action": "DescribeTaskDefinition", "times": 1, "seconds": 2.5},
            {"kind": "reset", "action": "DescribeTaskDefinition", "times": 1},
        ],
        warm=True,
    ),
    Row(
        "throttles, 20 % of every action, at AWS's quotas",
        settings={"quota_scale": 1.0},
        faults=[{"kind": "throttle", "probability": 0.2}],
    ),
    Row(
        "hidden throttles, 20 % of RunTask",
        faults=[{"kind": "hidden-throttle", "action": "RunTask", "probability": 0.2}],
        quick=True,
    ),
    Row("connection resets, 20 % of every action", wire=[on_the_wire("*", 0.2, reset=True)]),
    Row(
        "slow replies, 20 % slower than the read timeout",
        wire=[on_the_wire("*", 0.2, latency={"min": 2500, "max": 4000})],
    ),
    Row(
        "vCPUs for a fifth of the runs at a time",
        settings={"vcpu_quota": a_fifth},
        fields={"cpu": 1024, "memory": 2048},
    ),
    Row(
        "instances for a fifth of the runs at a time",
        settings={"capacity": a_fifth},
        fields={"launch_type": "EC2"},
    ),
    Row(
        "Capacity is unavailable, 20 % of RunTask",
        faults=[
            {
                "kind": "in-band",
                "action": "RunTask",
                "probability": 0.2,
                "message": "Capacity is unavailable at this time. Please try again later or in a "
                "different availability zone",
            }
        ],
    ),
    Row("MISSING for 5 s", settings={"missing_seconds": 5.0, "task_seconds": 7.0}),
    Row(
        "all revisions deregistered while runs are queued",
        settings={"quota_scale": 1.0},
        meanwhile=deregister_all,
        revisions=2,
        quick=True,
    ),
    Row(
        "everything at once",
        settings={"quota_scale": 1.0, "missing_seconds": 2.0},
        faults=[
            {"kind": "throttle", "probability": 0.05},
            {"kind": "hidden-throttle", "action": "RunTask", "probability": 0.1},
            {"kind": "lost-reply", "action": "RegisterTaskDefinition", "times": 1},
        ],
        wire=[
            on_the_wire("*", 0.05, reset=True),
            on_the_wire("*", 0.05, **fail("ServerException", 500)),
            on_the_wire("RunTask", 0.1, **LOST),
            on_the_wire("*", 0.05, latency=2500),
        ],
        meanwhile=deregister_all,
        revisions=2,
    ),
)

ROWS = (
    *_ROWS,
    *shortages.ROWS,
    *odd_answers.ROWS,
    *cancelling.ROWS,
    *prefect_rows.ROWS,
    *(() if majors.face() is majors.WORKER else output_rows.ROWS),  # a worker streams no output
)
