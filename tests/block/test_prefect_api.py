"""What the Prefect API keeps of a block and of a run: documents, work pools, states.

These tests share one server; it takes seconds to make its database.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest
from prefect import flow, get_client
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Cancelling, Completed, Pending, Running, State
from prefect.testing.utilities import prefect_test_harness

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.block import flow_runs as block_flow_runs
from prefect_ecs_pinned.block import interruptions
from prefect_ecs_pinned.block.flow_runs import on_state, report_crash
from prefect_ecs_pinned.block.logs import page_logger
from prefect_ecs_pinned.block.prefect_api import PrefectApi
from prefect_ecs_pinned.faces import following
from prefect_ecs_pinned.faces.states import all_continue
from prefect_ecs_pinned.runs.host import CANCELLED, UNWANTED
from tests.answering import answering
from tests.block.conftest import Status, World, until
from tests.databases import filled_database


@pytest.fixture(scope="module", autouse=True)
def _prefect(migrated_database: Path) -> Iterator[None]:
    with prefect_test_harness(), filled_database(migrated_database):
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
    """Log lines go to the API; gives the calls that have sent them."""
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
    """Those being cancelled, ended, or deleted; a pending one is, and all are one call.

    For the deleted one `read_flow_run` is asked, twice.
    """
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.3)
    monkeypatch.setattr(following, "GONE_SECONDS", 0.1)
    states: list[State[Any]] = [Pending(), Completed(), Pending(), Pending()]
    (pending,), (ended,), (cancelling,), (deleted,) = [
        await flow_runs(1, state) for state in states
    ]
    async with get_client() as client:
        await client.update_flow_run(cancelling, infrastructure_pid="default::arn")
        await client.set_flow_run_state(cancelling, Cancelling(), force=True)
        await client.delete_flow_run(deleted)
    looks, read, unwanted = [], PrefectApi.states, set()
    singles, read_one = [], PrefectApi.state

    async def counted(self, ids, /):
        states = await read(self, ids)
        looks.append(len(ids))
        return states

    async def counted_one(self, flow_run_id, /):
        singles.append(flow_run_id)
        return await read_one(self, flow_run_id)

    counts, count = [], PrefectApi.all_continue

    async def noted(self, ids, /):
        counts.append(len(ids))
        return await count(self, ids)

    monkeypatch.setattr(PrefectApi, "states", counted)
    monkeypatch.setattr(PrefectApi, "state", counted_one)
    monkeypatch.setattr(PrefectApi, "all_continue", noted)
    every = (pending, ended, cancelling, deleted)
    # A block's variables may spell the ID otherwise than Prefect does.
    ends = [on_state(UNWANTED, id_.hex.upper(), lambda id_=id_: unwanted.add(id_)) for id_ in every]  # type: ignore[misc]
    to_stop = set()
    ends += [on_state(CANCELLED, str(id_), lambda id_=id_: to_stop.add(id_)) for id_ in every]  # type: ignore[misc]
    ends.append(on_state(UNWANTED, "no-uuid", lambda: unwanted.add("no-uuid")))
    await until(lambda: deleted in unwanted)
    assert unwanted == {ended, cancelling, deleted}
    assert to_stop == {cancelling, deleted}, "a flow that has ended by itself is left alone"
    assert looks[0] == 4
    assert 1 in looks, "the one that is missing is asked for again"
    assert (set(singles), len(singles) >= 2) == ({str(deleted)}, True)
    for end in ends[1:]:
        end()
        end()
    unwanted.clear()
    await until(lambda: counts[-3:] == [1, 1, 1])
    assert unwanted == set()
    ends[0]()


async def test_of_runs_that_continue_none_is_read(monkeypatch):
    """They are counted, in one call."""
    wanted = await flow_runs(3, Pending())
    wanted += await flow_runs(1, Running())
    asked: list[str] = []
    ids = [str(id_) for id_ in wanted]
    async with PrefectApi.here().client() as client:
        post = client._client.post

        async def noted(path, **about):
            asked.append(path)
            return await post(path, **about)

        monkeypatch.setattr(client._client, "post", noted)
        assert await PrefectApi.here().all_continue(ids)
        await client.set_flow_run_state(wanted[1], Cancelling(), force=True)
        asked.remove(f"/flow_runs/{wanted[1]}/set_state")
        assert not await PrefectApi.here().all_continue(ids)
    assert asked == ["/flow_runs/count"] * 2


@pytest.mark.parametrize("type_", StateType)
async def test_a_run_continues_in_each_state_that_is_not_unwanted(type_):
    """Of all types that Prefect has; a deleted one continues nowhere."""
    (id_,) = await flow_runs(1, State(type=type_))
    async with get_client() as client:
        assert await all_continue(client, [str(id_)]) is (type_.value not in UNWANTED)
        await client.delete_flow_run(id_)
        assert not await all_continue(client, [str(id_)])


@pytest.fixture
def odd_server():
    """Has Prefect's API answer everything with (status, body)."""
    with answering() as answer:
        yield answer


KNOWN, OTHER = str(UUID(int=1)), str(UUID(int=2))


def answer(*flow_runs: object) -> bytes:
    return orjson.dumps(flow_runs)


def pending(id_: object, state: object = "PENDING") -> dict[str, object]:
    return {"id": id_, "state": {"type": state}}


@pytest.mark.parametrize(
    ("body", "states"),
    [
        (answer(pending(KNOWN)), {KNOWN: "PENDING"}),
        (answer(pending(KNOWN), pending(KNOWN)), {KNOWN: "PENDING"}),
        (answer(pending(KNOWN), pending(KNOWN, "CANCELLED")), {KNOWN: ""}),
        (answer({"id": KNOWN, "state": None}), {KNOWN: ""}),
        (answer({"id": KNOWN}), {KNOWN: ""}),
        (answer(pending(KNOWN, None)), {KNOWN: ""}),
        (answer({"id": KNOWN, "state": "CANCELLED"}), {KNOWN: ""}),
        (answer(None, 7, {}, pending(7), pending(KNOWN)), {KNOWN: "PENDING"}),
        (answer(*[pending(KNOWN)] * 500), {KNOWN: "PENDING"}),
        (answer(), {}),
    ],
    ids=range(10),
)
async def test_what_is_odd_in_an_answer_says_nothing(odd_server, body, states):
    """Neither that a run is cancelled nor that it is deleted, and the rest of it counts."""
    odd_server(200, body)
    assert await PrefectApi.here().states([KNOWN]) == states


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<html>"),
        (200, b"null"),
        (200, b"{}"),
        (200, b'"CANCELLED"'),
        (204, b""),
        (302, b""),
        (404, b"{}"),
        (422, b"{}"),
        (429, b""),
        (500, b"oops"),
        (503, b""),
    ],
)
async def test_what_can_not_be_read_is_raised(odd_server, status, body):
    """It is no list of states that lacks every run."""
    odd_server(status, body)
    with pytest.raises(Exception, match=r"."):
        await PrefectApi.here().states([KNOWN])


@pytest.mark.parametrize(
    "body", [b"true", b'"2"', b"2.0", b"[2]", b"-2", b"1", b"3", b"0", b"null", b"", b"<html>"]
)
async def test_what_is_no_count_of_all_proves_nothing(odd_server, body):
    """Another number, or no whole number."""
    odd_server(200, body)
    async with get_client() as client:
        assert not await all_continue(client, [KNOWN, OTHER])
        odd_server(200, b"2")
        assert await all_continue(client, [KNOWN, OTHER])


async def test_one_flow_run_is_read(odd_server):
    """404 is no flow run; a flow run that was not asked for says nothing."""
    api = PrefectApi.here()
    one = {"id": KNOWN, "flow_id": OTHER, "name": "x", "state": None}
    odd_server(200, orjson.dumps(one))
    assert await api.state(KNOWN) == ""
    odd_server(404, b"")
    assert await api.state(KNOWN) is None
    odd_server(200, orjson.dumps({**one, "id": OTHER}))
    with pytest.raises(ValueError, match="another flow run"):
        await api.state(KNOWN)
    for status in (401, 429, 500):
        odd_server(status, b"{}")
        with pytest.raises(httpx.HTTPStatusError):
            await api.state(KNOWN)


async def test_a_report_is_made_again_when_it_fails(odd_server, monkeypatch, log):
    """Three times, then said; a report that fails ends nothing."""
    monkeypatch.setattr(block_flow_runs, "_AGAIN_SECONDS", (0.01, 0.01))
    calls, propose = [], block_flow_runs.propose_state  # type: ignore[attr-defined]

    async def counted(*args, **kwargs):
        calls.append(kwargs["flow_run_id"])
        return await propose(*args, **kwargs)

    monkeypatch.setattr(block_flow_runs, "propose_state", counted)
    odd_server(500, b"s3cret")
    await report_crash(KNOWN, "it crashed")
    assert calls == [UUID(KNOWN)] * 3
    assert f"Could not report on flow run {KNOWN}: HTTP 500" in log.text
    assert "s3cret" not in log.text
    await report_crash("no-uuid", "it crashed")
    assert len(calls) == 3


async def interrupted(world: World, state) -> tuple[int, State[Any]]:
    """The end of a run whose task is stopped from outside, and exits with 0."""
    world.ecs.change(task_seconds=1000.0)
    async with get_client() as client:
        flow_run = await client.create_flow_run(healthcheck, state=Pending())
    status = Status()
    run = asyncio.create_task(world.block().prepare_for_flow_run(flow_run).run(status))
    identifier = await status.identifier
    async with get_client() as client:
        await client.update_flow_run(flow_run.id, infrastructure_pid=identifier)
        await client.set_flow_run_state(flow_run.id, state, force=True)
    arn = identifier.split("::")[1]
    task = world.ecs.model.find(arn)
    assert task is not None
    task.exit_code = 0
    await until(
        lambda: (
            world.ecs.model.answer("DescribeTasks", {"tasks": [arn]}, "us-east-1")["tasks"][0][
                "lastStatus"
            ]
            == "RUNNING"
        )
    )
    stop = {"task": arn, "reason": "drained by hand"}
    world.ecs.model.answer("StopTask", stop, "us-east-1")
    result = await run
    async with get_client() as client:
        return result.status_code, (await client.read_flow_run(flow_run.id)).state


async def test_an_interruption_that_ended_with_0_is_on_the_flow_runs_page(world, monkeypatch):
    """The flow run would be Running for ever; the agent does nothing about a 0."""
    monkeypatch.setattr(interruptions, "GRACE_SECONDS", 0.2)
    code, state = await interrupted(world, Running())
    assert code == 0
    assert state.type is StateType.CRASHED
    assert state.message is not None
    assert state.message.startswith("the task was interrupted (UserInitiated)")
    assert "drained by hand" in state.message


async def test_an_interruption_of_a_flow_that_has_ended_changes_nothing(world):
    """And takes no minute."""
    code, state = await interrupted(world, Completed())
    assert (code, state.type) == (0, StateType.COMPLETED)
