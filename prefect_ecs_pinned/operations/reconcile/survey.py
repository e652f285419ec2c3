"""Look at everything, and decide. Nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from uuid import UUID

from prefect_ecs_pinned.core.arn import TaskIdentifier
from prefect_ecs_pinned.errors import ConfigurationError, PinnedECSError
from prefect_ecs_pinned.operations.blocks import prefect_api
from prefect_ecs_pinned.operations.reconcile.evidence import Place, Sighting
from prefect_ecs_pinned.operations.reconcile.flow_runs import Subject, by_id, unfinished
from prefect_ecs_pinned.operations.reconcile.places import Origin, Scope, read_scope
from prefect_ecs_pinned.operations.reconcile.verdict import (
    Action,
    ByPid,
    BySearch,
    Evidence,
    Limits,
    Task,
    Verdict,
    decide,
    decide_task,
    of_this_attempt,
)

#: What a limit has to exceed a block's `launch_timeout_seconds` by: that counts from the first
#: refusal, and before it a launch waits for its turn (20 RunTask calls a second on Fargate).
LAUNCH_MARGIN = timedelta(minutes=5)


@dataclass(frozen=True)
class Finding:
    """What is to become of one flow run, or of a task that outlived its flow run.

    Attributes:
        flow_run_id: Its id.
        flow_run: Its name.
        state: Name of its state.
        since: When it came into that state.
        task: ARN of its task; None when it has none.
        action: What is to be done.
        reason: Why.
    """

    flow_run_id: UUID
    flow_run: str
    state: str
    since: datetime
    task: str | None
    action: Action
    reason: str
    subject: Subject = field(repr=False)
    place: Place | None = field(default=None, repr=False)
    cluster: str = field(default="", repr=False)


@dataclass(frozen=True)
class Survey:
    """What is to become of flow runs and tasks.

    Attributes:
        findings: One for each unfinished flow run, and for each task of a final one.
        problems: Why there could be no verdict on some.
    """

    findings: tuple[Finding, ...]
    problems: tuple[PinnedECSError, ...]

    @property
    def todo(self) -> tuple[Finding, ...]:
        """Those on which there is something to be done."""
        return tuple(f for f in self.findings if f.action is not Action.LEAVE)


def utc_now() -> datetime:
    """The time of day."""
    return datetime.now(timezone.utc)


async def survey(
    reference: str | None = None,
    limits: Limits | None = None,
    now: Callable[[], datetime] = utc_now,
) -> Survey:
    """Decide on every unfinished flow run, and on every task of a final one.

    Args:
        reference: Only flow runs of the deployments on this block, with its credentials; None
            for all flow runs, with the credentials of all saved blocks.
        limits: How long what is left alone.
        now: The time of day.

    Raises:
        ConfigurationError: No such block, or a limit that is shorter than a launch wait.
        PinnedECSError: Prefect could not be reached, or AWS with none of the credentials.
    """
    limits = limits or Limits()
    async with prefect_api() as client:
        scope = await read_scope(client, reference)
        _check(limits, scope)
        subjects = await unfinished(client, scope.only)
        looks = await asyncio.gather(*(_look(place, subjects) for place in scope.places))
        sightings = [(look.place, s) for look in looks for s in look.sightings]
        known = {subject.id for subject in subjects}
        others = await by_id(client, {i for _, s in sightings if (i := _uuid(s))} - known)
    judged = await asyncio.gather(*(_judge(s, scope, looks, limits, now) for s in subjects))
    ended = {str(subject.id): subject for subject in others}
    findings = list(judged)
    for place, sighting in sightings:
        subject = ended.get(sighting.flow_run_id)
        if subject is not None and (scope.only is None or subject.deployment_id in scope.only):
            findings.append(_finding_of_task(subject, place, sighting, limits, now()))
    failures = [failure for place in scope.places for failure in place.failures]
    return Survey(tuple(findings), _distinct([*scope.problems, *failures]))


def _check(limits: Limits, scope: Scope) -> None:
    least = scope.longest_launch + LAUNCH_MARGIN
    if limits.never_launched < least:
        seconds, longest = least.total_seconds(), scope.longest_launch.total_seconds()
        raise ConfigurationError(
            f"cannot take a run for never launched after {limits.never_launched}",
            f"a block waits for up to {longest:.0f} s until its launch succeeds",
            f"give at least {seconds:.0f}s: launch_timeout_seconds and "
            f"{LAUNCH_MARGIN.total_seconds():.0f} s",
        )


@dataclass(frozen=True)
class _Look:
    """What was seen in one account and Region."""

    place: Place
    sightings: Sequence[Sighting]
    by_pid: Mapping[TaskIdentifier, Task | ByPid]


async def _look(place: Place, subjects: Sequence[Subject]) -> _Look:
    sightings = await place.sightings()
    live = {s.task.snapshot.task_arn: s.task for s in sightings}
    pids = {s.pid for s in subjects if s.pid is not None and place.holds(s.pid)}
    by_pid: dict[TaskIdentifier, Task | ByPid] = {
        pid: live[pid.task_arn] for pid in pids if pid.task_arn in live
    }
    by_pid.update(await place.by_pid(pid for pid in pids if pid not in by_pid))
    return _Look(place, sightings, by_pid)


async def _judge(
    subject: Subject,
    scope: Scope,
    looks: Sequence[_Look],
    limits: Limits,
    now: Callable[[], datetime],
) -> Finding:
    tasks, by_pid = _seen(subject, looks)
    origin = scope.origins.get(subject.deployment_id) if subject.deployment_id else None
    by_search = BySearch.NOT_NEEDED
    if by_pid in (ByPid.NO_PID, ByPid.MISSING, ByPid.FOUND) and not of_this_attempt(
        subject.run, tasks, limits
    ):
        by_search, found = await _search(subject, origin, looks)
        tasks = [*tasks, *found]
    verdict = decide(subject.run, Evidence(by_pid, by_search, tuple(tasks)), now(), limits)
    return _finding(subject, verdict, subject.pid.task_arn if subject.pid else None)


def _seen(subject: Subject, looks: Sequence[_Look]) -> tuple[list[Task], ByPid]:
    """The tasks of a flow run that were seen, and what became of its pid."""
    tasks = [s.task for look in looks for s in look.sightings if s.flow_run_id == str(subject.id)]
    if subject.foreign_pid:
        return tasks, ByPid.ELSEWHERE
    if subject.pid is None:
        return tasks, ByPid.NO_PID
    for look in looks:
        answer = look.by_pid.get(subject.pid)
        if isinstance(answer, Task):
            return [*tasks, answer], ByPid.FOUND
        if answer is not None:
            return tasks, answer
    return tasks, ByPid.ELSEWHERE


async def _search(
    subject: Subject, origin: Origin | None, looks: Sequence[_Look]
) -> tuple[BySearch, list[Task]]:
    if origin is None or not origin.searchable:
        return BySearch.IMPOSSIBLE, []
    place = origin.place
    if place is None or place.failures:
        return BySearch.FAILED, []
    found = await place.search(str(subject.id))
    return (BySearch.FAILED, []) if found is None else (BySearch.DONE, found)


def _finding(subject: Subject, verdict: Verdict, task: str | None) -> Finding:
    return Finding(
        flow_run_id=subject.id,
        flow_run=subject.name,
        state=subject.state_name,
        since=subject.run.since,
        task=task,
        action=verdict.action,
        reason=verdict.reason,
        subject=subject,
    )


def _finding_of_task(
    subject: Subject, place: Place, sighting: Sighting, limits: Limits, now: datetime
) -> Finding:
    verdict = decide_task(subject.run, now, limits)
    finding = _finding(subject, verdict, sighting.task.snapshot.task_arn)
    return replace(finding, place=place, cluster=sighting.cluster)


def _uuid(sighting: Sighting) -> UUID | None:
    try:
        return UUID(sighting.flow_run_id)
    except ValueError:
        return None


def _distinct(problems: Sequence[PinnedECSError]) -> tuple[PinnedECSError, ...]:
    return tuple({str(problem): problem for problem in problems}.values())
