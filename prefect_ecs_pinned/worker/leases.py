"""Concurrency slots of deployments, kept while their runs wait to be launched.

A run of a deployment with a concurrency limit gets its slot when it becomes Pending: a lease of
300 s by default (``PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION``), or of the
deployment's ``grace_period_seconds``, which is 60 at least. When it has ended, the slot is given to
another run, and a run that starts after that without one is cancelled (prefect 3.9,
``ValidateDeploymentConcurrencyAtRunning``). The process of a flow renews its lease; until there is
one, this does. A run whose lease has ended is handed back, to queue for another slot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.logging.loggers import get_logger

from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.faces.asking import reason_of, within
from prefect_ecs_pinned.worker.claims import Claim

#: Seconds from a claim to its lease's first renewal: well within the shortest lease, 60 s.
FIRST_SECONDS = 20.0

#: Seconds for which a lease is renewed (prefect 3.9, ``RenewLease``: 60 to 86,400), and between two
#: renewals. It is what a flow's own process asks for.
LEASE_SECONDS = 300.0
AGAIN_SECONDS = 100.0

#: Seconds between looks for leases that are due.
_LOOK_SECONDS = 5.0

#: Seconds that a call is given.
_CALL_SECONDS = 30.0

logger = get_logger("workers.pinned-ecs.leases")


class Leases:
    """Renews leases; belongs to the worker's event loop.

    Args:
        client: The worker's client.
        clock: Time.
        waiting: The runs that wait.
    """

    def __init__(
        self, client: PrefectClient, clock: Clock, waiting: Callable[[], list[Claim]]
    ) -> None:
        self._client = client
        self._clock = clock
        self._waiting = waiting
        self._due: dict[UUID, float] = {}
        self._renewals: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Renew what is due, until it is cancelled."""
        while True:
            await self._clock.wait(_LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Renew what is due now."""
        now = self._clock.now()
        claims = {claim.lease_id: claim for claim in self._waiting() if claim.lease_id}
        self._due = {lease: self._due.get(lease, now + FIRST_SECONDS) for lease in claims}
        due = [lease for lease, when in self._due.items() if when <= now]
        await asyncio.gather(*(self._renew(lease, claims[lease]) for lease in due))

    def launched(self, claim: Claim) -> None:
        """From now on the task has the whole time to start."""
        if claim.lease_id is not None:
            renewal = asyncio.create_task(self._renew(claim.lease_id, None))
            self._renewals.add(renewal)
            renewal.add_done_callback(self._renewals.discard)

    async def _renew(self, lease: UUID, claim: Claim | None) -> None:
        """Renew a lease; one that has ended ends the claim of a run that still waits."""

        async def renew() -> None:
            response = await self._client.renew_concurrency_lease(lease, LEASE_SECONDS)
            response.raise_for_status()

        try:
            await within(self._clock, _CALL_SECONDS, renew())
        except Exception as exception:  # noqa: BLE001 - a lease that may live is renewed later
            if _has_ended(exception):
                if claim is not None and not claim.retracted:
                    logger.info("Flow run %s is handed back: its slot is lost", claim.flow_run_id)
                    claim.end()
                return
            logger.debug("Could not renew lease %s: %s", lease, reason_of(exception))
            self._due[lease] = self._clock.now() + _LOOK_SECONDS
        else:
            self._due[lease] = self._clock.now() + AGAIN_SECONDS


def _has_ended(exception: Exception) -> bool:
    """Whether the server says that there is no such lease (any more)."""
    if isinstance(exception, ObjectNotFound):
        return True
    gone = (httpx.codes.NOT_FOUND, httpx.codes.GONE)
    return isinstance(exception, httpx.HTTPStatusError) and exception.response.status_code in gone
