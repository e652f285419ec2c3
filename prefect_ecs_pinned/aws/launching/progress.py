"""While launches queue behind a quota: how it goes, every half minute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.events import LaunchesQueued, LaunchesThrottled, Listener

#: Seconds between two reports of a queue.
PROGRESS_SECONDS = 30.0

Numbers = Mapping[str, Mapping[str, float]]


class Progress:
    """Reports how a queue gets on; lives on the control loop.

    Args:
        numbers: `Launching.snapshot`.
        emit: Called with each event.
        clock: Time.
    """

    def __init__(self, numbers: Callable[[], Numbers], emit: Listener, clock: Clock) -> None:
        self._numbers = numbers
        self._emit_event = emit
        self._clock = clock
        self._reporting: asyncio.Task[None] | None = None
        self._throttles: dict[str, int] = {}

    def begin(self) -> None:
        """Something has been queued: report it for as long as something is."""
        if self._reporting is None or self._reporting.done():
            self._reporting = asyncio.create_task(self._report_until_empty())

    async def _report_until_empty(self) -> None:
        waiting = True
        while waiting:
            await self._clock.wait(PROGRESS_SECONDS)
            waiting = False
            for quota, numbers in self._numbers().items():
                waiting = self._report(quota, numbers) or waiting

    def _report(self, quota: str, numbers: Mapping[str, float]) -> bool:
        """Report one quota; whether launches wait for it."""
        queued, pace = int(numbers["queued"] + numbers["calling"]), numbers["rate"]
        throttles = int(numbers["throttles"])
        if more := throttles - self._throttles.get(quota, 0):
            self._throttles[quota] = throttles
            self._emit_event(LaunchesThrottled(quota, more, queued, pace))
        if queued:
            launched, live = int(numbers["launched"]), int(numbers["live"])
            self._emit_event(LaunchesQueued(quota, queued, launched, live, pace, throttles))
        return queued > 0
