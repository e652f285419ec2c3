"""A watch: one run's interest in one task, and what the end of a task is to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from prefect_ecs_pinned.aws.watching.trouble import Trouble
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.errors import PinnedECSError, TaskStartTimeout

#: Seconds that a task may wait in PROVISIONING for EC2 instances to be added by a capacity
#: provider, if ``start_timeout`` is no longer. Scaling out takes 2 to 5 minutes.
SCALE_OUT_SECONDS = 900.0

#: News of a watch: a change of status, or the error that ends it.
News = Snapshot | PinnedECSError


class Receiver(Protocol):
    """Where the news of a watch go (`loop.ThreadsafeQueue`)."""

    def put(self, item: News, /) -> object:
        """Take one; it does not block."""


@dataclass(eq=False, slots=True)
class Watch:
    """One run's interest in one task.

    Attributes:
        cluster: The cluster that it is asked of.
        task: The newest snapshot.
        interval: Seconds between polls that this run asks for.
        start_timeout: Seconds from launch to RUNNING.
        launched_at: When RunTask succeeded.
        provisioned_at: When the task was first seen to have left PROVISIONING; its launch, unless
            it had to wait for instances.
        queue: Where its run receives changes.
        started: The task was seen RUNNING, or to have run.
        overdue: The task when it was found not to have started in time; it is stopped since.
        overdue_at: When that was.
        live: It has neither ended nor been forgotten.
        trouble: What keeps the task from being seen, and since when; None when it was seen.
    """

    cluster: str
    task: Snapshot
    interval: float
    start_timeout: float
    launched_at: float
    provisioned_at: float
    queue: Receiver
    started: bool = False
    overdue: Snapshot | None = None
    overdue_at: float = 0.0
    live: bool = True
    trouble: dict[Trouble, float] | None = None

    def start_deadline(self) -> float:
        """When the task has to run at the latest, as far as is known now."""
        if waits_for_instances(self.task):
            return self.launched_at + max(SCALE_OUT_SECONDS, self.start_timeout)
        return self.provisioned_at + self.start_timeout


def waits_for_instances(task: Snapshot) -> bool:
    """Whether it may be that a capacity provider adds instances for the task."""
    return task.status == "PROVISIONING" and task.scales_out


def last_news(watch: Watch, end: Snapshot) -> News:
    """The end of a task; a timeout, if it was stopped for not having started in time."""
    if watch.overdue is None or end.ran or end.stop_code not in ("", "UserInitiated"):
        return end
    how = "was stopped" if end.stop_code else "has ended"
    waited = watch.overdue_at - watch.launched_at
    reasons = "; ".join(part for part in (end.container_reason, *end.other_exits) if part)
    return TaskStartTimeout(
        f"Timed out after {waited:.0f}s while watching task for status RUNNING",
        f"it is {watch.overdue.status} still, and {how}" + (f" ({reasons})" if reasons else ""),
        _start_hint(watch, watch.overdue),
    )


def _start_hint(watch: Watch, overdue: Snapshot) -> str:
    if not waits_for_instances(overdue):
        return (
            "check the cluster's capacity and the subnets' free addresses, or raise "
            "task_start_timeout_seconds"
        )
    bound = max(SCALE_OUT_SECONDS, watch.start_timeout)
    more = "" if watch.start_timeout > SCALE_OUT_SECONDS else f", above {SCALE_OUT_SECONDS:.0f}"
    return (
        f"no container instance had room for it within {bound:.0f} s: check the maximum size of "
        "the capacity provider's Auto Scaling group, and the size of its instances, or raise "
        f"task_start_timeout_seconds{more}"
    )
