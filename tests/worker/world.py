"""A real Prefect 3 server, a work pool, and the embedded ECS, seen from a test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import count
from typing import Any
from uuid import UUID

from prefect import flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State

from prefect_ecs_pinned.local import LocalECS
from prefect_ecs_pinned.worker import PinnedECSWorker
from prefect_ecs_pinned.worker.live_tasks import LiveTasks
from tests.worker.jobs import edited

_numbers = count()


@flow
def sleeper() -> None:
    """A flow that is never run here."""


class World:
    """A work pool of its own for each test."""

    def __init__(self, ecs: LocalECS, client: PrefectClient) -> None:
        self.ecs = ecs
        self.client = client
        self.pool = f"pool-{next(_numbers)}"
        self.flow = UUID(int=0)
        self.poll_seconds = 0.05

    @classmethod
    @contextlib.asynccontextmanager
    async def begin(cls, ecs: LocalECS) -> AsyncIterator[World]:
        async with get_client() as client:
            world = cls(ecs, client)
            world.flow = await client.create_flow(sleeper)
            yield world

    def template(self, template: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A base job template whose credentials are those of the embedded ECS."""
        credentials = {
            "aws_access_key_id": self.ecs.access_key,
            "aws_secret_access_key": "local",
            "region_name": "us-east-1",
            "aws_client_parameters": {"endpoint_url": self.ecs.endpoint_url},
        }
        given = template or PinnedECSWorker.get_default_base_job_template()
        return edited(
            given, {"aws_credentials": credentials, "task_watch_poll_interval": self.poll_seconds}
        )

    async def make_pool(self, template: Mapping[str, Any] | None = None) -> None:
        await self.client.create_work_pool(
            WorkPoolCreate(
                name=self.pool, type="pinned-ecs", base_job_template=self.template(template)
            )
        )

    @contextlib.asynccontextmanager
    async def worker(
        self, template: Mapping[str, Any] | None = None, **fields: Any
    ) -> AsyncIterator[PinnedECSWorker]:
        """A worker that polls when a test calls for it."""
        await self.make_pool(template)
        async with PinnedECSWorker(self.pool, **fields) as worker:
            yield worker

    async def deployment(self, name: str = "nightly", **variables: Any) -> UUID:
        """A deployment to the pool with these job variables."""
        return await self.client.create_deployment(
            self.flow,
            f"{self.pool}-{name}",
            work_pool_name=self.pool,
            job_variables={"image": "flows:1", **variables},
        )

    async def schedule(self, deployment: UUID, number: int = 1) -> list[FlowRun]:
        """Flow runs that are to be run now."""
        make = self.client.create_flow_run_from_deployment
        return [await make(deployment) for _ in range(number)]  # SQLite takes one at a time

    async def one_run(self, worker: PinnedECSWorker, **variables: Any) -> FlowRun:
        """A flow run whose task was accepted."""
        [run] = await self.schedule(await self.deployment(**variables))
        await submit(worker)
        return await self.until(run, lambda seen: bool(seen.infrastructure_pid))

    async def read(self, run: FlowRun) -> FlowRun:
        return await self.client.read_flow_run(run.id)

    async def until(self, run: FlowRun, true: Callable[[FlowRun], bool]) -> FlowRun:
        """The flow run as soon as something is true of it."""
        while not true(seen := await self.read(run)):  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)
        return seen

    async def crashed(self, run: FlowRun) -> str:
        """The message of a flow run's state as soon as it has crashed."""
        seen = await self.until(
            run, lambda seen: seen.state is not None and seen.state.is_crashed()
        )
        assert seen.state is not None
        return seen.state.message or ""

    async def set(self, run: FlowRun, state: State[Any]) -> None:
        """Set a flow run's state, whatever it was."""
        await self.client.set_flow_run_state(run.id, state, force=True)

    def end(self, run: FlowRun, exit_code: int) -> None:
        """End the task of a flow run."""
        self.ecs.change(exit_code=exit_code)
        task = (run.infrastructure_pid or "").split("::")[1]
        self.ecs.model.answer("StopTask", {"task": task}, "us-east-1")

    def calls(self, action: str) -> int:
        """Calls of an action, refused ones included."""
        return int(self.ecs.calls.get(action, {"calls": 0})["calls"])

    def live_tasks(self) -> int:
        """Tasks whose end nothing has asked for."""
        tasks = [str(launch["taskArn"]) for launch in self.ecs.launches]
        live = 0
        for first in range(0, len(tasks), 100):
            request = {"tasks": tasks[first : first + 100]}
            described = self.ecs.model.answer("DescribeTasks", request, "us-east-1")["tasks"]
            live += sum(task["desiredStatus"] == "RUNNING" for task in described)
        return live


async def submit(worker: PinnedECSWorker) -> list[FlowRun]:
    """One poll."""
    return await worker.get_and_submit_flow_runs()


def live(worker: PinnedECSWorker) -> LiveTasks:
    assert worker.live_tasks is not None
    return worker.live_tasks


async def true(what: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return as soon as something has become true."""
    while not what():  # noqa: ASYNC110 - the other side is a server in another thread
        await asyncio.sleep(0.01)
