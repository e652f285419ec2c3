"""Fields: what is accepted, what is refused, and what Prefect sees of the block."""

from __future__ import annotations

import json

import prefect_aws.ecs
import pytest
from prefect.blocks.core import BlockNotSavedError
from prefect.infrastructure.base import Infrastructure
from prefect.utilities.dispatch import lookup_type
from pydantic.v1 import ValidationError

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.block.fields import OwnFields
from tests.block.conftest import EXECUTION_ROLE, World

ECSTask = prefect_aws.ecs.ECSTask


def test_it_is_an_ecs_task_with_a_type_of_its_own():
    """With the parent's slug it would replace `ecs-task` in Prefect's registry."""
    assert issubclass(PinnedECSTask, ECSTask)
    assert lookup_type(Infrastructure, "ecs-task") is ECSTask
    assert lookup_type(Infrastructure, "pinned-ecs-task") is PinnedECSTask
    assert PinnedECSTask.get_block_type_slug() == "pinned-ecs-task"
    assert PinnedECSTask.get_block_type_name() == "Pinned ECS Task"


def test_every_field_of_ecs_task_is_there():
    """And these are new."""
    added = PinnedECSTask.__fields__.keys() - ECSTask.__fields__.keys()
    assert not ECSTask.__fields__.keys() - PinnedECSTask.__fields__.keys()
    assert added == {
        "subnets",
        "security_groups",
        "assign_public_ip",
        "secrets",
        "registration",
        "launch_timeout_seconds",
        "capacity_provider_strategy",
        "platform_version",
        "ephemeral_storage",
        "container_name",
        "task_definition_tags",
        "propagate_tags",
        "enable_ecs_managed_tags",
        "enable_execute_command",
    }


def test_these_defaults_differ():
    """Each is listed in docs/deviations.md."""
    differ = {
        name: (field.get_default(), PinnedECSTask.__fields__[name].get_default())
        for name, field in ECSTask.__fields__.items()
        if name not in ("aws_credentials", "task_customizations")
        and field.get_default() != PinnedECSTask.__fields__[name].get_default()
    }
    assert differ == {
        "type": ("ecs-task", "pinned-ecs-task"),
        "auto_deregister_task_definition": (True, False),
        "task_start_timeout_seconds": (120, 600),
    }


@pytest.mark.parametrize("name", ["cpu", "memory", *OwnFields.__fields__])
def test_null_means_the_default(name):
    """The UI stores null for a field that was cleared. For the launch type, null is a choice."""
    default = None if name == "launch_type" else PinnedECSTask.__fields__[name].get_default()
    assert getattr(PinnedECSTask(image="flows:1", **{name: None}), name) == default


@pytest.mark.parametrize(
    ("value", "meaning"),
    [(True, "ENABLED"), (False, "DISABLED"), ("ENABLED", "ENABLED"), ("", None), (None, None)],
)
def test_assign_public_ip(value, meaning):
    """A boolean is understood."""
    assert PinnedECSTask(assign_public_ip=value).assign_public_ip == meaning


@pytest.mark.parametrize(
    "fields",
    [
        {"launch_type": "FARGATE_ONDEMAND"},
        {"registration": "always"},
        {"assign_public_ip": "PERHAPS"},
        {"task_watch_poll_interval": 0},
        {"task_start_timeout_seconds": 0},
        {"launch_timeout_seconds": -1},
        {"family": "f" * 256},
        {"cpu": "much"},
        {"configure_cloudwatch_logs": True},
        {"stream_output": True},
        {"cloudwatch_logs_options": {"awslogs-group": "x"}},
    ],
    ids=lambda fields: "-".join(map(str, *fields.items())),
)
def test_what_cannot_be_is_refused(fields):
    """When the block is made; the last three as in `ECSTask`."""
    with pytest.raises(ValidationError):
        PinnedECSTask(**fields)


@pytest.mark.parametrize("value", [5, True, {}, {"op": "add"}, "text", '{"op": "add"}', [5], ["x"]])
def test_customizations_that_are_no_patch_say_what_one_is(value):
    """Whatever JSON is written into the form."""
    with pytest.raises(ValidationError, match=r"is not a valid JSON patch .* give a list such as"):
        PinnedECSTask(task_customizations=value)


def test_streaming_output_configures_logs():
    """As in `ECSTask`."""
    block = PinnedECSTask(stream_output=True, execution_role_arn=EXECUTION_ROLE)
    assert block.configure_cloudwatch_logs is True


def test_customizations_survive_json():
    """That is how a block document holds them."""
    patch = [{"op": "add", "path": "/group", "value": "nightly"}]
    block = PinnedECSTask(task_customizations=patch)
    document = json.loads(block.json())
    assert document["task_customizations"] == block.dict()["task_customizations"] == patch
    assert PinnedECSTask(**document).task_customizations.patch == patch


def test_it_is_published_for_the_block_worker(world: World):
    """An `ecs` worker knows nothing of pins."""
    assert PinnedECSTask.get_corresponding_worker_type() == "block"


async def test_a_block_that_was_not_saved_is_not_published(world: World):
    """The work pool refers to the document."""
    with pytest.raises(BlockNotSavedError, match="has not been saved"):
        await world.block().generate_work_pool_base_job_template()
