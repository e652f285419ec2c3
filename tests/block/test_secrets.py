"""Secrets stand in the definition by reference, and no value of theirs is sent in clear."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.settings import PREFECT_API_KEY, temporary_settings
from pydantic.v1 import ValidationError

from prefect_ecs_pinned.errors import ConfigurationError
from tests.block.conftest import EXECUTION_ROLE, SECRET, World, a_definition

PARAMETER = "arn:aws:ssm:us-east-1:123456789012:parameter/token"


async def test_secrets_stand_in_the_definition(world: World):
    """As ECS describes them back: name and ARN."""
    secrets = {"TOKEN": PARAMETER, "PREFECT_API_KEY": SECRET}
    block = world.block(secrets=secrets, execution_role_arn=EXECUTION_ROLE)
    launched = await world.run(block)
    assert {s["name"]: s["valueFrom"] for s in launched.container["secrets"]} == secrets


@pytest.mark.parametrize("where", ["field", "definition", "linked revision"])
async def test_a_setting_that_a_secret_provides_is_left_out(world: World, where):
    """The agent's own API key in clear would override the secret."""
    block = world.block()
    inside = a_definition(world.family(block), executionRoleArn=EXECUTION_ROLE)
    secret = {"name": "PREFECT_API_KEY", "valueFrom": SECRET}
    inside["containerDefinitions"][0]["secrets"] = [secret]
    fields: dict[str, Any]
    if where == "field":
        fields = {"secrets": {"PREFECT_API_KEY": SECRET}, "execution_role_arn": EXECUTION_ROLE}
    elif where == "definition":
        fields = {"task_definition": inside}
    else:
        fields = {"task_definition_arn": world.register(inside), "image": None}
    with temporary_settings({PREFECT_API_KEY: "pnu_in_clear"}):
        launched = await world.run(world.block(**fields))
    assert launched.container["secrets"] == [secret]
    assert "PREFECT_API_KEY" not in launched.environment
    assert "pnu_in_clear" not in str(launched.request)


async def test_without_the_secret_the_setting_is_sent(world: World):
    """So that the test above tests something, and as `ECSTask` does."""
    with temporary_settings({PREFECT_API_KEY: "pnu_in_clear"}):
        launched = await world.run(world.block())
    assert launched.environment["PREFECT_API_KEY"] == "pnu_in_clear"


async def test_secrets_replace_what_the_definition_has_under_their_names(world: World):
    """ECS refuses a container that has one name in both lists."""
    container = {
        "name": "prefect",
        "image": "flows:1",
        "environment": [{"name": "A", "value": "clear"}, {"name": "KEEP", "value": "1"}],
        "secrets": [{"name": "B", "valueFrom": SECRET}, {"name": "C", "valueFrom": SECRET}],
    }
    block = world.block(
        task_definition={"containerDefinitions": [container], "executionRoleArn": EXECUTION_ROLE},
        secrets={"A": PARAMETER, "B": PARAMETER},
    )
    described = (await world.run(block)).container
    assert described["environment"] == [{"name": "KEEP", "value": "1"}]
    assert {s["name"]: s["valueFrom"] for s in described["secrets"]} == {
        "A": PARAMETER,
        "B": PARAMETER,
        "C": SECRET,
    }


def test_env_of_the_same_name_is_refused(world: World):
    """When the block is made; the value is not shown."""
    with pytest.raises(ValidationError, match="KEY is set in both env and secrets") as error:
        world.block(
            env={"KEY": "s3cret"}, secrets={"KEY": SECRET}, execution_role_arn=EXECUTION_ROLE
        )
    assert "s3cret" not in str(error.value)


async def test_env_of_the_same_name_as_a_secret_inside_is_refused(world: World):
    """Found when the definition is known; nothing is registered."""
    container = {
        "name": "prefect",
        "image": "flows:1",
        "secrets": [{"name": "KEY", "valueFrom": SECRET}],
    }
    block = world.block(
        env={"KEY": "s3cret"},
        task_definition={"containerDefinitions": [container], "executionRoleArn": EXECUTION_ROLE},
    )
    with pytest.raises(ConfigurationError, match="a secret provides KEY") as error:
        await block.run()
    assert "s3cret" not in str(error.value)
    assert world.calls("RegisterTaskDefinition") == 0


async def test_an_unset_variable_may_be_a_secret(world: World):
    """None means: not in clear."""
    block = world.block(
        env={"PREFECT_API_KEY": None},
        secrets={"PREFECT_API_KEY": SECRET},
        execution_role_arn=EXECUTION_ROLE,
    )
    assert (await world.run(block)).container["secrets"][0]["valueFrom"] == SECRET


def test_a_secret_that_is_no_arn_is_refused(world: World):
    """It may be the secret itself: the value is not shown."""
    with pytest.raises(ValidationError, match=r"secrets\['KEY'\] is not an ARN.*hint") as error:
        world.block(secrets={"KEY": "s3cret"}, execution_role_arn=EXECUTION_ROLE)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("launch_type", ["FARGATE", "FARGATE_SPOT"])
def test_fargate_secrets_need_an_execution_role(world: World, launch_type):
    """ECS reads them with it."""
    with pytest.raises(ValidationError, match=r"secrets need an execution role.*hint"):
        world.block(secrets={"KEY": SECRET}, launch_type=launch_type)


async def test_fargate_secrets_need_an_execution_role_in_the_linked_revision(world: World):
    """Found when it has been described; nothing is registered."""
    arn = world.register(a_definition(world.family(world.block())))
    block = world.block(task_definition_arn=arn, image=None, secrets={"KEY": SECRET})
    with pytest.raises(ConfigurationError, match=r"there is none[\s\S]*allowed to read KEY"):
        await block.run()
    assert world.calls("RegisterTaskDefinition") == 0


async def test_on_ec2_the_instances_role_may_read_secrets(world: World):
    """No execution role is needed there."""
    launched = await world.run(world.block(launch_type="EC2", secrets={"KEY": SECRET}))
    assert launched.container["secrets"] == [{"name": "KEY", "valueFrom": SECRET}]


LIKE_A_NAME = "TOKEN=hunter2"


async def test_a_value_in_the_place_of_a_name_is_not_quoted(world: World):
    """``TOKEN=value`` is what people write where ``TOKEN`` belongs; a name ends at the "="."""
    fields: dict[str, Any] = {
        "execution_role_arn": EXECUTION_ROLE,
        "secrets": {LIKE_A_NAME: SECRET},
    }
    refused = [
        lambda: world.block(secrets={LIKE_A_NAME: "x"}),
        lambda: world.block(env={LIKE_A_NAME: "x"}, **fields),
        lambda: world.block(env={LIKE_A_NAME: "x" * 9000}).preview(),
        lambda: world.block(
            env={LIKE_A_NAME: "x"},
            task_definition={
                "executionRoleArn": EXECUTION_ROLE,
                "containerDefinitions": [
                    {"name": "prefect", "secrets": [{"name": LIKE_A_NAME, "valueFrom": SECRET}]}
                ],
            },
        ).preview(),
    ]
    for refuse in refused:
        with pytest.raises((ValidationError, ConfigurationError)) as error:
            refuse()
        assert "TOKEN=***" in str(error.value)
        assert "hunter2" not in f"{error.value} {error.value!r}"
