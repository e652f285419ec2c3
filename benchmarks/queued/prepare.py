"""``python -m benchmarks.queued.prepare WHAT RUNS``: a deployment, and flow runs that are due.

``WHAT`` is `pinned` or `idle`. Under Prefect 3 the deployment is of the work pool `bench`, under
Prefect 2 of the queue `bench` of agents, with a saved block.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httpx
import prefect
from prefect import get_client

#: Job variables of the deployment, or fields of its block.
JOB: dict[str, Any] = {
    "image": "registry.example.com/flows:2026.11",
    "env": {"EXTRA_PIP_PACKAGES": "", "TZ": "UTC"},
    "cpu": 1024,
    "memory": 2048,
}

#: Flow runs that are made at once: more than a few keep a SQLite file locked.
_AT_ONCE = 2

#: Tries of each, a second apart, beside those of Prefect's client.
_TRIES = 30


async def _block(what: str) -> Any:
    """The id of a saved block; only under Prefect 2."""
    if what == "idle":
        from benchmarks.queued.idle import IdleBlock

        block: Any = IdleBlock()
    else:
        from benchmarks.subject import credentials
        from prefect_ecs_pinned import PinnedECSTask

        block = PinnedECSTask(aws_credentials=credentials(), **JOB)
    return await block.save("bench", overwrite=True)


async def _pool(client: Any, what: str) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate

    if what == "idle":
        from benchmarks.queued.idle import IdleWorker as Worker
    else:
        from prefect_ecs_pinned import PinnedECSWorker as Worker
    template = Worker.get_default_base_job_template()
    await client.create_work_pool(
        WorkPoolCreate(name="bench", type=Worker.type, base_job_template=template)
    )


async def _deployment(client: Any, what: str) -> Any:
    flow_id = await client.create_flow_from_name("healthcheck")
    about = {"flow_id": flow_id, "name": "prod", "entrypoint": "flow.py:healthcheck", "path": "/"}
    if prefect.__version__.startswith("2."):
        block_id = await _block(what)
        return await client.create_deployment(
            **about, infrastructure_document_id=block_id, work_queue_name="bench"
        )
    await _pool(client, what)
    variables = JOB if what == "pinned" else {"env": JOB["env"]}
    return await client.create_deployment(**about, work_pool_name="bench", job_variables=variables)


async def main(what: str, runs: int) -> None:
    async with get_client() as client:
        deployment = await _deployment(client, what)
        slots = asyncio.Semaphore(_AT_ONCE)

        async def queue_one(number: int) -> None:
            async with slots:
                await _queue(client, deployment, f"bench-{number}")

        await asyncio.gather(*(queue_one(number) for number in range(runs)))


async def _queue(client: Any, deployment: Any, key: str) -> None:
    """Make one flow run, however often that has to be asked for."""
    for _ in range(_TRIES):
        try:
            await client.create_flow_run_from_deployment(deployment, idempotency_key=key)
        except httpx.HTTPError:  # "database is locked"
            await asyncio.sleep(1)
        else:
            return
    raise RuntimeError("no flow run can be made")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
