"""What a block registers: the same as `ECSTask`, but for the listed deviations."""

from __future__ import annotations

import warnings
from typing import Any

import prefect_aws.ecs
import pytest
from prefect.utilities.dockerutils import get_prefect_image_name

from prefect_ecs_pinned.core.canonical import FINGERPRINT_LABEL
from prefect_ecs_pinned.errors import ConfigurationError
from tests.block.conftest import EXECUTION_ROLE, World

IMAGE_INSIDE = {"containerDefinitions": [{"name": "prefect", "image": "inside:1"}]}
SIDECAR = {"name": "sidecar", "image": "datadog/agent:7"}
WITH_ENVIRONMENT = {
    "containerDefinitions": [
        {
            "name": "prefect",
            "image": "flows:1",
            "environment": [{"name": "KEEP", "value": "1"}, {"name": "DROP", "value": "2"}],
        }
    ]
}


def original(**fields: Any) -> dict[str, Any]:
    """What `ECSTask` itself would register."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        block = prefect_aws.ecs.ECSTask(**fields)
        definition = block._prepare_task_definition(block.task_definition or {}, "us-east-1")
    return dict(definition)


def without_deviations(definition: dict[str, Any]) -> dict[str, Any]:
    """Family, our label, and the stream prefix are meant to differ; a list's order is not."""
    result = {k: v for k, v in definition.items() if k != "family"}
    containers = []
    for container in result["containerDefinitions"]:
        container = dict(container)
        container.pop("dockerLabels", None)
        logs = container.get("logConfiguration")
        if logs and logs["options"].get("awslogs-group") == "prefect":
            options = {k: v for k, v in logs["options"].items() if k != "awslogs-stream-prefix"}
            container["logConfiguration"] = {**logs, "options": options}
        containers.append(container)
    return {**result, "containerDefinitions": sorted(containers, key=lambda c: c["name"])}


def as_described(definition: dict[str, Any]) -> dict[str, Any]:
    """Without what ECS fills in and adds."""
    added = {"taskDefinitionArn", "revision", "status", "registeredAt", "registeredBy"}
    added |= {"compatibilities", "requiresAttributes", "enableFaultInjection", "deregisteredAt"}
    result = {k: v for k, v in definition.items() if k not in added and v != []}
    containers = []
    for container in result["containerDefinitions"]:
        container = {k: v for k, v in container.items() if v != []}
        if "environment" in container:
            container["environment"] = sorted(container["environment"], key=lambda v: v["name"])
        if container.pop("essential", True) is not True:
            container["essential"] = False
        if container.get("cpu") == 0:
            del container["cpu"]
        containers.append(container)
    if result.get("networkMode") == "bridge":
        del result["networkMode"]
    return {**result, "containerDefinitions": containers}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="defaults"),
        pytest.param({"launch_type": "FARGATE_SPOT"}, id="Spot"),
        pytest.param({"launch_type": "EC2"}, id="EC2"),
        pytest.param(
            {"launch_type": "EXTERNAL", "task_definition": {"memory": "512"}}, id="EXTERNAL"
        ),
        pytest.param({"launch_type": None, "task_definition": {"memory": "512"}}, id="none"),
        pytest.param({"cpu": 2048, "memory": 4096}, id="sizes"),
        pytest.param({"launch_type": "EC2", "cpu": 256, "memory": 300}, id="sizes on EC2"),
        pytest.param({"task_definition": {"cpu": "2048", "memory": "8192"}}, id="sizes inside"),
        pytest.param(
            {"task_definition": {"cpu": "2048", "memory": "8192"}, "cpu": 4096}, id="one size over"
        ),
        pytest.param(
            {
                "launch_type": "EC2",
                "cpu": 256,
                "memory": 300,
                "task_definition": {
                    "containerDefinitions": [{"name": "prefect", "cpu": 10, "memory": 20}]
                },
            },
            id="container sizes inside win on EC2",
        ),
        pytest.param({"task_definition": {"containerDefinitions": [SIDECAR]}}, id="sidecar"),
        pytest.param({"image": None, "task_definition": IMAGE_INSIDE}, id="image inside"),
        pytest.param({"image": "over:1", "task_definition": IMAGE_INSIDE}, id="image over"),
        pytest.param({"image": None}, id="Prefect's image"),
        pytest.param({"env": {"DROP": None}, "task_definition": WITH_ENVIRONMENT}, id="unset"),
        pytest.param({"env": {"KEEP": "3"}, "task_definition": WITH_ENVIRONMENT}, id="env"),
        pytest.param({"execution_role_arn": EXECUTION_ROLE}, id="execution role"),
        pytest.param(
            {
                "execution_role_arn": EXECUTION_ROLE,
                "task_definition": {"executionRoleArn": EXECUTION_ROLE + "-inside"},
            },
            id="execution role over",
        ),
        pytest.param(
            {"task_definition": {"taskRoleArn": EXECUTION_ROLE}, "task_role_arn": "other"},
            id="task role inside stays",
        ),
        pytest.param(
            {"execution_role_arn": EXECUTION_ROLE, "configure_cloudwatch_logs": True}, id="logs"
        ),
        pytest.param(
            {
                "execution_role_arn": EXECUTION_ROLE,
                "configure_cloudwatch_logs": True,
                "cloudwatch_logs_options": {
                    "awslogs-group": "other",
                    "awslogs-stream-prefix": "mine",
                    "max-buffer-size": "2m",
                },
            },
            id="log options",
        ),
        pytest.param(
            {
                "configure_cloudwatch_logs": True,
                "task_definition": {"executionRoleArn": EXECUTION_ROLE},
            },
            id="logs with the role inside",
        ),
        pytest.param(
            {"launch_type": "EC2", "task_definition": {"networkMode": "host"}}, id="host network"
        ),
        pytest.param({"task_definition": {"requiresCompatibilities": ["EC2"]}}, id="both"),
        pytest.param(
            {"task_definition": {"ephemeralStorage": {"sizeInGiB": 40}, "tags": []}}, id="storage"
        ),
    ],
)
async def test_it_registers_what_ecs_task_registers(world: World, fields):
    """Compared with what `ECSTask` itself makes of the same fields."""
    block = world.block(**fields)
    expected = original(**{"image": "flows:1", "command": ["true"], **fields})
    launched = await world.run(block)
    assert without_deviations(as_described(launched.definition)) == without_deviations(
        as_described(expected)
    )


@pytest.mark.parametrize(
    ("document", "fields", "family"),
    [
        ("etl", {}, "prefect-etl"),
        (None, {}, "prefect-pinned"),
        ("etl", {"family": "Mine"}, "Mine"),
        ("etl", {"family": "-my--family-"}, "-my--family-"),
        ("etl", {"task_definition": {"family": "Inside"}}, "Inside"),
        ("My Block", {}, "prefect-my-block"),
        ("etl", {"family": "my family!"}, "my-family"),
        ("etl", {"task_definition": {"family": "inside"}}, "inside"),
        ("etl", {"family": "over", "task_definition": {"family": "inside"}}, "over"),
        ("etl", {"name": "purple-cat"}, "prefect-etl"),
    ],
)
async def test_the_family_is_the_blocks_own(world: World, document, fields, family):
    """An explicit family wins over the one inside, and both over the block's name."""
    launched = await world.run(world.block(document, region="eu-west-1", **fields))
    assert launched.definition["family"] == family


async def test_an_anonymous_document_gives_no_family_of_its_own(world: World):
    """Prefect saves unsaved blocks under a random name: each deployment would get a family."""
    block = world.block("anonymous-4f3a", region="eu-west-1")
    block._is_anonymous = True
    assert (await world.run(block)).definition["family"] == "prefect-pinned"


async def test_no_image_anywhere_means_prefects_own(world: World):
    """As in `ECSTask`: the image follows the Prefect version of whoever loads the block."""
    assert (await world.run(world.block(image=None))).container["image"] == get_prefect_image_name()


async def test_the_stream_prefix_is_the_family(world: World):
    """The flow run's name there would make every definition another one."""
    block = world.block(
        name="purple-cat", execution_role_arn=EXECUTION_ROLE, configure_cloudwatch_logs=True
    )
    assert (await world.run(block)).container["logConfiguration"] == {
        "logDriver": "awslogs",
        "options": {
            "awslogs-create-group": "true",
            "awslogs-group": "prefect",
            "awslogs-region": "us-east-1",
            "awslogs-stream-prefix": world.family(block),
        },
    }


async def test_the_fingerprint_is_a_docker_label(world: World):
    """Beside the labels that the definition has."""
    own = {"name": "prefect", "image": "flows:1", "dockerLabels": {"team": "data"}}
    block = world.block(task_definition={"containerDefinitions": [own]})
    labels = (await world.run(block)).container["dockerLabels"]
    assert labels.pop(FINGERPRINT_LABEL).startswith("v1:")
    assert labels == {"team": "data"}


async def test_the_blocks_own_definition_is_not_changed(world: World):
    """It is read again for every run."""
    block = world.block(task_definition=WITH_ENVIRONMENT, env={"DROP": None})
    before = repr(block.task_definition)
    await world.run(block)
    assert repr(block.task_definition) == before


@pytest.mark.parametrize("launch_type", ["FARGATE", "FARGATE_SPOT"])
async def test_fargate_with_another_network_mode_is_an_error(world: World, launch_type):
    """`ECSTask` warns and lets ECS refuse the registration."""
    block = world.block(launch_type=launch_type, task_definition={"networkMode": "bridge"})
    with pytest.raises(ConfigurationError, match="'bridge' which is not compatible"):
        await block.run()
    assert world.calls("RegisterTaskDefinition") == 0


async def test_logs_need_an_execution_role_in_the_linked_revision(world: World):
    """The block cannot know it before the revision is described."""
    family = world.family(world.block())
    arn = world.register(
        {
            "family": family,
            "containerDefinitions": [{"name": "prefect", "image": "flows:1", "memory": 128}],
        }
    )
    block = world.block(
        launch_type="EC2", task_definition_arn=arn, configure_cloudwatch_logs=True, image=None
    )
    with pytest.raises(ConfigurationError, match="execution role arn must be set"):
        await block.run()
    assert len(world.revisions(family)) == 1
