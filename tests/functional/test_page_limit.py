"""A real Prefect server whose pages are shorter than Prefect's own default."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Pending

from prefect_ecs_pinned.block.flow_runs import on_state
from prefect_ecs_pinned.block.prefect_api import PrefectApi
from prefect_ecs_pinned.faces import following
from prefect_ecs_pinned.faces.pages import page_limit
from prefect_ecs_pinned.operations.clocks import Clock
from prefect_ecs_pinned.operations.demo.stage import Stage
from prefect_ecs_pinned.operations.reconcile.flow_runs import by_id, unfinished
from prefect_ecs_pinned.operations.saved import prefect_api, read_deployments, read_links
from prefect_ecs_pinned.runs.host import UNWANTED
from tests.databases import MADE_ALREADY

pytestmark = [
    pytest.mark.functional,
    pytest.mark.walkthrough,  # two servers of its own: half a minute
    pytest.mark.timeout(300),
]

LIMIT = 50
RUNS = 120


@flow
def healthcheck() -> None:
    pass


@pytest.fixture(scope="module")
def server(migrated_database: Path) -> Iterator[str]:
    """Its URL."""
    with Stage() as stage:
        home = Path(stage.environment["PREFECT_HOME"])
        home.mkdir(exist_ok=True)
        shutil.copyfile(migrated_database, home / "prefect.db")
        stage.environment.update(dict.fromkeys(MADE_ALREADY, "false"))
        stage.environment["PREFECT_API_DEFAULT_LIMIT"] = str(LIMIT)
        stage.start_servers()
        yield stage.api_url


async def _runs() -> list[UUID]:
    async with get_client() as client:
        return [
            (await client.create_flow_run(healthcheck, state=Pending())).id for _ in range(RUNS)
        ]


async def _cancel(ids: list[UUID]) -> None:
    async with get_client() as client:
        for id_ in ids:
            await client.set_flow_run_state(id_, Cancelling(), force=True)


async def test_all_runs_that_wait_are_looked_at(server: str, monkeypatch) -> None:
    """The first of 120 and the last are cancelled, one is deleted; no other run ends."""
    monkeypatch.setattr(following, "LOOK_SECONDS", 1.0)
    monkeypatch.setattr(following, "GONE_SECONDS", 0.5)
    sizes, states = [], PrefectApi.states

    async def counted(self, ids, /):
        sizes.append(len(ids))
        return await states(self, ids)

    monkeypatch.setattr(PrefectApi, "states", counted)
    with temporary_settings({PREFECT_API_URL: server}):
        ids = await _runs()
        unwanted: set[UUID] = set()
        ends = [on_state(UNWANTED, str(id_), lambda i=id_: unwanted.add(i)) for id_ in ids]  # type: ignore[misc]
        await _cancel([ids[0], ids[-1]])
        async with get_client() as client:
            await client.delete_flow_run(ids[60])
        while len(unwanted) < 3:  # noqa: ASYNC110 - the server is another process
            await asyncio.sleep(0.1)
        assert page_limit() == LIMIT
        assert sizes[0] == RUNS, "the first look learns the limit"
        assert max(sizes[-3:]) <= LIMIT, "later ones keep it"
        assert unwanted == {ids[0], ids[-1], ids[60]}
        for end in ends:
            end()


async def test_commands_read_all_pages(server: str) -> None:
    """Deployments, work pools, flow runs: more of each than fit on a page."""
    with temporary_settings({PREFECT_API_URL: server}):
        ids = await _runs()
        async with get_client() as client:
            flow_id = await client.create_flow(healthcheck)
            for number in range(RUNS):
                await client.create_deployment(
                    flow_id, f"d{number}", infra_overrides={"task_definition_arn": f"f:{number}"}
                )
        async with prefect_api() as client:
            found = {subject.id for subject in await unfinished(client, None, Clock())}
            known = {subject.id for subject in await by_id(client, ids)}
            links = await read_links(client)
            deployments = await read_deployments(client)
    assert set(ids) <= found
    assert set(ids) == known
    assert {link for _, link in links} >= {f"f:{number}" for number in range(RUNS)}
    assert deployments == [], "none of them runs on a block"
