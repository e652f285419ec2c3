"""Bad input: one clear message with a hint, nothing registered if it can be known, nothing left."""

from __future__ import annotations

import json
import traceback

import pytest
from pydantic.v1 import ValidationError

from prefect_ecs_pinned.errors import (
    AccessDenied,
    AwsError,
    ClusterNotFound,
    ConfigurationError,
    CredentialsInvalid,
    OverridesTooLarge,
    PinnedECSError,
)
from prefect_ecs_pinned.local.faults import Fault
from tests.block.conftest import Status, World, a_definition, messages


async def refusal(world: World, **fields) -> PinnedECSError:
    """The error of a run; whatever it was, no task is left, and the message has a hint."""
    with pytest.raises(PinnedECSError) as error:
        await world.block(**fields).run()
    assert world.live_tasks() == 0
    what, hint = str(error.value).split("\nhint: ")
    hint, see = hint.split("\nsee: ")
    assert len(what) > 20
    assert hint
    assert see == error.value.page
    assert "\n" not in hint
    return error.value


# -- known before anything is registered -----------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"cpu": 256, "memory": 300}, "there is no size with cpu 256 and memory 300"),
        ({"cpu": 1024, "memory": 512}, "there is no size with cpu 1024 and memory 512"),
        ({"memory": 9216}, "there is no size with cpu 1024 and memory 9216"),
        (
            {"task_definition": {"cpu": "1 vCPU", "memory": "16GB"}},
            "there is no size with cpu 1024 and memory 16384",
        ),
        ({"cpu": 256, "memory": 1536, "launch_type": "FARGATE_SPOT"}, "memory 1536"),
    ],
)
async def test_a_size_that_fargate_does_not_offer(world: World, fields, why):
    """The sizes that there are stand in the hint."""
    error = await refusal(world, **fields)
    assert isinstance(error, ConfigurationError)
    assert why in error.why
    assert world.calls("RegisterTaskDefinition") == 0


async def test_any_size_goes_on_ec2(world: World):
    """So that the test above tests Fargate."""
    launched = await world.run(world.block(cpu=300, memory=500, launch_type="EC2"))
    assert launched.result.status_code == 0


async def test_overrides_that_are_too_long(world: World):
    """The largest variables are named, largest first; no value is shown."""
    env = {"SMALL": "x" * 10, "LARGE": "y" * 5000, "LARGER": "z" * 6000, "MEDIUM": "w" * 100}
    error = await refusal(world, env=env)
    assert isinstance(error, OverridesTooLarge)
    assert error.largest == ("LARGER", "LARGE", "MEDIUM")
    assert error.size > 11_110
    assert "LARGER (6000), LARGE (5000), MEDIUM (100)" in error.hint
    assert "yyyy" not in str(error)
    assert world.calls("RegisterTaskDefinition") == 0


async def test_overrides_of_exactly_the_limit_are_sent(world: World):
    """ECS accepts 8,192 characters, and not one more; 60 of them are for the launch's own id."""
    with pytest.raises(OverridesTooLarge) as error:
        await world.block(env={"LARGE": "y" * 8192}).run()
    room = 8192 - (error.value.size - 8192) - 60
    launched = await world.run(world.block(env={"LARGE": "y" * room}))
    overrides = json.dumps(launched.request["overrides"], separators=(",", ":"))
    assert len(overrides) == 8192
    assert launched.environment["LARGE"] == "y" * room
    await refusal(world, env={"LARGE": "y" * (room + 1)})
    assert world.refused("RunTask") == 0


async def test_a_vpc_without_subnets(world: World):
    """Said before anything is registered."""
    vpc = world.ecs.client("ec2").create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    error = await refusal(world, vpc_id=vpc)
    assert isinstance(error, ConfigurationError)
    assert f"Failed to find subnets for VPC with ID {vpc}" in str(error)
    assert world.calls("RegisterTaskDefinition") == 0


async def test_an_unknown_vpc(world: World):
    """EC2's words, and what to do."""
    error = await refusal(world, vpc_id="vpc-0123456789abcdef0")
    assert "cannot look up the subnets of VPC with ID vpc-0123456789abcdef0" in str(error)
    assert "InvalidVpcID.NotFound" in str(error)
    assert world.calls("RegisterTaskDefinition") == 0


async def test_no_default_vpc(world: World):
    """The user is asked for subnets or a VPC."""
    region = "ap-southeast-3"
    ec2 = world.ecs.client("ec2", region)
    for vpc in ec2.describe_vpcs()["Vpcs"]:
        for subnet in ec2.describe_subnets()["Subnets"]:
            ec2.delete_subnet(SubnetId=subnet["SubnetId"])
        ec2.delete_vpc(VpcId=vpc["VpcId"])
    error = await refusal(world, region=region)
    assert "Failed to find the default VPC" in str(error)
    assert "explicit `subnets` or a `vpc_id`" in error.hint
    assert world.calls("RegisterTaskDefinition") == 0


VARIABLE = "/overrides/containerOverrides/0/environment/0/value"


@pytest.mark.parametrize(
    "patch",
    [
        {"op": "replace", "path": "/nothing/here", "value": 1},
        {"op": "remove", "path": "/cluster"},
        {"op": "test", "path": VARIABLE, "value": "another"},
    ],
)
async def test_customizations_that_do_not_apply(world: World, patch):
    """jsonpatch's own exceptions show the request with the values of its variables."""
    error = await refusal(world, task_customizations=[patch], env={"TOKEN": "s3cret"})
    assert isinstance(error, ConfigurationError)
    assert "cannot apply task_customizations" in error.what
    assert f"operation {patch['op']!r} of {patch['path']!r}" in error.why
    assert "s3cret" not in "".join(traceback.format_exception(error))
    assert world.calls("RegisterTaskDefinition") == 0


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ({"op": "add", "path": "/priority", "value": 1}, "priority"),
        (
            {"op": "add", "path": "/group", "value": ["s3cret"]},
            "group is a list, and has to be text",
        ),
    ],
)
async def test_customizations_that_make_no_run_task_request(world: World, patch, why):
    """botocore knows, and is asked before anything is registered."""
    error = await refusal(world, task_customizations=[patch])
    assert error.what == "cannot launch"
    assert why in error.why
    assert "task_customizations" in error.hint
    assert "s3cret" not in "".join(traceback.format_exception(error))
    assert world.calls("RegisterTaskDefinition") == 0


@pytest.mark.parametrize(
    "patch",
    [
        [{"op": "frobnicate", "path": "/a"}],
        [{"path": "/a"}],
        [{"op": "remove", "path": "a"}],
        '[{"op": "add"',
        {"op": "remove", "path": "/a"},
    ],
)
def test_customizations_that_are_no_json_patch(world: World, patch):
    """Refused when the block is made, by pydantic."""
    with pytest.raises(ValidationError, match="task_customizations"):
        world.block(task_customizations=patch)


async def test_no_image_for_a_linked_definition_without_a_prefect_container(world: World):
    """`ECSTask` lets ECS find out."""
    arn = world.register(
        {
            "family": world.family(world.block()),
            "containerDefinitions": [{"name": "app", "image": "x:1", "memory": 128}],
        }
    )
    error = await refusal(world, task_definition_arn=arn, image=None, launch_type="EC2")
    assert "names an image for container 'prefect'" in str(error)


def test_auto_deregister_is_refused_when_the_block_is_made(world: World):
    """And says why, and what removes old revisions."""
    with pytest.raises(ValidationError, match=r"share one revision.*hint:.*pinned-ecs prune"):
        world.block(auto_deregister_task_definition=True)
    assert world.block().auto_deregister_task_definition is False


# -- known only when ECS says so -------------------------------------------------------------------


async def test_an_unknown_cluster(world: World):
    """One attempt, one message."""
    error = await refusal(world, cluster="nowhere")
    assert isinstance(error, ClusterNotFound)
    assert "on cluster 'nowhere': ClusterNotFoundException" in str(error)
    assert world.calls("RunTask") == 1


async def test_an_unknown_subnet(world: World):
    """ECS's own words name it."""
    error = await refusal(world, subnets=["subnet-0123456789abcdef0"])
    assert "subnet-0123456789abcdef0" in str(error)
    assert world.calls("RunTask") == 1


async def test_a_cluster_without_instances(world: World):
    """`ECSTask` has a message for it too."""
    world.ecs.change(container_instances=0)
    error = await refusal(world, launch_type="EC2")
    assert "No Container Instances were found in your cluster" in str(error)
    assert "container instances are registered" in error.hint


async def test_a_definition_that_boto3_does_not_take(world: World):
    """A misspelt member: found by boto3 before the call is made."""
    error = await refusal(world, task_definition={"networkMod": "awsvpc"})
    assert 'Unknown parameter in input: "networkMod"' in str(error)
    assert world.calls("RegisterTaskDefinition") == 0


# -- denied ----------------------------------------------------------------------------------------

DENIED = "User: arn:aws:iam::123456789012:user/agent is not authorized to perform this action"


@pytest.mark.parametrize(
    ("action", "code", "permission", "registrations"),
    [
        ("DescribeTaskDefinition", "AccessDeniedException", "ecs:DescribeTaskDefinition", 0),
        ("RegisterTaskDefinition", "AccessDeniedException", "ecs:RegisterTaskDefinition", 1),
        ("RunTask", "AccessDeniedException", "ecs:RunTask", 1),
        ("DescribeVpcs", "UnauthorizedOperation", "ec2:DescribeVpcs", 0),
        ("DescribeSubnets", "UnauthorizedOperation", "ec2:DescribeSubnets", 0),
    ],
)
async def test_a_denied_call(world: World, fresh, action, code, permission, registrations):
    """The permission that is missing stands in the hint; the call is not repeated."""
    world.ecs.faults(Fault("error", action, code=code, message=DENIED, status=403))
    error = await refusal(world)
    assert isinstance(error, AccessDenied)
    assert error.code == code
    assert DENIED in error.why
    assert permission in error.hint
    assert world.calls(action) == 1
    assert world.calls("RegisterTaskDefinition") == registrations


async def test_a_denied_listing_costs_a_warning_only(world: World, fresh, log):
    """Prefect's published worker policy does not allow it."""
    fault = Fault("error", "ListTaskDefinitions", code="AccessDeniedException", message=DENIED)
    world.ecs.faults(fault)
    blocks = [world.block() for _ in range(2)]
    for block in blocks:
        container = {"name": "prefect", "image": "flows:0"}
        world.register(a_definition(world.family(block), containerDefinitions=[container]))
        assert (await world.run(block)).revision == f"{world.family(block)}:2"
    warnings = [m for m in messages(log) if "Allow ecs:ListTaskDefinitions" in m]
    assert len(warnings) == 1


@pytest.mark.parametrize("code", ["UnrecognizedClientException", "ExpiredTokenException"])
async def test_credentials_that_aws_does_not_know(world: World, fresh, code):
    """They have never worked: they are read afresh once, and that is all."""
    fault = Fault("error", "DescribeTaskDefinition", code=code, message="The token is invalid.")
    world.ecs.faults(fault)
    error = await refusal(world, subnets=["subnet-0123456789abcdef0"])
    assert isinstance(error, CredentialsInvalid)
    assert "renew the AWS credentials" in error.hint
    assert world.calls("DescribeTaskDefinition") == 2
    assert world.calls("RegisterTaskDefinition") == 0


async def test_no_region_anywhere(world: World, monkeypatch, tmp_path, fresh):
    """boto3 has none, the credentials have none."""
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    credentials = world.credentials().copy(update={"region_name": None})
    error = await refusal(world, aws_credentials=credentials)
    assert isinstance(error, AwsError)
    assert "region_name" in error.hint


@pytest.mark.parametrize("by_agent", [True, False])
async def test_an_agent_logs_no_chain_of_tracebacks(world: World, by_agent):
    """It logs the traceback of what it gets; a caller of Python gets the cause."""
    world.ecs.faults(Fault("error", "RunTask", code="AccessDeniedException", message="no"))
    with pytest.raises(AccessDenied) as error:
        await world.block().run(task_status=Status() if by_agent else None)
    printed = "".join(traceback.format_exception(error.value))
    assert ("direct cause" in printed) is not by_agent
    assert "hint: allow ecs:RunTask" in printed
