"""The queue of one quota bucket: who waits, how fast they call, and how many at the same time.

Whose turn it is decides `core.queueing`. Everything here belongs to the control loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from prefect_ecs_pinned.aws.calls.pacing import RUN_TASK, Concurrency, Pacer
from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.launching.submission import Submission
from prefect_ecs_pinned.aws.loop.control_loop import first_of
from prefect_ecs_pinned.core.breakers import RESERVED_SECONDS, Breaker
from prefect_ecs_pinned.core.capacity import Shortage
from prefect_ecs_pinned.core.queueing import LiveKey, Queue

logger = logging.getLogger(__name__)

#: Seconds between two looks at clocks and breakers.
TICK_SECONDS = 0.5


class QuotaQueue:
    """The queue of one quota bucket, its pacer, and the calls under way."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.pacer = Pacer(RUN_TASK, clock)
        self.concurrency = Concurrency()
        self.calls = 0
        self.launched = 0
        self._clock = clock
        self.line: Queue[Submission] = Queue(clock.now())
        #: All that wait in `turn`.
        self._asking: set[Submission] = set()
        self._changed = asyncio.Event()
        self._dispatcher: asyncio.Task[None] | None = None

    # -- for a submission ------------------------------------------------------------------------

    async def turn(self, submission: Submission) -> Sequence[Breaker] | None:
        """Wait for the turn to make one call; `returned` has to follow.

        Returns:
            The breakers through which it is a probe; None when it was withdrawn instead.
        """
        if submission.withdrawn and not submission.uncertain:
            return None  # while it paused, or before its first turn
        future: asyncio.Future[Sequence[Breaker] | None]
        submission.waiting = future = asyncio.get_running_loop().create_future()
        self.line.wait(submission)
        self._asking.add(submission)
        self._changed.set()
        if self._dispatcher is None or self._dispatcher.done():
            self._dispatcher = asyncio.create_task(self._dispatch())
        try:
            return await future
        except BaseException:
            served = future.done() and not future.cancelled() and future.exception() is None
            if served and (breakers := future.result()) is not None:
                self.returned(breakers)
            raise
        finally:
            self._asking.discard(submission)

    def returned(self, breakers: Sequence[Breaker]) -> None:
        """A call has returned, whatever it brought."""
        self.calls -= 1
        self.line.returned(breakers)
        self._changed.set()

    def accepted(self, submission: Submission, instance: str) -> LiveKey:
        """A call has started a task; see `Queue.launched`."""
        key = self.line.launched(submission, submission.breakers, instance, self._clock.now())
        self.launched += 1
        return key

    def refused(self, submission: Submission, shortage: Shortage, message: str) -> None:
        """Keep back those that a refusal for lack of room covers."""
        now = self._clock.now()
        self._tick(now)
        if self.line.refused(shortage, submission.breakers, now, self.pacer.rate):
            logger.warning("%s: %s; waiting for capacity", submission.what(), message)

    def stopped(self, key: LiveKey) -> None:
        """A task has ended: where it could have made room, there may be some."""
        try:
            self._tick(self._clock.now())
        finally:  # whatever is raised: no count stays too high
            self.line.count_ended(key)
        self.line.breakers.ended(key[0])
        self._changed.set()

    def snapshot(self) -> dict[str, float]:
        """Numbers of the moment; may be called on any thread."""
        asking = list(self._asking)
        queued_at = min((submission.queued_at for submission in asking), default=None)
        return {
            "queued": sum(submission.waits() for submission in asking),
            "oldest": 0.0 if queued_at is None else self._clock.now() - queued_at,
            "calling": self.calls,
            "launched": self.launched,
            "live": self.line.live(),
            "rate": self.pacer.rate,
            "throttles": self.pacer.throttles,
        }

    # -- the dispatcher --------------------------------------------------------------------------

    async def _dispatch(self) -> None:
        """Serve the queue; whatever is raised there, nobody is left waiting."""
        try:
            await self._serve()
        except Exception as error:
            logger.exception("The queue of %s could not be processed", self.name)
            for submission in self._asking:  # whatever the queue has lost
                if submission.waiting is not None and not submission.waiting.done():
                    submission.waiting.set_exception(error)

    async def _serve(self) -> None:
        """Give permits to those whose turn it is, until nobody waits."""
        self.line.resume(self._clock.now())
        while self.line.is_waited():
            self._tick(self._clock.now())
            if self.calls >= self.concurrency.most(self.pacer.rate):
                await self._until_changed()
                continue
            await self.pacer.permit()
            if (turn := self.line.next(self._clock.now(), self.pacer.rate)) is None:
                self.pacer.give_back()
                await self._until_changed()
                continue
            submission, breakers = turn
            assert submission.waiting is not None
            self.calls += 1
            submission.waiting.set_result(breakers)

    async def _until_changed(self) -> None:
        """Wait for a call to return, a submission, the end of a task, or the next probe."""
        self._changed.clear()
        if self.line.breakers:
            await first_of(self._changed.wait(), self._clock.wait(TICK_SECONDS))
        else:
            await self._changed.wait()

    def _tick(self, now: float) -> None:
        for submission, overtaken in self.line.tick(now, self.pacer.rate):
            logger.warning(
                "%s: smaller launches have overtaken it for %.0f s; they wait for up to %.0f s",
                submission.what(),
                overtaken,
                RESERVED_SECONDS,
            )
