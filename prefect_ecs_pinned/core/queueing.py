"""Whose turn it is to call, of those that wait for one quota.

Requests that ask for the same form a group, first in, first out. Groups without a shortage are
served in the order of arrival of their heads. A refusal for lack of room opens a breaker: it keeps
back the groups that the shortage covers, and nobody else. The breakers' heads try again in turn,
and immediately when a task has ended that could have made room.

The time for which a fresh refusal holds back a group is counted once for all of the group
(`Group.held`). So a request's own clock is the difference since it joined.

Pure state: its owner passes the time.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from prefect_ecs_pinned.core.breakers import Breaker, Breakers
from prefect_ecs_pinned.core.capacity import Demand, Shortage

#: What a task asked for, and the ARN of its container instance, "" as long as there is none.
LiveKey = tuple[Demand, str]

#: What a clock has counted: seconds kept back, seconds paused, refusals that covered the request.
Spent = tuple[float, float, int]

#: A clock pauses for at most this multiple of the budget, or for so many seconds if that is more.
_MOST_PAUSE_BUDGETS = 4.0
_MOST_PAUSE_SECONDS = 3600.0


class Waiter(Protocol):
    """A request that waits; ordered by arrival.

    Attributes:
        number: Place in the order of arrival.
        budget: Seconds for which it waits for room.
        last_try: Its clock has run out; the next call is the last one.
        spent: What its clock has counted in the groups that it has left.
    """

    number: int
    budget: float
    last_try: bool
    spent: Spent

    @property
    def refusals(self) -> int:
        """How often it was refused itself."""

    def __lt__(self, other: Any, /) -> bool:
        """Whether it came first."""

    def waits(self) -> bool:
        """Whether it waits for its turn still."""

    def settled(self) -> bool:
        """Whether it was launched, or has failed."""


W = TypeVar("W", bound=Waiter)


@dataclass(eq=False)
class Group(Generic[W]):
    """Requests that ask for the same.

    Attributes:
        demand: What they ask for.
        waiting: Those that wait for their turn, by arrival.
        members: All of them, those included that are being called: the group's clock when they
            joined, less what theirs had counted before.
        held: Seconds for which fresh refusals have kept the group back.
        paused: Seconds for which they have, while tasks of this package could make room by their
            end.
        refusals: How many refusals covered it.
        offered: The head for which it is among the open groups; None: it is not.
    """

    demand: Demand
    waiting: list[W] = field(default_factory=list)
    members: dict[W, Spent] = field(default_factory=dict)
    held: float = 0.0
    paused: float = 0.0
    refusals: int = 0
    offered: int | None = None

    def head(self) -> W | None:
        """The first that waits for its turn; those that do not any more are dropped."""
        while self.waiting:
            if self.waiting[0].waits():
                return self.waiting[0]
            heapq.heappop(self.waiting)
        return None

    def is_spent(self, waiter: W) -> bool:
        """Whether a request's clock has run out."""
        held, paused, _ = self.members[waiter]
        longest = max(_MOST_PAUSE_BUDGETS * waiter.budget, _MOST_PAUSE_SECONDS)
        spent = self.held - held + max(0.0, self.paused - paused - longest)
        return self.held + self.paused > held + paused and spent >= waiter.budget


class Queue(Generic[W]):
    """Those that wait for one quota bucket, and the shortages that keep some of them back.

    Args:
        now: Seconds on the owner's clock.
    """

    def __init__(self, now: float) -> None:
        self.breakers = Breakers()
        self._group_of: dict[W, Group[W]] = {}
        self._groups: dict[Demand, Group[W]] = {}
        #: Groups that no breaker keeps back, by the arrival of their heads.
        self._open: list[tuple[int, int, Group[W]]] = []
        #: Those whose clock has run out, by arrival: each is owed one call.
        self._last: list[W] = []
        #: How many tasks have not ended.
        self._live: Counter[LiveKey] = Counter()
        #: Whether the last turn was a try through a breaker.
        self._probed = False
        self._ticked_at = now

    # -- who waits -------------------------------------------------------------------------------

    def join(self, waiter: W, demand: Demand) -> None:
        """Put a request into the group of its kind; its clock starts with that of the group."""
        group = self._groups.setdefault(demand, Group(demand))
        held, paused, refusals = waiter.spent
        group.members[waiter] = group.held - held, group.paused - paused, group.refusals - refusals
        self._group_of[waiter] = group

    def leave(self, waiter: W) -> None:
        """It is done, or asks for something else from now on."""
        group = self._group_of.pop(waiter, None)
        if group is None:
            return
        held, paused, refusals = group.members.pop(waiter)
        waiter.spent = group.held - held, group.paused - paused, group.refusals - refusals
        if not group.members:
            self._groups.pop(group.demand, None)

    def demand(self, waiter: W) -> Demand | None:
        """What a request asks for; None: it is in no group."""
        group = self._group_of.get(waiter)
        return None if group is None else group.demand

    def wait(self, waiter: W) -> None:
        """A request that has joined waits for its turn."""
        if waiter.last_try:
            heapq.heappush(self._last, waiter)
        else:
            group = self._group_of[waiter]
            heapq.heappush(group.waiting, waiter)
            self._offer(group)

    def is_waited(self) -> bool:
        """Whether anybody may wait for a turn."""
        return bool(self._last) or any(group.head() for group in self._groups.values())

    def held_back(self, waiter: W) -> int:
        """How many refusals of other requests a request has waited for."""
        if (group := self._group_of.get(waiter)) is None:
            return 0
        _, _, refusals = group.members[waiter]
        return max(0, group.refusals - refusals - waiter.refusals)

    # -- what happens ----------------------------------------------------------------------------

    def launched(
        self, waiter: W, breakers: Sequence[Breaker], instance: str, now: float
    ) -> LiveKey:
        """A request was launched; says under which key its task is among the live ones.

        Args:
            waiter: Which.
            breakers: Those through which it was a probe.
            instance: ARN of its container instance, if it has one.
            now: The time.
        """
        demand = self._group_of[waiter].demand
        if self.breakers.record_success(demand, breakers, now):
            self._offer_all()
        self._live[demand, instance] += 1  # last: anyone who gets no key cannot take it back
        return demand, instance

    def refused(self, shortage: Shortage, now: float, interval: float) -> bool:
        """Keep back those that a refusal for lack of room covers; whether the shortage is new."""
        new = self.breakers.record_failure(shortage, now, interval)
        for group in self._groups.values():
            group.refusals += shortage.covers(group.demand)
        return new

    def count_ended(self, key: LiveKey) -> None:
        """A task has ended: it is not counted any more."""
        self._live[key] -= 1
        if self._live[key] <= 0:
            del self._live[key]

    def live(self) -> int:
        """How many tasks have not ended."""
        return sum(self._live.values())

    # -- whose turn it is ------------------------------------------------------------------------

    def next(self, now: float) -> tuple[W, Sequence[Breaker]] | None:
        """Whose turn it is, and the breakers through which it is a try; None: nobody's."""
        while self._last:
            waiter = heapq.heappop(self._last)
            if waiter.waits():
                return waiter, []
        kinds = self._first_open, partial(self._probe, now)
        for choose in kinds if self._probed else reversed(kinds):
            if (chosen := choose()) is not None:
                self._probed = bool(chosen[1])
                return chosen
        return None

    def _offer(self, group: Group[W]) -> None:
        """See to it that a group is looked at when it is the turn of its head."""
        head = group.head()
        if head is not None and (group.offered is None or head.number < group.offered):
            group.offered = head.number
            heapq.heappush(self._open, (head.number, id(group), group))

    def _offer_all(self) -> None:
        for group in self._groups.values():
            self._offer(group)

    def _first_open(self) -> tuple[W, Sequence[Breaker]] | None:
        while self._open:
            number, _, group = heapq.heappop(self._open)
            if number != group.offered:
                continue  # it was offered again for an earlier head
            group.offered = None
            head = group.head()
            if head is None or self.breakers.keeps_back(group.demand):
                continue  # it is offered again by who joins it, or when a breaker goes
            if head.number > number:
                self._offer(group)
                continue
            heapq.heappop(group.waiting)
            self._offer(group)
            return head, []
        return None

    def _probe(self, now: float) -> tuple[W, Sequence[Breaker]] | None:
        """The first request of the breaker that has been due for longest."""
        for breaker in self.breakers.due(now):
            for head, group in self._kept_back_by(breaker):
                breakers = self.breakers.nearest(group.demand)
                reserved = self.breakers.is_reserved(group.demand)
                if not reserved and all(other.allows(now) for other in breakers):
                    heapq.heappop(group.waiting)
                    return head, breakers
        return None

    def _kept_back_by(self, breaker: Breaker) -> list[tuple[W, Group[W]]]:
        """The heads of the groups that a breaker keeps back, by arrival."""
        groups = [g for g in self._groups.values() if breaker in self.breakers.nearest(g.demand)]
        heads = [(head, group) for group in groups if (head := group.head()) is not None]
        return sorted(heads, key=lambda of: of[0].number)

    # -- clocks ----------------------------------------------------------------------------------

    def resume(self, now: float) -> None:
        """Let no clock run for the time since the last tick: nobody has waited."""
        self._ticked_at = now

    def tick(self, now: float, interval: float) -> list[tuple[W, float]]:
        """Let the clocks of groups run on, end those that are spent, and look at the breakers.

        Args:
            now: The time.
            interval: Seconds between the tries of one breaker; a refusal is fresh for two.

        Returns:
            Those for whom room is reserved from now on, and for how long smaller requests have
            overtaken them.
        """
        elapsed, self._ticked_at = now - self._ticked_at, now
        if not self.breakers:
            return []
        fresh = 2 * interval
        live = [(demand, instance, number) for (demand, instance), number in self._live.items()]
        for group in self._groups.values():
            breakers = self.breakers.fresh(group.demand, now - fresh)
            if not breakers:
                continue
            waits = all(breaker.shortage.ends_with(group.demand, live) for breaker in breakers)
            if waits or any(breaker.reserved_until for breaker in breakers):
                group.paused += elapsed
            else:
                group.held += elapsed
            self._end_clocks(group)
        looks = [self._look_at(breaker, now, fresh, live) for breaker in self.breakers]
        return [reserved for reserved in looks if reserved is not None]

    def _end_clocks(self, group: Group[W]) -> None:
        spent = [w for w in group.waiting if w in group.members and group.is_spent(w)]
        for waiter in spent:
            waiter.last_try = True
            heapq.heappush(self._last, waiter)
        if spent:
            group.waiting = [w for w in group.waiting if not w.last_try]
            heapq.heapify(group.waiting)

    def _look_at(
        self, breaker: Breaker, now: float, fresh: float, live: list[tuple[Demand, str, int]]
    ) -> tuple[W, float] | None:
        """Close a breaker that keeps nobody back; reserve its scope, or end that."""
        heads = self._kept_back_by(breaker)
        if breaker.reserved_until:
            launched = breaker.reserved_for.settled()
            if launched or now >= breaker.reserved_until:
                self.breakers.release(breaker, now, in_vain=not launched)
                self._offer_all()
        elif not heads and not breaker.probing and now - breaker.refused_at > fresh:
            self.breakers.remove(breaker)
            self._offer_all()
        elif heads and breaker.overtaken_since is not None:
            (head, group), overtaken = heads[0], now - breaker.overtaken_since
            could_fit = breaker.shortage.ends_with(group.demand, live)
            if overtaken >= head.budget and could_fit and self.breakers.reserve(breaker, head, now):
                return head, overtaken
        return None
