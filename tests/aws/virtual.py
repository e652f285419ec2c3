"""Virtual time: waiting costs nothing, and everything happens in the order that it would."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable
from itertools import count
from typing import TypeVar

T = TypeVar("T")


class VirtualClock:
    """A `ports.Clock` that moves on when nobody has anything else to do."""

    def __init__(self) -> None:
        self._now = 0.0
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    async def wait(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + max(0.0, seconds), next(self._order), future))
        await future

    async def run(self, work: Awaitable[T], limit: float = 100_000.0) -> T:
        """Let time pass until a piece of work is done."""
        task = asyncio.ensure_future(work)
        ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
        until = self._now + limit
        while True:
            await asyncio.sleep(0)
            while ready:  # noqa: ASYNC110 - somebody has something else to do
                await asyncio.sleep(0)
            if task.done():
                return task.result()
            assert self._sleepers, "nothing will ever happen"
            at, _, future = heapq.heappop(self._sleepers)
            assert at <= until, "it takes longer than the limit"
            self._now = max(self._now, at)
            if not future.done():
                future.set_result(None)

    async def pass_time(self, seconds: float) -> None:
        """Let a stretch of time pass, and do everything that falls into it."""
        await self.run(self.wait(seconds))
