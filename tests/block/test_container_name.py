"""A definition whose container has another name than `prefect`."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.block.spec import run_spec
from prefect_ecs_pinned.core.canonical import FINGERPRINT_LABEL
from prefect_ecs_pinned.core.definition import build
from prefect_ecs_pinned.core.request import SUBMISSION_VARIABLE, submission_ids, with_submission_id
from prefect_ecs_pinned.core.task_state import snapshot
from prefect_ecs_pinned.runs.revision import definition_spec
from tests.block.conftest import EXECUTION_ROLE, SECRET, World

THREE = ["sidecar", "prefect", "etl"]


def definition(*names: str) -> dict[str, Any]:
    containers = [
        {"name": name, "image": f"{name}:1", "memory": 128, "essential": True} for name in names
    ]
    return {"containerDefinitions": containers}


def container(described: dict[str, Any], name: str = "etl") -> dict[str, Any]:
    return next(c for c in described["containerDefinitions"] if c["name"] == name)


def overrides(request: dict[str, Any]) -> dict[str, set[str]]:
    """Container -> names of the variables that are set on it."""
    return {
        c["name"]: {v["name"] for v in c.get("environment", [])}
        for c in request["overrides"]["containerOverrides"]
    }


@pytest.mark.parametrize("names", [["etl"], ["sidecar", "etl"], THREE])
@pytest.mark.parametrize("launch_type", ["FARGATE", "EC2"])
async def test_the_flow_runs_in_it(world: World, names, launch_type):
    """Image, secrets, logs, label and variables are its; no container is added."""
    block = world.block(
        container_name="etl",
        task_definition=definition(*names),
        launch_type=launch_type,
        env={"STAGE": "test"},
        secrets={"PREFECT_API_KEY": SECRET},
        configure_cloudwatch_logs=True,
        execution_role_arn=EXECUTION_ROLE,
    )
    world.ecs.change(exit_code=7)
    launched = await world.run(block.copy(update={"secrets": {}}))
    assert launched.result.status_code == 7
    assert sorted(c["name"] for c in launched.definition["containerDefinitions"]) == sorted(names)
    own = container(launched.definition)
    assert own["image"] == "flows:1"
    assert own["dockerLabels"].keys() == {FINGERPRINT_LABEL}
    assert "logConfiguration" in own
    assert overrides(launched.request).keys() == {"etl"}
    assert {"STAGE", SUBMISSION_VARIABLE} <= overrides(launched.request)["etl"]
    for name in set(names) - {"etl"}:
        other = container(launched.definition, name)
        assert other["image"] == f"{name}:1"
        assert not other.get("dockerLabels")
        assert "logConfiguration" not in other
    (secret,) = container(build(definition_spec(run_spec(block), "us-east-1")))["secrets"]
    assert secret["name"] == "PREFECT_API_KEY"


@pytest.mark.parametrize("launch_type", ["FARGATE", "EC2"])
async def test_its_size_registers_nothing(world: World, launch_type):
    """Once registered, the revision is found again, by another process too."""
    fields = {"container_name": "etl", "launch_type": launch_type}
    bare = {"containerDefinitions": [{"name": "side", "image": "s:1", "memory": 9}]}
    first = world.block(task_definition=bare, cpu=512, memory=1024, **fields)
    await world.run(first)
    again = world.block(
        first._block_document_name, task_definition=bare, cpu=1024, memory=2048, **fields
    )
    again = again.copy(update={"aws_credentials": world.credentials(aws_session_token="other")})
    again._block_document_name = first._block_document_name
    again._is_anonymous = False
    launched = await world.run(again)
    assert launched.revision == f"{world.family(first)}:1"
    assert (launched.override["cpu"], launched.override["memory"]) == (1024, 2048)


async def test_a_linked_revision_without_prefect_is_used_as_it_is(world: World):
    """One that somebody else has registered."""
    arn = world.register({**definition("side", "etl"), "family": "theirs", "networkMode": "bridge"})
    block = world.block(
        task_definition_arn=arn,
        container_name="etl",
        launch_type="EC2",
        image=None,
        registration="never",
    )
    launched = await world.run(block)
    assert launched.revision == "theirs:1"
    assert overrides(launched.request).keys() == {"etl"}


def test_a_definition_without_it_gets_it():
    """As it gets `prefect` by default."""
    block = PinnedECSTask(image="f:1", container_name="etl", task_definition=definition("side"))
    made = build(definition_spec(run_spec(block), "us-east-1"))
    assert [c["name"] for c in made["containerDefinitions"]] == ["side", "etl"]


@pytest.mark.parametrize(
    ("names", "image"), [(["etl"], "etl:1"), (THREE, "etl:1"), (["prefect"], "prefecthq/prefect:")]
)
def test_its_image_is_that_of_the_definition(names, image):
    """Not that of another container, nor Prefect's own."""
    block = PinnedECSTask(container_name="etl", task_definition=definition(*names))
    own = container(build(definition_spec(run_spec(block), "us-east-1")))
    assert own["image"].startswith(image)


@pytest.mark.parametrize(
    ("overridden", "named", "expected"),
    [
        (["etl"], "etl", "etl"),
        (["side", "etl"], "etl", "etl"),
        (["side"], "etl", "etl"),
        ([], "etl", "etl"),
        (["side"], "gone", "side"),
        ([], "gone", "side"),
    ],
)
def test_where_the_id_goes(overridden, named, expected):
    """To the container that is named, if there is one: also when patches override another only."""
    request = {"overrides": {"containerOverrides": [{"name": name} for name in overridden]}}
    sent = with_submission_id(request, "a" * 24, definition("side", "etl"), named)
    with_id = [name for name, names in overrides(sent).items() if SUBMISSION_VARIABLE in names]
    assert with_id == [expected]
    assert set(overridden) <= overrides(sent).keys()


def described(exits: dict[str, int], own: str | None) -> dict[str, Any]:
    environment = [{"name": SUBMISSION_VARIABLE, "value": "a" * 24}]
    overridden = [{"name": own, "environment": environment}] if own else []
    return {
        "taskArn": "arn:aws:ecs:us-east-1:123456789012:task/c/1",
        "lastStatus": "STOPPED",
        "startedAt": 1,
        "overrides": {"containerOverrides": [{"name": "side"}, *overridden]},
        "containers": [{"name": name, "exitCode": code} for name, code in exits.items()],
    }


@pytest.mark.parametrize(
    ("own", "code"), [("etl", 3), ("prefect", 5), (None, 5), ("side", 9), ("gone", None)]
)
def test_the_exit_code_is_that_of_the_container_that_has_the_id(own, code):
    """Watchers and `reconcile` know the container by it; tasks without an id have `prefect`."""
    task = described({"side": 9, "etl": 3, "prefect": 5}, own)
    assert snapshot(task).exit_code == code
    assert submission_ids(task) == ({"a" * 24} if own else set())
