"""Many runs of one worker, without a server: registrations, calls, threads, the bound."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import orjson
import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)

from prefect_ecs_pinned.aws.calls import pacing
from prefect_ecs_pinned.local import LocalECS
from prefect_ecs_pinned.worker import PinnedECSWorker, live_tasks
from prefect_ecs_pinned.worker.configuration import PinnedECSJobConfiguration
from prefect_ecs_pinned.worker.services import Services
from tests.worker.jobs import POOL, edited, flow_run, job
from tests.worker.world import true

NEVER = 1000.0
TEMPLATE = PinnedECSWorker.get_default_base_job_template()


class Answer:
    def __init__(self, content: bytes) -> None:
        self.content = content


class Client:
    """Prefect's API, where every flow run is in one state; counts what is asked."""

    def __init__(self) -> None:
        self.state = "RUNNING"
        self.asked: list[int] = []
        self._client = self

    async def post(self, _path: str, json: dict[str, Any]) -> Answer:
        ids = json["flow_runs"]["id"]["any_"]
        self.asked.append(len(ids))
        return Answer(orjson.dumps([{"id": i, "state": {"type": self.state}} for i in ids]))


class Offline:
    """A worker that nothing polls for."""

    def __init__(self, ecs: LocalECS) -> None:
        self.ecs = ecs
        self.client = Client()
        self.worker = PinnedECSWorker(POOL)
        worker = self.worker
        services = (POOL, worker.name, worker._job_of)
        worker._services = self.services = Services(self.client, *services)  # type: ignore[arg-type]
        self.live = self.services.live

    async def configuration(self, **variables: Any) -> PinnedECSJobConfiguration:
        """What a flow run's job is."""
        credentials = {
            "aws_access_key_id": self.ecs.access_key,
            "aws_secret_access_key": "local",
            "region_name": "us-east-1",
            "aws_client_parameters": {"endpoint_url": self.ecs.endpoint_url},
        }
        members = {"aws_credentials": credentials, "task_watch_poll_interval": 0.2}
        given = {"image": "flows:1", "family": self.family, **variables}
        made: PinnedECSJobConfiguration = await job(
            PinnedECSJobConfiguration, edited(TEMPLATE, members), given
        )
        return made

    async def run(self, number: int, initiate: bool = False, **variables: Any) -> str:
        """Launch a flow run; the identifier of its task."""
        configuration = await self.configuration(**variables)
        run = flow_run(number + 1, UUID(int=1000 + number % 20))
        run.state = State(type=StateType.PENDING)
        if initiate:
            await self.worker._initiate_run(run, configuration)
            return ""
        result = await self.worker.run(run, configuration)
        assert result.status_code == 0
        return str(result.identifier)

    family = "many"

    def calls(self) -> dict[str, int]:
        return {action: count["calls"] for action, count in self.ecs.calls.items()}


@pytest.fixture
async def offline(ecs: LocalECS, request: pytest.FixtureRequest) -> AsyncIterator[Offline]:
    made = Offline(ecs)
    made.family = request.node.name[:40]
    # Events and log lines go nowhere; Prefect would start a server for them.
    nowhere = {PREFECT_API_URL: "http://127.0.0.1:1/api", PREFECT_LOGGING_TO_API_ENABLED: False}
    with temporary_settings(nowhere):
        yield made
        await made.live.close()


async def test_a_hundred_runs_over_twenty_deployments_cost_one_registration(offline: Offline):
    """They differ in size and environment; nothing is remembered from before."""
    offline.ecs.change(task_seconds=NEVER)
    runs = (
        offline.run(n, cpu=256 * (1 + n % 2), memory=1024, env={"N": str(n % 20)})
        for n in range(100)
    )
    identifiers = await asyncio.gather(*runs)
    assert len(set(identifiers)) == 100
    assert len(offline.ecs.launches) == 100
    assert offline.calls()["RegisterTaskDefinition"] == 1
    assert len(offline.live) == 100


async def test_two_hundred_runs_cost_few_calls_and_threads(offline: Offline, monkeypatch):
    """At most 1.15 calls each, polls and look-ups included, and no thread each."""
    # As many calls as are under way at life's latencies; a busy machine answers later.
    monkeypatch.setattr(pacing, "MOST_CALLS", pacing._ALWAYS_ALLOWED)
    offline.ecs.change(task_seconds=2.0)
    before = set(threading.enumerate())
    most: list[str] = []

    async def count() -> None:
        nonlocal most
        while True:
            names = sorted(each.name for each in threading.enumerate() if each not in before)
            most = max(most, names, key=len)
            await asyncio.sleep(0.05)

    counting = asyncio.create_task(count())
    await asyncio.gather(*(offline.run(n) for n in range(200)))
    await true(lambda: len(offline.live) == 0)
    counting.cancel()
    calls = offline.calls()
    # A poll is 0.2 s here, and 5 s in life, where 30 s of a run bring six of them.
    calls["DescribeTasks"] = min(calls["DescribeTasks"], 12)
    assert sum(calls.values()) <= 1.15 * 200, calls
    assert len(most) <= 25, dict(Counter(most))


async def test_ended_runs_are_looked_at_together(offline: Offline, monkeypatch):
    """Two hundred a call, and once, when their containers have exited with 0."""
    monkeypatch.setattr(live_tasks, "LOOK_SECONDS", 0.5)
    monkeypatch.setattr(live_tasks, "GRACE_SECONDS", 0.2)
    offline.client.state = "COMPLETED"
    offline.ecs.change(task_seconds=0.5)
    await asyncio.gather(*(offline.run(n) for n in range(150)))
    await true(lambda: sum(offline.client.asked) == 150)
    assert len(offline.client.asked) <= 10


async def test_no_more_tasks_live_than_the_job_allows(offline: Offline):
    """Others wait for their end, and are launched then."""
    offline.ecs.change(task_seconds=NEVER)
    runs = [asyncio.create_task(offline.run(n, max_live_tasks=3)) for n in range(5)]
    await true(lambda: sum(run.done() for run in runs) == 3)
    await asyncio.sleep(0.2)
    assert len(offline.ecs.launches) == 3
    arn = str(offline.ecs.launches[0]["taskArn"])
    offline.ecs.model.answer("StopTask", {"task": arn}, "us-east-1")
    await true(lambda: sum(run.done() for run in runs) == 4)
    assert len(offline.ecs.launches) == 4
    for run in runs:
        run.cancel()
    await asyncio.gather(*runs, return_exceptions=True)
    assert (
        len(offline.services.launches.room) == 3
    )  # whoever was cancelled while it waited took no place


async def test_deregistering_is_warned_of_once(offline: Offline, caplog):
    """All runs share a revision: none of them deregisters it."""
    for number in range(3):
        await offline.run(number, auto_deregister_task_definition=True)
    said = [r for r in caplog.records if "auto_deregister_task_definition" in r.getMessage()]
    assert len(said) == 1
    assert "DeregisterTaskDefinition" not in offline.calls()


async def test_a_launch_type_that_is_not_sent_is_warned_of_once(offline: Offline, caplog):
    """For each configuration; not where the strategy is that launch type, or nothing is dropped."""
    spot, own = ({"capacityProvider": name, "weight": 1} for name in ("FARGATE_SPOT", "own"))
    combinations: list[tuple[str | None, list[dict[str, Any]], int]] = [
        ("FARGATE", [spot], 1),
        ("EC2", [own], 1),
        ("EC2", [spot], 1),
        ("FARGATE_SPOT", [spot], 0),
        ("FARGATE", [], 0),
        (None, [spot], 0),
    ]
    for launch_type, strategy, expected in combinations:
        caplog.clear()
        asked = {"launch_type": launch_type, "capacity_provider_strategy": strategy}
        for _ in range(3):
            offline.worker._warn_once(await job(PinnedECSJobConfiguration, TEMPLATE, asked))
        lines = [record.getMessage() for record in caplog.records]
        said = [line for line in lines if "is not sent" in line]
        assert len(said) == expected, (launch_type, strategy)
        assert all(repr(launch_type) in line for line in said)
        assert all(str(item["capacityProvider"]) in line for line in said for item in strategy)


async def test_an_initiated_run_is_not_an_error_when_its_identifier_is_not_stored(
    offline: Offline, caplog
):
    """The task runs: Prefect would report its flow run as crashed."""
    offline.ecs.change(task_seconds=NEVER)

    async def lost(*_: Any, **__: Any) -> None:
        raise ConnectionError

    offline.client.update_flow_run = lost  # type: ignore[attr-defined]
    await offline.run(0, initiate=True)
    assert len(offline.ecs.launches) == 1
    assert "Could not store task" in caplog.text
