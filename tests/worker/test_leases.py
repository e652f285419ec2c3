"""Concurrency slots of runs that wait: renewed before they end, or the run is handed back."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest

from prefect_ecs_pinned.worker.claims import Claim, Claims
from prefect_ecs_pinned.worker.leases import FIRST_SECONDS, LEASE_SECONDS, Leases
from prefect_ecs_pinned.worker.moments import Moment

LEASE = UUID(int=9)


class Client:
    """The one call, with the status that it answers; and the time."""

    def __init__(self) -> None:
        self.status = 204
        self.renewed_at: list[float] = []
        self.time = 0.0

    async def renew_concurrency_lease(self, lease: UUID, seconds: float) -> httpx.Response:
        assert (lease, seconds) == (LEASE, LEASE_SECONDS)
        self.renewed_at.append(self.time)
        return httpx.Response(self.status, request=httpx.Request("POST", "http://prefect"))

    def now(self) -> float:
        return self.time

    async def wait(self, _: float) -> None:
        await asyncio.Event().wait()


def waiting(client: Client) -> tuple[Leases, Claim]:
    async def read(_: Any) -> dict[str, Any]:
        return {}

    moment = Moment(0, 0)
    claims = Claims(read, client, lambda: moment)
    claim = claims.begin(UUID(int=7))
    claim.took("s1", moment, LEASE)
    return Leases(client, client, claims.all), claim  # type: ignore[arg-type]


async def test_a_lease_is_renewed_while_its_run_waits():
    """In time for the shortest, 60 s, and then three times in each of its 300 s."""
    client = Client()
    leases, claim = waiting(client)
    for client.time in range(0, 1000, 5):
        await leases.look()
    assert client.renewed_at[0] == FIRST_SECONDS < 60
    pairs = zip(client.renewed_at, client.renewed_at[1:], strict=False)
    assert {after - before for before, after in pairs} == {100}
    assert not claim.retracted


@pytest.mark.parametrize(("status", "ended"), [(410, True), (404, True), (500, False)])
async def test_a_run_whose_lease_has_ended_is_handed_back(status: int, ended: bool):
    """It is not launched; an answer that says nothing of the lease ends nothing."""
    client = Client()
    leases, claim = waiting(client)
    await leases.look()
    client.time, client.status = FIRST_SECONDS, status
    await leases.look()
    assert (claim.retracted, claim.lost) == (ended, False)


async def test_a_launched_run_has_the_whole_lease_to_start():
    client = Client()
    leases, claim = waiting(client)
    leases.launched(claim)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert client.renewed_at == [0.0]
