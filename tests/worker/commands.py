"""Work pools with deployments, and the command line, seen from a test that is not async."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import pytest
from prefect import flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect_aws.workers.ecs_worker import ECSWorker

from prefect_ecs_pinned.cli import main
from prefect_ecs_pinned.local import LocalECS
from prefect_ecs_pinned.worker import PinnedECSWorker
from tests.worker.jobs import edited

T = TypeVar("T")

#: Of deployments: what they set. Two share a definition.
THREE: Mapping[str, Mapping[str, Any]] = {
    "nightly": {"image": "flows:1", "cpu": 512, "memory": 1024},
    "hourly": {"image": "flows:1", "env": {"SECRET_TOKEN": "hunter2"}},
    "weekly": {"image": "flows:2", "task_start_timeout_seconds": 60},
}


@flow
def extract() -> None:
    """A flow that is never run here."""


@dataclass
class Said:
    """What a command wrote."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


class Pools:
    """Makes pools on the session's Prefect server, and removes them."""

    def __init__(self, ecs: LocalECS, capsys: pytest.CaptureFixture[str]) -> None:
        self.ecs = ecs
        self._capsys = capsys

    def cli(self, *arguments: str) -> Said:
        """Run `pinned-ecs`."""
        self._capsys.readouterr()
        code = main(arguments)
        return Said(code, *self._capsys.readouterr())

    def ask(self, call: Callable[[PrefectClient], Awaitable[T]]) -> T:
        """What a call of the Prefect API gives."""

        async def one() -> T:
            async with get_client() as client:
                return await call(client)

        return asyncio.run(one())

    def template(self, kind: str = "pinned-ecs", **edits: Any) -> dict[str, Any]:
        """The default template of a type, with credentials for the embedded ECS."""
        worker: Any = ECSWorker if kind == "ecs" else PinnedECSWorker
        credentials = {
            "aws_access_key_id": self.ecs.access_key,
            "aws_secret_access_key": "local",
            "region_name": "us-east-1",
            "aws_client_parameters": {"endpoint_url": self.ecs.endpoint_url},
        }
        given = worker.get_default_base_job_template()
        return edited(given, {"aws_credentials": credentials, **edits})

    def make(
        self,
        name: str,
        kind: str = "pinned-ecs",
        deployments: Mapping[str, Mapping[str, Any]] | None = None,
        template: Mapping[str, Any] | None = None,
        **members: Any,
    ) -> None:
        """A pool, and deployments on it."""

        async def call(client: PrefectClient) -> None:
            made = template if template is not None else self.template(kind)
            await client.create_work_pool(
                WorkPoolCreate(name=name, type=kind, base_job_template=dict(made), **members)
            )
            flow_id = await client.create_flow(extract)
            for short, variables in (THREE if deployments is None else deployments).items():
                await client.create_deployment(
                    flow_id, short, work_pool_name=name, job_variables=dict(variables)
                )

        self.ask(call)

    def pool(self, name: str) -> WorkPool:
        return self.ask(lambda client: client.read_work_pool(name))

    def deployment(self, short: str) -> DeploymentResponse:
        return self.ask(lambda client: client.read_deployment_by_name(f"extract/{short}"))

    def schedule(self, short: str) -> UUID:
        """A flow run of a deployment that waits to be picked up."""
        deployment = self.deployment(short)
        make = self.ask(lambda client: client.create_flow_run_from_deployment(deployment.id))
        return make.id

    def forget(self) -> None:
        """Remove all pools and deployments."""

        async def call(client: PrefectClient) -> None:
            for deployment in await client.read_deployments():
                await client.delete_deployment(deployment.id)
            for pool in await client.read_work_pools():
                await client.delete_work_pool(pool.name)
            for run in await client.read_flow_runs():
                await client.delete_flow_run(run.id)

        self.ask(call)

    def calls(self, action: str) -> int:
        """Calls of an action, refused ones included."""
        return int(self.ecs.calls.get(action, {"calls": 0})["calls"])
