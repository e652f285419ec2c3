"""Requests that ask for the same: their order, and their clocks.

The time for which a fresh refusal holds back a group is counted once for all of the group, so a
request's own clock is the difference since it joined. Whose clock has run out is read from two
heaps: a tick costs what has run out, not what waits.

Pure state: its owner passes the time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from prefect_ecs_pinned.core.capacity import Demand

#: What a clock has counted: seconds kept back, seconds paused, refusals that covered the request.
Spent = tuple[float, float, int]

#: A clock pauses for at most this multiple of the budget, or for so many seconds if that is more.
_MOST_PAUSE_BUDGETS = 4.0
_MOST_PAUSE_SECONDS = 3600.0

#: Entries of a heap beyond twice the number of those that wait: then it is built again.
_MOST_STALE = 16


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
        members: All of them, those included that are being called: the group's clock when they
            joined, less what theirs had counted before.
        waiting: Those that wait for their turn.
        held: Seconds for which fresh refusals have kept the group back.
        paused: Seconds for which they have, while tasks of this package could make room by their
            end.
        refusals: How many refusals covered it.
        offered: The head for which it is among the open groups; None: it is not.
    """

    demand: Demand
    members: dict[W, Spent] = field(default_factory=dict)
    waiting: set[W] = field(default_factory=set)
    held: float = 0.0
    paused: float = 0.0
    refusals: int = 0
    offered: int | None = None
    #: All of these have entries of some that do not wait any more; they are dropped at the head.
    _by_arrival: list[W] = field(default_factory=list)
    #: By the value of ``held``, and of ``held + paused``, at which the clock has run out.
    _by_held: list[tuple[float, W]] = field(default_factory=list)
    _by_both: list[tuple[float, W]] = field(default_factory=list)

    def join(self, waiter: W) -> None:
        """Its clock starts with that of the group, and what it had counted before."""
        held, paused, refusals = waiter.spent
        self.members[waiter] = self.held - held, self.paused - paused, self.refusals - refusals

    def leave(self, waiter: W) -> None:
        """It keeps what its clock has counted."""
        self.waiting.discard(waiter)
        held, paused, refusals = self.members.pop(waiter)
        waiter.spent = self.held - held, self.paused - paused, self.refusals - refusals

    def wait(self, waiter: W) -> None:
        """A member waits for its turn."""
        self.waiting.add(waiter)
        entries = max(len(self._by_arrival), len(self._by_held), len(self._by_both))
        if entries > 2 * len(self.waiting) + _MOST_STALE:
            self._by_arrival = sorted(self.waiting)
            self._by_held = sorted((self._ends_at(each)[0], each) for each in self.waiting)
            self._by_both = sorted((self._ends_at(each)[1], each) for each in self.waiting)
            return
        held, both = self._ends_at(waiter)
        heapq.heappush(self._by_arrival, waiter)
        heapq.heappush(self._by_held, (held, waiter))
        heapq.heappush(self._by_both, (both, waiter))

    def head(self) -> W | None:
        """The first that waits for its turn; those that do not any more are dropped."""
        while self._by_arrival:
            waiter = self._by_arrival[0]
            if waiter in self.waiting and waiter.waits():
                return waiter
            self.waiting.discard(heapq.heappop(self._by_arrival))
        return None

    def take(self) -> None:
        """It is the turn of the head."""
        self.waiting.discard(heapq.heappop(self._by_arrival))

    def end_clocks(self) -> Iterator[W]:
        """Those that have waited until their clock ran out; from now on they do not wait here."""
        for heap, both in ((self._by_held, 0.0), (self._by_both, self.paused)):
            while heap and heap[0][0] <= self.held + both:
                waiter = heap[0][1]
                if waiter in self.waiting:
                    if not self._is_spent(waiter):
                        break  # nothing has run yet, or they differ by a rounding
                    self.waiting.discard(waiter)
                    yield waiter
                heapq.heappop(heap)

    def _ends_at(self, waiter: W) -> tuple[float, float]:
        held, paused, _ = self.members[waiter]
        ends = held + waiter.budget
        return ends, ends + paused + _longest_pause(waiter.budget)

    def _is_spent(self, waiter: W) -> bool:
        held, paused, _ = self.members[waiter]
        too_long = self.paused - paused - _longest_pause(waiter.budget)
        spent = self.held - held + max(0.0, too_long)
        return self.held + self.paused > held + paused and spent >= waiter.budget


def _longest_pause(budget: float) -> float:
    return max(_MOST_PAUSE_BUDGETS * budget, _MOST_PAUSE_SECONDS)
