"""Flow runs as they are reconciled: read from Prefect in pages, read again, written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

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
from prefect.states import Cancelled, Crashed, State

from prefect_ecs_pinned.block.pages import all_pages, for_all
from prefect_ecs_pinned.core.arn import TaskIdentifier
from prefect_ecs_pinned.operations.reconcile.verdict import UNFINISHED, Action, Run


@dataclass(frozen=True)
class Subject:
    """A flow run at the moment when it was read.

    Attributes:
        id: Its id.
        name: Its name.
        run: Its state.
        state_id: Id of that state.
        state_name: The state's name, such as ``Retrying``.
        pid: The task that its `infrastructure_pid` names; None without one.
        foreign_pid: It has a pid, but not one of an ECS task.
        deployment_id: Of its deployment, if it has one.
    """

    id: UUID
    name: str
    run: Run
    state_id: UUID
    state_name: str
    pid: TaskIdentifier | None
    foreign_pid: bool
    deployment_id: UUID | None

    def same_as(self, other: Subject | None) -> bool:
        """Whether nothing has happened to the flow run between two readings."""
        return other is not None and (self.state_id, self.pid) == (other.state_id, other.pid)


async def unfinished(client: PrefectClient, deployments: Sequence[UUID] | None) -> list[Subject]:
    """All flow runs that are Pending, Running or Cancelling.

    Args:
        client: Of the Prefect API.
        deployments: Only flow runs of these; None for all.
    """
    types = FlowRunFilterStateType(any_=[StateType(state) for state in UNFINISHED])
    wanted = FlowRunFilterState(type=types, name=None)
    of = FlowRunFilterDeploymentId(any_=list(deployments)) if deployments is not None else None
    read = partial(
        client.read_flow_runs,
        flow_run_filter=FlowRunFilter(state=wanted, deployment_id=of),
        sort=FlowRunSort.ID_DESC,
    )
    return _subjects(await all_pages(read))


async def by_id(client: PrefectClient, ids: Iterable[UUID]) -> list[Subject]:
    """The flow runs of these ids that this Prefect server knows."""

    async def read(some: Sequence[UUID], limit: int) -> Sequence[FlowRun]:
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(some)))
        return await client.read_flow_runs(flow_run_filter=wanted, limit=limit)

    return _subjects(await for_all(list(ids), read))


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
                run=Run(state.type.value, state.timestamp),
                state_id=state.id,
                state_name=state.name or state.type.value.capitalize(),
                pid=pid,
                foreign_pid=bool(flow_run.infrastructure_pid) and pid is None,
                deployment_id=flow_run.deployment_id,
            )
        )
    return found


def _parse(pid: str | None) -> TaskIdentifier | None:
    try:
        identifier = TaskIdentifier.parse(pid or "")
    except ValueError:
        return None
    parts = identifier.task_arn.split(":")
    is_task = len(parts) == 6 and parts[0] == "arn" and parts[2] == "ecs"
    return identifier if is_task and parts[5].startswith("task/") else None
