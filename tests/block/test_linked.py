"""`task_definition_arn`, and `registration`: which revision is run when one is named."""

from __future__ import annotations

import pytest

from prefect_ecs_pinned.errors import (
    ConfigurationError,
    RegistrationRefused,
    TaskDefinitionInactive,
    TaskDefinitionNotFound,
)
from prefect_ecs_pinned.local.faults import Fault
from tests.block.conftest import (
    EXECUTION_ROLE,
    SECRET,
    TASK_ROLE,
    World,
    a_definition,
    messages,
)


@pytest.fixture
def family(world: World) -> str:
    """A family that nobody else has."""
    return world.family(world.block())


@pytest.mark.parametrize("form", ["ARN", "family:revision", "family"])
@pytest.mark.parametrize("registration", ["on-change", "never"])
async def test_a_linked_revision_is_used_as_it_is(world: World, family, form, registration):
    """Named in any way that ECS understands, and with fields that change nothing."""
    arn = world.register(a_definition(family))
    name = {"ARN": arn, "family:revision": f"{family}:1", "family": family}[form]
    block = world.block(
        task_definition_arn=name, image=None, registration=registration, env={"A": "1"}
    )
    launched = await world.run(block)
    assert launched.definition["taskDefinitionArn"] == arn
    assert world.calls("RegisterTaskDefinition") == 0
    assert world.calls("ListTaskDefinitions") == 0


async def test_the_same_image_changes_nothing(world: World, family):
    """A field that is set to what the revision has already."""
    arn = world.register(a_definition(family))
    launched = await world.run(world.block(task_definition_arn=arn, image="flows:1"))
    assert launched.definition["taskDefinitionArn"] == arn


@pytest.mark.parametrize(
    "fields",
    [
        {"image": "flows:2"},
        {"secrets": {"PREFECT_API_KEY": SECRET}},
        {"configure_cloudwatch_logs": True},
        {"env": {"DROP": None}},
        {"family": "another"},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_a_changed_linked_definition_is_pinned(world: World, family, fields, log):
    """Registered once, for two runs, with a warning as `ECSTask` gives one."""
    base = a_definition(family, executionRoleArn=EXECUTION_ROLE)
    base["containerDefinitions"][0]["environment"] = [{"name": "DROP", "value": "1"}]
    arn = world.register(base)
    block = world.block(**{"image": None, "task_definition_arn": arn, **fields})
    first, second = await world.run(block), await world.run(block)
    assert (
        first.revision
        == second.revision
        == f"{fields.get('family', family)}:" + ("1" if "family" in fields else "2")
    )
    assert world.calls("RegisterTaskDefinition") == 1
    warned = [m for m in messages(log) if "Settings require changes to the linked" in m]
    assert len(warned) == 1


async def test_a_linked_family_keeps_its_capitals(world: World, family):
    """`ECSTask` writes it in lower case, and so registers a family of its own."""
    arn = world.register(a_definition(family.upper()))
    launched = await world.run(world.block(task_definition_arn=arn, image=None))
    assert launched.definition["taskDefinitionArn"] == arn
    changed = await world.run(world.block(task_definition_arn=arn, image="flows:2"))
    assert changed.revision == f"{family.upper()}:2"


async def test_an_execution_role_only_overrides_a_linked_revision(world: World, family):
    """As in `ECSTask`: the linked definition keeps its own."""
    arn = world.register(a_definition(family))
    block = world.block(task_definition_arn=arn, image=None, execution_role_arn=EXECUTION_ROLE)
    launched = await world.run(block)
    assert launched.definition["taskDefinitionArn"] == arn
    assert launched.request["overrides"]["executionRoleArn"] == EXECUTION_ROLE


async def test_what_ecs_added_to_a_linked_revision_is_not_sent_back(world: World, family):
    """compatibilities, registeredAt and their like are no input of a registration."""
    arn = world.register(a_definition(family, volumes=[{"name": "data"}]))
    await world.run(world.block(task_definition_arn=arn, image="flows:2"))
    first, second = world.revisions(family)
    assert second["volumes"] == [{"name": "data"}]
    assert second["compatibilities"] == first["compatibilities"]
    assert second["registeredAt"] >= first["registeredAt"]


# -- registration="never" --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"image": "flows:2"}, "image"),
        ({"secrets": {"PREFECT_API_KEY": SECRET}}, "secrets"),
        ({"configure_cloudwatch_logs": True}, "configure_cloudwatch_logs"),
        (
            {"configure_cloudwatch_logs": True, "cloudwatch_logs_options": {"a": "b"}},
            "cloudwatch_logs_options",
        ),
        ({"env": {"DROP": None}}, "env"),
        ({"family": "another"}, "family"),
    ],
)
async def test_never_refuses_fields_that_would_change_the_revision(
    world: World, family, fields, named
):
    """The field is named, with the member that it changes; no value is shown."""
    base = a_definition(family, executionRoleArn=EXECUTION_ROLE)
    base["containerDefinitions"][0]["environment"] = [{"name": "DROP", "value": "hidden-value"}]
    arn = world.register(base)
    block = world.block(
        **{"image": None, "task_definition_arn": arn, "registration": "never", **fields}
    )
    with pytest.raises(ConfigurationError) as error:
        await block.run()
    assert f"registration is 'never', and {named} would change" in str(error.value)
    assert f"hint: unset {named}" in str(error.value)
    assert "hidden-value" not in str(error.value)
    assert world.calls("RunTask") == 0
    assert world.calls("RegisterTaskDefinition") == 0


async def test_never_sends_sizes_only_if_they_are_set(world: World, family):
    """The revision's own sizes stand: no other block's can be in it."""
    arn = world.register(a_definition(family))
    fields = {"task_definition_arn": arn, "image": None, "registration": "never"}
    bare = await world.run(world.block(**fields))
    assert not {"cpu", "memory"} & bare.request["overrides"].keys()
    assert not {"cpu", "memory"} & bare.override.keys()
    sized = await world.run(world.block(cpu=2048, memory=4096, **fields))
    assert sized.request["overrides"]["cpu"] == "2048"
    assert sized.definition["taskDefinitionArn"] == arn


async def test_never_applies_every_override(world: World, family):
    """Environment, command, roles: what a launch can set without a new revision."""
    arn = world.register(a_definition(family))
    block = world.block(
        task_definition_arn=arn,
        image=None,
        registration="never",
        env={"A": "1"},
        command=["python", "-m", "prefect.engine"],
        task_role_arn=TASK_ROLE,
        execution_role_arn=EXECUTION_ROLE,
    )
    launched = await world.run(block)
    assert launched.environment["A"] == "1"
    assert launched.override["command"] == ["python", "-m", "prefect.engine"]
    assert launched.request["overrides"]["taskRoleArn"] == TASK_ROLE
    assert launched.request["overrides"]["executionRoleArn"] == EXECUTION_ROLE
    assert world.calls("RegisterTaskDefinition") == 0


async def test_never_without_an_arn_finds_what_was_registered(world: World, restart):
    """By another block with the same configuration, in another process."""
    block = world.block()
    pinned = await world.run(block)
    restart()
    again = world.block(block._block_document_name, registration="never")
    assert (await world.run(again)).revision == pinned.revision
    assert world.calls("RegisterTaskDefinition") == 1


async def test_never_without_an_arn_adopts_what_means_the_same(world: World):
    """Registered by Terraform, without our label."""
    block = world.block(registration="never")
    arn = world.register(a_definition(world.family(block), memory="4096"))
    assert (await world.run(block)).definition["taskDefinitionArn"] == arn


@pytest.mark.parametrize(
    ("existing", "reason"),
    [
        ("flows:0", "changed: containerDefinitions.prefect.image"),
        (None, "has no revision yet"),
    ],
)
async def test_never_without_an_arn_says_what_differs(world: World, existing, reason):
    """And the command that registers it; nothing is launched."""
    block = world.block(registration="never")
    if existing:
        container = {"name": "prefect", "image": existing}
        world.register(a_definition(world.family(block), containerDefinitions=[container]))
    with pytest.raises(RegistrationRefused) as error:
        await block.run()
    assert reason in str(error.value)
    assert "\nhint: register it with `pinned-ecs pin" in str(error.value)
    assert (world.calls("RegisterTaskDefinition"), world.calls("RunTask")) == (0, 0)


async def test_never_needs_no_permission_to_register(world: World, family):
    """Nor one to list: a policy for running tasks is enough."""
    arn = world.register(a_definition(family))
    denied = "User is not authorized to perform this action"
    world.ecs.faults(
        *(
            Fault("error", action, code="AccessDeniedException", message=denied)
            for action in ("RegisterTaskDefinition", "ListTaskDefinitions")
        )
    )
    fields = {"task_definition_arn": arn, "image": None, "registration": "never"}
    assert (await world.run(world.block(**fields))).result.status_code == 0


# -- names that stand for nothing ------------------------------------------------------------------


@pytest.mark.parametrize("registration", ["on-change", "never"])
async def test_an_unknown_arn_is_one_clear_error(world: World, family, registration):
    """Nothing is registered in its stead."""
    block = world.block(task_definition_arn=f"{family}:7", registration=registration)
    with pytest.raises(TaskDefinitionNotFound, match=f"cannot use task definition '{family}:7'.*"):
        await block.run()
    assert (world.calls("RegisterTaskDefinition"), world.calls("RunTask")) == (0, 0)


async def test_an_inactive_linked_revision_is_one_clear_error(world: World, family):
    """It was named, so no other is taken for it."""
    arn = world.register(a_definition(family))
    world.deregister(arn)
    with pytest.raises(TaskDefinitionInactive, match=r"inactive[\s\S]*hint: link an ACTIVE"):
        await world.block(task_definition_arn=arn, image=None).run()
    assert world.calls("RegisterTaskDefinition") == 0
    assert world.live_tasks() == 0
