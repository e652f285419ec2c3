"""Flow runs that a worker has taken and does not launch, given back to be polled again.

A run that is left Pending is polled by nobody, ever (PrefectHQ/prefect 20485). So a worker that
stops withdraws what waits, and resets to Scheduled each run of which it is certain that no task
was started. The others stay as they are: their tasks, if there are any, are found by the next
worker (`adopting`), which sets the rest back when it is certain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound, PrefectSignal
from prefect.logging.loggers import get_logger
from prefect.states import AwaitingRetry
from prefect.utilities.engine import propose_state

from prefect_ecs_pinned import metrics
from prefect_ecs_pinned.aws.loop.bounded import in_batches
from prefect_ecs_pinned.faces.asking import reason_of
from prefect_ecs_pinned.faces.pages import page_limit
from prefect_ecs_pinned.worker.claims import Claim
from prefect_ecs_pinned.worker.taking import is_taken

#: Flow runs that are read together right before they are reset, and states set together. Few, so
#: that hardly any time passes between the two.
_BATCH = 25
_CALLS = 8

logger = get_logger("workers.pinned-ecs.handing-back")


class HandingBack:
    """Sets flow runs back; belongs to the worker's event loop.

    Args:
        client: The worker's client.
    """

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(_CALLS)
        self._waiting: list[Claim] = []
        self._under_way = 0
        self._more = asyncio.Event()
        self._working = asyncio.Lock()

    def __len__(self) -> int:
        """How many have been added, and are not handed back yet."""
        return len(self._waiting) + self._under_way

    def add(self, claim: Claim) -> None:
        """It is certain that nothing was launched for this one, and that nothing will be."""
        if claim.given_back:
            return
        claim.given_back = True
        self._waiting.append(claim)
        self._more.set()

    async def run(self, why: str) -> None:
        """Hand back whatever is added, until it is cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            await self.finish(why)

    async def finish(self, why: str) -> None:
        """Hand back what was added so far."""
        async with self._working:
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                self._under_way = len(batch)
                await self.hand_back(batch, why)
                self._under_way = 0

    async def hand_back(self, claims: Sequence[Claim], why: str) -> int:
        """Set runs back to Scheduled that are as their claims have left them; it never raises.

        Returns:
            How many were reset.
        """
        back = 0
        for batch in in_batches(claims, min(_BATCH, page_limit())):
            try:
                ids = [claim.flow_run_id for claim in batch]
                found = await self._client.read_flow_runs(
                    flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids)), limit=len(ids)
                )
            except Exception as exception:  # noqa: BLE001 - they are reset by another worker
                logger.warning("Could not hand back %d: %s", len(batch), reason_of(exception))
                continue
            seen = {flow_run.id: flow_run for flow_run in found}
            ours = [
                claim
                for claim in batch
                if claim.flow_run_id in seen and is_taken(claim, seen[claim.flow_run_id])
            ]
            done = sum(await asyncio.gather(*(self._set_back(claim, why) for claim in ours)))
            metrics.record(metrics.HANDED_BACK, done, {})
            back += done
        return back

    async def _set_back(self, claim: Claim, why: str) -> bool:
        state: State[Any] = AwaitingRetry(scheduled_time=datetime.now(timezone.utc), message=why)
        try:
            async with self._slots:
                now = await propose_state(self._client, state, flow_run_id=claim.flow_run_id)
        except (PrefectSignal, ObjectNotFound):
            return False  # it was cancelled, or deleted, in between
        except Exception as exception:  # noqa: BLE001 - it is reset by another worker
            text = "Could not hand back flow run %s: %s"
            logger.warning(text, claim.flow_run_id, reason_of(exception))
            return False
        return now.is_scheduled()  # a rejected proposal returns the state that the run is in
