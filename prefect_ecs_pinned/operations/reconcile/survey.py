"""Look at everything, and decide. Nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from prefect.client.orchestration import PrefectClient
from prefect.settings import PREFECT_API_URL

from prefect_ecs_pinned.errors import ConfigurationError, PinnedECSError, Unavailable
from prefect_ecs_pinned.operations.clocks import Clock, steady_now
from prefect_ecs_pinned.operations.reconcile.facts import BySearch, Evidence, Limits, Task
from prefect_ecs_pinned.operations.reconcile.findings import Finding, Survey, doubt
from prefect_ecs_pinned.operations.reconcile.flow_runs import (
    Subject,
    by_id,
    read_clock,
    read_history,
    unfinished,
)
from prefect_ecs_pinned.operations.reconcile.look import (
    Look,
    as_uuid,
    look_at,
    look_up_pid,
    tasks_by_run,
)
from prefect_ecs_pinned.operations.reconcile.outlived import api_url, decide_task
from prefect_ecs_pinned.operations.reconcile.places import Origin, Scope, read_scope
from prefect_ecs_pinned.operations.reconcile.verdict import decide, needs_history, needs_search
from prefect_ecs_pinned.operations.saved import prefect_api
from prefect_ecs_pinned.operations.sources import Holder

#: What a limit has to exceed a block's `launch_timeout_seconds` by: that counts from the first
#: refusal, and before it a launch waits for its turn (20 RunTask calls a second on Fargate).
LAUNCH_MARGIN = timedelta(minutes=5)

#: Flow runs whose former states are read at the same time.
_AT_ONCE = 8


async def survey(
    reference: Holder | None = None,
    limits: Limits | None = None,
    now: Callable[[], datetime] = steady_now,
    api_urls: Collection[str] = (),
) -> Survey:
    """Decide on every unfinished flow run, and on every task of a final one.

    Args:
        reference: Only flow runs of the deployments on this block or pool, with its
            credentials; None for all flow runs, with those of all blocks or pools.
        limits: How long a run is not changed.
        now: The time on the clock of the command. Those of Prefect's server and of AWS are read
            against `clocks.steady_now`; another one here is as if time had passed since.
        api_urls: Further URLs of this Prefect server's API, which its tasks may have been given.

    Raises:
        ConfigurationError: No such block or pool, a limit that is shorter than a launch wait, or
            no URL.
        PinnedECSError: Prefect could not be reached, does not say what time it is, or AWS could
            not be reached with any of the credentials.
    """
    limits, clock = limits or Limits(), Clock()
    here = _urls(api_urls)
    async with prefect_api() as client:
        read_clock(client, clock)
        scope = await read_scope(client, reference)
        _check(limits, scope)
        subjects = await unfinished(client, scope.only, clock)
        looks = await asyncio.gather(*(look_at(place, subjects) for place in scope.places))
        live = [(look.place, task) for look in looks for task in look.live]
        known = {subject.id for subject in subjects}
        others = await by_id(
            client, {i for _, task in live if (i := as_uuid(task.flow_run_id))} - known
        )
        if not clock.known:
            raise Unavailable(
                "cannot find out how old flow runs are",
                "the answers of the Prefect API have no Date",
                "look for a proxy that removes it",
            )
        judge = _Judge(client, clock, scope, looks, limits, now)
        findings = list(await asyncio.gather(*map(judge.flow_run, subjects)))
    ended = {str(s.id): s for s in others if scope.only is None or s.deployment_id in scope.only}
    doubts: list[PinnedECSError] = []
    for place, task in live:
        subject = ended.get(task.flow_run_id)
        if subject is not None:
            verdict = decide_task(subject.run(clock), task, subject.named, here, now(), limits)
            findings.append(Finding.of_task(subject, verdict, place, task))
            if verdict.doubt:
                doubts.append(doubt(subject, verdict, task))
    failures = [failure for place in scope.places for failure in place.failures]
    problems = _distinct([*scope.problems, *failures])
    if doubts:
        findings = [finding.left() for finding in findings]
    return Survey(tuple(findings), problems, _distinct(doubts))


def _urls(more: Collection[str]) -> frozenset[str]:
    """The URLs of this Prefect server's API.

    Raises:
        ConfigurationError: One of those that were given is not a URL.
    """
    for url in more:
        if not api_url(url):
            raise ConfigurationError(
                f"cannot use {url!r} as the URL of a Prefect API",
                "it is not an http URL, or it means a different machine on each host",
                "give the PREFECT_API_URL of the tasks, such as https://prefect.example.com/api",
            )
    own = api_url(PREFECT_API_URL.value() or "")
    return frozenset(filter(None, (own, *map(api_url, more))))


def _check(limits: Limits, scope: Scope) -> None:
    least = scope.longest_launch + LAUNCH_MARGIN
    if limits.never_launched < least:
        seconds, longest = least.total_seconds(), scope.longest_launch.total_seconds()
        raise ConfigurationError(
            f"cannot treat a run as never launched after {limits.never_launched}",
            f"a block waits for up to {longest:.0f} s until its launch succeeds",
            f"give at least {seconds:.0f}s: launch_timeout_seconds and "
            f"{LAUNCH_MARGIN.total_seconds():.0f} s",
        )


class _Judge:
    """Decides on unfinished flow runs, from all that a look can find."""

    def __init__(
        self,
        client: PrefectClient,
        clock: Clock,
        scope: Scope,
        looks: Sequence[Look],
        limits: Limits,
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._clock = clock
        self._scope = scope
        self._looks = looks
        self._limits = limits
        self._now = now
        self._seen: Mapping[str, Sequence[Task]] = tasks_by_run(looks)
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def flow_run(self, subject: Subject) -> Finding:
        by_pid, of_pid = look_up_pid(subject, self._looks)
        tasks = (*self._seen.get(str(subject.id), ()), *of_pid)
        evidence = Evidence(by_pid, BySearch.NOT_NEEDED, tasks, subject.named)
        run = subject.run(self._clock)
        if needs_history(run, evidence):
            async with self._gate:
                history = await read_history(self._client, subject, self._clock)
            run = subject.run(self._clock, history)
        if needs_search(run, evidence, self._now(), self._limits):
            by_search, found = await _search(subject, self._origin(subject))
            evidence = replace(evidence, by_search=by_search, tasks=(*tasks, *found))
        verdict = decide(run, evidence, self._now(), self._limits)
        return Finding.of(subject, verdict, _named(subject, evidence))

    def _origin(self, subject: Subject) -> Origin | None:
        return self._scope.origins.get(subject.deployment_id) if subject.deployment_id else None


def _named(subject: Subject, evidence: Evidence) -> str | None:
    """The task that a finding names: the newest, otherwise the pid's."""
    newest = max(evidence.tasks, key=lambda task: task.created_at.latest, default=None)
    if newest is not None:
        return newest.snapshot.task_arn
    return subject.named or None


async def _search(subject: Subject, origin: Origin | None) -> tuple[BySearch, list[Task]]:
    if origin is None or not origin.searchable:
        return BySearch.IMPOSSIBLE, []
    place = origin.place
    if place is None or place.failures:
        return BySearch.FAILED, []
    found = await place.search(str(subject.id))
    return (BySearch.FAILED, []) if found is None else (BySearch.DONE, found)


def _distinct(problems: Sequence[PinnedECSError]) -> tuple[PinnedECSError, ...]:
    return tuple({str(problem): problem for problem in problems}.values())
