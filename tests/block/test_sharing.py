"""The promise: one revision for all runs whose configuration is the same, and when a new one."""

from __future__ import annotations

import asyncio
import copy
import json
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from prefect_ecs_pinned.core.fingerprint import label
from tests.block.conftest import (
    EXECUTION_ROLE,
    SECRET,
    TASK_ROLE,
    World,
    a_definition,
)

#: Members in which two registrations of the same definition differ.
OF_THE_REGISTRATION = {"taskDefinitionArn", "revision", "status", "registeredAt", "deregisteredAt"}

LOGS: dict[str, Any] = {"configure_cloudwatch_logs": True, "execution_role_arn": EXECUTION_ROLE}


def flow_run(number: int) -> SimpleNamespace:
    return SimpleNamespace(id=uuid4(), name=f"purple-cat-{number}")


async def test_two_flow_runs_with_logs_register_the_same_bytes(world: World, restart):
    """The first revision is deregistered, so that the second run has to register too."""
    block = world.block(command=None, **LOGS)
    deployment = SimpleNamespace(name="prod", updated=None)
    for number in range(2):
        run = block.prepare_for_flow_run(
            flow_run(number), deployment=deployment, flow=SimpleNamespace(name=f"flow-{number}")
        )
        world.deregister((await world.run(run)).definition["taskDefinitionArn"])
        restart()
    one, two = (
        json.dumps({k: v for k, v in revision.items() if k not in OF_THE_REGISTRATION})
        for revision in world.revisions(world.family(block))
    )
    assert one == two


async def test_two_flow_runs_with_logs_share_a_revision(world: World):
    """`ECSTask` registers one for each: the flow run's name becomes the stream prefix."""
    block = world.block(command=None, **LOGS)
    runs = [block.prepare_for_flow_run(flow_run(number)) for number in range(2)]
    first, second = await asyncio.gather(*map(world.run, runs))
    assert first.revision == second.revision
    assert world.calls("RegisterTaskDefinition") == 1


SIZES = [(256, 512), (512, 1024), (1024, 2048), (2048, 4096), (4096, 8192)] * 2


async def test_ten_deployments_share_a_revision(world: World):
    """They differ in everything that a launch can set; each launch sends its own."""
    clusters = [f"cluster-{n}" for n in range(10)]
    for cluster in clusters:
        world.ecs.client("ecs").create_cluster(clusterName=cluster)
    name = world.block()._block_document_name
    blocks = [
        world.block(
            name,
            cpu=cpu,
            memory=memory,
            env={"NUMBER": str(n)},
            labels={"number": str(n)},
            command=["run", str(n)],
            cluster=clusters[n],
            task_role_arn=f"{TASK_ROLE}-{n}",
        )
        for n, (cpu, memory) in enumerate(SIZES)
    ]
    launched = await asyncio.gather(*map(world.run, blocks))
    assert {one.revision for one in launched} == {f"prefect-{name}:1"}
    assert world.calls("RegisterTaskDefinition") == 1
    for n, one in enumerate(launched):
        assert (one.request["overrides"]["cpu"], one.request["overrides"]["memory"]) == tuple(
            map(str, SIZES[n])
        )
        assert one.environment["NUMBER"] == str(n)
        assert one.request["overrides"]["taskRoleArn"] == f"{TASK_ROLE}-{n}"
        assert one.request["cluster"] == clusters[n]
        assert one.override["command"] == ["run", str(n)]


def container(**members):
    return {"containerDefinitions": [{"name": "prefect", "image": "flows:1", **members}]}


SIDECAR = {"name": "sidecar", "image": "datadog/agent:7"}


@pytest.mark.parametrize(
    ("base", "change"),
    [
        pytest.param({}, {"image": "flows:2"}, id="image"),
        pytest.param(
            {"execution_role_arn": EXECUTION_ROLE}, {"secrets": {"KEY": SECRET}}, id="secrets"
        ),
        pytest.param(LOGS, {"cloudwatch_logs_options": {"awslogs-group": "x"}}, id="log options"),
        pytest.param(
            {"launch_type": "EC2"}, {"task_definition": {"networkMode": "host"}}, id="network mode"
        ),
        pytest.param({}, {"execution_role_arn": EXECUTION_ROLE}, id="execution role"),
        pytest.param({}, {"task_definition": {"containerDefinitions": [SIDECAR]}}, id="sidecar"),
        pytest.param({}, {"task_definition": {"taskRoleArn": TASK_ROLE}}, id="task role inside"),
        pytest.param({}, {"task_definition": container(command=["x"])}, id="command inside"),
        pytest.param(
            {"task_definition": container(environment=[{"name": "A", "value": "1"}])},
            {"env": {"A": None}},
            id="unset variable",
        ),
    ],
)
async def test_what_a_launch_cannot_set_needs_one_new_revision(world: World, base, change):
    """Exactly one; going back, and forth again, needs none."""
    one = world.block(**base)
    two = world.block(one._block_document_name, **{**base, **change})
    used = [(await world.run(block)).revision for block in (one, two, two, one, two)]
    assert [revision.rsplit(":", 1)[1] for revision in used] == list("12212")
    assert world.calls("RegisterTaskDefinition") == 2


async def test_going_back_in_a_new_process_needs_no_revision(world: World, restart):
    """The newest revision is another one; the family is looked through."""
    name = world.block()._block_document_name
    one, two = world.block(name), world.block(name, image="flows:2")
    used = [await world.run(one), await world.run(two)]
    restart()
    used += [await world.run(one), await world.run(two)]
    assert [launched.revision[-2:] for launched in used] == [":1", ":2", ":1", ":2"]
    assert world.calls("RegisterTaskDefinition") == 2


async def test_fifty_images_in_one_family_are_registered_one_at_a_time(world: World, restart):
    """ECS refuses registrations of a family that overlap: none is. A restart registers none."""
    world.ecs.change(latencies={"RegisterTaskDefinition": 0.01, "*": 0.0})
    name = world.block()._block_document_name
    fields = {"task_watch_poll_interval": 0.5}
    blocks = [world.block(name, image=f"flows:{n}", **fields) for n in range(50)]
    cold = await asyncio.gather(*map(world.run, blocks))
    assert len({one.revision for one in cold}) == 50
    assert [one.container["image"] for one in cold] == [f"flows:{n}" for n in range(50)]
    assert world.calls("RegisterTaskDefinition") == 50
    assert world.refused("RegisterTaskDefinition") == 0

    restart()
    world.ecs.reset()
    warm = await asyncio.gather(*map(world.run, blocks))
    assert [one.revision for one in warm] == [one.revision for one in cold]
    assert world.calls("RegisterTaskDefinition") == 0
    assert world.calls("ListTaskDefinitions") == 1
    assert world.calls("DescribeTaskDefinition") <= 51


async def test_twenty_runs_keep_to_the_call_budget(world: World, fresh):
    """Every look-up once, whoever asks; DescribeTasks for all tasks together."""
    block = world.block(task_watch_poll_interval=0.5)
    launched = await asyncio.gather(*(world.run(block) for _ in range(20)))
    assert len({one.revision for one in launched}) == 1
    for action in (
        "RegisterTaskDefinition",
        "DescribeTaskDefinition",
        "DescribeVpcs",
        "DescribeSubnets",
    ):
        assert world.calls(action) == 1, action
    assert world.calls("RunTask") == 20
    assert world.calls("DescribeTasks") <= 4
    assert world.calls("DeregisterTaskDefinition") == 0


async def test_a_deregistered_pin_is_one_incident(world: World):
    """Twenty runs hit it; one registers, and all are launched."""
    block = world.block()
    stale = await world.run(block)
    world.deregister(stale.definition["taskDefinitionArn"])
    world.ecs.reset()
    launched = await asyncio.gather(*(world.run(block) for _ in range(20)))
    assert {one.revision for one in launched} == {f"{world.family(block)}:2"}
    assert world.calls("RegisterTaskDefinition") == 1
    assert len(world.ecs.launches) == 20


# -- what is not believed --------------------------------------------------------------------------


def registrable(revision):
    return {name: copy.deepcopy(revision[name]) for name in a_definition("any") if name in revision}


@pytest.mark.parametrize(
    "forgery",
    [
        {"image": "evil:1"},
        {"privileged": True},
        {"user": "root"},
        {"readonlyRootFilesystem": True},
        {"workingDirectory": "/evil"},
        {"entryPoint": ["evil"]},
    ],
    ids=lambda forgery: next(iter(forgery)),
)
async def test_a_copied_label_on_something_else_is_not_believed(world: World, restart, forgery):
    """Somebody copied the newest revision in the console, label and all."""
    block = world.block()
    own = await world.run(block)
    forged = registrable(own.definition)
    forged["containerDefinitions"][0].update(forgery)
    arn = world.register(forged)
    assert label(forged) == label(own.definition)
    restart()
    again = await world.run(block)
    assert again.definition["taskDefinitionArn"] != arn
    assert again.revision == own.revision
    assert world.calls("RegisterTaskDefinition") == 1


async def test_a_copied_label_alone_is_registered_anew(world: World, restart):
    """The original has been deregistered: there is nothing to go back to."""
    block = world.block()
    own = await world.run(block)
    forged = registrable(own.definition)
    forged["containerDefinitions"][0]["image"] = "evil:1"
    world.register(forged)
    world.deregister(own.definition["taskDefinitionArn"])
    restart()
    again = await world.run(block)
    assert again.revision == f"{world.family(block)}:3"
    assert again.container["image"] == "flows:1"


@pytest.mark.parametrize("role", [TASK_ROLE, None])
async def test_a_revision_with_a_task_role_is_not_adopted_for_a_block_without(world: World, role):
    """A launch cannot take the role away. Without the role, the same revision is adopted."""
    block = world.block()
    members = {"taskRoleArn": role} if role else {}
    theirs = world.register(a_definition(world.family(block), **members))
    launched = await world.run(block)
    adopted = launched.definition["taskDefinitionArn"] == theirs
    assert adopted == (role is None)
    assert world.calls("RegisterTaskDefinition") == (1 if role else 0)
    assert "taskRoleArn" not in launched.definition


async def test_the_blocks_own_task_role_goes_into_overrides_only(world: World):
    """So a revision without one serves it."""
    block = world.block(task_role_arn=TASK_ROLE)
    theirs = world.register(a_definition(world.family(block)))
    launched = await world.run(block)
    assert launched.definition["taskDefinitionArn"] == theirs
    assert launched.request["overrides"]["taskRoleArn"] == TASK_ROLE
