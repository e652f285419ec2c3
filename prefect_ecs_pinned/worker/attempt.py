"""One attempt at a flow run: the task that was launched for it, and what Prefect says of it now.

Prefect keeps ``infrastructure_pid`` when a run is scheduled again (prefect 3.9,
``server/orchestration/core_policy.py``, clears it nowhere). So while a second attempt is Pending,
the pid may still name the task of the first: the pid alone does not say whose the state is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, State, StateType

from prefect_ecs_pinned.core.arn import TaskIdentifier


@dataclass(slots=True)
class Attempt:
    """One launch of a flow run.

    Attributes:
        flow_run_id: The flow run.
        name: Its name.
        submitted_at: When the state began in which it was handed to the worker, by the server's
            clock; None when it did not have one.
        identifier: ``cluster::task-arn``; empty until the task was accepted.
    """

    flow_run_id: UUID
    name: str
    submitted_at: datetime | None = None
    identifier: str = ""

    @classmethod
    def of(cls, flow_run: FlowRun) -> Attempt:
        """At a flow run that is to be launched now."""
        state = flow_run.state
        return cls(flow_run.id, flow_run.name, state.timestamp if state is not None else None)


#: States of a run that its process has to end.
_HELD = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)


class Standing(Enum):
    """What a flow run is to an attempt whose task has ended."""

    OURS = auto()  # Pending, Running or Cancelling in that task: it has not ended by itself
    WITHOUT_PID = auto()  # so, but Prefect does not know its task, not yet or not at all
    ELSEWHERE = auto()  # so, but in another task as far as its pid says
    OTHER = auto()  # final, paused, suspended, scheduled: to be left alone


def standing(attempt: Attempt, flow_run: FlowRun) -> Standing:
    """What a flow run is to an attempt, as far as it says itself; see `superseded`."""
    state = flow_run.state
    if state is None or state.type not in _HELD:
        return Standing.OTHER
    if not flow_run.infrastructure_pid:
        return Standing.WITHOUT_PID
    if task_of(flow_run.infrastructure_pid) == task_of(attempt.identifier):
        return Standing.OURS
    return Standing.ELSEWHERE


def superseded(attempt: Attempt, states: Iterable[State[object]]) -> bool:
    """Whether a run was handed out again after an attempt at it.

    Then it became Pending after it had been Scheduled. A flow that retries in its own process is
    Scheduled as well (AwaitingRetry), and then Running: that is the same attempt.

    Args:
        attempt: The attempt.
        states: All states that the flow run has had.
    """
    if attempt.submitted_at is None:
        return False
    scheduled = False
    for state in sorted(states, key=lambda state: state.timestamp):
        if state.timestamp <= attempt.submitted_at:
            continue
        if state.type is StateType.SCHEDULED:
            scheduled = True
        elif state.type is StateType.PENDING and scheduled:
            return True
    return False


def task_of(identifier: str) -> str:
    """ARN of the task in an ``infrastructure_pid``; of another form, the text itself."""
    try:
        return TaskIdentifier.parse(identifier).task_arn
    except ValueError:
        return identifier
