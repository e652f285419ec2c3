"""The flow runs of a work pool that Prefect holds Pending or Running, and its workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import orjson
from prefect.client.orchestration import PrefectClient

from prefect_ecs_pinned.faces.pages import all_pages
from prefect_ecs_pinned.worker.claims import CLAIM_LABEL

#: Prefect's label for the worker that has taken a run (prefect 3.9, `BaseWorker`).
_WORKER_LABEL = "prefect.worker.name"

#: Prefect's default for PREFECT_WORKER_HEARTBEAT_SECONDS.
_HEARTBEAT_SECONDS = 30.0


@dataclass(frozen=True)
class PoolRun:
    """A flow run as the API describes it: what has to be known of one that may be nobody's.

    Attributes:
        id: The flow run.
        name: Its name.
        deployment_id: None for a run without one.
        state_id: Of its state.
        state_type: Such as ``PENDING``.
        state_name: Such as ``Submitting``.
        state_at: When the state began, by the server's clock.
        pid: ``infrastructure_pid``, empty without one; of an earlier attempt, perhaps.
        worker: Name of the worker that has taken it last, empty when it is unknown.
        claim: Id of the newest claim, empty for a worker of another kind; see `claims`.
        variables: The run's own job variables.
    """

    id: UUID
    name: str
    deployment_id: UUID | None
    state_id: str
    state_type: str
    state_name: str
    state_at: datetime
    pid: str = ""
    worker: str = ""
    claim: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def pending(self) -> bool:
        """Whether it waits for its process."""
        return self.state_type == "PENDING"


@dataclass(frozen=True)
class PoolWorker:
    """A worker of a pool, as Prefect sees it.

    Attributes:
        id: Prefect's.
        name: Two processes of one name are one to Prefect.
        online: What the server says.
        heartbeat_at: Its last heartbeat, by the server's clock; None when there was none.
        interval: Seconds between its heartbeats.
    """

    id: UUID
    name: str
    online: bool
    heartbeat_at: datetime | None
    interval: float


class Pool:
    """Reads a work pool; belongs to the worker's event loop.

    Args:
        client: The worker's client.
        name: Of the pool.
    """

    def __init__(self, client: PrefectClient, name: str) -> None:
        self._client = client
        self._name = name
        #: The server's clock less this machine's, in seconds, as far as the last answer says.
        self._ahead = 0.0

    def server_time(self) -> datetime:
        """Now, by the server's clock, give or take a second."""
        return datetime.fromtimestamp(
            datetime.now(timezone.utc).timestamp() + self._ahead, tz=timezone.utc
        )

    async def runs(self) -> list[PoolRun]:
        """All of its flow runs that are Pending or Running."""
        return await all_pages(self._page)

    async def run(self, flow_run_id: UUID) -> PoolRun | None:
        """One flow run, whatever its state; None when it is not known."""
        found = await self._filter({"flow_runs": {"id": {"any_": [str(flow_run_id)]}}}, 1, 0)
        return next(iter(found), None)

    async def workers(self) -> list[PoolWorker]:
        """All workers that it has, or had."""
        url = f"/work_pools/{quote(self._name, safe='')}/workers/filter"

        async def read(limit: int, offset: int) -> Sequence[PoolWorker]:
            body = {"limit": limit, "offset": offset}
            found = _items(await self._client._client.post(url, json=body))
            return [worker for item in found if (worker := _worker(item)) is not None]

        return await all_pages(read)

    async def _page(self, limit: int, offset: int) -> Sequence[PoolRun]:
        held = {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}
        body = {"flow_runs": held, "work_pools": {"name": {"any_": [self._name]}}}
        return await self._filter(body, limit, offset)

    async def _filter(self, body: Mapping[str, Any], limit: int, offset: int) -> list[PoolRun]:
        asked = {**body, "limit": limit, "offset": offset, "sort": "ID_DESC"}
        response = await self._client._client.post("/flow_runs/filter", json=asked)
        self._note_time(response)
        return [run for item in _items(response) if (run := _run(item)) is not None]

    def _note_time(self, response: httpx.Response) -> None:
        """Take the server's time from the ``Date`` of an answer."""
        try:
            date = parsedate_to_datetime(response.headers["date"])
            self._ahead = date.timestamp() - datetime.now(timezone.utc).timestamp()
        except (KeyError, TypeError, ValueError):
            return  # as before


def _items(response: httpx.Response) -> list[Any]:
    found = orjson.loads(response.content)
    if not isinstance(found, list):
        raise ValueError("the answer is not a list")
    return found


def _worker(item: Any) -> PoolWorker | None:
    """A worker of an answer; None when it cannot be read."""
    try:
        heartbeat_at = item.get("last_heartbeat_time")
        return PoolWorker(
            UUID(item["id"]),
            str(item["name"]),
            item.get("status") == "ONLINE",
            _time(heartbeat_at) if heartbeat_at else None,
            float(item.get("heartbeat_interval_seconds") or _HEARTBEAT_SECONDS),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _time(text: object) -> datetime:
    return datetime.fromisoformat(str(text).replace("Z", "+00:00"))


def _run(item: Any) -> PoolRun | None:
    """A flow run of an answer; None when it cannot be read, or has no state."""
    try:
        state, labels = item["state"], item.get("labels") or {}
        deployment = item.get("deployment_id")
        return PoolRun(
            id=UUID(item["id"]),
            name=str(item.get("name") or ""),
            deployment_id=UUID(deployment) if deployment else None,
            state_id=str(state["id"]),
            state_type=str(state["type"]),
            state_name=str(state.get("name") or ""),
            state_at=_time(state["timestamp"]),
            pid=str(item.get("infrastructure_pid") or ""),
            worker=str(labels.get(_WORKER_LABEL) or ""),
            claim=str(labels.get(CLAIM_LABEL) or ""),
            variables=item.get("job_variables") or {},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
