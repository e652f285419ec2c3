"""Do what a survey decided, each flow run having been read again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import PrefectHTTPStatusError

from prefect_ecs_pinned.errors import PinnedECSError, TaskNotFound
from prefect_ecs_pinned.operations.reconcile.facts import Action
from prefect_ecs_pinned.operations.reconcile.findings import Finding, Survey
from prefect_ecs_pinned.operations.reconcile.flow_runs import again, end
from prefect_ecs_pinned.operations.saved import prefect_api

#: Flow runs that are written at the same time.
_AT_ONCE = 8

#: StopTask's reason.
STOP_REASON = "pinned-ecs reconcile: the flow run of this task has ended"


@dataclass(frozen=True)
class Outcome:
    """What became of a finding.

    Attributes:
        finding: What was to be done.
        done: It was.
        spared: Why it was not needed any more; empty when it was.
        failure: Why it could not be done; empty when it could.
    """

    finding: Finding
    done: bool = False
    spared: str = ""
    failure: str = ""


async def carry_out(survey: Survey) -> tuple[Outcome, ...]:
    """Set states, and stop tasks. One failure does not keep the others from being done.

    Raises:
        PinnedECSError: The Prefect API can not be reached at all.
    """
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(client: PrefectClient, finding: Finding) -> Outcome:
        async with gate:
            return await _carry_out(client, finding)

    if not survey.todo:
        return ()
    async with prefect_api() as client:
        return tuple(await asyncio.gather(*(one(client, finding) for finding in survey.todo)))


async def _carry_out(client: PrefectClient, finding: Finding) -> Outcome:
    try:
        now = await again(client, finding.subject)
        if now is None or not finding.subject.same_as(now):
            state = now.state_name if now is not None else "deleted"
            return Outcome(finding, spared=f"it has changed since: {state}")
        if finding.action is Action.STOP:
            return await _stop(finding)
        refused = await end(client, now, finding.action, finding.reason)
    except (PrefectHTTPStatusError, httpx.HTTPError) as error:
        return Outcome(finding, failure=f"Prefect: {type(error).__name__}: {error}")
    return Outcome(finding, done=not refused, spared=refused)


async def _stop(finding: Finding) -> Outcome:
    assert finding.place is not None
    assert finding.task is not None
    try:
        await finding.place.stop(finding.cluster, finding.task, STOP_REASON)
    except TaskNotFound:
        return Outcome(finding, spared="the task is gone")
    except PinnedECSError as error:
        return Outcome(finding, failure=error.text)
    return Outcome(finding, done=True)
