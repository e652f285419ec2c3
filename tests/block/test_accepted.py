"""What the shared check lets pass, ECS accepts: generated fields, definitions and patches.

Only a few things are left to ECS: names of capacity providers and clusters, sizes, and whether a
definition that does not require FARGATE is compatible with it.
"""

from __future__ import annotations

import random
from typing import Any

from prefect_aws import AwsCredentials
from pydantic.v1 import ValidationError

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.aws.pinning.registrable import make
from prefect_ecs_pinned.block.spec import run_spec
from prefect_ecs_pinned.core.canonical import size_number
from prefect_ecs_pinned.core.fingerprint import labelled
from prefect_ecs_pinned.core.placement import FARGATE_PROVIDERS, runs_on_fargate
from prefect_ecs_pinned.core.plan import Observed, Reuse, decide
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.local.model import EmbeddedECS
from prefect_ecs_pinned.local.settings import Phases, Settings
from prefect_ecs_pinned.runs.check import checked_request
from prefect_ecs_pinned.runs.revision import definition_spec, named_revision
from tests.runs.nonsense import DOCUMENTS, SEED
from tests.runs.test_patches import _patch

ROLE = "arn:aws:iam::123456789012:role/r"
MINE = {"capacityProvider": "mine", "weight": 1}
SPOT = {"capacityProvider": "FARGATE_SPOT"}
PORTS = {"name": "prefect", "image": "i", "memory": 100, "portMappings": [{"containerPort": 80}]}

#: Values of fields beside that of leaving them out.
FIELDS: dict[str, tuple[Any, ...]] = {
    "capacity_provider_strategy": ([SPOT], [MINE], [MINE, {**MINE, "capacityProvider": "two"}]),
    "propagate_tags": ("TASK_DEFINITION", "NONE"),
    "enable_ecs_managed_tags": (True, False),
    "enable_execute_command": (True, False),
    "ephemeral_storage": (21, 200),
    "platform_version": ("LATEST", "1.4.0", "1.3.0"),
    "task_definition_tags": ({"a": "b"}, {"A": ""}),
    "task_role_arn": (ROLE, "r"),
    "execution_role_arn": (ROLE, "r"),
    "container_name": ("etl",),
    "cpu": (256, 1024),
    "memory": (512, 2048, 4096),
    "subnets": (["subnet-1"],),
    "security_groups": (["sg-1"],),
    "assign_public_ip": ("ENABLED", "DISABLED"),
    "network_configuration": ({"subnets": ["subnet-2"], "assignPublicIp": "ENABLED"},),
    "task_definition": (
        {"containerDefinitions": [{"name": "prefect", "image": "i", "memoryReservation": 512}]},
        {"containerDefinitions": [{"name": "etl", "image": "i"}], "networkMode": "bridge"},
        {"containerDefinitions": [PORTS], "networkMode": "host"},
        {"family": "Team--ETL-", "requiresCompatibilities": ["EC2"]},
        {"requiresCompatibilities": ["FARGATE", "EC2"], "networkMode": "awsvpc"},
        {"networkMode": "awsvpc"},
        {"networkMode": "none"},
        {"cpu": "1 vCPU", "memory": "2GB", "ephemeralStorage": {"sizeInGiB": 30}},
        {"taskRoleArn": "r", "requiresCompatibilities": ["MANAGED_INSTANCES"]},
    ),
}
LAUNCH_TYPES = ("FARGATE", "FARGATE_SPOT", "EC2", "EXTERNAL", "MANAGED_INSTANCES", None, None)

#: A cluster without a default strategy.
NO_DEFAULT: list[Any] = []


def _block(rng: random.Random) -> PinnedECSTask:
    fields = {name: rng.choice(values) for name, values in FIELDS.items() if rng.random() < 0.25}
    patches = [_patch(rng) for _ in range(rng.choice([0, 0, 1, 1, 2]))]
    return PinnedECSTask(
        aws_credentials=AwsCredentials(region_name="us-east-1"),
        **{"image": "flows:1", "launch_type": rng.choice(LAUNCH_TYPES), **fields},
        task_customizations=patches,
        env={"A": "b"},
        vpc_id="vpc-1" if "network_configuration" in fields else None,
    )


def _is_left_to_ecs(request: dict[str, Any], definition: dict[str, Any]) -> bool:
    if runs_on_fargate(request, {}, NO_DEFAULT) and "FARGATE" not in (
        definition.get("requiresCompatibilities") or ()
    ):
        return True  # ECS knows what else a definition is compatible with
    strategy = request.get("capacityProviderStrategy") or ()
    overrides = request.get("overrides") or {}
    sizes = [overrides[size] for size in ("cpu", "memory") if overrides.get(size)]
    return (
        "cluster" in request
        or any(item["capacityProvider"] not in FARGATE_PROVIDERS for item in strategy)
        or any(size_number(size) is None for size in sizes)
    )


def test_what_is_accepted_is_registered_once_and_runs() -> None:
    """Nothing is registered for a run that ECS then refuses; its answer is used by the next."""
    ecs = EmbeddedECS(Settings(quota_scale=None, phases=Phases(0, 0, 0), task_seconds=0.0))
    ran = refused = 0
    for number in range(4 * DOCUMENTS):
        rng = random.Random(SEED * 1_000_003 + number)
        try:
            spec = run_spec(_block(rng))
            if named_revision(spec):
                continue
            desired = make(definition_spec(spec, "us-east-1"))
            request = checked_request(spec, desired, None, ["subnet-1"], NO_DEFAULT)
        except (ConfigurationError, ValidationError):
            refused += 1
            continue
        sent = labelled(desired.definition, desired.fingerprint, spec.container_name)
        try:
            answer = ecs.call("RegisterTaskDefinition", sent)
            described = {**answer["taskDefinition"], "tags": answer.get("tags") or []}
            arn = described["taskDefinitionArn"]
            assert decide(desired, [Observed.of(described)]) == Reuse(arn)
            if not _is_left_to_ecs(request, described):
                ran += len(ecs.call("RunTask", {**request, "taskDefinition": arn})["tasks"])
        except Exception as error:
            raise AssertionError(f"block {number} of seed {SEED}: {error!r}") from error
    assert ran > DOCUMENTS // 5
    assert refused > DOCUMENTS // 5
