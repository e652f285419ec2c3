"""What is to become of a flow run, decided from what is known of it and of its tasks. Pure.

The rules, in order. Anything unknown ends in `LEAVE`.

1. A state other than Pending, Running or Cancelling is nobody's business here.
2. A failed look-up, or a task of another account or Region, allows no verdict.
3. While any task of the run lives, it is left alone.
4. Of the stopped tasks the newest counts; those of an earlier attempt do not count at all.
   It is left alone for `Limits.settle`, in which the agent may still report on it.
5. Without any task, the run must have been in its state for longer than a limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from prefect_ecs_pinned.core.task_state import Diagnosis, Snapshot, diagnose

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
    MISSING = "ECS does not know the task"
    FAILED = "the look-up failed"
    ELSEWHERE = "the task is of another account or Region"


class BySearch(Enum):
    """What became of the search for tasks by ``startedBy``, among RUNNING and STOPPED."""

    DONE = "every task that ECS knows was found"
    FAILED = "the search, or another look-up in the account and Region, failed"
    IMPOSSIBLE = "the run's tasks do not carry its id"
    NOT_NEEDED = "not made"


@dataclass(frozen=True)
class Limits:
    """How long what is left alone.

    Attributes:
        settle: After a task has stopped, or a flow run has ended: the agent may be about to say
            so, or the container to finish.
        vanished: A Running or Cancelling run whose task ECS does not know: DescribeTasks is
            eventually consistent.
        never_launched: A run without any task. It has to exceed every launch wait, and a block's
            `launch_timeout_seconds` is at most a day.
        skew: Difference of the clocks of Prefect's server and AWS.
    """

    settle: timedelta = timedelta(seconds=60)
    vanished: timedelta = timedelta(minutes=10)
    never_launched: timedelta = timedelta(hours=25)
    skew: timedelta = timedelta(seconds=30)


@dataclass(frozen=True)
class Run:
    """A flow run as Prefect has it.

    Attributes:
        state: Type of its state.
        since: When it came into that state.
    """

    state: str
    since: datetime


@dataclass(frozen=True)
class Task:
    """A task of a flow run.

    Attributes:
        snapshot: What ECS says of it.
        created_at: When RunTask accepted it.
        stopped_at: When it stopped; None while it has not.
    """

    snapshot: Snapshot
    created_at: datetime
    stopped_at: datetime | None = None


@dataclass(frozen=True)
class Evidence:
    """All that was found out about a flow run.

    Attributes:
        by_pid: Of the task that its pid names.
        by_search: Of the search by ``startedBy``.
        tasks: Every task of it that was found, in any way.
    """

    by_pid: ByPid
    by_search: BySearch
    tasks: tuple[Task, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What is to be done, and why.

    Attributes:
        action: What.
        reason: One line, and a hint on a second one where there is one.
    """

    action: Action
    reason: str


def decide(run: Run, evidence: Evidence, now: datetime, limits: Limits) -> Verdict:
    """What is to become of a flow run that Prefect believes unfinished."""
    if run.state not in UNFINISHED:
        return _leave(f"its state is {run.state}")
    if evidence.by_pid in (ByPid.FAILED, ByPid.ELSEWHERE):
        return _leave(evidence.by_pid.value)
    if any(not task.snapshot.final for task in evidence.tasks):
        return _leave("its task is live")
    tasks = of_this_attempt(run, evidence.tasks, limits)
    if tasks:
        newest = max(tasks, key=lambda task: task.created_at)
        return _after_stop(run, newest, now, limits)
    return _without_task(run, evidence, now, limits)


def needs_search(run: Run, evidence: Evidence, now: datetime, limits: Limits) -> bool:
    """Whether only a search by ``startedBy`` can tell: it is about to be taken for lost."""
    if evidence.by_pid in (ByPid.FAILED, ByPid.ELSEWHERE):
        return False
    if any(not t.snapshot.final for t in evidence.tasks):
        return False
    if of_this_attempt(run, evidence.tasks, limits):
        return False
    missing = evidence.by_pid is ByPid.MISSING and run.state != PENDING
    return now - run.since > (limits.vanished if missing else limits.never_launched)


def of_this_attempt(run: Run, tasks: Sequence[Task], limits: Limits) -> list[Task]:
    """The tasks that may have brought the run into its state.

    A run that is resumed or retried keeps its old pid until its new task is launched. A Pending
    run is launched after it became Pending; a Running one was set Running by a task that had not
    stopped yet.
    """
    since = run.since - limits.skew
    if run.state == PENDING:
        return [task for task in tasks if task.created_at >= since]
    if run.state == RUNNING:
        return [task for task in tasks if task.stopped_at is None or task.stopped_at >= since]
    return list(tasks)


def _after_stop(run: Run, task: Task, now: datetime, limits: Limits) -> Verdict:
    if task.stopped_at is None or now - task.stopped_at < limits.settle:
        return _leave("its task has stopped only just now")
    return _end(run, explain(diagnose(task.snapshot)))


def _without_task(run: Run, evidence: Evidence, now: datetime, limits: Limits) -> Verdict:
    age = now - run.since
    if evidence.by_search is BySearch.FAILED:
        return _leave(evidence.by_search.value)
    if evidence.by_pid is ByPid.MISSING and run.state != PENDING:
        if age < limits.vanished:
            return _leave("ECS does not know its task, which may be too new to be seen")
        return _end(run, "the task vanished: it stopped over an hour ago, and ECS has forgotten it")
    if age <= limits.never_launched:
        return _leave(f"it has no task, and may be waiting for its launch ({_text(age)})")
    if evidence.by_search is not BySearch.DONE:
        return _leave("it has no task that can be looked up")
    return _end(
        run,
        f"no task of it is known to ECS after {_text(age)}: it was never launched, or its task "
        "stopped over an hour ago",
    )


def _end(run: Run, why: str) -> Verdict:
    return Verdict(Action.CANCEL if run.state == CANCELLING else Action.CRASH, why)


def _leave(why: str) -> Verdict:
    return Verdict(Action.LEAVE, why)


def explain(diagnosis: Diagnosis) -> str:
    """The end of a task for a flow run's page: what, AWS's own words, a hint."""
    text = diagnosis.summary
    if diagnosis.exit_code == 0:
        text += ", and the flow run never reported its end"
    if diagnosis.detail:
        text += f": {diagnosis.detail}"
    return f"{text}\nhint: {diagnosis.hint}" if diagnosis.hint else text


def decide_task(run: Run, now: datetime, limits: Limits) -> Verdict:
    """Whether the live task of a flow run is to be stopped: when the run has ended."""
    if run.state not in FINAL:
        return _leave(f"the flow run is {run.state}")
    age = now - run.since
    if age <= limits.settle:
        return _leave("the flow run has ended only just now")
    return Verdict(Action.STOP, f"the flow run has been {run.state} for {_text(age)}")


def _text(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
