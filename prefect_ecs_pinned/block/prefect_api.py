"""Prefect's API as the runs of one event loop use it: one client, and many runs a call.

A client costs 30 ms of CPU, most of it for certificates, so one is kept for as long as it is
used. It belongs to an event loop, and so does everything here.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from typing import Any

import orjson
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.logging.loggers import get_logger
from prefect.settings import (
    PREFECT_API_KEY,
    PREFECT_API_URL,
    PREFECT_LOGGING_TO_API_BATCH_INTERVAL,
)

from prefect_ecs_pinned.aws.batching import in_batches

#: The API's page size: PREFECT_API_DEFAULT_LIMIT.
READ_FLOW_RUNS_LIMIT = 200

#: Log lines in a call; together they stay far below PREFECT_LOGGING_TO_API_BATCH_SIZE, 4 MB.
_MOST_LINES = 200

#: Seconds between two looks at the flow runs that are followed: the longest time for which a flow
#: run that is cancelled in Prefect may still be launched.
LOOK_SECONDS = 10.0

#: Seconds for which a client is kept that nobody uses.
_KEPT_SECONDS = 30.0

#: Seconds for which lines are sent that are left when their event loop ends; as Prefect does it.
_LAST_LINES_SECONDS = 5.0

#: The `PrefectApi` that was asked for last on each thread.
_here = threading.local()

logger = get_logger(__name__)


class PrefectApi:
    """One client of one event loop, its look-ups and log lines batched; see `here`."""

    def __init__(self, where: tuple[str | None, str | None]) -> None:
        self._loop = weakref.ref(asyncio.get_running_loop())
        self._where = where
        self._followed: dict[object, tuple[str, Callable[[str | None], object]]] = {}
        self._looking: asyncio.Task[None] | None = None
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

    def follow(self, flow_run_id: str, heard: Callable[[str | None], object]) -> Callable[[], Any]:
        """Look at a flow run every ten seconds, together with all others that are followed.

        A timer for each that waits would cost more than the looks.

        Args:
            flow_run_id: UUID of the flow run.
            heard: Is told the type of the flow run's state, such as ``PENDING``; None when there
                is no such run. When the API does not answer it hears nothing.

        Returns:
            What ends it.
        """
        key = object()
        self._followed[key] = (flow_run_id, heard)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return partial(self._followed.pop, key, None)

    async def _look(self) -> None:
        while self._followed:
            await asyncio.sleep(LOOK_SECONDS)
            for batch in in_batches(list(self._followed.items()), READ_FLOW_RUNS_LIMIT):
                try:
                    states = await self._read({flow_run_id for _, (flow_run_id, _) in batch})
                except Exception as exception:
                    logger.debug("Could not read %d flow runs: %s", len(batch), exception)
                    continue
                for key, (flow_run_id, heard) in batch:
                    if key in self._followed:
                        heard(states.get(flow_run_id))

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
        """The client; a new one when the last has been let go."""
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
            async with get_client() as client:
                ready.set_result(client)
                while self._is_used():  # noqa: ASYNC110 - time itself is waited for
                    await asyncio.sleep(_KEPT_SECONDS)
                self._ready = None  # who comes now needs another
        except Exception as exception:
            if ready.done():
                logger.debug("Could not close a client: %s", exception)
            else:
                ready.set_exception(exception)
        finally:
            if self._ready is ready:
                self._ready = None
            if not ready.done():
                ready.set_exception(RuntimeError("the event loop ends"))
                ready.exception()  # there may be nobody to retrieve it

    def _is_used(self) -> bool:
        return self._uses > 0 or time.monotonic() - self._used_at < _KEPT_SECONDS

    async def _read(self, ids: Iterable[str]) -> Mapping[str, str]:
        """States of flow runs.

        Not by `read_flow_runs`, which makes a model of each, 0.4 ms of CPU, of which one field
        would be read.
        """
        body = {"flow_runs": {"id": {"any_": list(ids)}}, "limit": READ_FLOW_RUNS_LIMIT}
        async with self.client() as client:
            response = await client._client.post("/flow_runs/filter", json=body)
        runs = orjson.loads(response.content)
        return {run["id"]: (run.get("state") or {}).get("type", "") for run in runs}

    async def _send_lines(self) -> None:
        try:
            await asyncio.sleep(PREFECT_LOGGING_TO_API_BATCH_INTERVAL.value())
            async with self.client() as client:
                await self._send(client)
        except asyncio.CancelledError:  # the loop ends, and with it the client
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._send_last(), _LAST_LINES_SECONDS)
            raise
        except Exception as exception:
            self._lost(len(self._lines), exception)

    async def _send_last(self) -> None:
        if self._lines:
            try:
                async with get_client() as client:
                    await self._send(client)
            except Exception as exception:
                self._lost(len(self._lines), exception)

    async def _send(self, client: PrefectClient) -> None:
        """Send all lines; one is taken off the list when its call has been answered."""
        while batch := self._lines[:_MOST_LINES]:
            try:
                await client.create_logs(batch)
            except Exception as exception:
                self._lost(len(batch), exception)
            else:
                del self._lines[: len(batch)]

    def _lost(self, count: int, exception: Exception) -> None:
        """Give up the oldest lines, as Prefect does."""
        del self._lines[:count]
        logger.warning("%d log lines could not be stored: %s", count, exception)
