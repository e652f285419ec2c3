"""Each policy is enough for what it is for, and none of its actions is too much.

An authorising front stands before the embedded ECS and denies what a policy does not allow.
What is done with one action less is done for all actions at once, each with an access key and a
family of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import anyio
import pytest

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.aws import control_plane
from prefect_ecs_pinned.aws.output import streams as output
from prefect_ecs_pinned.block.spec import run_spec
from prefect_ecs_pinned.core.definition import build
from prefect_ecs_pinned.core.fingerprint import labelled
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.errors import RegistrationRefused
from prefect_ecs_pinned.local import LocalECS, Phases, Settings
from prefect_ecs_pinned.operations.blocks import of_block
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.iam import Registration, Role, policy, policy_for
from prefect_ecs_pinned.operations.pin import pin_for
from prefect_ecs_pinned.operations.plan import plan_for
from prefect_ecs_pinned.operations.prune import Rules, prunings_for
from prefect_ecs_pinned.operations.show import show_for
from prefect_ecs_pinned.runs.revision import definition_spec
from tests.operations.authorising import AuthorisingFront, allows, without
from tests.operations.fixtures import ACCOUNT, EXECUTION_ROLE, FAMILY_ARN, credentials

TASK_ROLE = f"arn:aws:iam::{ACCOUNT}:role/flows"
CLUSTER = f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/etl"
TASKS = f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/etl/*"

#: Needed only after the answer to RunTask was lost (tests/faults).
LOST_LAUNCHES = {"ecs:ListTasks"}
AGENT = {
    "ecs:RunTask",
    "ecs:DescribeTasks",
    "ecs:StopTask",
    "ecs:TagResource",
    "ecs:DescribeTaskDefinition",
    "ecs:ListTaskDefinitions",
    "ecs:RegisterTaskDefinition",
    "iam:PassRole",
    "ec2:DescribeVpcs",
    "ec2:DescribeSubnets",
    "logs:FilterLogEvents",
    "logs:GetLogEvents",
}
CI = {
    "ecs:DescribeTaskDefinition",
    "ecs:ListTagsForResource",  # its definition has tags
    "ecs:ListTaskDefinitions",
    "ecs:RegisterTaskDefinition",
    "ecs:TagResource",
    "iam:PassRole",
    "ec2:DescribeVpcs",
    "ec2:DescribeSubnets",
}
#: What `show` and `prune` need of the operator's policy.
PRUNING = {
    "ecs:DeleteTaskDefinitions",
    "ecs:DeregisterTaskDefinition",
    "ecs:DescribeServices",
    "ecs:DescribeTaskDefinition",
    "ecs:DescribeTasks",
    "ecs:ListClusters",
    "ecs:ListServices",
    "ecs:ListTagsForResource",
    "ecs:ListTaskDefinitions",
    "ecs:ListTasks",
    "ec2:DescribeVpcs",
    "ec2:DescribeSubnets",
}


class World:
    """An embedded ECS that runs commands, behind a front."""

    def __init__(self, ecs: LocalECS, front: AuthorisingFront) -> None:
        self.ecs = ecs
        self.front = front
        self.client = ecs.client("ecs")
        self.client.create_cluster(clusterName="etl")
        self.subnets = [s["SubnetId"] for s in ecs.client("ec2").describe_subnets()["Subnets"]]

    def block(self, key: str, image: str = "flows:1", **fields: Any) -> PinnedECSTask:
        """A block of the access key's own family."""
        settings = {
            "aws_credentials": credentials(self.front.endpoint_url, key),
            "family": key,
            "image": image,
            "cluster": "etl",
            "command": ["echo", f"said by {key}"],
            "configure_cloudwatch_logs": True,
            "stream_output": True,
            "execution_role_arn": EXECUTION_ROLE,
            "task_role_arn": TASK_ROLE,
            "task_watch_poll_interval": 0.2,
            "labels": {"prefect.io/flow-name": "healthcheck"},
        }
        return PinnedECSTask(**{**settings, **fields})

    def register(self, key: str, *images: str, **fields: Any) -> None:
        """Register what blocks of these images need, as somebody who may do everything."""
        for image in images:
            wanted = Desired(
                build(definition_spec(run_spec(self.block(key, image, **fields)), "us-east-1"))
            )
            request = labelled(wanted.definition, wanted.fingerprint)
            self.client.register_task_definition(**request)

    def revisions(self, key: str) -> dict[int, str]:
        """Number -> status of the key's family."""
        every = self.ecs.model.definitions().all()
        return {d["revision"]: d["status"] for d in every if d["family"] == key}

    async def allow(
        self, key: str, role: Role, less: str = "", registration: str = "on-change", **fields: Any
    ) -> dict[str, Any]:
        """Give a key the policy of a role, with one action less."""
        front = self.front.policies
        front.pop(key, None)
        block = self.block(key, **fields)
        document = await policy_for([configured(block)], role, Registration(registration))
        front[key] = without(document, less)
        return document

    async def with_one_less(
        self, actions: set[str], work: Callable[[str, str], Awaitable[bool]]
    ) -> dict[str, bool]:
        """Do a piece of work for each action that is taken away, all at once.

        Each denied call is one of the action that is missing. Returns for each action whether the
        work ended nevertheless.
        """
        names = sorted(actions)
        keys = [f"less-{number}-{int(time.monotonic())}" for number in range(len(names))]
        results = await asyncio.gather(
            *(work(*pair) for pair in zip(keys, names, strict=True)), return_exceptions=True
        )
        assert {n: self.front.denied[k] for k, n in zip(keys, names, strict=True)} == {
            name: {name} for name in names
        }
        return {name: result is True for name, result in zip(names, results, strict=True)}


def configured(block: PinnedECSTask) -> Configuration:
    return of_block(block, "pinned-ecs-task/etl")


def actions(document: dict[str, Any]) -> set[str]:
    return {action for statement in document["Statement"] for action in statement["Action"]}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    phases = Phases(0, 0, 0, 0, 0, 0)
    settings = Settings(
        latencies={},
        quota_scale=None,
        phases=phases,
        execute=True,
        max_processes=16,
        stop_seconds=1.0,
    )
    with (
        pytest.MonkeyPatch.context() as patch,
        LocalECS(settings) as ecs,
        AuthorisingFront(ecs) as front,
    ):
        for number in ("TAIL_SECONDS", "READ_SECONDS"):
            patch.setattr(output, number, 0.1)
        yield World(ecs, front)
        control_plane.forget_all()


async def launch_and_cancel(world: World, key: str, registration: str) -> bool:
    """What an agent does: from an older revision, from a new one, with output; and cancelling."""
    images = ("flows:1", "flows:3") if registration == "on-change" else ("flows:1",)
    for image in images:
        result = await world.block(key, image, registration=registration).run()
        assert result.status_code == 0
    sleeping = world.block(key, command=["sleep", "600"], registration=registration)
    async with anyio.create_task_group() as group:
        pid = await group.start(sleeping.run)
        await sleeping.kill(pid)
    return len(world.revisions(key)) == 1 + len(images)


@pytest.mark.parametrize("registration", ["on-change", "never"])
async def test_the_agents_policy_is_enough(world, capfd, registration):
    """Without a single denial; with "never" it may not register, and need not."""
    key = f"agent-{registration}"
    world.register(key, "flows:1", "flows:2")
    document = await world.allow(key, Role.agent, registration=registration)
    assert await launch_and_cancel(world, key, registration)
    assert f"said by {key}" in capfd.readouterr().err.splitlines()
    assert world.front.denied[key] == set()
    expected = AGENT - ({"ecs:RegisterTaskDefinition"} if registration == "never" else set())
    assert actions(document) == expected | LOST_LAUNCHES
    assert world.front.allowed[key] == expected


@pytest.mark.walkthrough
async def test_no_action_of_the_agents_policy_is_too_much(world, capfd):
    """Without any of them the work fails or registers too much; output may be missing."""
    keys: dict[str, str] = {}

    async def work(key: str, action: str) -> bool:
        keys[action] = key
        world.register(key, "flows:1", "flows:2")
        await world.allow(key, Role.agent, less=action)
        return await launch_and_cancel(world, key, "on-change")

    done = await world.with_one_less(AGENT, work)
    # `filter` reads many streams in one call; without it they are read one by one.
    assert {a for a, fine in done.items() if fine} == {"logs:FilterLogEvents", "logs:GetLogEvents"}
    said = capfd.readouterr().err.splitlines()
    assert f"said by {keys['logs:FilterLogEvents']}" in said
    assert f"said by {keys['logs:GetLogEvents']}" not in said


async def test_an_agent_that_may_not_register_gets_a_hint(world):
    """Refused before anything is launched, with the command that helps; AWS is not even asked."""
    world.register("granted", "flows:1")
    await world.allow("granted", Role.agent, registration="never")
    with pytest.raises(RegistrationRefused, match="pinned-ecs pin BLOCK"):
        await world.block("granted", "flows:9", registration="never").run()
    assert world.front.denied["granted"] == set()
    assert "ecs:RunTask" not in world.front.allowed["granted"]


#: Makes a registration set tags.
TAGGED = {"task_definition": {"tags": [{"key": "team", "value": "data"}]}}


async def plan_and_pin(world: World, key: str) -> bool:
    """What CI does: an older revision is found, a new one is registered."""
    older = [configured(world.block(key, "flows:1", **TAGGED))]
    newer = [configured(world.block(key, "flows:3", **TAGGED))]
    found = [step.revision for step in await plan_for(older)]
    same = [pinned.arn for pinned in await pin_for(older)]
    made = [pinned.how for pinned in await pin_for(newer)]
    return found == same == [f"{FAMILY_ARN}{key}:1"] and made == ["registered"]


async def test_the_policy_of_ci_is_enough(world):
    """To plan and to pin; it may not launch."""
    world.register("ci", "flows:1", "flows:2", **TAGGED)
    document = await world.allow("ci", Role.ci, **TAGGED)
    assert await plan_and_pin(world, "ci")
    assert world.front.denied["ci"] == set()
    assert world.front.allowed["ci"] == actions(document) == CI


@pytest.mark.walkthrough
async def test_no_action_of_the_policy_of_ci_is_too_much(world):
    """Without any of them CI fails, or does not find an older revision."""

    async def work(key: str, action: str) -> bool:
        world.register(key, "flows:1", "flows:2", **TAGGED)
        await world.allow(key, Role.ci, less=action, **TAGGED)
        return await plan_and_pin(world, key)

    assert not any((await world.with_one_less(CI, work)).values())


async def look_and_prune(world: World, key: str) -> bool:
    """What an operator does with five revisions, of which a task and a service use one each."""
    wanted = [configured(world.block(key, "flows:5"))]
    (family,) = await show_for(wanted)
    (pruning,) = await prunings_for(wanted, Rules(keep=1, min_age=timedelta(0), delete=True))
    pruned = await pruning.carry_out(await pruning.survey())
    return sum(family.live.values()) == 1 and len(pruned.deleted) == 2


def busy_family(world: World, key: str) -> None:
    world.register(key, *(f"flows:{number}" for number in range(1, 6)))
    world.client.create_service(
        cluster="etl", serviceName=key, taskDefinition=f"{key}:1", desiredCount=1
    )
    world.client.run_task(
        cluster="etl",
        taskDefinition=f"{key}:2",
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": world.subnets[:1]}},
        overrides={"containerOverrides": [{"name": "prefect", "command": ["sleep", "600"]}]},
    )


async def test_the_operators_policy_is_enough(prefect, world):
    """To show and to prune."""
    busy_family(world, "operator")
    await world.allow("operator", Role.operator)
    assert await look_and_prune(world, "operator")
    assert world.front.denied["operator"] == set()
    assert world.front.allowed["operator"] == PRUNING


@pytest.mark.walkthrough
async def test_no_action_of_the_operators_policy_is_too_much(prefect, world):
    """Without any of them pruning fails, and what is in use is still there."""
    keys = []

    async def work(key: str, action: str) -> bool:
        keys.append(key)
        busy_family(world, key)
        await world.allow(key, Role.operator, less=action)
        return await look_and_prune(world, key)

    assert not any((await world.with_one_less(PRUNING, work)).values())
    for key in keys:
        statuses = world.revisions(key)
        assert [statuses[number] for number in (1, 2, 5)] == ["ACTIVE"] * 3


def test_resources_and_conditions_are_those_of_the_block(save):
    """To the letter, for one block."""
    save(
        "iam",
        family="etl",
        cluster="etl",
        execution_role_arn=EXECUTION_ROLE,
        task_role_arn="flows",
        subnets=["subnet-1"],
    )
    document = asyncio.run(policy("iam", Role.agent, Registration.never))
    assert document == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Launch",
                "Effect": "Allow",
                "Action": ["ecs:RunTask"],
                "Resource": [FAMILY_ARN + "etl:*"],
                "Condition": {"ArnEquals": {"ecs:cluster": [CLUSTER]}},
            },
            {
                "Sid": "Watch",
                "Effect": "Allow",
                "Action": ["ecs:DescribeTasks", "ecs:StopTask"],
                "Resource": [TASKS],
            },
            {
                "Sid": "FindLaunches",
                "Effect": "Allow",
                "Action": ["ecs:ListTasks"],
                "Resource": ["*"],
                "Condition": {"ArnEquals": {"ecs:cluster": [CLUSTER]}},
            },
            {
                "Sid": "TagTasks",
                "Effect": "Allow",
                "Action": ["ecs:TagResource"],
                "Resource": [TASKS],
                "Condition": {"StringEquals": {"ecs:CreateAction": "RunTask"}},
            },
            {
                "Sid": "LookUp",
                "Effect": "Allow",
                "Action": ["ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions"],
                "Resource": ["*"],
            },
            {
                "Sid": "PassRoles",
                "Effect": "Allow",
                "Action": ["iam:PassRole"],
                "Resource": [TASK_ROLE, EXECUTION_ROLE] if TASK_ROLE < EXECUTION_ROLE else
                [EXECUTION_ROLE, TASK_ROLE],
                "Condition": {
                    "StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
                },
            },
        ],
    }  # fmt: skip


def test_a_linked_revision_is_the_only_one_that_may_run(save, ecs):
    """And neither listing nor registering is needed."""
    client = ecs.client("ecs")
    arn = client.register_task_definition(
        family="made-elsewhere",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="1024",
        memory="2048",
        containerDefinitions=[{"name": "prefect", "image": "flows:1"}],
    )["taskDefinition"]["taskDefinitionArn"]
    save("iam", image=None, task_definition_arn=arn, registration="never", subnets=["subnet-1"])
    document = asyncio.run(policy("iam"))
    assert allows(document, "ecs:RunTask", arn, {"ecs:cluster": CLUSTER.replace("etl", "default")})
    assert not allows(document, "ecs:RunTask", arn.replace(":1", ":2"), {})
    assert actions(document) == {
        "ecs:RunTask",
        "ecs:DescribeTasks",
        "ecs:StopTask",
        "ecs:ListTasks",
        "ecs:TagResource",
        "ecs:DescribeTaskDefinition",
    }


def test_all_covers_what_deployments_override(save, deploy):
    """Another cluster and another task role."""
    save("iam", cluster="etl", subnets=["subnet-1"])
    deploy("etl/big", "iam", {"cluster": "big", "task_role_arn": TASK_ROLE})
    alone = asyncio.run(policy("iam"))
    every = asyncio.run(policy("iam", every=True))
    big = {"ecs:cluster": CLUSTER.replace("etl", "big")}
    revision = FAMILY_ARN + "prefect-iam:1"
    assert not allows(alone, "ecs:RunTask", revision, big)
    assert allows(every, "ecs:RunTask", revision, big)
    to_ecs = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    assert allows(every, "iam:PassRole", TASK_ROLE, to_ecs)
    assert not allows(every, "iam:PassRole", TASK_ROLE, {})


@pytest.mark.parametrize("role", [Role.agent, Role.ci])
def test_the_cluster_may_be_looked_at_where_its_default_strategy_decides(save, role):
    """Whoever prepares a launch asks for it then; nobody else may."""
    either = {"networkMode": "awsvpc", "requiresCompatibilities": ["EC2", "FARGATE"]}
    fields = {"cluster": "etl", "subnets": ["subnet-1"], "task_definition": either}
    for more, asked in (
        ({"launch_type": None}, True),
        ({"launch_type": None, "assign_public_ip": "DISABLED"}, False),
        ({}, False),
    ):
        save("iam", **fields, **more)
        document = asyncio.run(policy("iam", role=role))
        assert allows(document, "ecs:DescribeClusters", CLUSTER, {}) is asked
        assert ("ecs:DescribeClusters" in actions(document)) is asked
