"""What is to become of a flow run, decided from what is known of it and of its tasks. Pure.

The rules, in order. Anything unknown ends in `LEAVE`.

1. A state other than Pending, Running or Cancelling is nobody's business here.
2. A failed look-up, or a task of another account, Region or flow run, allows no verdict.
3. While any task of the run lives, it is left alone; and for `Limits.settle` after any has stopped,
   in which the agent may still report on it.
4. A stopped task ends the run if it is proved to be of this attempt (`of_this_attempt`).
5. Without such a task, the run must have been in its state for longer than a limit.

Each comparison is made with the end of an interval that makes it harder to act. So what is done
with clocks that are known badly, or not at all, is part of what would be done with perfect ones.
"""

from __future__ import annotations

from datetime import datetime

from prefect_ecs_pinned.core.task_state import Diagnosis, diagnose
from prefect_ecs_pinned.operations.reconcile.facts import (
    CANCELLING,
    PENDING,
    UNFINISHED,
    Action,
    ByPid,
    BySearch,
    Evidence,
    History,
    Limits,
    Run,
    Task,
    Verdict,
    age_text,
    leave,
)

#: Outcomes of the look-up by pid that allow no verdict, whatever else is known.
_NO_VERDICT = (ByPid.FAILED, ByPid.ELSEWHERE, ByPid.ANOTHER)


def decide(run: Run, evidence: Evidence, now: datetime, limits: Limits) -> Verdict:
    """What is to become of a flow run that are unfinished in Prefect."""
    if run.state not in UNFINISHED:
        return leave(f"its state is {run.state}")
    if evidence.by_pid in _NO_VERDICT:
        return leave(evidence.by_pid.value)
    if any(not task.snapshot.final for task in evidence.tasks):
        return leave("its task is live")
    if not all(_settled(task, now, limits) for task in evidence.tasks):
        return leave("its task has just stopped")
    tasks = of_this_attempt(run, evidence, limits)
    if tasks:
        newest = max(tasks, key=lambda task: task.created_at.latest)
        return _end(run, explain(diagnose(newest.snapshot)))
    return _without_task(run, evidence, now, limits)


def needs_history(run: Run, evidence: Evidence) -> bool:
    """Whether the run's former states have to be read: its task has stopped."""
    if run.state not in UNFINISHED or evidence.by_pid in _NO_VERDICT:
        return False
    return bool(evidence.tasks) and all(task.snapshot.final for task in evidence.tasks)


def needs_search(run: Run, evidence: Evidence, now: datetime, limits: Limits) -> bool:
    """Whether only a search by ``startedBy`` can decide: it is about to be taken for lost."""
    if evidence.by_pid in _NO_VERDICT:
        return False
    if any(not t.snapshot.final for t in evidence.tasks):
        return False
    if of_this_attempt(run, evidence, limits):
        return False
    missing = evidence.by_pid is ByPid.MISSING and run.state != PENDING
    return now - run.since.latest > (limits.vanished if missing else limits.never_launched)


def of_this_attempt(run: Run, evidence: Evidence, limits: Limits) -> list[Task]:
    """The stopped tasks that are proved to be of the attempt that the run is in.

    A run that is resumed or retried keeps its old pid until its new task is launched, and both
    tasks carry its id. So:

    - A run that was Pending at most once has had one attempt, and its tasks are of that. The
      clocks must not speak against it.
    - A run that was Pending before: only the task that its pid names, and only if it lived while
      the run was Running in this attempt. One that waits for its launch has no such task.
    """
    history = run.history
    if history is None:
        return []
    if history.launches <= 1:
        return [task for task in evidence.tasks if _plausible(run, history, task, limits)]
    ran_at = history.ran_at
    return [
        task
        for task in evidence.tasks
        if task.snapshot.task_arn == evidence.named
        and ran_at is not None
        and task.stopped_at is not None
        and task.stopped_at.earliest >= ran_at.latest + limits.skew
    ]


def _plausible(run: Run, history: History, task: Task, limits: Limits) -> bool:
    """Whether a task may have brought its run into its state, by what the clocks say.

    It was launched after the run became Pending, and had not stopped yet when that was set Running.
    """
    if run.state == PENDING:
        return task.created_at.earliest >= run.since.latest - limits.skew
    if history.ran_at is None or task.stopped_at is None:
        return True
    return task.stopped_at.earliest >= history.ran_at.latest - limits.skew


def _settled(task: Task, now: datetime, limits: Limits) -> bool:
    return task.stopped_at is not None and now - task.stopped_at.latest >= limits.settle


def _without_task(run: Run, evidence: Evidence, now: datetime, limits: Limits) -> Verdict:
    age = now - run.since.latest
    if evidence.by_search is BySearch.FAILED:
        return leave(evidence.by_search.value)
    if evidence.by_pid is ByPid.MISSING and run.state != PENDING:
        if age < limits.vanished:
            return leave("ECS does not find its task, which may be too new")
        return _end(
            run, "the task vanished: it stopped more than an hour ago, and ECS has deleted it"
        )
    if age <= limits.never_launched:
        if evidence.tasks:
            return leave("its stopped task may be of an earlier attempt")
        return leave(f"it has no task, and may be waiting for its launch ({age_text(age)})")
    if evidence.by_search is not BySearch.DONE:
        return leave("it has no task that can be looked up")
    return _end(
        run,
        f"ECS has no task of this attempt after {age_text(age)}: it was never launched, or "
        "its task stopped more than an hour ago",
    )


def _end(run: Run, why: str) -> Verdict:
    return Verdict(Action.CANCEL if run.state == CANCELLING else Action.CRASH, why)


def explain(diagnosis: Diagnosis) -> str:
    """The end of a task for a flow run's page: what, AWS's own words, a hint."""
    text = diagnosis.summary
    if diagnosis.exit_code == 0:
        text += ", and the flow run never reported its end"
    if diagnosis.detail:
        text += f": {diagnosis.detail}"
    return f"{text}\nhint: {diagnosis.hint}" if diagnosis.hint else text
