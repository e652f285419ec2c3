"""`migrate`: what becomes of saved ECSTask blocks and of their deployments."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.deployments import Deployment  # type: ignore[attr-defined]
from prefect_aws import AwsCredentials
from prefect_aws.ecs import ECSTask

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.operations.migrate import converted, migrate
from tests.operations.fixtures import EXECUTION_ROLE


@pytest.fixture
def save_plain(prefect):
    """``save_plain("NAME", field=value, …)`` saves an ECSTask; gives ``ecs-task/NAME``."""

    def save(name: str = "old", **fields: Any) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ECSTask(**{"image": "flows:1", **fields}).save(name, overwrite=True)
        return f"ecs-task/{name}"

    return save


@pytest.fixture
def deploy_plain(prefect):
    """``deploy_plain("flow/name", "NAME", **overrides)`` deploys on an ECSTask, every hour."""

    def deploy(name: str, block: str, **overrides: Any) -> None:
        flow, deployment = name.split("/")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Deployment(  # type: ignore[call-arg, unused-coroutine]
                name=deployment,
                flow_name=flow,
                infrastructure=ECSTask.load(block),
                infra_overrides=overrides,
                parameters={"x": 1},
                tags=["kept"],
                work_queue_name="prod",
                schedule=IntervalSchedule.parse_obj({"interval": 3600}),
                path="/",
                entrypoint="flow.py:flow",
            ).apply()

    return deploy


async def everything() -> tuple[Any, ...]:
    """All that migrating might change."""
    async with get_client() as client:
        types = sorted(t.slug for t in await client.read_block_types())
        documents = [
            (d.block_type.slug if d.block_type else "", d.name, d.data, d.updated)
            for d in await client.read_block_documents()
        ]
        deployments = [d.dict(exclude={"updated"}) for d in await client.read_deployments()]
    return types, documents, deployments


def run(*arguments: Any, **options: Any) -> Any:
    return asyncio.run(migrate(*arguments, **options))


def test_a_dry_run_changes_nothing(save_plain, deploy_plain):
    """Not even the block type is registered; the same is listed as is done afterwards."""
    deploy_plain("flow/dry", save_plain().split("/")[1])
    before = asyncio.run(everything())
    dry = run("ecs-task/old", deployments=True, dry_run=True)
    assert asyncio.run(everything()) == before
    real = run("ecs-task/old", deployments=True)
    assert (dry.changes, dry.moved, dry.dry_run) == (real.changes, real.moved, True)


def test_twice_changes_nothing_more(save_plain, deploy_plain):
    """The second time the block exists, and no deployment runs on the old one."""
    deploy_plain("flow/twice", save_plain().split("/")[1])
    first = run("ecs-task/old", deployments=True)
    before = asyncio.run(everything())
    second = run("ecs-task/old", deployments=True)
    assert asyncio.run(everything()) == before
    assert (first.exists, first.moved) == (False, ("flow/twice",))
    assert (second.exists, second.moved) == (True, ())


def test_a_deployment_changes_its_block_and_nothing_else(save_plain, deploy_plain):
    """Schedule, parameters, overrides, tags and queue stay."""
    deploy_plain("flow/same", save_plain().split("/")[1], cpu=512, memory=1024)
    _, _, (before,) = asyncio.run(everything())
    run("ecs-task/old", deployments=True)
    _, _, (after,) = asyncio.run(everything())
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"infrastructure_document_id"}
    target = PinnedECSTask.load("old")
    assert after["infrastructure_document_id"] == target._block_document_id
    assert (len(after["schedules"]), after["infra_overrides"]) == (1, {"cpu": 512, "memory": 1024})


def test_deployments_stay_unless_they_are_asked_for(save_plain, deploy_plain):
    """They are listed, and the block is made."""
    deploy_plain("flow/waits", save_plain().split("/")[1])
    done = run("old")
    assert (done.moved, done.waiting) == ((), ("flow/waits",))
    _, _, (deployment,) = asyncio.run(everything())
    assert deployment["infrastructure_document_id"] == ECSTask.load("old")._block_document_id


def test_fields_are_kept(save_plain):
    """All but the two that take new defaults, linked credentials and patches included."""
    credentials = AwsCredentials(region_name="eu-west-1")
    credentials.save("linked", overwrite=True)
    save_plain(
        aws_credentials=AwsCredentials.load("linked"),
        cluster="etl",
        env={"A": "1", "B": None},
        labels={"team": "data"},
        task_customizations=[{"op": "add", "path": "/group", "value": "nightly"}],
        task_start_timeout_seconds=120,
    )
    run("ecs-task/old")
    block = PinnedECSTask.load("old")
    assert (block.cluster, block.env, block.labels) == (
        "etl",
        {"A": "1", "B": None},
        {"team": "data"},
    )
    assert block.task_customizations.patch[0]["value"] == "nightly"
    assert (block.task_start_timeout_seconds, block.auto_deregister_task_definition) == (600, False)
    assert block.aws_credentials._block_document_name == "linked"
    assert block.aws_credentials.region_name == "eu-west-1"


async def test_an_image_that_was_unset_stays_unset(save_plain):
    """As the UI stores a block: it goes on following the Prefect version of who loads it."""
    await asyncio.to_thread(save_plain)
    async with get_client() as client:
        old = await client.read_block_document_by_name("old", "ecs-task")
        assert old.id is not None
        data = {name: value for name, value in old.data.items() if name != "image"}
        await client._client.patch(
            f"/block_documents/{old.id}", json={"data": data, "merge_existing_data": False}
        )
    await migrate("ecs-task/old")
    async with get_client() as client:
        new = await client.read_block_document_by_name("old", "pinned-ecs-task")
    assert "image" not in new.data


def test_the_source_stays(save_plain):
    """For a way back."""
    save_plain()
    before = asyncio.run(everything())[1]
    run("ecs-task/old")
    after = asyncio.run(everything())[1]
    assert [d for d in after if d[0] == "ecs-task"] == [d for d in before if d[0] == "ecs-task"]


def test_a_block_that_exists_is_left_as_it_is(save_plain):
    """Somebody may have changed it since."""
    save_plain(cluster="etl")
    PinnedECSTask(image="flows:2", cluster="mine").save("old", overwrite=True)
    assert run("ecs-task/old").exists
    assert PinnedECSTask.load("old").cluster == "mine"


def test_patches_that_have_fields_now_are_kept(save_plain):
    """They are applied last, as before; the fields stay unset."""
    strategy = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    patches = [
        {"op": "add", "path": "/capacityProviderStrategy", "value": strategy},
        {"op": "add", "path": "/propagateTags", "value": "TASK_DEFINITION"},
        {"op": "add", "path": "/enableECSManagedTags", "value": True},
        {"op": "add", "path": "/overrides/ephemeralStorage", "value": {"sizeInGiB": 40}},
    ]
    save_plain(launch_type=None, task_customizations=patches)
    run("ecs-task/old")
    block = PinnedECSTask.load("old")
    assert list(block.task_customizations) == patches
    assert (block.launch_type, block.capacity_provider_strategy) == (None, None)
    assert (block.propagate_tags, block.ephemeral_storage) == (None, None)


FIELDS_OF_CHANGES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "defaults": (
        {},
        [
            "family",
            "auto_deregister_task_definition",
            "task_start_timeout_seconds",
            "launch_timeout_seconds",
        ],
    ),
    "a family, no deregistration": (
        {"family": "etl", "auto_deregister_task_definition": False},
        ["task_start_timeout_seconds", "launch_timeout_seconds"],
    ),
    "a linked revision": (
        {"task_definition_arn": "job:1", "auto_deregister_task_definition": False},
        ["task_start_timeout_seconds", "launch_timeout_seconds"],
    ),
    "logs": (
        {"family": "Etl", "configure_cloudwatch_logs": True, "execution_role_arn": EXECUTION_ROLE},
        [
            "auto_deregister_task_definition",
            "task_start_timeout_seconds",
            "launch_timeout_seconds",
            "awslogs-stream-prefix",
        ],
    ),
    "a stream prefix": (
        {
            "family": "etl",
            "configure_cloudwatch_logs": True,
            "execution_role_arn": EXECUTION_ROLE,
            "cloudwatch_logs_options": {"awslogs-stream-prefix": "mine"},
        },
        ["auto_deregister_task_definition", "task_start_timeout_seconds", "launch_timeout_seconds"],
    ),
    "client parameters": (
        {
            "family": "etl",
            "aws_credentials": {"aws_client_parameters": {"endpoint_url": "https://vpce.example"}},
        },
        [
            "auto_deregister_task_definition",
            "task_start_timeout_seconds",
            "launch_timeout_seconds",
            "aws_credentials.aws_client_parameters",
        ],
    ),
}


@pytest.mark.parametrize("case", FIELDS_OF_CHANGES)
def test_what_changes_in_meaning_is_listed(save_plain, case):
    """Each change, only where it applies, in the same order."""
    fields, expected = FIELDS_OF_CHANGES[case]
    save_plain(**fields)
    assert [change.field for change in run("ecs-task/old", dry_run=True).changes] == expected


@pytest.mark.parametrize(("stated", "after"), [(120, "600"), (300, "300")])
def test_the_start_timeout(save_plain, stated, after):
    """ECSTask's default becomes ours, a value that was chosen is kept."""
    save_plain(task_start_timeout_seconds=stated)
    (change,) = [
        c for c in run("ecs-task/old", dry_run=True).changes if c.field.startswith("task_start")
    ]
    assert (change.before, change.after) == (str(stated), after)


@pytest.mark.parametrize(
    "fault",
    [
        {"auto_deregister_task_definition": True},
        {"cpu": "many"},
        {"nothing.here": 1},
        {"task_customizations": [{"op": "add", "path": "/count", "value": 2}]},
    ],
)
def test_overrides_that_would_not_load_are_refused_before_anything_is_done(
    save_plain, deploy_plain, fault
):
    """Of two deployments one is wrong: neither is moved, and no block is made."""
    save_plain()
    deploy_plain("flow/right", "old", cpu=512)
    deploy_plain("flow/wrong", "old", **fault)
    before = asyncio.run(everything())
    with pytest.raises(ConfigurationError, match="flow/wrong"):
        run("ecs-task/old", deployments=True)
    assert asyncio.run(everything()) == before


def test_no_such_block(prefect):
    """The message names it."""
    with pytest.raises(ConfigurationError, match="'ecs-task/nowhere'"):
        run("ecs-task/nowhere")


def test_the_conversion_is_a_copy():
    """Pure: what it is given stays."""
    data = {"type": "ecs-task", "image": "a", "task_start_timeout_seconds": 120}
    assert (converted(data), len(data)) == ({"image": "a"}, 3)


PUBLIC_IP = "/networkConfiguration/awsvpcConfiguration/assignPublicIp"


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        (
            {
                "launch_type": "EC2",
                "task_definition": {"networkMode": "awsvpc"},
                "task_customizations": [
                    {"op": "replace", "path": PUBLIC_IP, "value": "DISABLED"},
                    {"op": "remove", "path": "/capacityProviderStrategy"},
                ],
            },
            [f"'replace' of '{PUBLIC_IP}'", "'remove' of '/capacityProviderStrategy'"],
        ),
        ({"task_definition": {"network_mode": "awsvpc"}}, ["network_mode", "'networkMode'"]),
        ({"task_definition": {"taskDefinition": {}}}, ["is wrapped"]),
    ],
)
async def test_what_every_launch_would_refuse_is_not_made(save_plain, fields, names):
    """A patch that `ECSTask`'s request had a place for; what is wrong is named."""
    plain = await asyncio.to_thread(save_plain, **fields)
    before = await everything()
    with pytest.raises(ConfigurationError, match="cannot migrate") as error:
        await migrate(plain)
    assert all(name in str(error.value) for name in names)
    assert await everything() == before


async def test_patches_that_fit_are_no_hindrance(save_plain):
    """Also those of a revision that is not read, whose network is not known."""
    patch = {"op": "replace", "path": PUBLIC_IP, "value": "DISABLED"}
    plain = await asyncio.to_thread(save_plain, task_customizations=[patch])
    linked = await asyncio.to_thread(
        save_plain, "linked", task_definition_arn="etl:1", task_customizations=[patch]
    )
    assert not (await migrate(plain)).exists
    assert not (await migrate(linked)).exists
