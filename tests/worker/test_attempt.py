"""Whether what Prefect says of a flow run is about the attempt whose task has ended."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType

from prefect_ecs_pinned.worker.attempt import Attempt, Standing, standing, superseded

START = datetime(2026, 11, 26, tzinfo=timezone.utc)
ARN = "arn:aws:ecs:us-east-1:123456789012:task/etl/1"
OURS = f"etl::{ARN}"
BY_ARN = f"arn:aws:ecs:us-east-1:123456789012:cluster/etl::{ARN}"

S, P, R, F = StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.FAILED
C = StateType.CANCELLING


def attempt(submitted_at: datetime | None = START) -> Attempt:
    return Attempt(UUID(int=1), "purple-cat", submitted_at, OURS)


def states(*kinds: StateType) -> list[State]:
    """One a second; the first is the state in which the attempt was submitted."""
    made = [
        State(type=kind, timestamp=START + timedelta(seconds=second))
        for second, kind in enumerate(kinds)
    ]
    return made[::-1]  # the API promises no order


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ((S, P, P), False),
        ((S, P, P, R), False),
        ((S, P, P, R, F, S), False),  # nobody has taken it up again
        ((S, P, P, R, S, R), False),  # the flow retries in its own process
        ((S, P, P, R, F, S, P), True),
        ((S, P, S, P), True),  # handed back, and taken up by another worker
        ((S, P, P, R, F, S, P, P, R), True),
        ((P, P, R), False),  # submitted ad hoc
    ],
)
def test_an_attempt_is_superseded_when_it_is_pending_again_after_scheduled(kinds, expected):
    assert superseded(attempt(), states(*kinds)) is expected
    assert superseded(attempt(None), states(*kinds)) is False


@pytest.mark.parametrize(
    ("kind", "pid", "expected"),
    [
        (P, OURS, Standing.OURS),
        (R, BY_ARN, Standing.OURS),  # whichever way the cluster is written
        (P, None, Standing.WITHOUT_PID),
        (P, "", Standing.WITHOUT_PID),
        (R, f"{OURS}0", Standing.ELSEWHERE),
        (R, "local:4711", Standing.ELSEWHERE),
        (C, OURS, Standing.OURS),
        (C, f"{OURS}0", Standing.ELSEWHERE),
        *((kind, OURS, Standing.OTHER) for kind in StateType if kind not in (P, R, C)),
        (None, OURS, Standing.OTHER),
    ],
)
def test_a_flow_run_is_an_attempts_by_its_state_and_its_pid(kind, pid, expected):
    run = FlowRun(
        flow_id=UUID(int=2),
        infrastructure_pid=pid,
        state=State(type=kind) if kind is not None else None,
    )
    assert standing(attempt(), run) is expected
