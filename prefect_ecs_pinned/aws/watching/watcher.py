"""Batched DescribeTasks: one call for a hundred live tasks, for all callers.

A cluster with live tasks is polled by one coroutine (`polling`). Each poll hands every watch its
own task's change (`watches`), and decides on start timeouts with that fresh look, so no run needs a
timer. Throttles and lost calls slow the polls down and never reach a run: what ECS says of a task
ends its watch, or trouble that has lasted (`trouble`).

A task that has not started in time is stopped, and watched until it is seen STOPPED: a stop that
ECS does not accept is repeated, and if the task starts after all, its run continues.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from prefect_ecs_pinned.aws.calls.pacing import Pacer
from prefect_ecs_pinned.aws.calls.ports import Clock, WatchApi
from prefect_ecs_pinned.aws.events import Measure, ignore
from prefect_ecs_pinned.aws.stopping import STOP_SECONDS, Outcome, Stopping
from prefect_ecs_pinned.aws.watching.polling import DESCRIBE_TASKS_LIMIT, Poller, fair_share
from prefect_ecs_pinned.aws.watching.trouble import (
    EXPIRED_SECONDS,
    LASTING_SECONDS,
    MISSING_GRACE,
    not_stopped,
)
from prefect_ecs_pinned.aws.watching.watch import SCALE_OUT_SECONDS, News, Receiver, Watch
from prefect_ecs_pinned.aws.watching.watches import Watches, task_ended
from prefect_ecs_pinned.core.arn import cluster_of_task
from prefect_ecs_pinned.core.task_state import Snapshot

logger = logging.getLogger(__name__)

__all__ = [
    "DESCRIBE_TASKS_LIMIT",
    "EXPIRED_SECONDS",
    "LASTING_SECONDS",
    "MISSING_GRACE",
    "SCALE_OUT_SECONDS",
    "News",
    "Watch",
    "Watching",
]


class Watching:
    """Watches tasks until they stop; lives on the control loop.

    Args:
        api: The calls.
        reads: Pace of DescribeTasks.
        clock: Time.
        stopping: What stops tasks that do not start; one of its own if None.
        measure: Called with the end of each task.
    """

    def __init__(
        self,
        api: WatchApi,
        reads: Pacer,
        clock: Clock,
        stopping: Stopping | None = None,
        measure: Measure = ignore,
    ) -> None:
        self._api = api
        self._reads = reads
        self._clock = clock
        self._measure = measure
        self._stopping = stopping if stopping is not None else Stopping(api, clock)
        self._answered = False
        self._pollers: dict[str, Poller] = {}
        self._polls: set[asyncio.Task[None]] = set()
        self._stops: set[asyncio.Task[None]] = set()

    def watch(
        self, task: Snapshot, interval: float, start_timeout: float, queue: Receiver
    ) -> Watch:
        """Give a queue every change of a task's status, until it is final.

        Args:
            task: The task as RunTask answered it; one that has ended is delivered immediately.
            interval: Seconds between polls; the shortest of a cluster's watches counts.
            start_timeout: Seconds from now until it has to run; then it is stopped.
            queue: Gets snapshots, the last one final, or an error that ends the watch.
        """
        now = self._clock.now()
        name = task.cluster_arn or cluster_of_task(task.task_arn)
        interval = max(0.0, interval)
        watch = Watch(name, task, interval, start_timeout, now, now, queue, task.started)
        if task.final:
            watch.live = False
            queue.put(task)
            self._measure(task_ended(name, task))
            return watch
        self._poller(name).add(watch)
        return watch

    def forget(self, watch: Watch) -> None:
        """End a watch whose run is gone; others of the same task continue."""
        poller = self._pollers.get(watch.cluster)
        if poller is not None:
            poller.watches.remove(watch)
            if not poller.watches:
                poller.wake()

    def live(self) -> int:
        """How many tasks are being watched."""
        return sum(self.live_by_cluster().values())

    def live_by_cluster(self) -> dict[str, int]:
        """How many tasks are watched in each cluster, by name or ARN; on any thread."""
        return {name: len(poller.watches) for name, poller in list(self._pollers.items())}

    async def close(self) -> None:
        """End every watch with an error; wait for stops that are under way, for up to a minute."""
        polls = list(self._polls)
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)
        await self._stopping.close()

    def _poller(self, name: str) -> Poller:
        poller = self._pollers.get(name)
        if poller is None:
            answered = self._answered or any(p.watches.answered for p in self._pollers.values())
            watches = Watches(
                self._clock, self._stop_unstarted, self._stopping.ended, answered, self._measure
            )
            poller = Poller(name, watches, self._api, self._reads, self._clock, self._share)
            self._pollers[name] = poller
            poll = asyncio.create_task(self._poll(poller))
            self._polls.add(poll)
            poll.add_done_callback(partial(self._ended, poller))
        return poller

    async def _poll(self, poller: Poller) -> None:
        """Poll a cluster; no watch outlives this, however it ends."""
        try:
            await poller.run()
        finally:
            self._end(poller)  # immediately: the next watch gets a poller of its own

    def _ended(self, poller: Poller, poll: asyncio.Task[None]) -> None:
        """However it has ended, even if it was cancelled before it began."""
        self._polls.discard(poll)
        self._end(poller)
        if not poll.cancelled() and (error := poll.exception()) is not None:
            logger.error("Cluster %s: polling has failed", poller.name, exc_info=error)

    def _end(self, poller: Poller) -> None:
        if self._pollers.get(poller.name) is poller:
            del self._pollers[poller.name]
        self._answered = self._answered or poller.watches.answered
        poller.watches.end_all("watching has ended in this process; it may still run")

    def _share(self) -> float:
        """Calls a second that a cluster may make at most, at the moment."""
        if len(self._pollers) == 1:
            return self._reads.rate
        return fair_share((p.demand() for p in self._pollers.values()), self._reads.rate)

    def _stop_unstarted(self, watch: Watch) -> None:
        stop = asyncio.create_task(self._stop(watch))
        self._stops.add(stop)
        stop.add_done_callback(self._stops.discard)

    async def _stop(self, watch: Watch) -> None:
        """Stop a task that has not started in time, unless it starts before ECS accepts that.

        What it has become is seen by the polls, and nowhere else.
        """
        waited = self._clock.now() - watch.launched_at
        arn = watch.task.task_arn
        logger.info("Task %s has not started within %.0f s, and is stopped", arn, waited)
        result = await self._stopping.stop(
            watch.cluster,
            arn,
            f"Did not reach RUNNING within {waited:.0f} s",
            patience=STOP_SECONDS,
            though_refused=True,
            wanted=lambda: watch.live and not watch.started,
        )
        if result.outcome is Outcome.UNWANTED and watch.started:
            logger.warning("Task %s has started before it could be stopped: it continues", arn)
        elif result.outcome is Outcome.UNKNOWN and (poller := self._pollers.get(watch.cluster)):
            poller.watches.end(watch, not_stopped(watch.task, result.fault))
