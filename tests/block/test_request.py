"""What a launch sends: the same as `ECSTask`, but for the sizes, which are always stated."""

from __future__ import annotations

import json
import warnings
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import prefect_aws.ecs
import pytest
from prefect.infrastructure.base import Infrastructure
from prefect.settings import PREFECT_API_KEY, PREFECT_API_URL, temporary_settings
from prefect.utilities.pydantic import JsonPatch

from prefect_ecs_pinned.core.request import SUBMISSION_VARIABLE
from prefect_ecs_pinned.errors import ConfigurationError
from tests.block.conftest import EXECUTION_ROLE, TASK_ROLE, World

LABELS = {"prefect.io/flow-run-name": "purple-cat", "Größe": "a#b&c d,e", "x/y:z@1+2=3": "keep"}


def original(revision: str, network: dict[str, Any] | None, **fields: Any) -> dict[str, Any]:
    """The request that `ECSTask` itself would send."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        block = prefect_aws.ecs.ECSTask(**fields)
        return dict(block._prepare_task_run(network, revision))


def in_ecs_tasks_words(request: dict[str, Any]) -> dict[str, Any]:
    """A request as ECS has received it, without what no `ECSTask` sends."""
    ours = ("clientToken",)
    sent = {k: v for k, v in request.items() if k not in ours and v not in ([], None)}
    for container in sent["overrides"]["containerOverrides"]:
        container["environment"] = [
            v for v in container["environment"] if v["name"] != SUBMISSION_VARIABLE
        ]
    return sent


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="defaults"),
        pytest.param({"launch_type": "FARGATE_SPOT"}, id="Spot"),
        pytest.param({"launch_type": "EC2"}, id="EC2"),
        pytest.param(
            {"launch_type": "EXTERNAL", "task_definition": {"memory": "512"}}, id="EXTERNAL"
        ),
        pytest.param(
            {"launch_type": None, "task_definition": {"memory": "512"}}, id="no launch type"
        ),
        pytest.param({"env": {"A": "1", "B": "ö", "C": None}}, id="env"),
        pytest.param({"labels": LABELS}, id="labels"),
        pytest.param({"command": ["prefect", "flow-run", "execute"]}, id="command"),
        pytest.param({"command": None}, id="no command"),
        pytest.param({"task_role_arn": TASK_ROLE}, id="task role"),
        pytest.param({"execution_role_arn": EXECUTION_ROLE}, id="execution role"),
        pytest.param({"cluster": "etl"}, id="cluster by name"),
        pytest.param(
            {"cluster": "arn:aws:ecs:us-east-1:123456789012:cluster/etl"}, id="cluster by ARN"
        ),
        pytest.param(
            {
                "task_customizations": [
                    {"op": "add", "path": "/propagateTags", "value": "TASK_DEFINITION"},
                    {
                        "op": "add",
                        "path": "/networkConfiguration/awsvpcConfiguration/assignPublicIp",
                        "value": "DISABLED",
                    },
                    {"op": "remove", "path": "/tags"},
                    {"op": "add", "path": "/overrides/containerOverrides/0/cpu", "value": 77},
                ],
            },
            id="customizations",
        ),
    ],
)
async def test_it_sends_what_ecs_task_sends(world: World, fields):
    """Compared with the request that `ECSTask` itself makes of the same fields, sizes stated."""
    world.ecs.client("ecs").create_cluster(clusterName="etl")
    fields = {"cpu": 1024, "memory": 2048, "command": ["true"], "image": "flows:1", **fields}
    launched = await world.run(world.block(**fields))
    sent = in_ecs_tasks_words(launched.request)
    network = launched.request.get("networkConfiguration")
    expected = original(str(launched.definition["taskDefinitionArn"]), network, **fields)
    assert sent == in_ecs_tasks_words(expected)


async def test_cpu_and_memory_are_overrides_of_task_and_container(world: World):
    """As in `ECSTask`: both levels, the task's as text."""
    launched = await world.run(world.block(cpu=2048, memory=4096))
    assert launched.request["overrides"]["cpu"] == "2048"
    assert launched.request["overrides"]["memory"] == "4096"
    assert (launched.override["cpu"], launched.override["memory"]) == (2048, 4096)


@pytest.mark.parametrize(
    ("fields", "task", "container"),
    [
        ({}, ("1024", "2048"), (None, None)),
        ({"launch_type": "EC2"}, (None, None), (1024, 2048)),
        ({"task_definition": {"cpu": "1 vCPU", "memory": "3GB"}}, ("1024", "3072"), (None, None)),
        ({"cpu": 2048, "memory": 4096}, ("2048", "4096"), (2048, 4096)),
    ],
)
async def test_a_size_that_is_not_set_is_sent_all_the_same(world: World, fields, task, container):
    """Another deployment's sizes may stand in the revision that they share."""
    block = world.block(**fields)
    other = world.block(block._block_document_name, **{**fields, "cpu": 512, "memory": 1024})
    await world.run(other)
    launched = await world.run(block)
    overrides = launched.request["overrides"]
    assert launched.revision == f"{world.family(block)}:1"
    assert (overrides.get("cpu"), overrides.get("memory")) == task
    assert (launched.override.get("cpu"), launched.override.get("memory")) == container


async def test_the_environment_is_settings_then_env(world: World):
    """Settings of the agent, the block's variables over them, unset ones left out."""
    settings = {PREFECT_API_URL: "http://api", PREFECT_API_KEY: "pnu_key"}
    env = {"PREFECT_API_URL": "http://other", "PREFECT_API_KEY": None, "MINE": "1"}
    with temporary_settings(settings):
        block = world.block(env=env)
        launched = await world.run(block)
        expected = {**block._base_environment(), "PREFECT_API_URL": "http://other", "MINE": "1"}
    del expected["PREFECT_API_KEY"]
    assert launched.environment == expected
    assert launched.container["environment"] == []


async def test_labels_become_tags_in_ecs_characters(world: World):
    """A tag with any other character makes ECS refuse the launch."""
    launched = await world.run(world.block(labels=LABELS))
    assert launched.request["tags"] == [
        {"key": "prefect.io/flow-run-name", "value": "purple-cat"},
        {"key": "Gr-e", "value": "a-b-c-d-e"},
        {"key": "x/y:z@1+2=3", "value": "keep"},
    ]


@pytest.mark.parametrize(
    "form", [json.dumps, list, JsonPatch], ids=["JSON text", "list of dicts", "JsonPatch"]
)
async def test_customizations_in_all_forms(world: World, form):
    """As `ECSTask` accepts them."""
    patch = form([{"op": "add", "path": "/group", "value": "nightly"}])
    assert (await world.run(world.block(task_customizations=patch))).request["group"] == "nightly"


async def test_a_patched_task_definition_is_not_pinned(world: World):
    """The revision that the patch names is run, and nothing is registered."""
    arn = world.register({"family": "patched", "containerDefinitions": [], **_two_containers()})
    patch = [{"op": "replace", "path": "/taskDefinition", "value": arn}]
    block = world.block(task_customizations=patch)
    launched = await world.run(block)
    assert launched.definition["taskDefinitionArn"] == arn
    assert world.calls("RegisterTaskDefinition") == 0
    assert "cpu" not in launched.request["overrides"]


def _two_containers() -> dict[str, Any]:
    return {
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [
            {"name": "prefect", "image": "flows:1"},
            {"name": "sidecar", "image": "datadog/agent:7"},
        ],
    }


@pytest.mark.parametrize("member", ["clientToken", "count"])
async def test_a_patch_may_not_set_what_makes_launching_safe(world: World, member):
    """One task for each run, once."""
    patch = [{"op": "add", "path": f"/{member}", "value": 2}]
    block = world.block(task_customizations=patch)
    match = f"sets '{member}'.*\nhint: remove it from task_customizations"
    with pytest.raises(ConfigurationError, match=match):
        await block.run()
    assert world.calls("RegisterTaskDefinition") == 0


async def test_a_flow_run_can_be_found_by_its_id(world: World):
    """As `startedBy`, which ListTasks takes."""
    flow_run = SimpleNamespace(id=uuid4(), name="purple-cat")
    block = world.block(command=None).prepare_for_flow_run(flow_run)
    launched = await world.run(block)
    assert launched.request["startedBy"] == str(flow_run.id)
    assert launched.environment["PREFECT__FLOW_RUN_ID"] == str(flow_run.id)
    arns = world.ecs.client("ecs").list_tasks(startedBy=str(flow_run.id), desiredStatus="STOPPED")[
        "taskArns"
    ]
    assert arns == [launched.result.identifier.split("::")[1]]


async def test_preparing_adds_name_labels_and_command(world: World):
    """As `ECSTask` does, but for the family."""
    flow_run = SimpleNamespace(id=uuid4(), name="purple-cat")
    deployment = SimpleNamespace(name="prod", updated=None)
    flow = SimpleNamespace(name="healthcheck")
    block = world.block(command=None, labels={"team": "data"})
    prepared = block.prepare_for_flow_run(flow_run, deployment=deployment, flow=flow)
    assert prepared.name == "purple-cat"
    assert prepared.command == Infrastructure._base_flow_run_command()
    assert {
        "team": "data",
        "prefect.io/flow-run-id": str(flow_run.id),
        "prefect.io/deployment-name": "prod",
        "prefect.io/flow-name": "healthcheck",
    }.items() <= prepared.labels.items()
    assert prepared.family is None
    assert (await world.run(prepared)).definition["family"] == world.family(block)


# -- network ---------------------------------------------------------------------------------------


def vpc_with_subnets(world: World, number: int) -> tuple[str, list[str]]:
    """A VPC of its own, with so many subnets."""
    ec2 = world.ecs.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24")["Subnet"]["SubnetId"]
        for n in range(number)
    ]
    return vpc, subnets


def configuration(request: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = request["networkConfiguration"]["awsvpcConfiguration"]
    return found


async def test_the_default_vpcs_subnets_are_used(world: World):
    """All of them, with a public address and the VPC's default security group."""
    subnets = world.ecs.client("ec2").describe_subnets()["Subnets"]
    default = {s["SubnetId"] for s in subnets if s["DefaultForAz"]}
    sent = configuration((await world.run(world.block())).request)
    assert set(sent["subnets"]) == default
    assert (sent["assignPublicIp"], sent["securityGroups"]) == ("ENABLED", [])


async def test_a_vpc_is_looked_up_once(world: World):
    """Three runs: one DescribeVpcs, one DescribeSubnets."""
    vpc, subnets = vpc_with_subnets(world, 2)
    world.ecs.change(check_subnets=False)  # it takes a second to know of new ones
    world.ecs.reset()
    block = world.block(vpc_id=vpc)
    for _ in range(3):
        assert set(configuration((await world.run(block)).request)["subnets"]) == set(subnets)
    assert (world.calls("DescribeVpcs"), world.calls("DescribeSubnets")) == (1, 1)


async def test_explicit_subnets_need_no_call_to_ec2(world: World, fresh):
    """Nor a permission for one."""
    subnets = [world.ecs.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]]
    world.ecs.reset()
    block = world.block(
        subnets=subnets, security_groups=["sg-1", "sg-2"], assign_public_ip="DISABLED"
    )
    assert configuration((await world.run(block)).request) == {
        "subnets": subnets,
        "securityGroups": ["sg-1", "sg-2"],
        "assignPublicIp": "DISABLED",
    }
    assert (world.calls("DescribeVpcs"), world.calls("DescribeSubnets")) == (0, 0)


async def test_off_fargate_no_public_address_is_asked_for(world: World):
    """ECS refuses one there; `ECSTask` asks for it all the same."""
    block = world.block(launch_type="EC2", task_definition={"networkMode": "awsvpc"})
    assert "assignPublicIp" not in configuration((await world.run(block)).request)


@pytest.mark.parametrize("mode", [None, "bridge", "host"])
async def test_other_network_modes_have_no_network_configuration(world: World, mode):
    """EC2 is not asked for subnets."""
    definition = {"networkMode": mode} if mode else {}
    block = world.block(launch_type="EC2", task_definition=definition, vpc_id="vpc-unknown")
    assert "networkConfiguration" not in (await world.run(block)).request
    assert world.calls("DescribeVpcs") == 0


async def test_subnets_off_awsvpc_are_an_error(world: World):
    """They would be left out without a word."""
    block = world.block(launch_type="EC2", subnets=["subnet-1"])
    with pytest.raises(ConfigurationError, match="network mode 'bridge' does not use them"):
        await block.run()
    assert world.calls("RegisterTaskDefinition") == 0
