"""Blocks with generated fields through `preview`, all commands and a run: they agree.

On what is refused; and otherwise on the fingerprint, the revision and the request.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect.client.schemas.objects import FlowRun
from pydantic.v1 import ValidationError

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.block.spec import run_spec
from prefect_ecs_pinned.core.compare import Observed
from prefect_ecs_pinned.core.request import SUBMISSION_VARIABLE
from prefect_ecs_pinned.core.showable import DEFINITION, REQUEST
from prefect_ecs_pinned.core.shown import shown
from prefect_ecs_pinned.errors import ConfigurationError, PinnedECSError
from prefect_ecs_pinned.operations.blocks import of_block
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.claims import claims_of
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.doctor.examine import _examine
from prefect_ecs_pinned.operations.doctor.findings import Status
from prefect_ecs_pinned.operations.doctor.look import Look
from prefect_ecs_pinned.operations.doctor.subject import make_subject
from prefect_ecs_pinned.operations.iam.needs import needs
from prefect_ecs_pinned.operations.pin import pin_for
from prefect_ecs_pinned.operations.plan import plan_for, targets
from prefect_ecs_pinned.operations.prune.rules import Rules
from prefect_ecs_pinned.operations.prune.wanted import prunings_for
from prefect_ecs_pinned.operations.show import show_for
from prefect_ecs_pinned.runs.prepare import Prepared
from prefect_ecs_pinned.runs.revision import named_revision
from prefect_ecs_pinned.runs.run import run
from tests.block.conftest import EXECUTION_ROLE, SECRET, TASK_ROLE, World, a_definition
from tests.runs.test_run import Recorded

pytestmark = pytest.mark.walkthrough

BLOCKS = 120
SEED = 4711

#: The id of the flow run, which commands use as a placeholder.
RUN = FlowRun(id=UUID(int=0), name="flow-run", flow_id=UUID(int=0), work_pool_id=None)

FARGATE = [{"capacityProvider": "FARGATE", "weight": 1}]
SPOT = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
OWN = [{"capacityProvider": "own-instances", "weight": 1}]

#: Cluster -> its default strategy.
CLUSTERS = {"on-spot": SPOT, "on-own": OWN, "on-none": []}

EITHER = ["EC2", "FARGATE"]
NETWORK = "/networkConfiguration/awsvpcConfiguration"
OVERRIDE = "/overrides/containerOverrides/0"


def _patch(rng: random.Random, arn: str) -> dict[str, Any]:
    op = rng.choice(["add", "replace", "remove", "test"])
    path, value = rng.choice(
        [
            (f"{NETWORK}/assignPublicIp", rng.choice(["ENABLED", "DISABLED"])),
            (f"{NETWORK}/assignPublicIp", "DISABLED"),
            (f"{NETWORK}/assignPublicIp", "DISABLED"),
            (f"{NETWORK}/securityGroups", []),
            ("/launchType", rng.choice(["EC2", "FARGATE"])),
            ("/capacityProviderStrategy", rng.choice([SPOT, OWN])),
            ("/group", "nightly"),
            ("/startedBy", "somebody"),
            ("/cluster", rng.choice(list(CLUSTERS))),
            ("/tags/0", {"key": "patched", "value": "1"}),
            ("/platformVersion", "1.4.0"),
            ("/taskDefinition", arn),
            (f"{OVERRIDE}/command", ["true"]),
            (f"{OVERRIDE}/name", rng.choice(["main", "other"])),
            (f"{OVERRIDE}/environment/0", {"name": "P", "value": "1"}),
            ("/overrides/cpu", "512"),
            ("/overrides/taskRoleArn", TASK_ROLE),
            ("/overrides/executionRoleArn", EXECUTION_ROLE),
        ]
    )
    return {"op": op, "path": path, "value": value}


def _definition(rng: random.Random, container: str) -> dict[str, Any]:
    """Of which each member may be left out."""
    members: dict[str, Any] = {
        "networkMode": rng.choice(["awsvpc", "awsvpc", "bridge"]),
        "requiresCompatibilities": rng.choice([EITHER, EITHER, ["FARGATE"], ["EC2"]]),
        "executionRoleArn": EXECUTION_ROLE,
        "taskRoleArn": TASK_ROLE,
        "cpu": rng.choice(["512", 1024]),
        "memory": "2048",
        "tags": [{"key": "team", "value": "data"}],
        "containerDefinitions": [
            {
                "name": container,
                "image": "flows:1",
                "environment": [{"name": "A", "value": "0"}],
                **({"command": ["sleep", "1"]} if rng.random() < 0.3 else {}),
            }
        ],
    }
    return {name: value for name, value in members.items() if rng.random() < 0.6}


@dataclass
class There:
    """What there is in the account: revisions of others, subnets, security groups."""

    arns: list[str]
    subnets: list[str]
    groups: list[str]


def _fields(rng: random.Random, there: There) -> dict[str, Any]:
    """Fields of a block; most blocks leave most of them out."""
    arns, subnets, groups = there.arns, there.subnets, there.groups
    container = rng.choice(["prefect", "prefect", "main"])
    fields: dict[str, Any] = {
        "launch_type": rng.choice(["FARGATE", "FARGATE_SPOT", "EC2", "EXTERNAL", *[None] * 5]),
        "cluster": rng.choice([None, *CLUSTERS]),
        "task_customizations": [
            _patch(rng, rng.choice(arns)) for _ in range(rng.choice([0, 0, 0, 1, 1, 2]))
        ],
        "command": rng.choice([None, ["true"]]),
        "execution_role_arn": rng.choice([EXECUTION_ROLE, EXECUTION_ROLE, "execution", None]),
    }
    rare: dict[str, Any] = {
        "capacity_provider_strategy": rng.choice([FARGATE, SPOT, OWN]),
        "platform_version": "1.4.0",
        "ephemeral_storage": 40,
        "container_name": container,
        "propagate_tags": rng.choice(["TASK_DEFINITION", "NONE"]),
        "enable_ecs_managed_tags": True,
        "enable_execute_command": True,
        "task_definition_tags": {"stage": "prod"},
        "family": f"Fam--{rng.randrange(3)}",
        "subnets": subnets,
        "security_groups": groups,
        "assign_public_ip": rng.choice([True, False]),
        "secrets": {"KEY": SECRET},
        "task_role_arn": TASK_ROLE,
        "cpu": rng.choice([256, 512, 1024]),
        "memory": rng.choice([2048, 2048, 4096]),
        "env": rng.choice([{"A": "1"}, {"A": None}, {"KEY": "1"}, {"LONG": "x" * 7700}]),
        "labels": {"team": "data"},
        "configure_cloudwatch_logs": True,
        "cloudwatch_logs_options": {"awslogs-group": "flows"},
        "image": "flows:2",
    }
    fields |= {name: value for name, value in rare.items() if rng.random() < 0.15}
    if fields.get("capacity_provider_strategy") and rng.random() < 0.8:
        fields["launch_type"] = None
    of_definition = rng.random()
    if of_definition < 0.5:
        fields["task_definition"] = _definition(rng, container)
    elif of_definition < 0.7:
        fields["task_definition_arn"] = rng.choice(arns)
        fields["registration"] = rng.choice(["on-change", "never"])
        fields.setdefault("image", None)
    return fields


@dataclass
class Case:
    """A block that was made, and what is known of its runs."""

    number: int
    fields: dict[str, Any]
    block: PinnedECSTask
    one: Configuration
    prepared: Prepared | None = None


def _cases(world: World, there: There) -> list[Case]:
    cases = []
    for number in range(BLOCKS):
        fields = _fields(random.Random(SEED * 1_000_003 + number), there)
        try:
            block = world.block(f"agree-{number}", **fields)
        except ValidationError:
            continue
        cases.append(Case(number, fields, block, of_block(block, f"pinned-ecs-task/{number}")))
    return cases


async def _said(step: Any) -> tuple[str, Any]:
    """What is refused as a configuration, and what came of it otherwise."""
    try:
        return "", await step
    except ConfigurationError as error:
        return f"{error.what}: {error.why}", None
    except PinnedECSError as error:
        return "", error


def _previewed(block: PinnedECSTask) -> tuple[str, list[Any]]:
    try:
        return "", list(yaml.safe_load_all(block.prepare_for_flow_run(RUN).preview()))
    except ConfigurationError as error:
        return f"{error.what}: {error.why}", []


def _sent(request: dict[str, Any]) -> dict[str, Any]:
    """A request without what each submission, or each version of Prefect, has of its own."""
    result = {k: v for k, v in request.items() if k not in ("clientToken", "taskDefinition")}
    result["tags"] = [t for t in result.get("tags") or () if t["key"] != "prefect.io/version"]
    overrides = dict(result["overrides"])
    containers = []
    for container in overrides["containerOverrides"]:
        environment = [
            v for v in container.get("environment") or () if v["name"] != SUBMISSION_VARIABLE
        ]
        if environment or container.keys() != {"name", "environment"}:
            containers.append({**container, "environment": environment})
    overrides["containerOverrides"] = containers
    return {**result, "overrides": overrides}


def _without_subnets(request: Any) -> Any:
    network = (request.get("networkConfiguration") or {}).get("awsvpcConfiguration")
    if not network:
        return request
    rest = {name: value for name, value in network.items() if name != "subnets"}
    return {**request, "networkConfiguration": {"awsvpcConfiguration": rest}}


@pytest.fixture
def there(world: World) -> There:
    for cluster, default in CLUSTERS.items():
        strategy = {"defaultCapacityProviderStrategy": default} if default else {}
        world.ecs.model.answer("CreateCluster", {"clusterName": cluster, **strategy}, "us-east-1")
    main = [{"name": "main", "image": "flows:1"}]
    arns = [
        world.register(a_definition("theirs", requiresCompatibilities=EITHER)),
        world.register(a_definition("theirs-main", containerDefinitions=main)),
    ]
    ec2 = world.ecs.client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]
    group = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [subnet["VpcId"]]}])[
        "SecurityGroups"
    ][0]
    return There(arns, [subnet["SubnetId"]], [group["GroupId"]])


async def test_preview_all_commands_and_a_run_agree(world: World, fresh, there) -> None:
    cases, seen = _cases(world, there), Counter[str]()
    accepted = []
    for case in cases:
        if (refusal := await _refusal(case)) is None:
            accepted.append(case)
        else:
            seen["refused"] += 1
            await _assert_all_refuse(case, refusal)
    await _assert_all_agree(world, accepted, seen)
    assert len(cases) > BLOCKS // 2, seen
    assert seen["refused"] > BLOCKS // 5, seen
    assert seen["ran"] > BLOCKS // 5, seen
    assert seen["by the cluster"] > BLOCKS // 50, seen


async def _refusal(case: Case) -> str | None:
    said, _ = await _said(plan_for([case.one]))
    return said or None


async def _assert_all_refuse(case: Case, planned: str) -> None:
    """In the same words; `preview` too, but for what only AWS knows."""
    plane = case.block._control_plane()
    spec = run_spec(case.block.prepare_for_flow_run(RUN))
    ran, _ = await _said(run(spec, plane, Recorded(supervised=False)))
    pinned, _ = await _said(pin_for([case.one]))
    listed, _ = await _said(show_for([case.one]))
    pruned, _ = await _said(prunings_for([case.one], Rules(1, timedelta(0))))
    assert planned == ran == pinned == listed == pruned, (case.number, case.fields)
    look = Look(case.one.access)
    try:
        said = await _examine(case.one, look)
    finally:
        look.close()
    failed = [(name, answer) for name, answer in said if answer.status is Status.FAIL]
    of_the_request = [
        name
        for name, answer in failed
        if name in ("definition", "size", "overrides") or "does not use them" in answer.detail
    ]
    assert of_the_request, (case.number, case.fields, planned, failed)


async def _assert_all_agree(world: World, cases: list[Case], seen: Counter[str]) -> None:
    every = [case.one for case in cases]
    by_name = {case.one.name: case for case in cases}
    before = {name: step for step in await plan_for(every) for name in step.used_by}
    pinned = {name: pin for pin in await pin_for(every) for name in pin.used_by}
    after = {name: step for step in await plan_for(every) for name in step.used_by}
    families = await show_for(every)
    in_use = {name: use for f in families for use in f.in_use for name in use.used_by}
    pruned = {p.family for p in await prunings_for(every, Rules(1, timedelta(0)))}
    async with targets(every) as found:
        for target in found:
            for configuration, one in target.members:
                by_name[configuration.name].prepared = one
    assert by_name.keys() == before.keys() == pinned.keys() == after.keys() == in_use.keys()
    look = Look(every[0].access)
    calls = Calls(look.plane)
    where = "123456789012"
    for name, case in by_name.items():
        about = (case.number, case.fields)
        prepared = case.prepared
        assert prepared is not None
        desired, arn = prepared.desired, pinned[name].arn
        # -- fingerprint and revision
        assert {
            before[name].fingerprint,
            pinned[name].fingerprint,
            after[name].fingerprint,
            in_use[name].fingerprint,
        } == {desired.fingerprint}, about
        assert arn == after[name].revision == in_use[name].revision, about
        assert after[name].action != "register", about
        assert before[name].revision in (arn, None), about
        if prepared.revision is None:
            assert desired.family in pruned, about
        subject = await make_subject(case.one, look, where)
        assert (subject.desired.fingerprint, subject.revision) == (
            desired.fingerprint,
            prepared.revision,
        ), about
        failed = [(n, a) for n, a in await _examine(case.one, look) if a.status is Status.FAIL]
        assert not {"definition", "size", "overrides", "revision"} & {n for n, _ in failed}, about
        assert (await needs(case.one)).family == desired.family, about
        # -- request
        request = dict(prepared.request)
        assert _without_subnets(_sent(dict(subject.request))) == _without_subnets(_sent(request))
        refused, previewed = _previewed(case.block)
        if subject.default is not None:
            seen["by the cluster"] += 1
        elif not named_revision(case.one.spec):
            assert not refused, about
            assert previewed[0] == shown(desired.definition, DEFINITION), about
            assert _without_subnets(_sent(previewed[1])) == _without_subnets(
                _sent(shown(request, REQUEST))
            ), about
        # -- run
        spec = run_spec(case.block.prepare_for_flow_run(RUN))
        said, result = await _said(run(spec, case.block._control_plane(), Recorded(False)))
        assert not said, (about, said)
        if isinstance(result, PinnedECSError):
            seen[f"{type(result).__name__}: {result.why}"] += 1
            continue
        task = world.ecs.model.find(result.identifier.split("::")[1])
        assert task is not None
        described = dict(task.definition)
        assert described["taskDefinitionArn"].rsplit("/")[-1] == arn.rsplit("/")[-1], about
        assert _sent(dict(task.request)) == _sent(request), about
        claims = await claims_of(calls, name, case.one)
        assert any(claim.covers(Observed.of(described)) for claim in claims), about
        seen["ran"] += 1
    look.close()
