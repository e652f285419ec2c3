"""What a verdict rests on, and what it can be: values.

All times are on the clock of the command (`operations.clocks`), as intervals: they were stamped by
Prefect's server or by AWS, whose clocks are known to within some seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.operations.clocks import Moment

PENDING, RUNNING, CANCELLING = "PENDING", "RUNNING", "CANCELLING"

#: Types of the states that a flow run is reconciled from.
UNFINISHED = (PENDING, RUNNING, CANCELLING)

#: Types of the states that a flow run ends in.
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Action(Enum):
    """What is to be done."""

    LEAVE = "leave"
    CRASH = "crash"
    CANCEL = "cancel"
    STOP = "stop"


class ByPid(Enum):
    """What became of the look-up of the task that a flow run's pid names."""

    NO_PID = "the run has no pid"
    FOUND = "the task was described"
    MISSING = "ECS does not find the task"
    FAILED = "the look-up failed"
    ELSEWHERE = "the task is of another account or Region"
    ANOTHER = "its pid names the task of another flow run"


class BySearch(Enum):
    """What became of the search for tasks by ``startedBy``, among RUNNING and STOPPED."""

    DONE = "every task that ECS lists was found"
    FAILED = "the search, or another look-up in the account and Region, failed"
    IMPOSSIBLE = "the run's tasks do not carry its id"
    NOT_NEEDED = "not made"


@dataclass(frozen=True)
class Limits:
    """How long a run is not changed.

    Attributes:
        settle: After a task has stopped, or a flow run has ended: the agent may be
            about to report it, or the container to finish.
        vanished: A Running or Cancelling run whose task ECS does not know: DescribeTasks is
            eventually consistent.
        never_launched: A run without any task. It has to exceed every launch wait, and a block's
            `launch_timeout_seconds` is at most a day.
        skew: What the clocks of Prefect's server and AWS may differ by beyond what their readings
            say, where times of both have to be compared: servers of one API have clocks of
            their own.
        race: How long after its flow run has ended a task may have been created by an agent that
            did not know yet.
    """

    settle: timedelta = timedelta(seconds=60)
    vanished: timedelta = timedelta(minutes=10)
    never_launched: timedelta = timedelta(hours=25)
    skew: timedelta = timedelta(seconds=30)
    race: timedelta = timedelta(minutes=5)


@dataclass(frozen=True)
class History:
    """The states that a flow run has been in, as far as they matter.

    Attributes:
        launches: How often it was Pending. Each time it may have been launched; what became
            Pending at most once has no task of an earlier attempt.
        ran_at: When it was last set Running, if that was in its last attempt.
    """

    launches: int
    ran_at: Moment | None = None


@dataclass(frozen=True)
class Run:
    """A flow run as Prefect has it.

    Attributes:
        state: Type of its state.
        since: When it came into that state.
        history: Its states; None when they were not read, or do not hold the state that it is in.
    """

    state: str
    since: Moment
    history: History | None = None


@dataclass(frozen=True)
class Task:
    """A task of a flow run.

    Attributes:
        snapshot: What ECS says of it.
        created_at: When RunTask accepted it.
        stopped_at: When it stopped; None while it has not.
        flow_run_id: The flow run that it says it runs, as text; empty when it names none.
        reports_to: URL of the Prefect API that it was given; empty when that is not known.
    """

    snapshot: Snapshot
    created_at: Moment
    stopped_at: Moment | None = None
    flow_run_id: str = ""
    reports_to: str = ""


@dataclass(frozen=True)
class Evidence:
    """All that was found out about a flow run.

    Attributes:
        by_pid: Of the task that its pid names.
        by_search: Of the search by ``startedBy``.
        tasks: Every task of it that was found, in any way.
        named: ARN of the task that its pid names; empty without one.
    """

    by_pid: ByPid
    by_search: BySearch
    tasks: tuple[Task, ...] = ()
    named: str = ""


@dataclass(frozen=True)
class Verdict:
    """What is to be done, and why.

    Attributes:
        action: What.
        reason: One line, and a hint on a second one where there is one.
        doubt: What to do about it, when the reason speaks against the Prefect server as a whole:
            it may be a copy of another. Empty otherwise.
    """

    action: Action
    reason: str
    doubt: str = ""


def leave(why: str, doubt: str = "") -> Verdict:
    """Nothing is to be done."""
    return Verdict(Action.LEAVE, why, doubt)


def age_text(age: timedelta) -> str:
    """A duration for people, in one unit."""
    seconds = int(age.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
