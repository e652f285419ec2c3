"""Rows with too little room: for some sizes, for some kinds, for ever, or for a while."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.faults.row import LIFE, Row
from tests.faults.runs import Outcome

#: Seconds of ``launch_timeout_seconds``.
BUDGET = 15

#: Seconds after its budget within which a run that never fits has failed.
GRACE = 60.0

#: CPU units and MiB of tasks that Fargate offers.
SIZES = ((256, 512), (512, 1024), (1024, 2048), (2048, 4096))
LARGEST = {"cpu": 16384, "memory": 32768}

_NO_VCPUS = r"LaunchTimeout: cannot launch .*limit on the number of vCPUs.*, for 15 s; refused .*"


def _sized(number: int) -> Mapping[str, Any]:
    cpu, memory = SIZES[number % len(SIZES)]
    return {"cpu": cpu, "memory": memory}


def in_time(outcome: Outcome) -> list[str]:
    """Those that fail do so within their budget and a minute, and each was sent."""
    failing = outcome.of(lambda number: number in outcome.expected)
    late = sum(run.seconds > BUDGET + GRACE for run in failing)
    early = sum(run.seconds < BUDGET for run in failing)
    untried = sum(not run.sent for run in failing)
    launched = sum(run.launches for run in failing)
    return [
        f"{count} {what}"
        for count, what in (
            (late, f"failed after {BUDGET + GRACE:.0f} s"),
            (early, "failed before their budget was spent"),
            (untried, "failed untried"),
            (launched, "failed, though their task was launched"),
        )
        if count
    ]


# -- unequal sizes, and one that never fits --------------------------------------------------------

QUOTA = 12


def _one_never_fits(number: int) -> Mapping[str, Any]:
    return LARGEST if number == 5 else _sized(number)


def at_the_speed_of_the_capacity(outcome: Outcome) -> list[str]:
    """From the first request: vCPU-seconds of all that fit by the quota, and half as much again."""
    fitting = outcome.of(lambda number: number not in outcome.expected)
    vcpus = sum(_sized(run.number)["cpu"] for run in fitting) / 1024
    possible = vcpus * LIFE / QUOTA
    taken = max(run.seconds for run in fitting) - min(run.sent_at for run in fitting)
    slow = [f"{taken:.0f} s, where {possible:.0f} s are possible"]
    return (slow if taken > 1.5 * possible + 5 else []) + in_time(outcome)


# -- a large one beside a stream of small ones -----------------------------------------------------

LARGE = 10

#: Seconds between the arrivals of two runs: more arrive than there is room for.
STREAM = 0.125


def _a_large_one(number: int) -> Mapping[str, Any]:
    return {"cpu": 4096, "memory": 8192} if number == LARGE else {"cpu": 1024, "memory": 2048}


def not_starved(outcome: Outcome) -> list[str]:
    """The large one is overtaken for a budget; then room is kept until four have ended."""
    large = outcome.each[LARGE]
    later = sum(run.launched_at > large.launched_at for run in outcome.each)
    waited = large.launched_at - large.sent_at
    starved = f"the large one was launched {waited:.0f} s after its first try, before {later}"
    return [starved] if later < 20 or waited > BUDGET + 10 else []


# -- what no instance has --------------------------------------------------------------------------


def _patch(path: str, value: Any) -> dict[str, Any]:
    return {"task_customizations": [{"op": "add", "path": path, "value": value}]}


GPU = _patch(
    "/overrides/containerOverrides/0/resourceRequirements", [{"type": "GPU", "value": "1"}]
)
ATTRIBUTE = _patch(
    "/placementConstraints", [{"type": "memberOf", "expression": "attribute:rack == r7"}]
)
ARM = {
    "family": "prefect-matrix-arm",
    "task_definition": {
        "containerDefinitions": [{"name": "prefect", "image": "flows:1"}],
        "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
    },
}
_VARIANTS: tuple[Mapping[str, Any], ...] = (GPU, ATTRIBUTE, ARM)
_ENDS = (
    r"LaunchTimeout: cannot launch .*RESOURCE:GPU.*, for 15 s; refused .*",
    r"AwsError: cannot launch .*ATTRIBUTE.*",
    r"AwsError: cannot launch .*ATTRIBUTE.*",
)


def _variant(number: int) -> int | None:
    """Three of ten runs cannot be placed, each for another reason."""
    return number % 10 if number % 10 < len(_VARIANTS) else None


def _what_is_missing(number: int) -> Mapping[str, Any]:
    variant = _variant(number)
    return {"launch_type": "EC2", **(_VARIANTS[variant] if variant is not None else {})}


def _how_it_ends(number: int, runs: int) -> str | None:
    variant = _variant(number)
    return _ENDS[variant] if variant is not None else None


def at_once_or_in_time(outcome: Outcome) -> list[str]:
    """ATTRIBUTE fails at the first answer; a GPU may be added, and is waited for."""
    final = outcome.of(lambda number: _variant(number) in (1, 2))
    late = sum(run.seconds - run.sent_at > BUDGET for run in final)
    often = sum(run.sent != 1 for run in final)
    gpu = Outcome(
        outcome.of(lambda number: _variant(number) == 0), {n: "" for n in outcome.expected}
    )
    return [
        *([f"{late} waited for an attribute"] if late else []),
        *([f"{often} were not sent exactly once"] if often else []),
        *in_time(gpu),
    ]


_ATTRIBUTES = {"kind": "in-band", "action": "RunTask", "failures": ["ATTRIBUTE", "ATTRIBUTE"]}

ROWS = (
    Row(
        "unequal sizes under a vCPU quota, one never fits",
        settings={"vcpu_quota": QUOTA},
        fields={"launch_timeout_seconds": BUDGET},
        each=_one_never_fits,
        stated=lambda number, runs: _NO_VCPUS if number == 5 else None,
        also=at_the_speed_of_the_capacity,
    ),
    Row(
        "as many that never fit beside those that do",
        settings={"vcpu_quota": 6},
        fields={"launch_timeout_seconds": BUDGET},
        each=lambda number: LARGEST if number % 2 else {"cpu": 256, "memory": 512},
        stated=lambda number, runs: _NO_VCPUS if number % 2 else None,
        also=in_time,
        crowd=2,
    ),
    Row(
        "a stream of small runs beside a large one",
        settings={"vcpu_quota": 8},
        fields={"launch_timeout_seconds": BUDGET},
        each=_a_large_one,
        arrives=lambda number: number * STREAM,
        also=not_starved,
    ),
    Row(
        "a GPU, an attribute, an architecture that no instance has",
        settings={"instance_size": {"cpu": 60 * 1024, "memory": 240 * 1024}},
        faults=[
            {**_ATTRIBUTES, "match": {"placementConstraints[].expression": {"exists": True}}},
            {**_ATTRIBUTES, "match": {"definition.runtimePlatform.cpuArchitecture": "ARM64"}},
        ],
        fields={"launch_timeout_seconds": BUDGET, "memory": 512},
        each=_what_is_missing,
        stated=_how_it_ends,
        also=at_once_or_in_time,
    ),
)
