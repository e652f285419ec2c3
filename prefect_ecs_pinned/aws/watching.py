"""Batched DescribeTasks: one call for a hundred live tasks, whoever asks.

A cluster with live tasks is polled by one coroutine. Each poll hands every watch its own
task's change, and decides on start timeouts with that fresh look, so no run needs a timer.
Throttles and lost calls slow the polls down and never reach a run: only what ECS says of a
task ends its watch, or ECS's refusal to say anything at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_ecs_pinned.aws.batching import in_batches
from prefect_ecs_pinned.aws.faults import PASSING, Fault, Kind, as_error
from prefect_ecs_pinned.aws.loop import Mailbox
from prefect_ecs_pinned.aws.pacing import Pacer
from prefect_ecs_pinned.aws.ports import Clock, WatchApi
from prefect_ecs_pinned.aws.retrying import LONGEST_SECONDS, backoff, patiently
from prefect_ecs_pinned.core.task_state import Snapshot, snapshot
from prefect_ecs_pinned.errors import PinnedECSError, TaskFateUnknown, TaskStartTimeout

logger = logging.getLogger(__name__)

#: API_DescribeTasks, "tasks": "A list of up to 100 task IDs or full ARN entries."
DESCRIBE_TASKS_LIMIT = 100

#: Seconds in which MISSING means "not yet", or "ask again" (eventual consistency).
MISSING_GRACE = 120.0

#: Seconds for which tasks are asked for with credentials that AWS does not accept any more:
#: somebody may renew them where the agent runs. Then the fate of the tasks is unknown.
EXPIRED_SECONDS = 4 * 3600.0

#: Polls in a row without an answer after which that is told, once.
_TOLD_AFTER = 5

#: Seconds that a task may wait in PROVISIONING for EC2 instances to be added by a capacity
#: provider. Scaling out takes 2 to 5 minutes.
SCALE_OUT_SECONDS = 900.0

#: Seconds for which stopping a task that did not start is tried.
_STOP_PATIENCE = 60.0

#: News of a watch: a change of status, or the error that ends it.
News = Snapshot | PinnedECSError


@dataclass(eq=False, slots=True)
class Watch:
    """One run's interest in one task.

    Attributes:
        cluster: The cluster that it is asked of.
        task: The newest snapshot.
        interval: Seconds between polls that this run asks for.
        start_timeout: Seconds from launch to RUNNING.
        launched_at: When RunTask succeeded.
        provisioned_at: When the task left PROVISIONING; its launch, unless it had to wait for
            instances.
        mailbox: Where its run hears of changes.
        missing_since: When ECS first said that it does not know the task; None when it does.
        stopping: It did not start in time, and is being stopped.
    """

    cluster: str
    task: Snapshot
    interval: float
    start_timeout: float
    launched_at: float
    provisioned_at: float
    mailbox: Mailbox[News]
    missing_since: float | None = None
    stopping: bool = False


class _Cluster:
    """The live tasks of one cluster, and the coroutine that polls them."""

    def __init__(self) -> None:
        self.watches: dict[str, Watch] = {}
        self.poller: asyncio.Task[None] | None = None
        self.failures = 0
        self.fault: Exception | None = None
        self.expired_at: float | None = None


class Watching:
    """Watches tasks until they stop; lives on the control loop.

    Args:
        api: The calls.
        reads: Pace of DescribeTasks.
        clock: Time.
    """

    def __init__(self, api: WatchApi, reads: Pacer, clock: Clock) -> None:
        self._api = api
        self._reads = reads
        self._clock = clock
        self._clusters: dict[str, _Cluster] = {}
        self._stops: set[asyncio.Task[None]] = set()

    def watch(
        self, task: Snapshot, interval: float, start_timeout: float, mailbox: Mailbox[News]
    ) -> Watch:
        """Tell a mailbox of every change of a task's status, until it is final.

        Args:
            task: The task as RunTask answered it.
            interval: Seconds between polls; the shortest of a cluster's watches counts.
            start_timeout: Seconds from now until it has to run; then it is stopped.
            mailbox: Gets snapshots, the last one final, or an error that ends the watch.
        """
        now = self._clock.now()
        name = task.cluster_arn
        watch = Watch(name, task, interval, start_timeout, now, now, mailbox)
        cluster = self._clusters.setdefault(name, _Cluster())
        cluster.watches[task.task_arn] = watch
        if cluster.poller is None or cluster.poller.done():
            cluster.poller = asyncio.create_task(self._poll_until_empty(name, cluster))
        return watch

    def forget(self, watch: Watch) -> None:
        """End a watch whose run is gone."""
        cluster = self._clusters.get(watch.cluster)
        if cluster is not None:
            cluster.watches.pop(watch.task.task_arn, None)

    def live(self) -> int:
        """How many tasks are being watched."""
        return sum(len(cluster.watches) for cluster in self._clusters.values())

    async def _poll_until_empty(self, name: str, cluster: _Cluster) -> None:
        polled_at = self._clock.now()
        while cluster.watches:
            due = polled_at + self._interval(cluster)
            await self._clock.wait(max(0.0, due - self._clock.now()))
            polled_at = self._clock.now()
            batches = in_batches(list(cluster.watches), DESCRIBE_TASKS_LIMIT)
            answered = await asyncio.gather(*(self._poll(name, cluster, b) for b in batches))
            self._count_failures(name, cluster, all(answered))
        self._clusters.pop(name, None)

    def _count_failures(self, name: str, cluster: _Cluster, answered: bool) -> None:
        if answered and cluster.failures >= _TOLD_AFTER:
            logger.info("Cluster %s: tasks can be watched again", name)
        cluster.failures = 0 if answered else cluster.failures + 1
        if cluster.failures == _TOLD_AFTER:
            logger.warning(
                "Cluster %s: %d tasks cannot be watched just now: %s; they are asked for again "
                "and again",
                name,
                len(cluster.watches),
                cluster.fault,
            )

    async def close(self) -> None:
        """Stop polling; wait for stops that are under way."""
        for cluster in self._clusters.values():
            if cluster.poller is not None:
                cluster.poller.cancel()
        if self._stops:
            await asyncio.wait(self._stops, timeout=_STOP_PATIENCE)

    def _interval(self, cluster: _Cluster) -> float:
        """Seconds until the next poll: as asked for, as the read quota permits, and backed off."""
        wanted = min((watch.interval for watch in cluster.watches.values()), default=0.0)
        calls = -(-self.live() // DESCRIBE_TASKS_LIMIT)
        permitted = calls / self._reads.rate
        late = backoff(cluster.failures, longest=3 * LONGEST_SECONDS) if cluster.failures else 0.0
        return max(wanted, permitted, late)

    async def _poll(self, name: str, cluster: _Cluster, arns: Sequence[str]) -> bool:
        """Ask for up to a hundred tasks; say whether there was an answer."""
        await self._reads.permit()
        asked_at = self._clock.now()
        try:
            answer = await self._api.describe_tasks(name, arns)
            self._hand_out(cluster, arns, answer)
        except Fault as fault:
            cluster.fault = fault
            if fault.kind is Kind.THROTTLED:
                self._reads.throttled(asked_at)
            if self._is_lasting(cluster, fault):
                self._give_up(cluster, arns, fault)
            else:
                logger.debug("Could not describe %d tasks: %s", len(arns), fault)
            return False
        except Exception as exception:  # an answer in no shape that ECS has
            cluster.fault = exception
            logger.exception("Could not describe %d tasks", len(arns))
            return False
        cluster.expired_at = None
        return True

    def _is_lasting(self, cluster: _Cluster, fault: Fault) -> bool:
        """Whether there is no hope that ECS will ever answer."""
        if fault.kind is not Kind.EXPIRED:
            return fault.kind not in PASSING
        if cluster.expired_at is None:
            cluster.expired_at = self._clock.now()
        return self._clock.now() - cluster.expired_at > EXPIRED_SECONDS

    def _hand_out(self, cluster: _Cluster, arns: Sequence[str], answer: Mapping[str, Any]) -> None:
        described = {task["taskArn"]: task for task in answer["tasks"]}
        for arn in arns:
            watch = cluster.watches.get(arn)
            if watch is None:
                continue  # its run has gone in the meantime
            if arn in described:
                watch.missing_since = None
                self._seen(cluster, watch, snapshot(described[arn]))
            else:
                self._missed(cluster, watch)

    def _missed(self, cluster: _Cluster, watch: Watch) -> None:
        now = self._clock.now()
        if watch.missing_since is None:
            watch.missing_since = now
        elif now - watch.missing_since > MISSING_GRACE and not watch.stopping:
            self._end(cluster, watch, _missing(watch))

    def _seen(self, cluster: _Cluster, watch: Watch, task: Snapshot) -> None:
        if watch.stopping:
            return  # its end is told by who stops it
        before, watch.task = watch.task, task
        if task.status == "PROVISIONING" and task.scales_out:
            watch.provisioned_at = self._clock.now()
        if task.final:
            self._end(cluster, watch, task)
            return
        if task.status != before.status:
            watch.mailbox.put(task)
        if not task.started and self._overdue(watch):
            watch.stopping = True
            stop = asyncio.create_task(self._stop_unstarted(cluster, watch))
            self._stops.add(stop)
            stop.add_done_callback(self._stops.discard)

    def _overdue(self, watch: Watch) -> bool:
        now = self._clock.now()
        if watch.task.status == "PROVISIONING" and watch.task.scales_out:
            return now - watch.launched_at > SCALE_OUT_SECONDS
        return now - watch.provisioned_at > watch.start_timeout

    async def _stop_unstarted(self, cluster: _Cluster, watch: Watch) -> None:
        waited = self._clock.now() - watch.launched_at
        what = f"Timed out after {waited:.0f}s while watching task for status RUNNING"
        why = f"it is {watch.task.status} still"
        hint = (
            "look for the cause among the cluster's capacity and the subnets' addresses, or raise "
            "task_start_timeout_seconds"
        )
        arn, name = watch.task.task_arn, watch.cluster
        reason = f"Did not reach RUNNING within {waited:.0f} s"
        try:
            await patiently(
                lambda: self._api.stop_task(name, arn, reason), self._clock, _STOP_PATIENCE
            )
            why += ", and has been stopped"
        except Fault as fault:
            why += f", and could not be stopped ({fault})"
        self._end(cluster, watch, TaskStartTimeout(what, why, hint))

    def _give_up(self, cluster: _Cluster, arns: Sequence[str], fault: Fault) -> None:
        for arn in arns:
            if (watch := cluster.watches.get(arn)) is not None:
                cause = as_error(fault, f"cannot watch task {arn}")
                error = TaskFateUnknown(cause.what, cause.why, cause.hint)
                error.__cause__ = fault
                self._end(cluster, watch, error)

    def _end(self, cluster: _Cluster, watch: Watch, news: News) -> None:
        if cluster.watches.pop(watch.task.task_arn, None) is not None:
            watch.mailbox.put(news)


def _missing(watch: Watch) -> TaskFateUnknown:
    return TaskFateUnknown(
        f"cannot tell what became of task {watch.task.task_arn}",
        f"ECS does not know it any more; it was last seen {watch.task.status}",
        "ECS forgets tasks an hour after they have stopped: look at the flow run's own logs",
    )
