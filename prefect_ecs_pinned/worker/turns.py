"""A limited number of flow runs use Prefect's API at the same time; the others wait.

A poll brings two hundred runs, and Prefect submits all of them together. Each calls the API six
times before its task is launched, and each of their first calls comes before any of their second
ones: no task is launched before all have got that far. httpx's pool, which has 16 connections,
looks through all calls that wait whenever one ends; and a server on SQLite locks them out of its
database. Runs that wait for their turn here are still Scheduled: nothing has to be handed back.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

#: Runs whose turn it is: as many as Prefect's client has connections (prefect 3.9,
#: ``PrefectClient.__init__``, "max_connections"), so that none of their calls waits for another's.
AT_ONCE = 16


class Turns:
    """Belongs to the worker's event loop."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._having: set[UUID] = set()

    async def take(self, flow_run_id: UUID) -> None:
        """Wait for a run's turn: first come, first served."""
        await self._free.acquire()
        self._having.add(flow_run_id)

    def give_back(self, flow_run_id: UUID) -> None:
        """A run makes no more calls; without a turn, nothing is given back."""
        if flow_run_id in self._having:
            self._having.discard(flow_run_id)
            self._free.release()
