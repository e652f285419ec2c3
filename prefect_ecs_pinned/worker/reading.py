"""The client of a worker: it reads less, and repeats what may be repeated.

Deployments and flows are read once for all flow runs of a poll, instead of three times for each.

Prefect reads a run's deployment twice, and its flow once, before it is launched (prefect 3.9,
``BaseWorker._submit_run``, ``BaseJobConfiguration.resolve_for_flow_run``). What is read after a
poll is as new as any run that the poll has brought: a person who changes a deployment and then
starts a run of it gets the change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from pydantic import BaseModel

from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.faces.asking import retry

M = TypeVar("M", bound=BaseModel)
P = ParamSpec("P")
T = TypeVar("T")

#: When the flow run was polled that is being submitted, by its event loop's clock; None for what
#: else a worker does.
POLLED_AT: ContextVar[float | None] = ContextVar("polled_at", default=None)

#: Seconds after which what was read is forgotten.
_KEPT_SECONDS = 600.0


@dataclass(frozen=True)
class _Read:
    """A call that has begun; it may have been answered."""

    began_at: float
    task: asyncio.Task[Any]


class Remembered:
    """Answers of the calls of one kind, by what was asked for; belongs to an event loop.

    Args:
        read: Makes the call.
    """

    def __init__(self, read: Callable[[UUID], Coroutine[Any, Any, Any]]) -> None:
        self._read = read
        self._reads: dict[UUID, _Read] = {}

    async def __call__(self, asked_for: UUID) -> Any:
        """The answer to a call that began after the poll, as a copy of its own.

        Raises:
            Exception: What the call raised; a failure is not shared.
        """
        since = POLLED_AT.get()
        if since is None:
            return await self._read(asked_for)
        known = self._reads.get(asked_for)
        if known is None or known.began_at < since:
            return await self._begin(asked_for)
        try:
            answer = await asyncio.shield(known.task)
        except Exception:  # noqa: BLE001 - perhaps this one is answered
            return await self._read(asked_for)
        return _copy(answer)

    async def _begin(self, asked_for: UUID) -> Any:
        now = asyncio.get_running_loop().time()
        self._reads = {
            key: read for key, read in self._reads.items() if now - read.began_at < _KEPT_SECONDS
        }
        task = asyncio.create_task(self._read(asked_for))
        read = self._reads[asked_for] = _Read(now, task)
        try:
            return _copy(await asyncio.shield(task))
        except Exception:
            if self._reads.get(asked_for) is read:
                del self._reads[asked_for]
            raise


def _copy(answer: M) -> M:
    """Resolving a job changes what it is given (prefect 3.9: the deployment's ``env``)."""
    return answer.model_copy(deep=True)


def prepare_client(client: PrefectClient, clock: Clock) -> None:
    """Have a worker's own client remember reads, and repeat what may be repeated.

    Otherwise a run crashes for one answer of 500 to these calls (prefect 3.9,
    ``BaseWorker._submit_run_and_capture_errors``), or its identifier is not stored. Proposals of
    states are not among them: their callers decide what follows from a failure.
    """
    client.read_deployment = Remembered(_patient(client.read_deployment, clock))  # type: ignore[method-assign,assignment]
    client.read_flow = Remembered(_patient(client.read_flow, clock))  # type: ignore[method-assign,assignment]
    client.update_flow_run_labels = _patient(client.update_flow_run_labels, clock)  # type: ignore[method-assign]
    client.update_flow_run = _patient(client.update_flow_run, clock)  # type: ignore[method-assign]


def _patient(
    call: Callable[P, Coroutine[Any, Any, T]], clock: Clock
) -> Callable[P, Coroutine[Any, Any, T]]:
    async def patient(*args: P.args, **kwargs: P.kwargs) -> T:
        return await retry(clock, lambda: call(*args, **kwargs))

    return patient
