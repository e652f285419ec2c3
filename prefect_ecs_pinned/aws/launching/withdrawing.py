"""Submissions that are no longer needed: never launched, or their tasks stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from prefect_ecs_pinned.aws.launching.outcomes import MayRun, NotStopped
from prefect_ecs_pinned.aws.launching.submission import Submission
from prefect_ecs_pinned.aws.stopping import STOP_SECONDS, Stopping
from prefect_ecs_pinned.core.task_state import Snapshot

logger = logging.getLogger(__name__)

#: StopTask's reason for a task whose flow run was withdrawn while it was being launched.
WITHDRAWN_REASON = "The flow run was cancelled while its task was being launched"


class Withdrawing:
    """Withdraws submissions; lives on the control loop.

    Args:
        stopping: Stops tasks.
        stopped: Called with a submission whose task ends, so that it is counted no more.
    """

    def __init__(self, stopping: Stopping, stopped: Callable[[Submission], None]) -> None:
        self._stopping = stopping
        self._stopped = stopped
        #: Kept from the garbage collector: withdrawals, and stops that are waited for.
        self._background: set[asyncio.Task[Any]] = set()

    def withdraw(self, submission: Submission) -> asyncio.Task[Snapshot | None]:
        """See `Launching.withdraw`."""
        submission.withdraw()
        return self._keep(asyncio.create_task(self._withdrawn(submission)))

    async def stop(self, submission: Submission, task: Snapshot) -> bool:
        """Stop a task that nobody needs; whether that is certain. If not, it is tried again."""
        result = await self._stopping.stop(task.cluster_arn, task.task_arn, WITHDRAWN_REASON)
        if not result.certain:
            logger.error(
                "Could not stop task %s, which is no longer needed: %s", task.task_arn, result.fault
            )
            self._keep(asyncio.create_task(self._stop_later(submission, task)))
            return False
        submission.stopped = task
        self._stopped(submission)
        return True

    async def _stop_later(self, submission: Submission, task: Snapshot) -> None:
        """Count a task no more when its repeated stop has ended: perhaps nobody watches it."""
        await self._stopping.stop(
            task.cluster_arn,
            task.task_arn,
            WITHDRAWN_REASON,
            patience=2 * STOP_SECONDS,
            though_refused=True,
        )
        self._stopped(submission)

    async def _withdrawn(self, submission: Submission) -> Snapshot | None:
        await asyncio.wait((submission.outcome,))
        if submission.outcome.cancelled():
            return None
        error = submission.outcome.exception()
        if isinstance(error, MayRun):
            raise error
        if error is not None:
            return error.task if isinstance(error, NotStopped) else None
        task = submission.outcome.result()  # it was launched, and its caller has not taken it
        return None if await self.stop(submission, task) else task

    def _keep(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(seen)
        return task


def seen(done: asyncio.Future[Any]) -> None:
    """Mark an outcome's exception as seen: its caller may be gone."""
    if not done.cancelled():
        done.exception()
