"""Queues of a work pool: read, carried over to another pool; and the runs that stay behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkPool, WorkQueue

from prefect_ecs_pinned.faces.pages import all_pages

#: Runs in these states were handed out, or wait to be, in the pool that they were made in.
_UNFINISHED = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)

#: Members of a queue that are carried over.
_OF_A_QUEUE = ("description", "is_paused", "concurrency_limit", "priority")


async def queues_of(client: PrefectClient, pool: WorkPool) -> dict[str, WorkQueue]:
    """A pool's queues by name, the most urgent first."""

    async def read(limit: int, offset: int) -> Sequence[WorkQueue]:
        return await client.read_work_queues(pool.name, limit=limit, offset=offset)

    # By priority: a queue that is made pushes those of its priority and below down by one.
    found = await all_pages(read)
    return {queue.name: queue for queue in sorted(found, key=lambda queue: queue.priority)}


async def carry_over(
    client: PrefectClient,
    source: WorkPool,
    target: WorkPool,
    queue: WorkQueue,
    known: Mapping[str, WorkQueue],
) -> None:
    """Make a queue as it is in the other pool; the pool's default queue is there already."""
    members: dict[str, Any] = {name: getattr(queue, name) for name in _OF_A_QUEUE}
    there = known.get(queue.name)
    if queue.id == source.default_queue_id:
        there = next((q for q in known.values() if q.id == target.default_queue_id), there)
    if there is None:
        await client.create_work_queue(queue.name, work_pool_name=target.name, **members)
    else:
        await client.update_work_queue(there.id, name=queue.name, **members)


async def unfinished_in(client: PrefectClient, pool: WorkPool) -> int:
    """How many runs were made in a pool and have not ended; those in the future not counted."""
    types = FlowRunFilterStateType(any_=list(_UNFINISHED))
    wanted = FlowRunFilter(state=FlowRunFilterState(type=types))
    on_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool.name]))

    async def read(limit: int, offset: int) -> Sequence[FlowRun]:
        return await client.read_flow_runs(
            flow_run_filter=wanted, work_pool_filter=on_pool, limit=limit, offset=offset
        )

    found = await all_pages(read)
    return sum(not (run.auto_scheduled and _is_scheduled(run)) for run in found)


def _is_scheduled(run: FlowRun) -> bool:
    """Whether it is moved with its deployment: the server makes it again when that changes."""
    return run.state is not None and run.state.name == "Scheduled"
