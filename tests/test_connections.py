"""Connections to Prefect's API: how many are made, and what has an agent keep them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import prefect
import pytest

from prefect_ecs_pinned.connections import ENTRY_POINT, LIMITS, SETTING, passed_on

CALLS = 300

IS_PREFECT_2 = prefect.__version__.startswith("2.")


@asynccontextmanager
async def counting() -> AsyncIterator[tuple[str, list[int]]]:
    """A server that keeps connections: its URL, and one member for each that was made."""
    made: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.append(1)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(0.001)  # others call meanwhile
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}/", made
    finally:
        server.close()


async def test_no_call_waits_for_a_new_connection():
    """300 calls at the same time, on the 16 connections of the first."""
    async with counting() as (url, made), httpx.AsyncClient(limits=LIMITS) as client:
        await asyncio.gather(*(client.get(url) for _ in range(CALLS)))
        assert len(made) <= 16, "with Prefect's own limits it is 300 (httpcore 1.0.9)"


@pytest.mark.parametrize(
    ("setting", "left"),
    [
        (ENTRY_POINT, None),
        (f" {ENTRY_POINT} ,", None),
        (f"{ENTRY_POINT},{ENTRY_POINT}", None),
        (f"mine:call, {ENTRY_POINT}", "mine:call"),
        (f"a,{ENTRY_POINT},b:c", "a,b:c"),
        ("prefect_ecs_pinned.connections: keep", None),
        ("prefect_ecs_pinned.connections : keep [local]", None),
        ("mine:call,", "mine:call,"),
        (f"{ENTRY_POINT}er", f"{ENTRY_POINT}er"),
        ("", ""),
    ],
)
def test_a_flow_runs_container_does_not_get_it(setting: str, left: str | None):
    """Other settings, and other entry points, reach it as they are."""
    variables: Mapping[str, str] = {"PREFECT_API_URL": "http://prefect/api", SETTING: setting}
    expected = {"PREFECT_API_URL": "http://prefect/api"}
    assert passed_on(variables) == expected | ({} if left is None else {SETTING: left})
    assert variables[SETTING] == setting


@pytest.mark.skipif(not IS_PREFECT_2, reason="Prefect 3 has no such setting")
def test_a_blocks_runs_get_what_is_passed_on():
    """Prefect gives them all settings of the agent."""
    from prefect.settings import PREFECT_EXTRA_ENTRYPOINTS, temporary_settings

    from prefect_ecs_pinned.block import PinnedECSTask
    from prefect_ecs_pinned.block.spec import run_spec

    block = PinnedECSTask(image="registry.example.com/flows:1")
    with temporary_settings({PREFECT_EXTRA_ENTRYPOINTS: f"mine:call,{ENTRY_POINT}"}):
        assert run_spec(block).inherited_env[SETTING] == "mine:call"
    with temporary_settings({PREFECT_EXTRA_ENTRYPOINTS: ENTRY_POINT}):
        assert SETTING not in run_spec(block).inherited_env


def test_without_the_setting_nothing_changes():
    assert passed_on({"A": "b"}) == {"A": "b"}


_SAY = """
import prefect.agent, prefect.workers.base
from prefect_ecs_pinned.connections import keep
keep()
for module in (prefect.agent, prefect.workers.base):
    print(module.get_client.keywords["httpx_settings"]["limits"].max_keepalive_connections)
    print(type(module.get_client.func).__name__)
"""


@pytest.mark.skipif(not IS_PREFECT_2, reason="Prefect 3 has no such setting")
def test_prefect_2_applies_the_setting_when_it_starts():
    """In a process of its own, without a warning; once, however often it is called."""
    environment = {**os.environ, SETTING: ENTRY_POINT, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", _SAY]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["16", "function"] * 2
    assert "Warning!" not in said.stderr


@pytest.mark.skipif(not IS_PREFECT_2, reason="Prefect 3 has no such setting")
async def test_an_agent_with_the_setting_keeps_its_connections(monkeypatch):
    """Its own client, made by Prefect: 300 calls at the same time."""
    import prefect.agent
    import prefect.workers.base
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from prefect_ecs_pinned.connections import keep

    for module in (prefect.agent, prefect.workers.base):
        monkeypatch.setattr(module, "get_client", module.get_client)
    keep()
    async with counting() as (url, made):
        with temporary_settings({PREFECT_API_URL: f"{url}api"}):
            async with prefect.agent.PrefectAgent(work_queues=["prod"]) as agent:
                calls = (agent.client._client.get("/hello") for _ in range(CALLS))
                await asyncio.gather(*calls)
        assert len(made) <= 16
