"""Whose turn it is to call, of those that wait for one quota.

Requests that ask for the same form a group, first in, first out. Groups without a shortage are
served in the order of arrival of their heads. A refusal for lack of room opens a breaker: it keeps
back the groups that the shortage covers, and nobody else. The breakers' heads try again in turn,
and immediately when a task has ended that could have made room.

Pure state: its owner passes the time.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Generic, TypeVar

from prefect_ecs_pinned.core.breakers import Breaker, Breakers
from prefect_ecs_pinned.core.capacity import Demand, Shortage
from prefect_ecs_pinned.core.groups import Group, W

#: What a task asked for, and the ARN of its container instance, "" as long as there is none.
LiveKey = tuple[Demand, str]

#: Whose turn it is, and the breakers through which it is a probe.
Turn = tuple[W, Sequence[Breaker]]

#: Seconds between the tries of one breaker, as long as they are within `PROBE_SHARE` of the pace.
PROBE_SECONDS = 2.5
PROBE_SHARE = 0.1

T = TypeVar("T")


class _InTurn(Generic[T]):
    """Takes from two sources, from the other one each time; from one if the other is empty."""

    def __init__(self) -> None:
        self._second_is_next = False

    def take(self, first: Callable[[], T | None], second: Callable[[], T | None]) -> T | None:
        """The next of either; None when both are empty."""
        for source in (second, first) if self._second_is_next else (first, second):
            if (taken := source()) is not None:
                self._second_is_next = source is first
                return taken
        return None


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
        #: Last tries and all others are served in turn; so are, of the others, tries through a
        #: breaker and those that none keeps back.
        self._last_and_others = _InTurn[Turn[W]]()
        self._kept_back_and_open = _InTurn[Turn[W]]()
        self._ticked_at = now

    # -- who waits -------------------------------------------------------------------------------

    def join(self, waiter: W, demand: Demand) -> None:
        """Put a request into the group of its kind; its clock starts with that of the group."""
        group = self._groups.setdefault(demand, Group(demand))
        group.join(waiter)
        self._group_of[waiter] = group

    def leave(self, waiter: W) -> None:
        """It is done, or asks for something else from now on."""
        group = self._group_of.pop(waiter, None)
        if group is None:
            return
        group.leave(waiter)
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
            group.wait(waiter)
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

    def interval(self, pace: float) -> float:
        """Seconds between the tries of one breaker: all together have a share of the pace.

        Args:
            pace: Calls a second.
        """
        return max(PROBE_SECONDS, len(self.breakers) / (PROBE_SHARE * pace))

    def returned(self, probes: Sequence[Breaker]) -> None:
        """A call has returned, whatever it brought."""
        for breaker in probes:
            breaker.probing -= 1

    def launched(self, waiter: W, probes: Sequence[Breaker], instance: str, now: float) -> LiveKey:
        """A request was launched; says under which key its task is among the live ones.

        Args:
            waiter: Which.
            probes: The breakers through which it was a probe.
            instance: ARN of its container instance, if it has one.
            now: The time.
        """
        demand = self._group_of[waiter].demand
        if self.breakers.record_success(demand, probes, now):
            self._offer_all()
        self._live[demand, instance] += 1  # last: anyone who gets no key cannot take it back
        return demand, instance

    def refused(
        self, shortage: Shortage, probes: Sequence[Breaker], now: float, pace: float
    ) -> bool:
        """Keep back those that a refusal for lack of room covers; whether the shortage is new."""
        new = self.breakers.record_failure(shortage, now, self.interval(pace), probes)
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

    def next(self, now: float, pace: float) -> Turn[W] | None:
        """Whose turn it is; None: nobody's. `returned` has to follow.

        Every second turn is that of a last try, as long as there are any: however many there are,
        they take half of the pace from those for whom there is room, and not all of it.

        Args:
            now: The time.
            pace: Calls a second.
        """
        others = partial(self._next_of_others, now, self.interval(pace))
        return self._last_and_others.take(self._next_last, others)

    def _next_last(self) -> Turn[W] | None:
        while self._last:
            waiter = heapq.heappop(self._last)
            if waiter.waits():
                return waiter, ()
        return None

    def _next_of_others(self, now: float, interval: float) -> Turn[W] | None:
        kept_back = partial(self._first_kept_back, now, interval)
        return self._kept_back_and_open.take(kept_back, self._first_open)

    def _offer(self, group: Group[W]) -> None:
        """See to it that a group is looked at when it is the turn of its head."""
        head = group.head()
        if head is not None and (group.offered is None or head.number < group.offered):
            group.offered = head.number
            heapq.heappush(self._open, (head.number, id(group), group))

    def _offer_all(self) -> None:
        for group in self._groups.values():
            self._offer(group)

    def _first_open(self) -> Turn[W] | None:
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
            group.take()
            self._offer(group)
            return head, ()
        return None

    def _first_kept_back(self, now: float, interval: float) -> Turn[W] | None:
        """The first request of the breaker that has been due for longest."""
        if not (due := self.breakers.due(now)):
            return None
        heads = self._kept_back()
        for head, group in (each for breaker in due for each in heads[breaker]):
            breakers = self.breakers.nearest(group.demand)
            if not all(breaker.allows(now) for breaker in breakers):
                continue
            if not self.breakers.is_reserved(group.demand):
                group.take()
                return head, [each for each in breakers if not each.uses_room(now, interval)]
        return None

    def _kept_back(self) -> Mapping[Breaker, Sequence[tuple[W, Group[W]]]]:
        """The heads of the groups that each breaker keeps back, by arrival."""
        heads = [(head, g) for g in self._groups.values() if (head := g.head()) is not None]
        kept_back: dict[Breaker, list[tuple[W, Group[W]]]] = {each: [] for each in self.breakers}
        for head, group in sorted(heads, key=lambda of: of[0].number):
            for breaker in self.breakers.nearest(group.demand):
                kept_back[breaker].append((head, group))
        return kept_back

    # -- clocks ----------------------------------------------------------------------------------

    def resume(self, now: float) -> None:
        """Let no clock run for the time since the last tick: nobody has waited."""
        self._ticked_at = now

    def tick(self, now: float, pace: float) -> list[tuple[W, float]]:
        """Let the clocks of groups run on, end those that are spent, and look at the breakers.

        Args:
            now: The time.
            pace: Calls a second. A refusal is fresh for two intervals of tries.

        Returns:
            Those for whom room is reserved from now on, and for how long smaller requests have
            overtaken them.
        """
        elapsed, self._ticked_at = now - self._ticked_at, now
        if not self.breakers:
            return []
        fresh = 2 * self.interval(pace)
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
            for waiter in group.end_clocks():
                waiter.last_try = True
                heapq.heappush(self._last, waiter)
        heads = self._kept_back()
        looks = [self._look_at(each, heads[each], now, fresh, live) for each in self.breakers]
        return [reserved for reserved in looks if reserved is not None]

    def _look_at(
        self,
        breaker: Breaker,
        heads: Sequence[tuple[W, Group[W]]],
        now: float,
        fresh: float,
        live: list[tuple[Demand, str, int]],
    ) -> tuple[W, float] | None:
        """Close a breaker that keeps nobody back; reserve its scope, or end that.

        Args:
            breaker: Which.
            heads: Of the groups that it keeps back, by arrival.
            now: The time.
            fresh: Seconds for which a refusal says something.
            live: What the tasks that have not ended have asked for.
        """
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
