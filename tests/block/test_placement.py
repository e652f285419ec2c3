"""Fields for what was patched before: where a task is placed, its disk, its tags, ECS Exec."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic.v1 import ValidationError

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.block.spec import run_spec
from prefect_ecs_pinned.core.definition import build
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.runs.revision import definition_spec
from tests.block.conftest import TASK_ROLE, World
from tests.block.test_request import in_ecs_tasks_words

MINE = [{"capacityProvider": "etl-instances", "weight": 1}]
SPOT = [
    {"capacityProvider": "FARGATE_SPOT", "weight": 4},
    {"capacityProvider": "FARGATE", "weight": 1, "base": 2},
]
OLD = [("platform_version", "1.4.0"), ("ephemeral_storage", 40)]


def placed(request: dict[str, Any]) -> tuple[Any, Any]:
    return request.get("launchType"), request.get("capacityProviderStrategy")


def definition_of(block: PinnedECSTask) -> dict[str, Any]:
    return build(definition_spec(run_spec(block), "us-east-1"))


# -- what is sent -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "member", "sent"),
    [
        ({"platform_version": "1.4.0"}, "platformVersion", "1.4.0"),
        ({"propagate_tags": "TASK_DEFINITION"}, "propagateTags", "TASK_DEFINITION"),
        ({"propagate_tags": "NONE"}, "propagateTags", "NONE"),
        ({"enable_ecs_managed_tags": True}, "enableECSManagedTags", True),
        (
            {"enable_execute_command": True, "task_role_arn": TASK_ROLE},
            "enableExecuteCommand",
            True,
        ),
    ],
)
async def test_a_field_is_sent_as_it_stands(world: World, fields, member, sent):
    """And is what the patch of it was: the request is the same."""
    launched = await world.run(world.block(**fields))
    assert launched.request[member] == sent
    patch = [{"op": "add", "path": f"/{member}", "value": sent}]
    kept = {name: value for name, value in fields.items() if name == "task_role_arn"}
    patched = await world.run(world.block(task_customizations=patch, **kept))
    ours, theirs = (in_ecs_tasks_words(one.request) for one in (launched, patched))
    for request in (ours, theirs):
        request.pop("taskDefinition")
    assert ours == theirs


async def test_what_is_not_set_is_not_sent(world: World):
    """A block without these fields sends what it always did."""
    launched = await world.run(world.block())
    assert in_ecs_tasks_words(launched.request).keys() == {
        *("launchType", "networkConfiguration", "overrides", "taskDefinition"),
    }
    assert launched.request["overrides"].keys() == {"containerOverrides", "cpu", "memory"}


async def test_the_disk_is_sent_with_each_launch(world: World):
    """Changing it registers nothing."""
    block = world.block(ephemeral_storage=21)
    sizes = []
    for gib in (21, 200):
        again = world.block(block._block_document_name, ephemeral_storage=gib)
        launched = await world.run(again)
        sizes.append(launched.request["overrides"]["ephemeralStorage"])
    assert sizes == [{"sizeInGiB": 21}, {"sizeInGiB": 200}]
    assert len(world.revisions(world.family(block))) == 1


@pytest.mark.parametrize("strategy", [MINE, SPOT])
async def test_a_strategy_takes_the_place_of_the_launch_type(world: World, strategy):
    """Also of the default, when no launch type is given."""
    base = {"networkMode": "bridge"} if strategy is MINE else {}
    base["containerDefinitions"] = [{"name": "prefect", "memory": 512}]  # type: ignore[assignment]
    for fields in ({}, {"launch_type": None}):
        block = world.block(
            capacity_provider_strategy=strategy, task_definition=dict(base), **fields
        )
        launched = await world.run(block)
        assert placed(launched.request) == (None, strategy)


async def test_fargates_providers_are_fargate(world: World):
    """As with the launch type: its network, its sizes, a public IP."""
    launched = await world.run(world.block(capacity_provider_strategy=SPOT))
    assert launched.definition["requiresCompatibilities"] == ["FARGATE"]
    network = launched.request["networkConfiguration"]["awsvpcConfiguration"]
    assert network["assignPublicIp"] == "ENABLED"


def test_a_strategy_for_fargate_shares_the_launch_types_revision():
    by_type = definition_of(PinnedECSTask(image="flows:1"))
    assert definition_of(PinnedECSTask(image="flows:1", capacity_provider_strategy=SPOT)) == by_type


# -- managed instances --------------------------------------------------------------------------


async def test_managed_instances_by_their_capacity_provider(world: World):
    """ECS launches them by a strategy alone; the definition is made for them."""
    launched = await world.run(
        world.block(launch_type="MANAGED_INSTANCES", capacity_provider_strategy=MINE)
    )
    assert placed(launched.request) == (None, MINE)
    assert launched.definition["requiresCompatibilities"] == ["MANAGED_INSTANCES"]
    assert launched.definition["networkMode"] == "awsvpc"
    assert (launched.container["cpu"], launched.container["memory"]) == (1024, 2048)
    network = launched.request["networkConfiguration"]["awsvpcConfiguration"]
    assert "assignPublicIp" not in network


def test_without_a_strategy_the_clusters_own_counts():
    """Or one that is patched in: nothing stands in its way."""
    block = PinnedECSTask(image="flows:1", launch_type="MANAGED_INSTANCES")
    assert "launchType" not in block.preview()
    assert "capacityProviderStrategy" not in block.preview()


@pytest.mark.parametrize(("mode", "fits"), [("awsvpc", True), ("host", True), ("bridge", False)])
def test_network_modes_of_managed_instances(mode, fits):
    block = PinnedECSTask(
        image="flows:1", launch_type="MANAGED_INSTANCES", task_definition={"networkMode": mode}
    )
    if fits:
        assert definition_of(block)["networkMode"] == mode
        return
    with pytest.raises(ConfigurationError, match="'bridge' is not compatible with launch type"):
        definition_of(block)


# -- what does not go together -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        *(
            ({"launch_type": launch_type, "capacity_provider_strategy": MINE}, "takes one of them")
            for launch_type in ("FARGATE", "FARGATE_SPOT", "EC2", "EXTERNAL")
        ),
        *(
            ({"launch_type": launch_type, name: value}, f"{name} can be set on Fargate only")
            for launch_type in ("EC2", "EXTERNAL", "MANAGED_INSTANCES")
            for name, value in OLD
        ),
        *(
            ({"capacity_provider_strategy": MINE, name: value}, f"{name} can be set on Fargate")
            for name, value in OLD
        ),
        ({"capacity_provider_strategy": [*MINE, *SPOT]}, "mixes Fargate with providers"),
        (
            {"launch_type": "MANAGED_INSTANCES", "capacity_provider_strategy": SPOT},
            "names Fargate",
        ),
        ({"ephemeral_storage": 40, "platform_version": "1.3.0"}, "1.4.0 or later"),
        ({"ephemeral_storage": 20}, "greater than or equal to 21"),
        ({"ephemeral_storage": 201}, "less than or equal to 200"),
        ({"propagate_tags": "SERVICE"}, "unexpected value"),
        ({"container_name": "a b"}, "regex"),
        ({"container_name": "a" * 256}, "at most 255"),
    ],
)
def test_it_is_refused_when_the_block_is_made(fields, why):
    with pytest.raises(ValidationError, match=why):
        PinnedECSTask(image="flows:1", **fields)


@pytest.mark.parametrize(
    ("strategy", "why"),
    [
        (
            [{"capacityProvider": "a", "weight": 1001}],
            "weight is not a whole number from 0 to 1000",
        ),
        ([{"capacityProvider": "a", "weight": -1}], "weight is not a whole number"),
        ([{"capacityProvider": "a", "weight": True}], "weight is not a whole number"),
        (
            [{"capacityProvider": "a", "base": 100_001}],
            "base is not a whole number from 0 to 100000",
        ),
        ([{"capacityProvider": ""}], "names no capacityProvider"),
        ([{"weight": 1}], "names no capacityProvider"),
        ([{"capacity_provider": "a"}], "has capacity_provider"),
        ([{"capacityProvider": f"p{n}", "weight": 1} for n in range(21)], "has 21 providers"),
        ([{"capacityProvider": n, "weight": 1, "base": 1} for n in "ab"], "more than one"),
        ([{"capacityProvider": n} for n in "ab"], "has weight 0"),
    ],
)
def test_a_strategy_that_ecs_refuses(strategy, why):
    with pytest.raises(ValidationError, match=why):
        PinnedECSTask(image="flows:1", capacity_provider_strategy=strategy)


@pytest.mark.parametrize(
    "strategy",
    [
        [{"capacityProvider": "a", "weight": 1000, "base": 100_000}],
        [{"capacityProvider": "a"}],
        [{"capacityProvider": f"p{n}", "weight": 1, "base": 0} for n in range(20)],
    ],
)
def test_a_strategy_that_ecs_takes(strategy):
    block = PinnedECSTask(image="flows:1", capacity_provider_strategy=strategy)
    assert block.capacity_provider_strategy == strategy
    assert block.launch_type is None


@pytest.mark.parametrize(
    ("fields", "patch"),
    [
        ({}, {"path": "/capacityProviderStrategy", "value": MINE}),
        ({"capacity_provider_strategy": SPOT}, {"path": "/launchType", "value": "FARGATE"}),
        ({"launch_type": None}, {"path": "/capacityProviderStrategy", "value": [*MINE, *SPOT]}),
        ({"platform_version": "1.3.0"}, {"path": "/overrides/ephemeralStorage", "value": {"s": 1}}),
        ({}, {"path": "/enableExecuteCommand", "value": True}),
        ({"enable_execute_command": True}, None),
    ],
)
async def test_patches_are_counted_before_anything_is_changed(world: World, fields, patch):
    """Neither a revision nor a task is left."""
    patches = [{"op": "add", **patch}] if patch else []
    if patch and "ephemeralStorage" in patch["path"]:
        patches[0]["value"] = {"sizeInGiB": 40}
    block = world.block(task_customizations=patches, **fields)
    with pytest.raises(ConfigurationError, match="hint: "):
        await block.run()
    assert world.revisions(world.family(block)) == []


# -- tags of the definition -----------------------------------------------------------------------


def tag_list(**tags: str) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


async def test_the_definition_is_tagged_and_the_task_is_not(world: World):
    """Once for all runs; labels are the tags of the task."""
    block = world.block(task_definition_tags={"team": "data"}, labels={"run": "1"})
    for _ in range(2):
        launched = await world.run(block)
    assert launched.request["tags"] == tag_list(run="1")
    assert launched.revision == f"{world.family(block)}:1"
    asked = {"taskDefinition": launched.revision, "include": ["TAGS"]}
    answer = world.ecs.model.answer("DescribeTaskDefinition", asked, "us-east-1")
    assert answer["tags"] == tag_list(team="data")


def test_they_win_over_those_of_the_definition():
    block = PinnedECSTask(
        image="flows:1",
        task_definition={"tags": tag_list(team="web", stage="test")},
        task_definition_tags={"team": "data"},
    )
    assert definition_of(block)["tags"] == tag_list(stage="test", team="data")


@pytest.mark.parametrize("registration", ["on-change", "never"])
async def test_a_linked_revision_that_has_them_is_used(world: World, registration):
    """With others beside them."""
    launched = await world.run(world.block(task_definition_tags={"a": "1", "b": "2"}))
    fields = {"launch_type": None, "image": None, "registration": registration}
    fields["assign_public_ip"] = "DISABLED"  # the cluster's own launch type is EC2
    block = world.block(
        task_definition_arn=launched.revision, task_definition_tags={"b": "2"}, **fields
    )
    assert (await world.run(block)).revision == launched.revision


async def test_one_that_lacks_them_is_no_revision_for_never(world: World):
    launched = await world.run(world.block())
    block = world.block(
        task_definition_arn=launched.revision,
        task_definition_tags={"b": "2"},
        launch_type=None,
        image=None,
        registration="never",
    )
    with pytest.raises(ConfigurationError, match="task_definition_tags would change tags"):
        await block.run()


# -- the cluster's own strategy -------------------------------------------------------------------


@pytest.mark.parametrize(("default", "expected"), [(SPOT, "ENABLED"), (MINE, None), (None, None)])
async def test_the_clusters_own_strategy_decides_about_the_public_ip(
    world: World, fresh, default, expected
):
    """Asked once for all runs, and where nothing else decides."""
    name = f"default-{expected}-{default is None}"
    strategy = {"defaultCapacityProviderStrategy": default} if default else {}
    world.ecs.model.answer("CreateCluster", {"clusterName": name, **strategy}, "us-east-1")
    either = {"networkMode": "awsvpc", "requiresCompatibilities": ["EC2", "FARGATE"]}
    block = world.block(launch_type=None, task_definition=either, cluster=name)
    for _ in range(2):
        launched = await world.run(block)
        network = launched.request["networkConfiguration"]["awsvpcConfiguration"]
        assert network.get("assignPublicIp") == expected
    assert world.calls("DescribeClusters") == 1


@pytest.mark.parametrize(("default", "runs"), [(SPOT, True), (MINE, False), (None, False)])
async def test_the_clusters_own_strategy_decides_whether_a_patch_fits(
    world: World, fresh, default, runs
):
    """It was refused before the cluster was asked. `preview` does not ask, and refuses it."""
    name = f"patched-{runs}-{default is None}"
    strategy = {"defaultCapacityProviderStrategy": default} if default else {}
    world.ecs.model.answer("CreateCluster", {"clusterName": name, **strategy}, "us-east-1")
    path = "/networkConfiguration/awsvpcConfiguration/assignPublicIp"
    block = world.block(
        launch_type=None,
        task_definition={
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["EC2", "FARGATE"],
        },
        cluster=name,
        task_customizations=[{"op": "replace", "path": path, "value": "DISABLED"}],
    )
    with pytest.raises(ConfigurationError, match="does not fit"):
        block.preview()
    if runs:
        launched = await world.run(block)
        network = launched.request["networkConfiguration"]["awsvpcConfiguration"]
        assert network["assignPublicIp"] == "DISABLED"
        return
    with pytest.raises(ConfigurationError, match="does not fit"):
        await block.run()
    assert world.calls("RegisterTaskDefinition") == 0


async def test_the_cluster_is_not_asked_where_something_else_decides(world: World, fresh):
    """A launch type, a strategy, the definition, the field; or there is no network."""
    awsvpc = {"networkMode": "awsvpc", "cpu": "1024", "memory": "2048"}
    for fields in (
        {},
        {"launch_type": "EC2", "task_definition": awsvpc},
        {"capacity_provider_strategy": MINE, "task_definition": awsvpc},
        {"launch_type": None, "task_definition": {"networkMode": "bridge"}},
        {"launch_type": None, "task_definition": awsvpc, "assign_public_ip": "DISABLED"},
    ):
        await world.run(world.block(**fields))
    assert world.calls("DescribeClusters") == 0


@pytest.mark.parametrize("cleared", [None, "", "None"])
def test_a_launch_type_that_was_cleared_is_none(cleared):
    """The form offers "None": Prefect's UI stores no null where there is a default."""
    assert "None" in PinnedECSTask.schema()["properties"]["launch_type"]["enum"]
    for fields in ({}, {"capacity_provider_strategy": MINE}):
        block = PinnedECSTask(image="flows:1", launch_type=cleared, **fields)
        assert block.launch_type is None
