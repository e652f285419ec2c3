"""A request to run one task, from the moment it queues until its outcome."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from prefect_ecs_pinned.aws.faults import Fault, Kind, as_error
from prefect_ecs_pinned.aws.retrying import backoff
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.errors import LaunchTimeout, PinnedECSError


class State(Enum):
    """Where a submission stands."""

    QUEUED = "waits for its turn"
    WAITING = "waits to try again, outside of the queue"
    CALLING = "its RunTask call is under way, or its task is looked for"
    DONE = "launched, failed or withdrawn"


@dataclass(eq=False)
class Submission:
    """A request to run one task.

    Attributes:
        request: RunTask's parameters, without ``clientToken``; emptied when it is done.
        budget: Seconds for which refusals are waited out.
        renew: Finds another revision when ECS calls this one inactive: stale ARN -> new ARN.
            None when the revision was given by name.
        outcome: The launched task, or the error.
        number: Place in the order of arrival.
        launch_type: The quota that it draws on, and the name of its lane.
        token: The ``clientToken`` of the calls since the last refusal.
        setbacks: Times that it has backed off.
        renewals: Revisions that were found instead of inactive ones.
        spent: Seconds of the budget that are used up.
        refused_at: When the last refusal was, None before the first.
        lost_at: When the answer to a call with this token was lost for the first time, on the
            clock: it may have started the task. None when no answer was.
        lost_since: The same, minus the call's duration, in seconds since the epoch.
        withdrawn: Nobody wants the task any more.
        state: Where it stands.
    """

    request: dict[str, Any] = field(repr=False)  # variables may be secrets
    budget: float
    renew: Callable[[str], Awaitable[str]] | None
    outcome: asyncio.Future[Snapshot]
    number: int
    launch_type: str
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    setbacks: int = 0
    renewals: int = 0
    spent: float = 0.0
    refused_at: float | None = None
    lost_at: float | None = None
    lost_since: float = 0.0
    withdrawn: bool = False
    state: State = State.QUEUED

    def __lt__(self, other: Submission) -> bool:
        return self.number < other.number

    @property
    def cluster(self) -> str:
        return str(self.request.get("cluster") or "default")

    @property
    def uncertain(self) -> bool:
        """A call may have started the task, and nobody has heard so."""
        return self.lost_at is not None

    def new_token(self) -> None:
        """After a refusal: ECS would replay it for the same token."""
        self.token = uuid.uuid4().hex
        self.lost_at = None

    def pause(self, longest: float) -> float:
        """Seconds to back off for, this time."""
        self.setbacks += 1
        return backoff(self.setbacks - 1, longest=longest)

    def what(self) -> str:
        """What cannot be done, for errors."""
        revision = str(self.request.get("taskDefinition", "")).rsplit("/", 1)[-1]
        return f"cannot launch {revision} on cluster {self.cluster!r}"

    # -- errors ----------------------------------------------------------------------------------

    def refused(self, fault: Fault) -> PinnedECSError:
        """For good."""
        error = as_error(fault, self.what())
        error.__cause__ = fault
        return error

    def out_of_budget(self, fault: Fault) -> PinnedECSError:
        """For as long as there was patience."""
        if fault.kind in (Kind.OUTCOME_UNKNOWN, Kind.UNREACHABLE):
            hint = as_error(fault, "").hint
        else:
            hint = "ask AWS for a higher quota, add capacity, or raise launch_timeout_seconds"
        why = f"{fault.message or fault.code}, for {self.budget:.0f} s"
        error = LaunchTimeout(self.what(), why, hint)
        error.__cause__ = fault
        return error

    def may_run(self, unknown: Fault) -> PinnedECSError:
        """An answer was lost, and whether its task runs cannot be known."""
        cause = as_error(unknown, self.what())
        why = f"the answer to a call was lost, so it may be running; looking for it: {cause.why}"
        error = LaunchTimeout(self.what(), why, cause.hint)
        error.__cause__ = unknown
        return error

    def cancelled(self) -> PinnedECSError:
        """Withdrawn before it was launched, or its task was stopped."""
        return PinnedECSError(self.what(), "the flow run was cancelled")
