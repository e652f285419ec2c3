"""Members of a definition that ECS does not take together: refused here, as in the embedded ECS."""

from __future__ import annotations

import random
from typing import Any

from prefect_ecs_pinned.core.members_together import check_members
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.local import limits
from prefect_ecs_pinned.local.errors import AwsRefusal

DEFINITIONS = 3000
SEED = 4711


def _definition(rng: random.Random) -> dict[str, Any]:
    """One whose members are of their types, and need not go together."""

    def container(name: str) -> dict[str, Any]:
        members = {
            "memory": rng.choice([256, 1024, 4096]),
            "memoryReservation": rng.choice([128, 512, 2048]),
            "cpu": rng.choice([128, 1024]),
            "secrets": [{"name": "A", "valueFrom": "arn:aws:ssm:us-east-1:1:parameter/a"}],
            "logConfiguration": {"logDriver": rng.choice(["awslogs", "splunk"])},
        }
        rare = {name: value for name, value in members.items() if rng.random() < 0.3}
        return {"name": name, "image": "flows:1", **rare}

    members = {
        "networkMode": rng.choice(["awsvpc", "awsvpc", "awsvpc", "bridge"]),
        "requiresCompatibilities": rng.choice([["FARGATE"], ["EC2", "FARGATE"], ["EC2"]]),
        "cpu": rng.choice(["1024", "1 vCPU"]),
        "memory": rng.choice(["2048", "4096", "2 GB", "2GB"]),
        "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
    }
    stated = {name: value for name, value in members.items() if rng.random() < 0.8}
    containers = [container("prefect"), *([container("other")] if rng.random() < 0.3 else [])]
    return {"family": "f", "containerDefinitions": containers, **stated}


def _refused(check: Any, definition: dict[str, Any], kind: type[Exception]) -> str:
    try:
        check(definition)
    except kind as error:
        return str(error)
    return ""


def test_what_ecs_registers_is_accepted_and_nothing_else() -> None:
    """One verdict each; sums over several containers are left to ECS."""
    seen = {True: 0, False: 0}
    for number in range(DEFINITIONS):
        definition = _definition(random.Random(SEED * 1_000_003 + number))
        ours = _refused(check_members, definition, ConfigurationError)
        theirs = _refused(limits.check_definition, definition, AwsRefusal)
        if "sum of all container" not in theirs:
            assert bool(ours) == bool(theirs), (definition, ours, theirs)
        assert not ours or "hint: " in ours
        seen[bool(ours)] += 1
    assert min(seen.values()) > DEFINITIONS // 10, seen
