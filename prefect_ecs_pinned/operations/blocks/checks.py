"""Checks of how flow runs are picked up: queues, work pools, the agent's settings."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_AGENT_QUERY_INTERVAL

from prefect_ecs_pinned.block import PinnedECSTask
from prefect_ecs_pinned.core.shown import named
from prefect_ecs_pinned.operations.blocks.reads import candidates
from prefect_ecs_pinned.operations.doctor.findings import Answer, Said, fail, ok, warn
from prefect_ecs_pinned.operations.overriding import unknown
from prefect_ecs_pinned.operations.saved import SLUG, Deployment, prefect_server, read_deployments
from prefect_ecs_pinned.operations.sources import Candidate

#: Seconds between two looks of an agent up to which nothing is said; Prefect's default is 15.
FREQUENT_SECONDS = 5.0

#: The most runs that an agent takes in one look at a queue that it serves by name alone
#: (prefect 2.20, `PrefectAgent.get_and_submit_flow_runs`).
BY_NAME = 10

#: Types of work pools whose runs get the block of their deployment.
_WITH_BLOCK = ("prefect-agent", "block")


def query_interval() -> Answer:
    """How often an agent with the settings that hold here looks for flow runs."""
    seconds = float(PREFECT_AGENT_QUERY_INTERVAL.value())
    detail = f"an agent polls for runs every {seconds:g} s"
    if seconds <= FREQUENT_SECONDS:
        return ok(detail)
    return warn(
        f"{detail}, with the settings here: by queue name, at most "
        f"{BY_NAME * 60 / seconds:.0f} a minute",
        f"set PREFECT_AGENT_QUERY_INTERVAL={FREQUENT_SECONDS:g}, and start it with "
        "`-p default-agent-pool`: by pool it fetches 200 per poll",
    )


async def look(client: PrefectClient, reference: str | None) -> tuple[list[Said], list[Candidate]]:
    """How the flow runs of saved blocks are picked up, and what they may use.

    Raises:
        ConfigurationError: There is no such block.
    """
    found = await candidates(client, reference)
    said: list[Said] = []
    if not found:
        hint = "save one: see the quick start"
        said.append(("loads", SLUG, warn(f"no block is saved on {prefect_server()}", hint)))
    ids = {candidate.deployment_id for candidate in found}
    deployments = [d for d in await read_deployments(client) if d.id in ids]
    if any(not deployment.by_worker for deployment in deployments):
        said.append(("agent", "settings", query_interval()))
    for deployment in deployments:
        answers = await queue(client, deployment)
        said += [("picked up", deployment.name, answer) for answer in answers]
        plain = [path for path in deployment.overrides if "." not in path]  # others do not load
        said += [
            ("overrides", deployment.name, warn(f"{named(name)!r} is ignored", nearest))
            for name, nearest in unknown(plain, PinnedECSTask.__fields__).items()
        ]
    return said, found


async def queue(client: PrefectClient, deployment: Deployment) -> list[Answer]:
    """Nothing keeps the runs of a deployment from being picked up."""
    found = await client.read_deployment(deployment.id)
    pool = found.work_pool_name
    if not found.work_queue_name:
        hint = "give the deployment a work queue (-q), or its runs are never picked up"
        return [fail("it has no work queue", hint)]
    answers = await _pool(client, pool) if pool else []
    try:
        queue = await client.read_work_queue_by_name(found.work_queue_name, work_pool_name=pool)
    except ObjectNotFound:
        return [*answers, warn(f"there is no queue {found.work_queue_name!r}", "start an agent")]
    answers += _limits("queue", queue)
    return answers or [ok(f"queue {queue.name}")]


async def _pool(client: PrefectClient, name: str) -> list[Answer]:
    pool = await client.read_work_pool(name)
    if pool.type not in _WITH_BLOCK:
        detail = f"work pool {name!r} is of type {pool.type!r}, whose worker ignores the block"
        return [fail(detail, "use an agent, or a work pool of type 'block'")]
    return _limits("work pool", pool)


def _limits(kind: str, holder: Any) -> list[Answer]:
    answers = []
    if holder.is_paused:
        hint = f"resume it: `prefect work-{kind.split()[-1]} resume {holder.name}`"
        answers.append(warn(f"{kind} {holder.name!r} is paused: no run is started", hint))
    if holder.concurrency_limit is not None:
        detail = (
            f"{kind} {holder.name!r} allows {holder.concurrency_limit} live runs at the same time"
        )
        answers.append(warn(detail, "raise or clear the limit, unless it is intended"))
    return answers
