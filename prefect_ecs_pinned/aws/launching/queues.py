"""The queues of `launching`: one per quota bucket, in it a group for each kind of request.

Requests that ask for the same form a group, first in, first out. Groups without a shortage are
served in the order of arrival of their heads. A refusal for lack of room opens a breaker: it keeps
back the groups that the shortage covers, and nobody else. The breakers' heads try again in turn, at
`PROBE_SHARE` of the pace, and at once when a task has ended that could have made room.

Time that a group is kept back by a fresh refusal is counted once for all of the group
(`Group.held`), so a submission's own clock is the difference to when it joined.

Everything here belongs to the control loop.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from prefect_ecs_pinned.aws.calls.pacing import RUN_TASK, Pacer
from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.launching.submission import Submission
from prefect_ecs_pinned.core.breakers import RESERVED_SECONDS, Breaker, Breakers
from prefect_ecs_pinned.core.capacity import Demand, Shortage

logger = logging.getLogger(__name__)

#: What a task asked for, and the ARN of its container instance, "" as long as there is none.
LiveKey = tuple[Demand, str]

#: The most RunTask calls under way at once: 100 a second at 300 ms, with room to spare.
MOST_CALLS = 48

#: Latency of RunTask in seconds that is assumed before one has been measured.
_ASSUMED_LATENCY = 0.3

#: Weight of the newest latency in the running mean, when it is longer and when it is shorter. The
#: first calls of a process take long for reasons of its own; what lasts shows in a few seconds.
_LONGER_WEIGHT = 0.01
_SHORTER_WEIGHT = 0.1

#: Room above pace times latency, and the step in which calls under way become more, so that a
#: latency that varies a little adds no threads.
_ROOM = 1.1
_STEP = 8

#: Calls under way that are allowed at any pace: enough for 20 a second at 800 ms, and for as many
#: threads with two hundred runs as with a thousand.
_ALWAYS_ALLOWED = 16

#: Longest latency in seconds that adds calls. A machine that is short of CPU measures longer ones,
#: and more threads would only make it shorter.
_LONGEST_LATENCY = 1.0

#: Seconds between the tries of one breaker, as long as they are within `PROBE_SHARE` of the pace.
PROBE_SECONDS = 2.5
PROBE_SHARE = 0.1

#: Seconds between two looks at clocks and breakers.
TICK_SECONDS = 0.5

#: A clock pauses for at most this multiple of the budget, or for so many seconds if that is more.
_MOST_PAUSE_BUDGETS = 4.0
_MOST_PAUSE_SECONDS = 3600.0


@dataclass(eq=False)
class Group:
    """Submissions that ask for the same.

    Attributes:
        demand: What they ask for.
        waiting: Those that wait for their turn, by arrival.
        members: How many there are, those included that are being called.
        held: Seconds for which fresh refusals have kept the group back.
        paused: Seconds for which they have, while tasks of ours could make room by their end.
        refusals: How many refusals covered it.
        offered: The head for which it is among the open groups; None: it is not.
    """

    demand: Demand
    waiting: list[Submission] = field(default_factory=list)
    members: dict[Submission, tuple[float, float, int]] = field(default_factory=dict)
    held: float = 0.0
    paused: float = 0.0
    refusals: int = 0
    offered: int | None = None

    def head(self) -> Submission | None:
        """The first that waits for its turn; those that do not any more are dropped."""
        while self.waiting:
            first = self.waiting[0]
            if first.waiting is not None and not first.waiting.done():
                return first
            heapq.heappop(self.waiting)
        return None

    def is_spent(self, submission: Submission) -> bool:
        """Whether a submission's clock has run out."""
        held, paused, _ = self.members[submission]
        longest = max(_MOST_PAUSE_BUDGETS * submission.budget, _MOST_PAUSE_SECONDS)
        spent = self.held - held + max(0.0, self.paused - paused - longest)
        return self.held + self.paused > held + paused and spent >= submission.budget


class QuotaQueue:
    """The queue of one quota bucket, its pacer, and the calls under way."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.pacer = Pacer(RUN_TASK, clock)
        self.calls = 0
        self.launched = 0
        self._clock = clock
        self._changed = asyncio.Event()
        self._latency = _ASSUMED_LATENCY
        self._groups: dict[Demand, Group] = {}
        #: Groups that no breaker keeps back, by the arrival of their heads.
        self._open: list[tuple[int, int, Group]] = []
        #: Submissions whose clock has run out, by arrival: each is owed one call.
        self._last: list[Submission] = []
        #: All that wait in `turn`.
        self._asking: set[Submission] = set()
        self._breakers = Breakers()
        #: How many tasks have not ended.
        self._live: Counter[LiveKey] = Counter()
        #: Whether the last permit went through a breaker.
        self._probed = False
        self._ticked_at = clock.now()
        self._dispatcher: asyncio.Task[None] | None = None

    # -- for a submission ------------------------------------------------------------------------

    def join(self, submission: Submission, demand: Demand) -> Group:
        """Put a submission into the group of its kind; its clock starts with that of the group."""
        group = self._groups.setdefault(demand, Group(demand))
        held, paused, refusals = submission.spent
        group.members[submission] = (
            group.held - held,
            group.paused - paused,
            group.refusals - refusals,
        )
        submission.group = group
        return group

    def leave(self, submission: Submission) -> None:
        """It is done, or asks for something else from now on."""
        group, submission.group = submission.group, None
        if group is None:
            return
        held, paused, refusals = group.members.pop(submission)
        submission.spent = (group.held - held, group.paused - paused, group.refusals - refusals)
        if not group.members:
            self._groups.pop(group.demand, None)

    async def turn(self, submission: Submission) -> Sequence[Breaker] | None:
        """Wait for the turn to make one call; `returned` has to follow.

        Returns:
            The breakers through which it is a try; None when it was withdrawn instead.
        """
        assert submission.group is not None
        future: asyncio.Future[Sequence[Breaker] | None] = (
            asyncio.get_running_loop().create_future()
        )
        submission.waiting = future
        if submission.last_try:
            heapq.heappush(self._last, submission)
        else:
            heapq.heappush(submission.group.waiting, submission)
            self._offer(submission.group)
        self._asking.add(submission)
        self._wake()
        try:
            return await future
        except BaseException:
            if (
                future.done()
                and not future.cancelled()
                and (breakers := future.result()) is not None
            ):
                self.returned(breakers)
            raise
        finally:
            self._asking.discard(submission)

    def returned(self, breakers: Sequence[Breaker]) -> None:
        """A call has returned, whatever it brought."""
        self.calls -= 1
        for breaker in breakers:
            breaker.probing -= 1
        self._changed.set()

    def accepted(
        self, submission: Submission, breakers: Sequence[Breaker], instance: str
    ) -> LiveKey:
        """A call has started a task; says under which key it is among the live ones.

        Args:
            submission: Which.
            breakers: Those through which it was a probe.
            instance: ARN of its container instance, if it has one.
        """
        assert submission.group is not None
        demand = submission.group.demand
        if self._breakers.record_success(demand, breakers, self._clock.now()):
            self._offer_all()
        self.launched += 1
        self._live[demand, instance] += 1  # last: whoever gets no key cannot take it back
        return demand, instance

    def answered_in(self, seconds: float) -> None:
        """Take the latency of a call that was accepted into account."""
        weight = _LONGER_WEIGHT if seconds > self._latency else _SHORTER_WEIGHT
        self._latency += (seconds - self._latency) * weight

    def refused(self, submission: Submission, shortage: Shortage, message: str) -> None:
        """Keep back those that a refusal for lack of room covers."""
        now = self._clock.now()
        self._tick(now)
        if self._breakers.record_failure(shortage, now, self._interval()):
            logger.warning("%s: %s; waiting for capacity", submission.what(), message)
        for group in self._groups.values():
            group.refusals += shortage.covers(group.demand)

    def held_back(self, submission: Submission) -> int:
        """How many refusals of other requests a submission has waited for."""
        if submission.group is None:
            return 0
        _, _, refusals = submission.group.members[submission]
        return max(0, submission.group.refusals - refusals - submission.refusals)

    def stopped(self, key: LiveKey) -> None:
        """A task has ended: where it could have made room, there may be some."""
        try:
            self._tick(self._clock.now())
        finally:  # whatever is raised: no count stays too high
            self._live[key] -= 1
            if self._live[key] <= 0:
                del self._live[key]
        self._breakers.ended(key[0])
        self._changed.set()

    def snapshot(self) -> dict[str, float]:
        """Numbers of the moment."""
        return {
            "queued": sum(s.waiting is not None and not s.waiting.done() for s in self._waiting()),
            "calling": self.calls,
            "launched": self.launched,
            "live": sum(self._live.values()),
            "rate": self.pacer.rate,
            "throttles": self.pacer.throttles,
        }

    # -- the dispatcher --------------------------------------------------------------------------

    def _wake(self) -> None:
        self._changed.set()
        if self._dispatcher is None or self._dispatcher.done():
            self._dispatcher = asyncio.create_task(self._dispatch())

    async def _dispatch(self) -> None:
        """Serve the queue; whatever is raised there, nobody is left waiting."""
        try:
            await self._serve()
        except Exception as error:
            logger.exception("The queue of %s could not be served", self.name)
            for submission in self._asking:  # whatever the queue has lost
                if submission.waiting is not None and not submission.waiting.done():
                    submission.waiting.set_exception(error)

    async def _serve(self) -> None:
        """Give permits to those whose turn it is, until nobody waits."""
        self._ticked_at = self._clock.now()
        while self._is_waited():
            self._tick(self._clock.now())
            if self.calls >= self._most_calls():
                await self._until_changed()
                continue
            await self.pacer.permit()
            now, interval = self._clock.now(), self._interval()
            if (chosen := self._next()) is None:
                self.pacer.give_back()
                await self._until_changed()
                continue
            submission, breakers = chosen
            assert submission.waiting is not None
            probes = [breaker for breaker in breakers if not breaker.uses_room(now, interval)]
            self.calls += 1
            submission.waiting.set_result(probes)

    def _waiting(self) -> list[Submission]:
        """Those that wait for their turn, and some that do not any more."""
        return [s for group in self._groups.values() for s in group.waiting] + self._last

    def _is_waited(self) -> bool:
        return bool(self._last) or any(group.head() for group in self._groups.values())

    async def _until_changed(self) -> None:
        """Wait for a call to return, a submission, the end of a task, or the next probe."""
        self._changed.clear()
        if not self._breakers:
            await self._changed.wait()
            return
        changed = asyncio.create_task(self._changed.wait())
        tick = asyncio.create_task(self._clock.wait(TICK_SECONDS))
        try:
            await asyncio.wait((changed, tick), return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            tick.cancel()

    def _most_calls(self) -> int:
        latency = min(self._latency, _LONGEST_LATENCY)
        steps = math.ceil(self.pacer.rate * latency * _ROOM / _STEP)
        return min(MOST_CALLS, max(_ALWAYS_ALLOWED, steps * _STEP))

    def _interval(self) -> float:
        """Seconds between the tries of one breaker: all together have a share of the pace."""
        return max(PROBE_SECONDS, len(self._breakers) / (PROBE_SHARE * self.pacer.rate))

    # -- whose turn it is ------------------------------------------------------------------------

    def _next(self) -> tuple[Submission, Sequence[Breaker]] | None:
        while self._last:
            submission = heapq.heappop(self._last)
            if submission.waiting is not None and not submission.waiting.done():
                return submission, []
        for choose in (
            (self._first_open, self._probe) if self._probed else (self._probe, self._first_open)
        ):
            if (chosen := choose()) is not None:
                self._probed = bool(chosen[1])
                return chosen
        return None

    def _offer(self, group: Group) -> None:
        """See to it that a group is looked at when it is the turn of its head."""
        head = group.head()
        if head is not None and (group.offered is None or head.number < group.offered):
            group.offered = head.number
            heapq.heappush(self._open, (head.number, id(group), group))

    def _first_open(self) -> tuple[Submission, Sequence[Breaker]] | None:
        while self._open:
            number, _, group = heapq.heappop(self._open)
            if number != group.offered:
                continue  # it was offered again for an earlier head
            group.offered = None
            head = group.head()
            if head is None or self._breakers.keeps_back(group.demand):
                continue  # it is offered again by who joins it, or when a breaker goes
            if head.number > number:
                self._offer(group)
                continue
            heapq.heappop(group.waiting)
            self._offer(group)
            return head, []
        return None

    def _probe(self) -> tuple[Submission, Sequence[Breaker]] | None:
        """The first submission of the breaker that has been due for longest."""
        now = self._clock.now()
        for breaker in self._breakers.due(now):
            for head in self._kept_back_by(breaker):
                assert head.group is not None
                breakers = self._breakers.nearest(head.group.demand)
                reserved = self._breakers.is_reserved(head.group.demand)
                if not reserved and all(other.allows(now) for other in breakers):
                    heapq.heappop(head.group.waiting)
                    return head, breakers
        return None

    def _kept_back_by(self, breaker: Breaker) -> list[Submission]:
        """The heads of the groups that a breaker keeps back, by arrival."""
        groups = [g for g in self._groups.values() if breaker in self._breakers.nearest(g.demand)]
        return sorted(head for group in groups if (head := group.head()) is not None)

    # -- clocks ----------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        """Let the clocks of groups run on, end those that are spent, and look at the breakers."""
        elapsed, self._ticked_at = now - self._ticked_at, now
        if not self._breakers:
            return
        fresh = 2 * self._interval()
        live = [(demand, instance, number) for (demand, instance), number in self._live.items()]
        for group in self._groups.values():
            breakers = self._breakers.fresh(group.demand, now - fresh)
            if not breakers:
                continue
            waits = all(breaker.shortage.ends_with(group.demand, live) for breaker in breakers)
            if waits or any(breaker.reserved_until for breaker in breakers):
                group.paused += elapsed
            else:
                group.held += elapsed
            self._end_clocks(group)
        for breaker in self._breakers:
            self._look_at(breaker, now, fresh, live)

    def _end_clocks(self, group: Group) -> None:
        spent = [s for s in group.waiting if s in group.members and group.is_spent(s)]
        for submission in spent:
            submission.last_try = True
            heapq.heappush(self._last, submission)
        if spent:
            group.waiting = [s for s in group.waiting if not s.last_try]
            heapq.heapify(group.waiting)

    def _look_at(
        self, breaker: Breaker, now: float, fresh: float, live: list[tuple[Demand, str, int]]
    ) -> None:
        """Close a breaker that keeps nobody back; reserve its scope, or end that."""
        heads = self._kept_back_by(breaker)
        if breaker.reserved_until:
            launched = breaker.reserved_for.outcome.done()
            if launched or now >= breaker.reserved_until:
                self._breakers.release(breaker, now, in_vain=not launched)
                self._offer_all()
        elif not heads and not breaker.probing and now - breaker.refused_at > fresh:
            self._breakers.remove(breaker)
            self._offer_all()
        elif heads and breaker.overtaken_since is not None:
            head, overtaken = heads[0], now - breaker.overtaken_since
            assert head.group is not None
            could_fit = breaker.shortage.ends_with(head.group.demand, live)
            if (
                overtaken >= head.budget
                and could_fit
                and self._breakers.reserve(breaker, head, now)
            ):
                logger.warning(
                    "%s: smaller launches have overtaken it for %.0f s; they wait for up to %.0f s",
                    head.what(),
                    overtaken,
                    RESERVED_SECONDS,
                )

    def _offer_all(self) -> None:
        for group in self._groups.values():
            self._offer(group)
