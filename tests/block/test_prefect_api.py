"""What the Prefect API keeps of a block and of a run: documents, work pools, states.

These tests share one server; it takes seconds to make its database.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow, get_client
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Cancelling, Completed, Pending
from prefect.testing.utilities import prefect_test_harness

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.block import prefect_api
from prefect_ecs_pinned.block.flow_runs import CANCELLED, UNWANTED, when_in
from prefect_ecs_pinned.block.logs import page_logger
from prefect_ecs_pinned.block.prefect_api import PrefectApi
from tests.block.conftest import Status, World
from tests.databases import fill_database

pytestmark = pytest.mark.xdist_group("block-api")


@pytest.fixture(scope="module", autouse=True)
def _prefect(migrated_database: Path) -> Iterator[None]:
    with prefect_test_harness():
        fill_database(migrated_database)
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


@pytest.fixture
def to_api(monkeypatch):
    """Log lines go to the API; tells of the calls that have brought them there."""
    calls, create_logs = [], PrefectClient.create_logs

    async def counted(self, logs):
        await create_logs(self, logs)
        calls.append(len(logs))

    monkeypatch.setattr(PrefectClient, "create_logs", counted)
    logging.getLogger("prefect.flow_runs").setLevel(logging.INFO)
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}):
        yield calls


async def flow_runs(count: int, state=None) -> list[UUID]:
    async with get_client() as client:
        return [(await client.create_flow_run(healthcheck, state=state)).id for _ in range(count)]


async def page(flow_run: UUID) -> list[str]:
    """Lines of a flow run's page."""
    async with get_client() as client:
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run]))
        return [log.message for log in await client.read_logs(wanted)]


async def test_the_pages_of_many_runs_are_written_in_one_call(to_api):
    """Each gets its own line."""
    ids = await flow_runs(50)
    for number, id_ in enumerate(ids):
        page_logger(str(id_), "x").info(f"task {number}")
    while not to_api:  # noqa: ASYNC110 - the API is asked by another task
        await asyncio.sleep(0.05)
    assert to_api == [50]
    assert await page(ids[0]) == ["task 0"]
    assert await page(ids[49]) == ["task 49"]


def test_a_line_said_at_the_very_end_is_stored(to_api):
    """The event loop ends before others could have come along."""

    async def say() -> UUID:
        (id_,) = await flow_runs(1)
        page_logger(str(id_), "x").info("good-bye")
        return id_

    assert asyncio.run(page(asyncio.run(say()))) == ["good-bye"]


def test_lines_under_way_when_the_loop_ends_are_stored(to_api, monkeypatch):
    """The call that was to store them hangs, and is cancelled with all else."""
    create_logs, under_way = PrefectClient.create_logs, []

    async def hanging_once(self, logs):
        under_way.append(len(logs))
        if len(under_way) == 1:
            await asyncio.sleep(3600)
        await create_logs(self, logs)

    monkeypatch.setattr(PrefectClient, "create_logs", hanging_once)

    async def say() -> UUID:
        (id_,) = await flow_runs(1)
        page_logger(str(id_), "x").info("good-bye")
        while not under_way:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return id_

    assert asyncio.run(page(asyncio.run(say()))) == ["good-bye"]


async def test_a_line_of_no_flow_run_spoils_no_other(to_api):
    """The API would refuse all of a call that has a wrong id in it."""
    (id_,) = await flow_runs(1)
    page_logger("no-uuid", "x").info("lost")
    page_logger(str(id_), "x").info("found")
    # Prefect's own worker sends the other line, and is counted, too.
    while not (lines := await page(id_)):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    assert lines == ["found"]


async def test_runs_that_are_not_wanted_any_more(monkeypatch):
    """Those being cancelled, ended, or deleted; a pending one is, and all are one call."""
    monkeypatch.setattr(prefect_api, "LOOK_SECONDS", 0.05)
    (pending,), (ended,), (cancelling,), (deleted,) = [
        await flow_runs(1, state) for state in (Pending(), Completed(), Pending(), Pending())
    ]
    async with get_client() as client:
        await client.update_flow_run(cancelling, infrastructure_pid="default::arn")
        await client.set_flow_run_state(cancelling, Cancelling(), force=True)
        await client.delete_flow_run(deleted)
    looks, read, unwanted = [], PrefectApi._read, set()

    async def counted(self, ids):
        states = await read(self, ids)
        looks.append(len(ids))
        return states

    monkeypatch.setattr(PrefectApi, "_read", counted)
    ends = [
        when_in(UNWANTED, str(id_), lambda id_=id_: unwanted.add(id_))
        for id_ in (pending, ended, cancelling, deleted)
    ]
    to_stop = set()
    ends += [
        when_in(CANCELLED, str(id_), lambda id_=id_: to_stop.add(id_))
        for id_ in (pending, ended, cancelling, deleted)
    ]
    while len(looks) < 2:  # noqa: ASYNC110 - the API is asked by another task
        await asyncio.sleep(0.01)
    assert unwanted == {ended, cancelling, deleted}
    assert to_stop == {cancelling, deleted}, "a flow that has ended by itself is left alone"
    assert set(looks) == {4}
    for end in ends[1:]:
        end()
        end()
    unwanted.clear()
    looks.clear()
    while len(looks) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert looks[-1] == 1
    assert unwanted == set()
    ends[0]()


async def test_many_runs_are_looked_at_in_few_calls(monkeypatch):
    """As many a call as the API has on a page; a call that fails is made again."""
    monkeypatch.setattr(prefect_api, "LOOK_SECONDS", 0.01)
    sizes, heard = [], Counter()

    async def read(self, ids):
        sizes.append(len(ids))
        if len(sizes) == 1:
            raise RuntimeError("no answer")
        return {id_: "PENDING" for id_ in ids}

    monkeypatch.setattr(PrefectApi, "_read", read)
    api = PrefectApi.here()
    ends = [
        api.follow(str(number), lambda state, n=number: heard.update([(n, state)]))
        for number in range(450)
    ]
    while len(sizes) < 6:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert sizes[:6] == [200, 200, 50] * 2
    assert heard[0, "PENDING"] == heard[449, "PENDING"] - 1
    for end in ends:
        end()
