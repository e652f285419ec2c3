"""Flow runs whose worker has died before it launched them: when they may be taken away from it.

No process can prove that another worker is dead; it may be stopped, or cut off, and continue. So a
run is taken away in two steps, each a state of Prefect's, which any worker of the pool may make:

1. Its state is changed to Pending, named `FENCED`. Of several workers that try, Prefect accepts
   one. From then on its former worker does not launch it: it launches nothing of which it has not
   read within `claims.FRESH_SECONDS` that the state is the one it has set itself.
2. `FENCE_SECONDS` later, which is longer, its task is looked for twice. If there is none, the run
   is reset to Scheduled, and polled again.

What is decided here is decided from values alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from prefect_ecs_pinned.worker.claims import FRESH_SECONDS
from prefect_ecs_pinned.worker.pool_runs import PoolRun, PoolWorker

#: Name of the state of a run that is being taken away.
FENCED = "Reclaiming"

#: Seconds from the one step to the other: what was read before the first counts no more, and a
#: RunTask that was sent because of it has been answered, or its task can be seen.
FENCE_SECONDS = FRESH_SECONDS + 10.0

#: Heartbeats that a worker may miss; then Prefect's server calls it OFFLINE (prefect 3.9,
#: ``PREFECT_SERVER_SERVICES_FOREMAN_INACTIVITY_HEARTBEAT_MULTIPLE``).
_MISSED_HEARTBEATS = 3

#: Seconds for which another worker has to have been OFFLINE before its run is fenced. With
#: `FENCE_SECONDS` it is two minutes until the run is reset.
OFFLINE_SECONDS = 50.0

#: Seconds after which a run is nobody's that no worker has labelled, or one that is not listed, or
#: this process, which does not have it (an answer was lost): as for a worker that sends no
#: heartbeats.
UNKNOWN_SECONDS = _MISSED_HEARTBEATS * 30.0 + OFFLINE_SECONDS

#: Seconds for which a state is left alone: a worker may be about to label the run as its own.
_SETTLE_SECONDS = 10.0


@dataclass(frozen=True)
class Me:
    """The worker that decides.

    Attributes:
        name: Its name.
        process: How the ids of its claims begin.
        started_at: When it started, by the server's clock.
    """

    name: str
    process: str
    started_at: datetime


class Step(Enum):
    """What is to be done with a flow run that has no task."""

    LEAVE = auto()
    FENCE = auto()
    SET_BACK = auto()  # if its task is looked for twice, and not found


def next_step(run: PoolRun, workers: Mapping[str, PoolWorker], me: Me, now: datetime) -> Step:
    """The next step with a run that is Pending, is not this process's, and has no task.

    Args:
        run: The flow run.
        workers: Of its pool, by name.
        me: Who asks.
        now: By the server's clock.
    """
    if not run.pending or run.deployment_id is None:
        return Step.LEAVE  # Prefect schedules nothing again that has no deployment
    if run.state_name == FENCED:
        fenced_for = (now - run.state_at).total_seconds()
        return Step.SET_BACK if fenced_for >= FENCE_SECONDS else Step.LEAVE
    return Step.FENCE if is_abandoned(run, workers, me, now) else Step.LEAVE


def is_abandoned(run: PoolRun, workers: Mapping[str, PoolWorker], me: Me, now: datetime) -> bool:
    """Whether the worker that has taken a run is not there any more, as far as anybody can see."""
    age = (now - run.state_at).total_seconds()
    if run.claim.startswith(me.process):
        return age >= UNKNOWN_SECONDS
    if run.worker == me.name:  # this worker's former self, or another process of its name
        return age >= _SETTLE_SECONDS and run.state_at < me.started_at
    worker = workers.get(run.worker)
    if worker is None:
        return age >= UNKNOWN_SECONDS
    return age >= _SETTLE_SECONDS and is_offline(worker, now)


def is_offline(worker: PoolWorker, now: datetime) -> bool:
    """Whether a worker has sent no heartbeat for as long as Prefect waits, and `OFFLINE_SECONDS`.

    The status alone does not say it: the server's Foreman sets it, which may be disabled, and an
    ephemeral server does not have one. A worker that is still called ONLINE has twice the time.
    """
    if worker.heartbeat_at is None:
        return False
    silent = (now - worker.heartbeat_at).total_seconds()
    missed = _MISSED_HEARTBEATS * (2 if worker.online else 1)
    return silent >= missed * worker.interval + OFFLINE_SECONDS
