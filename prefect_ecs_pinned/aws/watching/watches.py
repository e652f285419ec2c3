"""The watches of one cluster's tasks, and what an answer of DescribeTasks means for each.

Nothing here calls AWS. Whatever an answer holds, each watch either continues or gets an error: one
place hands the answers out (`Watches.hand_out`), and what an odd entry raises concerns the watches
of that task alone. Trouble ends a watch only when it has lasted.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.events import Measure, TaskEnded, ignore
from prefect_ecs_pinned.aws.watching.descriptions import MISSING, by_arn, reasons
from prefect_ecs_pinned.aws.watching.trouble import (
    PATIENCE,
    Trouble,
    fate_unknown,
    not_stopped,
    trouble_of,
)
from prefect_ecs_pinned.aws.watching.watch import News, Watch, last_news, waits_for_instances
from prefect_ecs_pinned.core.task_state import (
    UNKNOWN_STATUS,
    Snapshot,
    goes_back,
    is_ending,
    outcome_of,
    snapshot,
)
from prefect_ecs_pinned.errors import TaskFailedToStart, TaskFateUnknown

logger = logging.getLogger(__name__)

#: Seconds after a start timeout for which a task is watched that ECS has agreed to stop, and that
#: has not been seen STOPPED: an instance may be cut off. Longer than a stop is repeated
#: (`stopping.STOP_SECONDS`).
STOPPING_SECONDS = 2 * 3600.0


class Watches:
    """The live watches of one cluster; lives on the control loop.

    Args:
        clock: Time.
        on_overdue: Called with a watch whose task has not started in time; it stops the task.
        on_final: Called with the ARN of a task that was seen STOPPED.
        answered: See below.
        measure: Called with the end of each task.

    Attributes:
        answered: A DescribeTasks of these credentials has been answered before.
        start_deadline: The earliest start deadline that the last hand-outs have shown.
    """

    def __init__(
        self,
        clock: Clock,
        on_overdue: Callable[[Watch], object],
        on_final: Callable[[str], object],
        answered: bool = False,
        measure: Measure = ignore,
    ) -> None:
        self._clock = clock
        self._on_overdue = on_overdue
        self._on_final = on_final
        self._measure = measure
        self._by_arn: dict[str, tuple[Watch, ...]] = {}
        self._intervals: Counter[float] = Counter()
        self.start_deadline = math.inf
        self.answered = answered

    def __len__(self) -> int:
        """How many tasks are watched."""
        return len(self._by_arn)

    def arns(self) -> list[str]:
        """ARNs of the tasks that are watched."""
        return list(self._by_arn)

    def __contains__(self, arn: object) -> bool:
        return arn in self._by_arn

    def interval(self) -> float:
        """The shortest interval that a watch asks for, in seconds."""
        return min(self._intervals, default=0.0)

    def add(self, watch: Watch) -> None:
        """Watch a task; several may watch the same."""
        arn = watch.task.task_arn
        self._by_arn[arn] = (*self._by_arn.get(arn, ()), watch)
        self._intervals[watch.interval] += 1

    def remove(self, watch: Watch) -> None:
        """Forget a watch; others of the same task continue."""
        arn = watch.task.task_arn
        watches = self._by_arn.get(arn, ())
        if watch not in watches:
            return
        watch.live = False
        others = tuple(other for other in watches if other is not watch)
        if others:
            self._by_arn[arn] = others
        else:
            del self._by_arn[arn]
        self._intervals[watch.interval] -= 1
        if not self._intervals[watch.interval]:
            del self._intervals[watch.interval]

    def hand_out(self, arns: Sequence[str], answer: Mapping[str, Any]) -> None:
        """Give each watch of these tasks what an answer says of its own.

        Raises:
            ValueError: It is not an answer of DescribeTasks; no watch has been given anything.
        """
        described = by_arn(answer)
        self.answered = True
        refusals: Mapping[str, str] | None = None
        for arn in arns:
            watches = self._by_arn.get(arn)
            if watches is None:
                continue  # its runs have gone in the meantime
            task = described.get(arn)
            if task is None:
                refusals = reasons(answer) if refusals is None else refusals
                for watch in watches:
                    self._absent(watch, refusals.get(arn, MISSING))
                continue
            status = task.get("lastStatus")
            for watch in watches:
                if status == watch.task.status == "RUNNING":
                    watch.trouble = None  # as nearly always: nothing else has changed
                else:
                    self._look(watch, task)

    def not_answered(self, arns: Sequence[str], failure: Exception) -> None:
        """A call that asked for these tasks has failed.

        Args:
            arns: The tasks.
            failure: A `Fault`, or what an answer that cannot be read has raised.
        """
        trouble = trouble_of(failure, self.answered)
        if trouble is None:
            return
        for arn in arns:
            for watch in self._by_arn.get(arn, ()):
                self._in_trouble(watch, trouble, failure)

    def end_all(self, why: str) -> None:
        """End each watch that is left, since nobody asks for its task any more."""
        for watches in list(self._by_arn.values()):
            for watch in watches:
                error = TaskFateUnknown(f"task {watch.task.task_arn} is not watched any more", why)
                if not self._deliver(watch, error):
                    logger.error(
                        "Task %s: its run could not receive this error: %s", *error.args[:2]
                    )
                self.remove(watch)

    def end(self, watch: Watch, news: News) -> None:
        """Deliver the last news of a watch."""
        if watch.live and self._deliver(watch, news):
            self.remove(watch)
            if watch.task.task_arn not in self._by_arn:  # the last of those that watch it
                self._measure(task_ended(watch.cluster, news))

    def _deliver(self, watch: Watch, news: News) -> bool:
        """Put news; whether that succeeded. If not, the next poll tries again."""
        try:
            watch.queue.put(news)
        except Exception as exception:  # noqa: BLE001 - a receiver's own: concerns its run alone
            since = (watch.trouble or {}).get(Trouble.UNDELIVERABLE, self._clock.now())
            watch.trouble = {**(watch.trouble or {}), Trouble.UNDELIVERABLE: since}
            if self._clock.now() - since > PATIENCE[Trouble.UNDELIVERABLE]:
                logger.error(
                    "Task %s: its run does not accept updates: %r", watch.task.task_arn, exception
                )
                self.remove(watch)
            return False
        return True

    def _absent(self, watch: Watch, reason: str) -> None:
        """The answer does not describe the task; ``failures`` may say why."""
        if reason == MISSING:
            self._in_trouble(watch, Trouble.MISSING, None)
        else:
            refused = ValueError(f"DescribeTasks: {reason}")
            self._in_trouble(watch, Trouble.REFUSED, refused, log=True)

    def _look(self, watch: Watch, described: Mapping[str, Any]) -> None:
        try:
            if _nothing_new(watch.task, described):
                self._still(watch)
                return
            task = snapshot(described)
            if task.status == UNKNOWN_STATUS:
                raise ValueError("a task without lastStatus")
            self._seen(watch, task)
        except Exception as exception:  # noqa: BLE001 - concerns this watch alone
            self._in_trouble(watch, Trouble.UNREADABLE, exception, log=True)

    def _seen(self, watch: Watch, task: Snapshot) -> None:
        before = watch.task
        if goes_back(before.status, task.status):
            watch.trouble = None  # an old answer: the task is there
            return
        if task.final:
            self._on_final(task.task_arn)
            self.end(watch, last_news(watch, task))
            return
        if task.status != before.status and not self._deliver(watch, task):
            return
        watch.task = task
        watch.started = watch.started or task.started
        if waits_for_instances(before):
            watch.provisioned_at = self._clock.now()
        self._still(watch)

    def _still(self, watch: Watch) -> None:
        """The task lives, and is what ``watch.task`` says."""
        watch.trouble = None
        if not watch.started and not is_ending(watch.task.status):
            self._look_at_start(watch, self._clock.now())

    def _look_at_start(self, watch: Watch, now: float) -> None:
        if watch.overdue is not None:
            if now - watch.overdue_at > STOPPING_SECONDS:
                self.end(watch, not_stopped(watch.task, None))
        elif now >= watch.start_deadline():
            self._on_overdue(watch)
            watch.overdue, watch.overdue_at = watch.task, now
        else:
            self.expect_start(watch)

    def expect_start(self, watch: Watch) -> None:
        """Have the task looked at when it should have started."""
        self.start_deadline = min(self.start_deadline, watch.start_deadline())

    def _in_trouble(
        self, watch: Watch, trouble: Trouble, cause: Exception | None, log: bool = False
    ) -> None:
        now = self._clock.now()
        if watch.trouble is None:
            watch.trouble = {}
        if log and trouble not in watch.trouble:
            arn, wait = watch.task.task_arn, PATIENCE[trouble]
            logger.warning("Task %s: %s (%s); repeated for %.0f s", arn, trouble.value, cause, wait)
        since = watch.trouble.setdefault(trouble, now)
        if now - since > PATIENCE[trouble]:
            self.end(watch, fate_unknown(watch.task, trouble, cause))


def task_ended(cluster: str, news: News) -> TaskEnded:
    """The last news of a task, for metrics."""
    if isinstance(news, Snapshot):
        outcome = outcome_of(news)
        error = "" if outcome == "completed" else news.stop_code
        return TaskEnded(news.cluster_arn or cluster, outcome, error, news.stopped_at)
    outcome = "not_started" if isinstance(news, TaskFailedToStart) else "unknown"
    return TaskEnded(cluster, outcome, type(news).__name__)


def _nothing_new(before: Snapshot, described: Mapping[str, Any]) -> bool:
    """Whether a snapshot would not differ in what is asked of a living task."""
    return (
        described.get("lastStatus") == before.status
        and (before.ran or described.get("startedAt") is None)
        and (before.scales_out or described.get("capacityProviderName") is None)
    )
