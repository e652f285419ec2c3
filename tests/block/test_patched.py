"""Customizations that name a revision, and configurations that only look wrong, or right."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.settings import PREFECT_API_KEY, temporary_settings
from pydantic.v1 import ValidationError

from prefect_ecs_pinned.errors import ConfigurationError
from tests.block.conftest import EXECUTION_ROLE, SECRET, World, a_definition


def patch(*operations: tuple[str, str, Any]) -> list[dict[str, Any]]:
    return [{"op": op, "path": path, "value": value} for op, path, value in operations]


@pytest.mark.parametrize("op", ["add", "replace"])
async def test_a_secret_of_a_patched_revision_is_not_overridden_in_clear(world: World, op):
    """Of the revision that runs, not of the one that the fields would make."""
    secret = {"name": "PREFECT_API_KEY", "valueFrom": SECRET}
    container = {"name": "prefect", "image": "other:1", "secrets": [secret]}
    arn = world.register(
        a_definition("patched", executionRoleArn=EXECUTION_ROLE, containerDefinitions=[container])
    )
    block = world.block(task_customizations=patch((op, "/taskDefinition", arn)))
    with temporary_settings({PREFECT_API_KEY: "pnu_clear"}):
        launched = await world.run(block)
    assert launched.definition["taskDefinitionArn"] == arn
    assert "PREFECT_API_KEY" not in launched.environment
    assert world.calls("RegisterTaskDefinition") == 0


async def test_a_patch_that_is_taken_back_names_no_revision(world: World):
    """The last word counts."""
    block = world.block(
        task_customizations=[
            *patch(("add", "/taskDefinition", "nowhere:1")),
            {"op": "remove", "path": "/taskDefinition"},
        ]
    )
    assert (await world.run(block)).revision == f"{world.family(block)}:1"


@pytest.mark.parametrize(
    "fields",
    [
        {"cpu": 100, "memory": 300},
        {
            "image": None,
            "task_definition": {
                "cpu": "100",
                "memory": "300",
                "containerDefinitions": [{"name": "prefect", "image": "flows:1", "memory": 300}],
            },
        },
    ],
    ids=["fields", "definition"],
)
async def test_a_size_that_fargate_lacks_may_do_for_the_clusters_default(world: World, fields):
    """Without a launch type the cluster's capacity provider decides, and it may be EC2's."""
    base = {"containerDefinitions": [{"name": "prefect", "memory": 300}]}
    fields = {"task_definition": base, **fields}
    block = world.block(launch_type=None, **fields)
    launched = await world.run(block)
    assert launched.request["overrides"]["cpu"] == "100"


async def test_a_described_definition_may_be_pasted(world: World):
    """With its ARN, revision and dates: they are no part of what is registered."""
    first = await world.run(world.block())
    ecs = world.ecs.client("ecs")
    pasted = ecs.describe_task_definition(taskDefinition=first.revision)["taskDefinition"]
    pasted["registeredAt"] = str(pasted["registeredAt"])  # as the command line prints it
    block = world.block(image="flows:2", task_definition=pasted)
    launched = await world.run(block)
    assert launched.container["image"] == "flows:2"
    assert launched.definition["revision"] == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {
                "task_customizations": patch(
                    ("add", "/capacityProviderStrategy", [{"capacityProvider": "FARGATE_SPOT"}])
                )
            },
            r"launch type and a capacity provider strategy[\s\S]*/launchType",
        ),
        ({"family": "///"}, r"cannot name a family '///'[\s\S]*set family"),
        (
            {"launch_type": "EC2", "task_definition": {"cpu": "lots"}},
            r"its cpu is 'lots'[\s\S]*vCPU",
        ),
    ],
    ids=["two ways to place it", "a family without letters", "a size without digits"],
)
async def test_it_is_refused_before_anything_is_registered(world: World, fields, message):
    """One message, with a hint."""
    with pytest.raises(ConfigurationError, match=message):
        await world.block(**fields).run()
    assert world.calls("RegisterTaskDefinition") == 0


@pytest.mark.parametrize("containers", [None, []])
async def test_a_definition_without_containers_gets_one(world: World, containers):
    """None is what a form may leave."""
    launched = await world.run(world.block(task_definition={"containerDefinitions": containers}))
    assert [c["name"] for c in launched.definition["containerDefinitions"]] == ["prefect"]


def test_an_arn_of_something_else_is_no_secret(world: World):
    """ECS reads Secrets Manager and SSM."""
    with pytest.raises(ValidationError, match="Secrets Manager"):
        world.block(secrets={"A": "arn:aws:s3:::bucket"}, execution_role_arn=EXECUTION_ROLE)
