"""What an agent does with flow runs, in a process of its own that can be killed.

``python -m tests.operations.stand_in_agent BLOCK FLOW_RUN_ID…`` submits the flow runs on a saved
block: Pending, `prepare_for_flow_run`, `run`, the pid once it is known, and Running, which the
container would say. It prints ``ready`` when all of them run, and then watches on.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.states import Running

from prefect_ecs_pinned import PinnedECSTask


class _Started:
    """What the agent hands to `Infrastructure.run`."""

    def __init__(self) -> None:
        self.pid: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def started(self, pid: str) -> None:
        self.pid.set_result(pid)


async def submit(client: PrefectClient, block: PinnedECSTask, id_: UUID) -> asyncio.Task[Any]:
    """Launch one flow run, and see it Running."""
    status = _Started()
    prepared = block.prepare_for_flow_run(await client.read_flow_run(id_))
    watch = asyncio.create_task(prepared.run(status))
    await asyncio.wait([status.pid, watch], return_when=asyncio.FIRST_COMPLETED)
    await client.update_flow_run(id_, infrastructure_pid=await status.pid)
    await client.set_flow_run_state(id_, Running())
    return watch


async def main(name: str, ids: list[UUID]) -> None:
    block = await PinnedECSTask.load(name)
    async with get_client() as client:
        watches = [await submit(client, block, id_) for id_ in ids]
    print("ready", flush=True)
    await asyncio.gather(*watches)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], [UUID(id_) for id_ in sys.argv[2:]]))
