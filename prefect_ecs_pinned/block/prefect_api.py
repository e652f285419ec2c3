"""Prefect's API as the runs of one event loop use it: one client, and many runs a call.

Flow runs that wait are looked at together (`Following`), and log lines are stored together. A
client costs 30 ms of CPU, most of it for certificates, so one is kept for as long as it is
used. It belongs to an event loop, and so does everything here.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.logging.loggers import get_logger
from prefect.settings import (
    PREFECT_API_KEY,
    PREFECT_API_URL,
    PREFECT_LOGGING_TO_API_BATCH_INTERVAL,
)

from prefect_ecs_pinned.aws.loop.control_loop import LoopClock
from prefect_ecs_pinned.connections import LIMITS
from prefect_ecs_pinned.faces.following import Following
from prefect_ecs_pinned.faces.states import all_continue, read_states

#: Log lines in a call; together they stay far below PREFECT_LOGGING_TO_API_BATCH_SIZE, 4 MB.
_MOST_LINES = 200

#: Seconds for which a client is kept that nobody uses.
_KEPT_SECONDS = 30.0

#: Seconds for which lines are sent that are left when their event loop ends; as Prefect does it.
_LAST_LINES_SECONDS = 5.0

#: The `PrefectApi` that was asked for last on each thread.
_here = threading.local()

logger = get_logger(__name__)


def _new_client() -> PrefectClient:
    return get_client(httpx_settings={"limits": LIMITS})


class PrefectApi:
    """One client of one event loop, its look-ups and log lines batched; see `here`.

    Attributes:
        following: The flow runs that are looked at.
    """

    def __init__(self, where: tuple[str | None, str | None]) -> None:
        self._loop = weakref.ref(asyncio.get_running_loop())
        self._where = where
        self.following = Following(self, LoopClock())
        self._lines: list[dict[str, Any]] = []
        self._sending: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[PrefectClient] | None = None
        self._uses = 0
        self._used_at = 0.0

    @staticmethod
    def here() -> PrefectApi:
        """That of the running event loop, with the settings in force."""
        where = (PREFECT_API_URL.value(), PREFECT_API_KEY.value())
        known: PrefectApi | None = getattr(_here, "known", None)
        loop = asyncio.get_running_loop()
        if known is None or known._loop() is not loop or known._where != where:
            known = _here.known = PrefectApi(where)
        return known

    def write(self, line: dict[str, Any]) -> None:
        """Have a log line stored, with others of the next seconds.

        Args:
            line: What the API takes (`LogCreate`).
        """
        self._lines.append(line)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_lines())

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[PrefectClient]:
        """The client; a new one when the last has been released."""
        if self._ready is None or self._keeper is None or self._keeper.done():
            self._ready = asyncio.get_running_loop().create_future()
            self._keeper = asyncio.create_task(self._keep(self._ready))
        self._uses += 1
        try:
            yield await asyncio.shield(self._ready)
        finally:
            self._uses -= 1
            self._used_at = time.monotonic()

    async def _keep(self, ready: asyncio.Future[PrefectClient]) -> None:
        """Hold a client open: who enters it has to leave it, in the same task."""
        try:
            async with _new_client() as client:
                ready.set_result(client)
                while self._is_used():  # noqa: ASYNC110 - time itself is waited for
                    await asyncio.sleep(_KEPT_SECONDS)
                self._ready = None  # who comes now needs another
        except Exception as exception:  # noqa: BLE001 - raised: not known
            if ready.done():
                logger.debug("Could not close a client: %s", exception)
            else:
                ready.set_exception(exception)
                ready.exception()  # anyone who asked may have been cancelled
        finally:
            if self._ready is ready:
                self._ready = None
            if not ready.done():
                ready.set_exception(RuntimeError("the event loop ends"))
                ready.exception()  # there may be nobody to retrieve it

    def _is_used(self) -> bool:
        return self._uses > 0 or time.monotonic() - self._used_at < _KEPT_SECONDS

    async def states(self, ids: Sequence[str], /) -> Mapping[str, str]:
        """As of `StatesApi`."""
        async with self.client() as client:
            return await read_states(client, ids)

    async def all_continue(self, ids: Sequence[str], /) -> bool:
        """As of `StatesApi`."""
        async with self.client() as client:
            return await all_continue(client, ids)

    async def state(self, flow_run_id: str, /) -> str | None:
        """As of `StatesApi`."""
        try:
            flow_run = await self.flow_run(flow_run_id)
        except ObjectNotFound:
            return None
        return flow_run.state.type.value if flow_run.state is not None else ""

    async def flow_run(self, flow_run_id: str) -> FlowRun:
        """One flow run.

        Raises:
            ObjectNotFound: The API answers 404.
            ValueError: It answers something else than that flow run.
        """
        async with self.client() as client:
            flow_run = await client.read_flow_run(UUID(flow_run_id))
        if flow_run.id != UUID(flow_run_id):
            raise ValueError("the answer is another flow run")
        return flow_run

    async def _send_lines(self) -> None:
        try:
            await asyncio.sleep(PREFECT_LOGGING_TO_API_BATCH_INTERVAL.value())
            async with self.client() as client:
                await self._send(client)
        except asyncio.CancelledError:  # the loop ends, and with it the client
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._send_last(), _LAST_LINES_SECONDS)
            raise
        except Exception as exception:  # noqa: BLE001 - raised: not known
            self._lost(len(self._lines), exception)

    async def _send_last(self) -> None:
        if self._lines:
            try:
                async with _new_client() as client:
                    await self._send(client)
            except Exception as exception:  # noqa: BLE001 - raised: not known
                self._lost(len(self._lines), exception)

    async def _send(self, client: PrefectClient) -> None:
        """Send all lines; one is taken off the list when its call has been answered."""
        while batch := self._lines[:_MOST_LINES]:
            try:
                await client.create_logs(batch)
            except Exception as exception:  # noqa: BLE001 - raised: not known
                self._lost(len(batch), exception)
            else:
                del self._lines[: len(batch)]

    def _lost(self, count: int, exception: Exception) -> None:
        """Give up the oldest lines, as Prefect does."""
        del self._lines[:count]
        logger.warning("%d log lines could not be stored: %s", count, exception)
