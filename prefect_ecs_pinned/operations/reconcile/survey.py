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
    needs_search,
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
        sightings = [(look.place, s) for look in looks for s in look.live]
        known = {subject.id for subject in subjects}
        others = await by_id(client, {i for _, s in sightings if (i := _uuid(s))} - known)
    seen = _tasks_by_run(looks)
    judged = await asyncio.gather(*(_judge(s, scope, looks, seen, limits, now) for s in subjects))
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
    """What was seen in one account and Region: live tasks, stopped ones, those that pids name."""

    place: Place
    live: Sequence[Sighting]
    stopped: Sequence[Sighting]
    by_pid: Mapping[TaskIdentifier, Task | ByPid]


async def _look(place: Place, subjects: Sequence[Subject]) -> _Look:
    await place.look_around()
    live = await place.sightings("RUNNING")
    task_of = {s.task.snapshot.task_arn: s.task for s in live}
    pids = {s.pid for s in subjects if s.pid is not None and place.holds(s.pid)}
    by_pid: dict[TaskIdentifier, Task | ByPid] = {
        pid: task_of[pid.task_arn] for pid in pids if pid.task_arn in task_of
    }
    by_pid.update(await place.by_pid(pid for pid in pids if pid not in by_pid))
    stopped: Sequence[Sighting] = ()
    seen = {s.flow_run_id for s in live}
    if any(_lacks_task(s, by_pid) for s in subjects if str(s.id) not in seen):
        known = {pid.task_arn for pid, task in by_pid.items() if isinstance(task, Task)}
        stopped = await place.sightings("STOPPED", known)
    return _Look(place, live, stopped, by_pid)


def _lacks_task(subject: Subject, by_pid: Mapping[TaskIdentifier, Task | ByPid]) -> bool:
    """Whether it may have a task that stopped before its pid was written."""
    if subject.pid is None:
        return not subject.foreign_pid
    return by_pid.get(subject.pid) is ByPid.MISSING


def _tasks_by_run(looks: Sequence[_Look]) -> dict[str, list[Task]]:
    found: dict[str, list[Task]] = {}
    for look in looks:
        for sighting in (*look.live, *look.stopped):
            found.setdefault(sighting.flow_run_id, []).append(sighting.task)
    return found


async def _judge(
    subject: Subject,
    scope: Scope,
    looks: Sequence[_Look],
    seen: Mapping[str, Sequence[Task]],
    limits: Limits,
    now: Callable[[], datetime],
) -> Finding:
    by_pid, of_pid = _by_pid(subject, looks)
    tasks = [*seen.get(str(subject.id), ()), *of_pid]
    evidence = Evidence(by_pid, BySearch.NOT_NEEDED, tuple(tasks))
    if needs_search(subject.run, evidence, now(), limits):
        origin = scope.origins.get(subject.deployment_id) if subject.deployment_id else None
        by_search, found = await _search(subject, origin)
        evidence = Evidence(by_pid, by_search, (*tasks, *found))
    verdict = decide(subject.run, evidence, now(), limits)
    return _finding(subject, verdict, _named(subject, evidence))


def _named(subject: Subject, evidence: Evidence) -> str | None:
    """The task that a finding names: the newest, failing that the pid's."""
    newest = max(evidence.tasks, key=lambda task: task.created_at, default=None)
    if newest is not None:
        return newest.snapshot.task_arn
    return subject.pid.task_arn if subject.pid else None


def _by_pid(subject: Subject, looks: Sequence[_Look]) -> tuple[ByPid, list[Task]]:
    """What became of the look-up of a flow run's pid, and the task if there is one."""
    if subject.foreign_pid:
        return ByPid.ELSEWHERE, []
    if subject.pid is None:
        return ByPid.NO_PID, []
    for look in looks:
        answer = look.by_pid.get(subject.pid)
        if isinstance(answer, Task):
            return ByPid.FOUND, [answer]
        if answer is not None:
            return answer, []
    return ByPid.ELSEWHERE, []


async def _search(subject: Subject, origin: Origin | None) -> tuple[BySearch, list[Task]]:
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
