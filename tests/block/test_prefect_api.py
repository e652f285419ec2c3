"""What the Prefect API keeps of a block and of a run: documents, work pools, states.

These tests share one server; it takes seconds to make its database.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect import flow, get_client
from prefect.blocks.core import Block
from prefect.client.schemas.objects import StateType
from prefect.states import Completed, Pending
from prefect.testing.utilities import prefect_test_harness

from prefect_ecs_pinned import PinnedECSTask
from tests.block.conftest import Status, World

pytestmark = pytest.mark.xdist_group("block-api")


@pytest.fixture(scope="module", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness():
        yield


@flow
def healthcheck() -> None:
    pass


async def test_a_saved_block_is_what_the_agent_loads(world: World):
    """The family is the document's name, and two runs of two loaded copies share a revision."""
    patch = [{"op": "add", "path": "/group", "value": "nightly"}]
    document_id = await world.block(
        None, task_customizations=patch, env={"A": None, "B": "1"}
    ).save("my-block", overwrite=True)
    revisions = set()
    for _ in range(2):
        async with get_client() as client:
            document = await client.read_block_document(document_id)
        block = Block._from_block_document(document)
        assert isinstance(block, PinnedECSTask)
        assert (block.task_customizations.patch, block.env) == (patch, {"A": None, "B": "1"})
        revisions.add((await world.run(block)).revision)
    assert revisions == {"prefect-my-block:1"}


async def test_it_is_published_as_a_work_pool_of_type_block(world: World):
    """The server accepts the template, and it refers to the saved block."""
    block = world.block(None)
    document_id = await block.save("published", overwrite=True)
    await block.publish_as_work_pool("pool")
    async with get_client() as client:
        pool = await client.read_work_pool("pool")
    assert pool.type == "block"
    template = pool.base_job_template
    assert template["job_configuration"] == {"block": "{{ block }}"}
    default = template["variables"]["properties"]["block"]["default"]
    assert default == {"$ref": {"block_document_id": str(document_id)}}


async def run_of_a_flow(world: World, state=None):
    """The result of a run under an agent, and the flow run's state afterwards."""
    async with get_client() as client:
        flow_run = await client.create_flow_run(healthcheck, state=state or Pending())
    result = await world.block().prepare_for_flow_run(flow_run).run(Status())
    async with get_client() as client:
        return result, (await client.read_flow_run(flow_run.id)).state


async def test_why_a_task_failed_to_start_is_on_the_flow_runs_page(world: World):
    """`ECSTask` leaves a status code."""
    reason = "CannotPullContainerError: pull image manifest has been retried 5 time(s)"
    world.ecs.model.start_failures.append(("TaskFailedToStart", reason))
    result, state = await run_of_a_flow(world)
    assert result.status_code == -1
    assert state.type is StateType.CRASHED
    assert reason in state.message
    assert "hint: check that the image exists" in state.message


async def test_why_a_container_failed_is_on_the_flow_runs_page(world: World):
    """The exit code and what it means."""
    world.ecs.change(exit_code=137)
    result, state = await run_of_a_flow(world)
    assert result.status_code == 137
    assert state.type is StateType.CRASHED
    assert "exited with code 137" in state.message
    assert "ran out of memory" in state.message


async def test_a_flow_run_that_has_ended_keeps_its_state(world: World):
    """The flow completed, and its container was killed while it ended."""
    world.ecs.change(exit_code=137)
    result, state = await run_of_a_flow(world, Completed())
    assert result.status_code == 137
    assert state.type is StateType.COMPLETED


async def test_a_success_changes_no_state(world: World):
    """What the flow itself said stands."""
    result, state = await run_of_a_flow(world)
    assert result.status_code == 0
    assert state.type is StateType.PENDING
