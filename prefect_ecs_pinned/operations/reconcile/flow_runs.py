"""Flow runs as they are reconciled: read from Prefect in pages, read again, written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Crashed, State

from prefect_ecs_pinned.core.arn import TaskIdentifier
from prefect_ecs_pinned.faces.pages import all_pages, for_all
from prefect_ecs_pinned.operations.clocks import DATE_GRAIN, Clock, Moment, http_date, steady_now
from prefect_ecs_pinned.operations.reconcile.facts import (
    PENDING,
    RUNNING,
    UNFINISHED,
    Action,
    History,
    Run,
)

#: Member of a request's extensions: when it was sent, on our clock.
_SENT_AT = "pinned_ecs_sent_at"


@dataclass(frozen=True)
class Subject:
    """A flow run at the moment when it was read.

    Attributes:
        id: Its id.
        name: Its name.
        state: Type of its state.
        since: When it came into that state, by the server's clock.
        state_id: Id of that state.
        state_name: The state's name, such as ``Retrying``.
        pid: The task that its `infrastructure_pid` names; None without one.
        foreign_pid: It has a pid, but not one of an ECS task.
        deployment_id: Of its deployment, if it has one.
        updated: When anything of it was changed, by the database's clock.
        server_time: What the server's clock showed when it answered; None when it did not say.
    """

    id: UUID
    name: str
    state: str
    since: datetime
    state_id: UUID
    state_name: str
    pid: TaskIdentifier | None
    foreign_pid: bool
    deployment_id: UUID | None
    updated: datetime | None = None
    server_time: datetime | None = None

    @property
    def named(self) -> str:
        """ARN of the task that its pid names; empty without one."""
        return self.pid.task_arn if self.pid is not None else ""

    def run(self, clock: Clock, history: History | None = None) -> Run:
        """The flow run, its times on our clock."""
        return Run(self.state, clock.ours(self.since), history)

    def same_as(self, other: Subject | None) -> bool:
        """Whether nothing has happened to the flow run between two readings."""
        return other is not None and self._version == other._version

    @property
    def _version(self) -> tuple[object, ...]:
        return self.state_id, self.pid, self.updated


def read_clock(client: PrefectClient, clock: Clock) -> None:
    """Have the Prefect server's clock read from every answer that the client gets.

    An API in this process, without a server, uses this machine's clock.
    """
    if not PREFECT_API_URL.value():
        clock.read(datetime.now(timezone.utc), steady_now(), steady_now())
        return

    async def sent(request: httpx.Request) -> None:
        request.extensions[_SENT_AT] = steady_now()

    async def answered(response: httpx.Response) -> None:
        date = http_date(response.headers)
        if date is not None and _SENT_AT in response.request.extensions:
            clock.read(date, response.request.extensions[_SENT_AT], steady_now(), DATE_GRAIN)

    hooks = client._client.event_hooks
    client._client.event_hooks = {
        "request": [*hooks["request"], sent],
        "response": [*hooks["response"], answered],
    }


async def unfinished(
    client: PrefectClient, deployments: Sequence[UUID] | None, clock: Clock
) -> list[Subject]:
    """All flow runs that are Pending, Running or Cancelling.

    Args:
        client: Of the Prefect API.
        deployments: Only flow runs of these; None for all.
        clock: The server's, which is read on the way.
    """
    types = FlowRunFilterStateType(any_=[StateType(state) for state in UNFINISHED])
    wanted = FlowRunFilterState(type=types, name=None)
    of = FlowRunFilterDeploymentId(any_=list(deployments)) if deployments is not None else None

    async def read(limit: int, offset: int) -> Sequence[FlowRun]:
        asked = steady_now()
        page: Sequence[FlowRun] = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=wanted, deployment_id=of),
            sort=FlowRunSort.ID_DESC,
            limit=limit,
            offset=offset,
        )
        for subject in _subjects(page):
            if subject.server_time is not None:
                clock.read(subject.server_time, asked, steady_now())
        return page

    return _subjects(await all_pages(read))


async def by_id(client: PrefectClient, ids: Iterable[UUID]) -> list[Subject]:
    """The flow runs of these ids that this Prefect server has."""

    async def read(some: Sequence[UUID], limit: int) -> Sequence[FlowRun]:
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(some)))
        return await client.read_flow_runs(flow_run_filter=wanted, limit=limit)

    return _subjects(await for_all(list(ids), read))


async def read_history(client: PrefectClient, subject: Subject, clock: Clock) -> History | None:
    """The states that a flow run has been in; None when it has left the one that is judged."""
    states = await client.read_flow_run_states(subject.id)
    if subject.state_id not in {state.id for state in states}:
        return None
    pending = [state.timestamp for state in states if state.type.value == PENDING]
    running = [state.timestamp for state in states if state.type.value == RUNNING]
    ran_at: Moment | None = None
    if running and (not pending or max(running) >= max(pending)):
        ran_at = clock.ours(max(running))
    return History(len(pending), ran_at)


async def again(client: PrefectClient, subject: Subject) -> Subject | None:
    """A flow run as it is now; None when it was deleted."""
    try:
        return next(iter(_subjects([await client.read_flow_run(subject.id)])), None)
    except ObjectNotFound:
        return None


async def end(client: PrefectClient, subject: Subject, action: Action, reason: str) -> str:
    """Propose Crashed or Cancelled; the server's rules keep a final state as it is.

    Returns:
        Why the server refused; empty when it did not.
    """
    ended = Cancelled if action is Action.CANCEL else Crashed
    state: State[None] = ended(message=reason)
    result = await client.set_flow_run_state(subject.id, state, force=False)
    if result.status == SetStateStatus.ACCEPT:
        return ""
    why = getattr(result.details, "reason", None) or "no reason given"
    return f"Prefect answered {result.status.value}: {why}"


def _subjects(flow_runs: Iterable[FlowRun]) -> list[Subject]:
    found = []
    for flow_run in flow_runs:
        state = flow_run.state
        if state is None:
            continue
        pid = _parse(flow_run.infrastructure_pid)
        found.append(
            Subject(
                id=flow_run.id,
                name=flow_run.name,
                state=state.type.value,
                since=state.timestamp,
                state_id=state.id,
                state_name=state.name or state.type.value.capitalize(),
                pid=pid,
                foreign_pid=bool(flow_run.infrastructure_pid) and pid is None,
                deployment_id=flow_run.deployment_id,
                updated=flow_run.updated,
                server_time=_server_time(flow_run, state),
            )
        )
    return found


def _server_time(flow_run: FlowRun, state: State[Any]) -> datetime | None:
    """What the server's own clock showed when it answered, from the durations that it computes.

    The Date of an answer may be a proxy's: nginx replaces it. But the server computes two durations
    with its own clock: the run time of a Running run, and the delay of a run that has not started
    (prefect 2.20, ``ORMRun.estimated_run_time`` and ``estimated_start_time_delta``).
    """
    origin: datetime | None
    if state.type.value == RUNNING:
        origin, passed = state.timestamp, flow_run.estimated_run_time - flow_run.total_run_time
    elif flow_run.start_time is None:
        origin, passed = flow_run.expected_start_time, flow_run.estimated_start_time_delta
    else:
        return None
    return origin + passed if origin is not None and passed > timedelta() else None


def _parse(pid: str | None) -> TaskIdentifier | None:
    try:
        identifier = TaskIdentifier.parse(pid or "")
    except ValueError:
        return None
    parts = identifier.task_arn.split(":")
    is_task = len(parts) == 6 and parts[0] == "arn" and parts[2] == "ecs"
    return identifier if is_task and parts[5].startswith("task/") else None
