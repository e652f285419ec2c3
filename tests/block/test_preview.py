"""`preview`: the definition and the request as YAML, compared with `ECSTask`'s."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import prefect_aws.ecs
import pytest
import yaml
from prefect.settings import (
    PREFECT_API_KEY,
    PREFECT_API_URL,
    SETTING_VARIABLES,
    temporary_settings,
)

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.block.spec import run_spec
from prefect_ecs_pinned.core.showable import DEFINITION, REQUEST
from prefect_ecs_pinned.core.shown import shown
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.runs.prepare import prepare
from tests.block.conftest import EXECUTION_ROLE, SECRET, World, a_definition

#: No secret among them, whatever other tests have set: `ECSTask` would show it.
SETTINGS = partial(
    temporary_settings,
    updates={PREFECT_API_URL: "http://prefect/api"},
    restore_defaults=set(SETTING_VARIABLES.values()) - {PREFECT_API_URL},
)


def sections(text: str) -> list[Any]:
    return list(yaml.safe_load_all(text))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"vpc_id": "vpc-1"},
        {"launch_type": "EC2", "cpu": 256, "memory": 512},
        {"launch_type": "FARGATE_SPOT", "labels": {"a": "b"}, "cluster": "etl"},
        {"task_definition": {"ephemeralStorage": {"sizeInGiB": 40}}},
    ],
    ids=lambda fields: ",".join(fields) or "defaults",
)
def test_it_shows_what_ecs_task_shows(world: World, fields):
    """But for the family, the words for the revision, the sizes, which are always sent, and what
    is hidden.
    """
    fields = {**world.fields(), "cpu": 1024, "memory": 2048, "family": "etl", **fields}
    with warnings.catch_warnings(), SETTINGS():
        warnings.simplefilter("ignore")
        definition, request = sections(prefect_aws.ecs.ECSTask(**fields).preview())
        ours = sections(world.block(**fields).preview())
    request["taskDefinition"] = "<pinned at runtime>"
    if "networkConfiguration" in request:
        request["networkConfiguration"]["awsvpcConfiguration"]["securityGroups"] = []
    assert ours == [shown(definition, DEFINITION), shown(request, REQUEST)]


def test_a_linked_revision_is_named_and_not_described(world: World):
    """`preview` makes no call."""
    text = world.block(task_definition_arn="etl:3", image=None).preview()
    (request,) = sections(text)
    assert request["taskDefinition"] == "etl:3"
    assert "# Task definition" not in text
    assert not world.ecs.calls


NETWORK = "/networkConfiguration/awsvpcConfiguration"
PATCHES = {
    "another public IP": [
        {"op": "replace", "path": f"{NETWORK}/assignPublicIp", "value": "DISABLED"}
    ],
    "no public IP": [{"op": "remove", "path": f"{NETWORK}/assignPublicIp"}],
    "a group": [{"op": "add", "path": f"{NETWORK}/securityGroups/-", "value": "sg-1"}],
    "subnets": [{"op": "replace", "path": f"{NETWORK}/subnets", "value": ["subnet-1"]}],
    "to instances": [
        {"op": "remove", "path": "/launchType"},
        {"op": "add", "path": "/capacityProviderStrategy", "value": [{"capacityProvider": "own"}]},
    ],
}


@pytest.mark.parametrize("launch_type", ["FARGATE", "EC2", None])
@pytest.mark.parametrize("patched", [False, True], ids=["linked", "patched in"])
@pytest.mark.parametrize("patches", PATCHES.values(), ids=PATCHES)
async def test_a_linked_revision_with_patches_is_shown_as_it_runs(
    world: World, launch_type, patched, patches
):
    """It is not read; what its runs send is shown all the same, or refused by both."""
    arn = world.register(a_definition("previewed", requiresCompatibilities=["EC2", "FARGATE"]))
    named = {"op": "add", "path": "/taskDefinition", "value": arn}
    fields = {"image": None, "launch_type": launch_type, "task_definition_arn": arn}
    if patched:
        fields |= {"image": "other:1", "task_definition_arn": None}
        patches = [named, *patches]
    block = world.block(task_customizations=patches, subnets=["subnet-0"], **fields)
    sent, previewed = await _prepared(world, block), _previewed(block)
    if isinstance(sent, ConfigurationError):
        assert str(previewed) == str(sent)
        return
    for member in ("networkConfiguration", "launchType", "capacityProviderStrategy"):
        assert previewed.get(member) == sent.get(member)
    assert previewed["taskDefinition"] == arn


def _previewed(block: PinnedECSTask) -> Any:
    try:
        (request,) = sections(block.preview())
    except ConfigurationError as error:
        return error
    return request


async def _prepared(world: World, block: PinnedECSTask) -> Any:
    try:
        return (await prepare(run_spec(block), block._control_plane())).request
    except ConfigurationError as error:
        return error


def test_subnets_and_secrets_are_shown(world: World):
    """Secrets by ARN, subnets as they are given."""
    block = world.block(
        subnets=["subnet-1"],
        security_groups=["sg-1"],
        assign_public_ip=False,
        secrets={"KEY": SECRET},
        execution_role_arn=EXECUTION_ROLE,
    )
    definition, request = sections(block.preview())
    assert definition["containerDefinitions"][0]["secrets"] == [
        {"name": "KEY", "valueFrom": SECRET}
    ]
    assert request["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": ["subnet-1"],
        "securityGroups": ["sg-1"],
        "assignPublicIp": "DISABLED",
    }


def test_no_value_of_a_variable_is_shown(world: World):
    """Nor of a label; `ECSTask` shows them all, the API key among them."""
    with temporary_settings({PREFECT_API_KEY: "pnu_s3cret"}):
        text = world.block(env={"MINE": "s3cret"}, labels={"team": "s3cret"}).preview()
    _, request = sections(text)
    assert "s3cret" not in text
    assert request["tags"] == [{"key": "team", "value": "***"}]
    variables = request["overrides"]["containerOverrides"][0]["environment"]
    for name in ("MINE", "PREFECT_API_KEY"):
        assert {"name": name, "value": "***"} in variables
