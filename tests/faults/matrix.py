"""The rows of the matrix: what is wrong with AWS, and what has to come of it all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from prefect_ecs_pinned.aws import control_plane
from prefect_ecs_pinned.local import LocalECS, Settings
from prefect_ecs_pinned.local.faults import Fault
from prefect_ecs_pinned.local.settings import Phases
from tests.faults.world import FAMILY, Outcome, a_block, microburst, no_prefect_api, run_all

QUICK = Phases(0.1, 0.1, 0.1, 0.0, 0.0, 0.1)


@dataclass(frozen=True)
class Row:
    """One day.

    Attributes:
        name: What is wrong.
        settings: How the embedded ECS behaves.
        faults: What it does wrong.
        wire: Rules of microburst, which stands in front of it when there are any.
        meanwhile: What happens while the runs are under way.
        revisions: How many there may be in the end, deregistered ones included.
        fields: Of the block.
        warm: The revision is there already, and nobody remembers it.
        patience: Seconds for 200 runs.
        quick: It belongs to the part that is run with the tests.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    faults: Sequence[Mapping[str, Any]] = ()
    wire: Sequence[Mapping[str, Any]] = ()
    meanwhile: Callable[[LocalECS], Awaitable[None]] | None = None
    revisions: int = 1
    fields: Mapping[str, Any] = field(default_factory=dict)
    warm: bool = False
    patience: float = 240.0
    quick: bool = False


def on_the_wire(operation: str, probability: float, **effect: Any) -> dict[str, Any]:
    """A rule of microburst for an action of ECS."""
    rule = {"service": "ecs", "probability": probability, **effect}
    return rule if operation == "*" else {**rule, "operation": operation}


def fail(code: str, status: int) -> dict[str, Any]:
    """An AWS error, in the wire format of the protocol."""
    return {"error": {"code": code, "status": status, "message": "Please try again later."}}


LOST = {"response": {"abort_frac": 0.3}}
CUT_SHORT = {"response": {"truncate_frac": 0.5}}


async def deregister_all(ecs: LocalECS) -> None:
    """When a part of the runs has been launched, all revisions go."""
    while len(ecs.launches) < 10:  # noqa: ASYNC110 - the server is in another thread
        await asyncio.sleep(0.01)
    for definition in ecs.model.definitions().all():
        if definition["family"] == FAMILY:
            name = definition["taskDefinitionArn"]
            ecs.model.answer("DeregisterTaskDefinition", {"taskDefinition": name}, "us-east-1")


ROWS = (
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
        settings={"vcpu_quota": "a fifth"},
        fields={"cpu": 1024, "memory": 2048},
    ),
    Row(
        "instances for a fifth of the runs at a time",
        settings={"capacity": "a fifth"},
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


def settings_of(row: Row, runs: int) -> Settings:
    """The settings of a row, quotas off unless it says otherwise."""
    given = {
        name: max(1, runs // 5) if value == "a fifth" else value
        for name, value in row.settings.items()
    }
    quick = Settings(quota_scale=None, phases=QUICK, task_seconds=1.0)
    return replace(quick, latencies={"RunTask": 0.1, "RegisterTaskDefinition": 0.2}, **given)


async def run_row(row: Row, runs: int) -> Outcome:
    """Live through one day with that many runs."""
    control_plane.forget_all()
    with ExitStack() as stack:
        stack.enter_context(no_prefect_api())
        ecs = stack.enter_context(LocalECS(settings_of(row, runs), access_key="local"))
        if row.warm:
            await run_all(ecs, a_block(ecs.endpoint_url, **row.fields), 1, row.patience)
            control_plane.forget_all()
        ecs.faults(*(Fault(**fault) for fault in row.faults))
        endpoint = ecs.endpoint_url
        if row.wire:
            endpoint = stack.enter_context(microburst(endpoint, row.wire))
        block = a_block(endpoint, **row.fields)
        outcome = await run_all(ecs, block, runs, row.patience, row.meanwhile)
        control_plane.forget_all()
    return outcome


def complaints(row: Row, outcome: Outcome) -> list[str]:
    """What is wrong with an outcome; nothing, one hopes."""
    wrong = [
        f"{name}: {count}"
        for name, count in (
            ("lost", outcome.lost),
            ("launched twice", outcome.twice),
            ("hanging", outcome.hanging),
            ("failed", sum(outcome.failed.values())),
        )
        if count
    ]
    wrong += [f"{reason} ({count})" for reason, count in outcome.failed.most_common(3)]
    if outcome.revisions > row.revisions or outcome.active != 1:
        wrong.append(f"{outcome.active} ACTIVE of {outcome.revisions} revisions")
    return wrong
