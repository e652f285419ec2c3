"""One cluster's polls: when, and what becomes of calls that fail.

The shortest interval among the cluster's watches, counted from the beginning of that watch, sets
the next poll. It is earlier for a start deadline. It is later for the read quota, which clusters
share fairly, and after polls without an answer.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Iterable, Sequence

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.calls.pacing import Pacer
from prefect_ecs_pinned.aws.calls.ports import Clock, WatchApi
from prefect_ecs_pinned.aws.calls.retrying import LONGEST_SECONDS, backoff
from prefect_ecs_pinned.aws.loop.bounded import in_batches
from prefect_ecs_pinned.aws.watching.isolating import isolate, may_concern_one
from prefect_ecs_pinned.aws.watching.trouble import trouble_of
from prefect_ecs_pinned.aws.watching.watch import Watch
from prefect_ecs_pinned.aws.watching.watches import Watches

logger = logging.getLogger(__name__)

#: API_DescribeTasks, "tasks": "A list of up to 100 task IDs or full ARN entries."
DESCRIBE_TASKS_LIMIT = 100

#: Polls in a row without an answer after which that is logged, once. Immediately, if it may last.
_LOGGED_AFTER = 5

#: Refused batches that are taken apart in one poll, if others are answered.
_MOST_ISOLATED = 4

#: Tasks that are refused on their own, and asked for alone in each poll.
_MOST_ALONE = 8

#: Seconds between two polls that a start deadline does not shorten.
_DEADLINE_GAP = 5.0


def fair_share(demands: Iterable[float], rate: float) -> float:
    """The most that one of many may take, so that together they keep to a rate (max-min fairness).

    Those that ask for less than an equal share get all they ask for, and the others share what is
    left equally: a cluster with ten thousand tasks does not slow down one with ten.

    Returns:
        Calls a second; infinite when all demands together are within the rate.
    """
    wanted = sorted(demands)
    left = rate
    for place, demand in enumerate(wanted):
        share = left / (len(wanted) - place)
        if demand > share:
            return share
        left -= demand
    return math.inf


class Poller:
    """Polls one cluster for as long as it has watches; lives on the control loop.

    Args:
        name: The cluster, by name or ARN.
        watches: Its watches.
        api: The calls.
        reads: Pace of DescribeTasks, which all clusters share.
        clock: Time.
        share: See `fair_share`; of the moment.
    """

    def __init__(
        self,
        name: str,
        watches: Watches,
        api: WatchApi,
        reads: Pacer,
        clock: Clock,
        share: Callable[[], float],
    ) -> None:
        self.name = name
        self.watches = watches
        self._api = api
        self._reads = reads
        self._clock = clock
        self._share = share
        #: One batch at a time asks for a permit, so that clusters get permits in turn.
        self._turn = asyncio.Lock()
        self._polled_at = clock.now()
        self._joined_due = math.inf
        self._wanted = -math.inf
        self._woken: asyncio.Future[None] | None = None
        self._alone: dict[str, None] = {}  # tasks that are refused on their own, next one first
        self._failures = 0
        self._late = 0.0
        self._logged = False

    def add(self, watch: Watch) -> None:
        """Take a watch, and poll earlier if it asks for that."""
        self.watches.add(watch)
        due = self._clock.now() + watch.interval
        self._joined_due = min(self._joined_due, due)
        if not watch.started:
            self.watches.expect_start(watch)
        if min(due, self.watches.start_deadline) < self._wanted:
            self.wake()

    def wake(self) -> None:
        """Plan again."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def demand(self) -> float:
        """Calls a second that its intervals ask for."""
        interval = self.watches.interval()
        return self._calls() / interval if interval > 0 else math.inf

    async def run(self) -> None:
        """Poll until there is nothing to watch."""
        while self.watches:
            await self._until_due()
            if not self.watches:
                return
            self._polled_at = self._clock.now()
            self._joined_due = self.watches.start_deadline = math.inf
            try:
                await self._poll()
            except Exception as exception:  # whatever it is, it is not a task's fault
                logger.exception("Cluster %s: a poll has failed", self.name)
                self.watches.not_answered(self.watches.arns(), exception)
                self._count([exception])

    def _calls(self) -> int:
        return -(-len(self.watches) // DESCRIBE_TASKS_LIMIT)

    def _due(self) -> float:
        """When the next poll has to be."""
        interval = self.watches.interval()
        deadline = max(self.watches.start_deadline, self._polled_at + min(interval, _DEADLINE_GAP))
        self._wanted = min(self._polled_at + interval, self._joined_due, deadline)
        permitted = self._calls() / min(self._share(), self._reads.rate)
        return max(self._wanted, self._polled_at + max(permitted, self._late))

    async def _until_due(self) -> None:
        while self.watches and (pause := self._due() - self._clock.now()) > 0:
            self._woken = asyncio.get_running_loop().create_future()
            waiting = asyncio.ensure_future(self._clock.wait(pause))
            try:
                await asyncio.wait((waiting, self._woken), return_when=asyncio.FIRST_COMPLETED)
                if waiting.done():
                    break  # whatever clocks round
            finally:
                waiting.cancel()
        self._wanted = -math.inf  # what joins during the poll is planned for after it

    async def _poll(self) -> None:
        self._alone = {arn: None for arn in self._alone if arn in self.watches}
        alone = list(self._alone)[:_MOST_ALONE]
        others = [arn for arn in self.watches.arns() if arn not in self._alone]
        batches: list[Sequence[str]] = [*in_batches(others, DESCRIBE_TASKS_LIMIT)]
        failures = await asyncio.gather(*(self._ask(b) for b in (*batches, *([a] for a in alone))))
        for arn, failure in zip(alone, failures[len(batches) :], strict=True):
            self._set_apart(arn, failure)
        silent = [(b, f) for b, f in zip(batches, failures, strict=False) if f is not None]
        self._count(await self._isolate(silent, answered=None in failures))

    async def _isolate(
        self, silent: list[tuple[Sequence[str], Exception]], answered: bool
    ) -> list[Exception]:
        """Set tasks apart that keep batches from being answered; return the failures that stay."""
        random.shuffle(silent)
        lasting = self._failures >= _LOGGED_AFTER
        staying = []
        tries = 0
        for batch, failure in silent:
            one = may_concern_one(failure, lasting)
            parts: list[tuple[Sequence[str], Exception]] = [(batch, failure)]
            if one and len(batch) > 1 and tries < (_MOST_ISOLATED if answered else 1):
                tries += 1
                found = await isolate(batch, failure, self._ask, lasting)
                answered = answered or found.answered
                if found.answered:
                    parts = found.open
                    for arn, why in found.alone.items():
                        self._set_apart(arn, why)
            elif one and len(batch) == 1 and answered:
                parts = []
                self._set_apart(batch[0], failure)
            for part, why in parts:
                self.watches.not_answered(part, why)
            if not (one and answered):
                staying.append(failure)
        return staying

    def _set_apart(self, arn: str, failure: Exception | None) -> None:
        """Ask for a task alone from now on; with the others again, once it is answered."""
        known = arn in self._alone
        self._alone.pop(arn, None)
        if failure is None:
            return
        self._alone[arn] = None
        self.watches.not_answered([arn], failure)
        if not known:
            logger.warning("Task %s cannot be watched at the moment: %s", arn, failure)

    async def _ask(self, arns: Sequence[str]) -> Exception | None:
        """Ask for up to a hundred tasks; None when they were answered, else why not."""
        async with self._turn:
            await self._reads.permit()
        asked_at = self._clock.now()
        try:
            self.watches.hand_out(arns, await self._api.describe_tasks(self.name, arns))
        except Fault as fault:
            if fault.kind is Kind.THROTTLED:
                self._reads.throttled(asked_at)
            return fault
        except Exception as exception:  # an answer in no shape that ECS has
            logger.debug("Could not describe %d tasks", len(arns), exc_info=True)
            return exception
        return None

    def _count(self, failures: list[Exception]) -> None:
        """Slow down after a poll without an answer; log that once, and once that it is over."""
        if not failures:
            if self._logged:
                logger.info("Cluster %s: tasks can be watched again", self.name)
            self._failures, self._late, self._logged = 0, 0.0, False
            return
        self._late = backoff(self._failures + 1, longest=3 * LONGEST_SECONDS)
        self._failures += 1
        may_last = trouble_of(failures[0], self.watches.answered) is not None
        if not self._logged and (may_last or self._failures >= _LOGGED_AFTER):
            self._logged = True
            text = "Cluster %s: %d tasks cannot be watched at the moment: %s; this is repeated"
            logger.warning(text, self.name, len(self.watches), failures[0])
