"""What `doctor` says of a work pool: its type, its queues and limits, its workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import WorkPool, WorkQueue

from prefect_ecs_pinned import __version__
from prefect_ecs_pinned.core.shown import named
from prefect_ecs_pinned.faces.pages import all_pages, readable
from prefect_ecs_pinned.operations.doctor.findings import Answer, Said, fail, ok, warn
from prefect_ecs_pinned.operations.overriding import unknown
from prefect_ecs_pinned.operations.pools.loading import template_of
from prefect_ecs_pinned.operations.pools.queues import queues_of
from prefect_ecs_pinned.operations.pools.reading import (
    HOW_TO_MOVE,
    OURS,
    PLAIN,
    Deployment,
    called,
    deployments_of,
    read_pool,
    read_pools,
)
from prefect_ecs_pinned.operations.pools.reads import candidates
from prefect_ecs_pinned.operations.pools.variables import names_of
from prefect_ecs_pinned.operations.prune.rules import ago
from prefect_ecs_pinned.operations.saved import prefect_server
from prefect_ecs_pinned.operations.sources import Candidate

#: Names of the distributions whose versions are shown, where Prefect has them.
_DISTRIBUTIONS = ("prefect-ecs-pinned", "prefect-aws")

#: Workers that are named in one line.
_NAMED = 5


async def look(client: PrefectClient, reference: str | None) -> tuple[list[Said], list[Candidate]]:
    """How the flow runs of a pool, or of all such pools, are picked up; what they may use.

    Raises:
        ConfigurationError: There is no such pool.
    """
    if reference is not None:
        pools = [await read_pool(client, reference)]
    else:
        pools = [pool for pool in await read_pools(client) if pool.type == OURS]
    said: list[Said] = []
    found: list[Candidate] = []
    if not pools:
        hint = f"make one: `prefect work-pool create NAME --type {OURS}`"
        said.append(("type", OURS, warn(f"there is no such work pool on {prefect_server()}", hint)))
    for pool in pools:
        name = called(pool)
        kind = _type(pool)
        said.append(("type", name, kind))
        if pool.type not in (OURS, PLAIN):
            continue
        said += [("picked up", name, answer) for answer in _picked_up("work pool", pool)]
        if pool.type == OURS:
            workers = await _workers(client, pool.name)
            said += [("workers", name, answer) for answer in _alive(pool, workers)]
        said += await _queues(client, pool)
        found += await candidates(client, pool.name)
    return said, found


def _type(pool: WorkPool) -> Answer:
    """Whether a worker of this package launches its runs."""
    if pool.type == OURS:
        return ok(OURS)
    if pool.type == PLAIN:
        return warn(
            f"it is of type {PLAIN!r}: prefect-aws's worker launches its runs, and pins nothing",
            f"`pinned-ecs migrate --pool {named(pool.name)}` makes one of type {OURS!r} of it",
        )
    kind = named(pool.type)
    if pool.is_push_pool or pool.is_managed_pool:
        detail = f"it is of type {kind!r}: Prefect Cloud launches those; a worker can't help"
        return fail(detail, HOW_TO_MOVE)
    return fail(
        f"it is of type {kind!r}, whose runs are not ECS tasks of this package",
        f"make one: `prefect work-pool create NAME --type {OURS}`",
    )


def _picked_up(kind: str, holder: WorkPool | WorkQueue) -> list[Answer]:
    """What keeps runs back; that nothing does, if so."""
    said, name = [], named(holder.name)
    if holder.is_paused:
        hint = f"resume it: `prefect {kind.replace(' ', '-')} resume {name}`"
        said.append(warn(f"{kind} {name!r} is paused: no run is started", hint))
    if holder.concurrency_limit is not None:
        detail = (
            f"{kind} {name!r} allows {holder.concurrency_limit} live runs at the same time; "
            "those that wait to be launched count"
        )
        said.append(warn(detail, "raise or clear the limit, unless it is intended"))
    return said or [ok(f"{kind} {name!r}")]


async def _queues(client: PrefectClient, pool: WorkPool) -> list[Said]:
    """The queues that deployments are in, and job variables that mean nothing."""
    queues = await queues_of(client, pool)
    said: list[Said] = []
    known = names_of(template_of(pool))
    for deployment in await deployments_of(client, pool):
        said += [("picked up", deployment.name, a) for a in _queue_of(deployment, queues)]
        said += [
            ("job variables", deployment.name, warn(f"{named(name)!r} is ignored", nearest))
            for name, nearest in unknown(deployment.job_variables, known).items()
        ]
    return said


def _queue_of(deployment: Deployment, queues: Mapping[str, WorkQueue]) -> list[Answer]:
    queue = queues.get(deployment.queue or "")
    if queue is None:
        hint = "deploy it again, with a work queue of the pool"
        return [fail("its work queue is not one of the pool's", hint)]
    return _picked_up("work queue", queue)


async def _workers(client: PrefectClient, pool: str) -> list[dict[str, Any]]:
    """The pool's workers as the server gives them: Prefect's own model has no versions.

    Prefect Cloud keeps what a worker sends with its heartbeat (``metadata``); a server of one's own
    does not (prefect 3.9, ``server/api/workers.py``).
    """

    async def read(limit: int, offset: int) -> Sequence[_Raw]:
        answer = await client._client.post(
            f"/work_pools/{pool}/workers/filter", json={"limit": limit, "offset": offset}
        )
        return [_Raw(member) for member in answer.json()]

    with readable():
        return [raw.member for raw in await all_pages(read)]


class _Raw:
    """A member of a page, as it came."""

    def __init__(self, member: dict[str, Any]) -> None:
        self.id = member.get("id")
        self.member = member


def _alive(pool: WorkPool, workers: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """Whether a worker polls the pool, which versions they have, and who was lost."""
    start = f"`prefect worker start --pool {named(pool.name)}`"
    online = [worker for worker in workers if worker.get("status") == "ONLINE"]
    if not online:
        if not workers:
            return [fail("no worker has ever polled it: its runs stay Scheduled", f"start {start}")]
        latest = max(workers, key=lambda worker: str(worker.get("last_heartbeat_time") or ""))
        detail = f"no worker is online; the last heartbeat was {_worker(latest)}"
        return [fail(detail, f"start one: {start}")]
    said = [ok(f"{len(online)} online: {_some([_worker(worker) for worker in online])}")]
    known = {name: _versions(worker) for worker in online if (name := str(worker.get("name")))}
    if not any(known.values()):
        detail = f"this Prefect server does not store its workers' versions; here: {__version__}"
        return [*said, ok(detail)]
    lines = [f"{named(name)}: {versions or 'unknown'}" for name, versions in sorted(known.items())]
    if len(set(known.values())) > 1:
        hint = "workers of different versions may register different revisions"
        return [*said, warn(f"workers of different versions: {_some(lines)}", hint)]
    return [*said, ok(_some(lines))]


def _worker(worker: Mapping[str, Any]) -> str:
    """A worker's name and how long ago its last heartbeat was."""
    name = named(worker.get("name"))
    try:
        at = datetime.fromisoformat(str(worker.get("last_heartbeat_time")).replace("Z", "+00:00"))
        return f"{name} ({ago(datetime.now(timezone.utc) - at)} ago)"
    except (ValueError, TypeError):
        return f"{name} (without a heartbeat)"


def _versions(worker: Mapping[str, Any]) -> str:
    """``distribution version`` of what the worker has installed; empty when that is not known."""
    metadata = worker.get("metadata")
    integrations = metadata.get("integrations") if isinstance(metadata, Mapping) else None
    found = [
        f"{item['name']} {item.get('version')}"
        for item in integrations or []
        if isinstance(item, Mapping) and str(item.get("name")).replace("_", "-") in _DISTRIBUTIONS
    ]
    return ", ".join(sorted(found))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(sorted(names)[:_NAMED]) + more
