"""What ECS describes in other words, and what others changed: one revision, found or adopted."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from prefect_ecs_pinned.core.fingerprint import label
from prefect_ecs_pinned.local.faults import Fault
from tests.block.conftest import EXECUTION_ROLE, World, a_definition, messages
from tests.core.model import request_shape

TAGS = [{"key": "team", "value": "data"}, {"key": "stage", "value": "prod"}]

#: Members of RegisterTaskDefinition, and of its containers.
OF_THE_TASK = request_shape().members
OF_A_CONTAINER = OF_THE_TASK["containerDefinitions"].member.members

WORDED: dict[str, dict[str, Any]] = {
    "roles by name": {
        "execution_role_arn": "execution",
        "task_definition": {"taskRoleArn": "flows"},
    },
    "role with a path": {"execution_role_arn": "service-role/execution"},
    "tags": {"task_definition": {"tags": TAGS}},
    "memoryReservation": {
        "launch_type": "EC2",
        "task_definition": {
            "containerDefinitions": [{"name": "prefect", "memoryReservation": 4096}]
        },
    },
    "capitals": {"family": "TeamETL-{}"},
    "hyphens": {"family": "-team--etl-{}-"},
    "duplicates": {
        "task_definition": {
            "containerDefinitions": [
                {
                    "name": "prefect",
                    "environment": [
                        {"name": "A", "value": "1"},
                        {"name": "B", "value": "2"},
                        {"name": "A", "value": "3"},
                    ],
                }
            ]
        }
    },
    "nulls": {
        "task_definition": {
            **dict.fromkeys(OF_THE_TASK),
            "containerDefinitions": [
                {
                    **dict.fromkeys(OF_A_CONTAINER),
                    "name": "prefect",
                    "environment": [{"name": "A", "value": "1"}],
                    "portMappings": [{"containerPort": 8080, "hostPort": None, "name": None}],
                }
            ],
        }
    },
}


def worded(world: World, how: str, **fields: Any):
    name = world.block()._block_document_name
    settings = {**copy.deepcopy(WORDED[how]), **fields}
    if "family" in settings:
        settings["family"] = settings["family"].format(name)
    return world.block(name, **settings)


@pytest.mark.parametrize("how", WORDED)
async def test_one_registration_then_none(world: World, restart, how):
    """In a second process; and with `registration="never"`, right after."""
    block = worded(world, how)
    first = await world.run(block)
    restart()
    assert (await world.run(block)).revision == first.revision
    restart()
    never = world.block(
        block._block_document_name, **{**WORDED[how], "family": block.family}, registration="never"
    )
    assert (await world.run(never)).revision == first.revision
    assert world.calls("RegisterTaskDefinition") == 1


@pytest.mark.parametrize("how", WORDED)
async def test_what_somebody_else_has_registered_is_adopted(world: World, how):
    """The same request, without our label, and with a tagger's tag."""
    block = worded(world, how)
    prepared = await world.run(block)
    family = prepared.definition["family"]
    request = {
        name: value
        for name, value in world.revisions(family)[0].items()
        if name in {*a_definition("any"), "executionRoleArn", "taskRoleArn"}
    }
    for container in request["containerDefinitions"]:
        container.pop("dockerLabels", None)
    request["family"] = theirs = f"{family}-theirs"
    request["tags"] = [*TAGS, {"key": "cost", "value": "42"}]
    arn = world.register(request)
    other = world.block(block._block_document_name, **{**WORDED[how], "family": theirs})
    launched = await world.run(other)
    assert launched.definition["taskDefinitionArn"] == arn
    assert world.calls("RegisterTaskDefinition") == 1


async def test_a_reservation_gets_no_limit(world: World):
    """The one it would get could be below it."""
    launched = await world.run(worded(world, "memoryReservation"))
    assert launched.container["memoryReservation"] == 4096
    assert "memory" not in launched.container
    assert "memory" not in launched.override


async def test_of_duplicated_variables_the_last_is_sent(world: World):
    """ECS would describe them in any order."""
    launched = await world.run(worded(world, "duplicates"))
    assert sorted((v["name"], v["value"]) for v in launched.container["environment"]) == [
        ("A", "3"),
        ("B", "2"),
    ]


async def test_duplicates_of_a_linked_revision_stay_as_they_are(world: World):
    """Nobody knows which of them is the last."""
    block = world.block()
    variables = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    container = {"name": "prefect", "image": "flows:1", "environment": variables}
    arn = world.register(a_definition(world.family(block), containerDefinitions=[container]))
    launched = await world.run(world.block(task_definition_arn=arn, image="flows:2"))
    assert launched.container["image"] == "flows:2"
    assert len(launched.container["environment"]) == 2


# -- tags of linked revisions ----------------------------------------------------------------------


def tags_of(world: World, arn: str) -> set[tuple[str, str]]:
    answer = world.ecs.model.answer(
        "DescribeTaskDefinition", {"taskDefinition": arn, "include": ["TAGS"]}, "us-east-1"
    )
    return {(tag["key"], tag["value"]) for tag in answer["tags"]}


async def test_what_is_made_of_a_linked_revision_keeps_its_tags(world: World, restart):
    """Without those that AWS itself has set; in a second process it is found by them."""
    block = world.block()
    arn = world.register(a_definition(world.family(block), tags=TAGS))
    definitions = world.ecs.model.definitions("us-east-1")
    for key in ("aws:cloudformation:stack-name", "pinned-ecs:keep"):
        tags = definitions.tags(arn)
        assert tags is not None
        tags.append({"key": key, "value": "etl"})
    changed = world.block(task_definition_arn=arn, image="flows:2")
    launched = await world.run(changed)
    assert tags_of(world, launched.definition["taskDefinitionArn"]) == {
        ("team", "data"),
        ("stage", "prod"),
    }
    restart()
    assert (await world.run(changed)).revision == launched.revision
    assert world.calls("RegisterTaskDefinition") == 1


async def test_a_linked_revision_that_is_used_as_it_is_needs_no_tags(world: World):
    """One DescribeTaskDefinition, which does not ask for them."""
    block = world.block()
    arn = world.register(a_definition(world.family(block), tags=TAGS))
    launched = await world.run(world.block(task_definition_arn=arn, image=None))
    assert launched.definition["taskDefinitionArn"] == arn
    assert world.calls("DescribeTaskDefinition") == 1


# -- what others changed ---------------------------------------------------------------------------


async def test_a_copy_that_a_human_has_changed_is_not_run(world: World, restart):
    """ "Create new revision" in the console copies labels, and everything ran from the copy."""
    block = world.block(execution_role_arn=EXECUTION_ROLE)
    own = await world.run(block)
    copied = {
        name: copy.deepcopy(value)
        for name, value in own.definition.items()
        if name in {*a_definition("any"), "executionRoleArn"}
    }
    copied["containerDefinitions"][0]["healthCheck"] = {"command": ["CMD", "evil"]}
    evil = world.register(copied)
    assert label(copied) == label(own.definition)
    restart()
    again = await world.run(block)
    assert again.definition["taskDefinitionArn"] != evil
    assert again.revision == own.revision


async def test_a_revision_that_ecs_describes_otherwise_is_used_with_one_warning(
    world: World, restart, log
):
    """Where nobody knows how ECS describes a member, and the caller's principal registered it."""
    policy = {"restartPolicy": {"enabled": True, "restartAttemptPeriod": 60}}
    block = world.block(task_definition={"containerDefinitions": [{"name": "prefect", **policy}]})
    own = await world.run(block)
    definitions = world.ecs.model.definitions("us-east-1")
    described = definitions.find(own.definition["taskDefinitionArn"])
    described["containerDefinitions"][0]["restartPolicy"]["restartAttemptPeriod"] = 61  # type: ignore[index]
    described["registeredBy"] = world.ecs.client("sts").get_caller_identity()["Arn"]  # type: ignore[index]
    restart()
    for _ in range(3):
        assert (await world.run(block)).revision == own.revision
    warned = [m for m in messages(log) if "is used although ECS describes" in m]
    assert len(warned) == 1
    assert "containerDefinitions.prefect.restartPolicy.restartAttemptPeriod" in warned[0]
    described["registeredBy"] = "arn:aws:iam::123456789012:user/maria"  # type: ignore[index]
    restart()
    assert (await world.run(block)).revision != own.revision
    assert world.calls("RegisterTaskDefinition") == 2


async def test_tags_that_may_not_be_read_refuse_nothing(world: World, restart):
    """A denial counts as none, whatever the definition is."""
    denied = "User is not authorized to perform: ecs:ListTagsForResource"
    block = worded(world, "tags")
    first = await world.run(block)
    described = world.ecs.model.definitions("us-east-1").find(first.definition["taskDefinitionArn"])
    described["registeredBy"] = world.ecs.client("sts").get_caller_identity()["Arn"]  # type: ignore[index]
    restart()
    once: dict[str, Any] = {"code": "AccessDeniedException", "message": denied, "times": 1}
    world.ecs.faults(Fault("error", "DescribeTaskDefinition", **once))
    assert (await world.run(block)).revision == first.revision
    assert world.calls("RegisterTaskDefinition") == 1
