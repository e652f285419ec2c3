"""Who has to wait for room, and who may try whether there is some again.

A refusal for lack of room opens a circuit breaker: it keeps back the requests that its shortage
covers, and nobody else. Pure state: its owner passes the time.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_ecs_pinned.core.capacity import Demand, Scope, Shortage

#: Tries at the same time through a breaker at which it closes again.
_CLOSE_AT = 16

#: Longest time in seconds for which smaller requests are kept back for a larger one (decision 24).
RESERVED_SECONDS = 60.0


@dataclass(eq=False)
class Breaker:
    """A shortage, and the tries that find its end.

    A task of this package that has ended gives room for as many tries as it was larger. There is
    also one try in a while, for what others have freed: a probe. Each success allows one
    more at the same time, so they double with each round of answers; a refusal leaves one. With
    `_CLOSE_AT` the shortage is over.

    Attributes:
        shortage: Which requests it keeps back.
        refused_at: When one of those was last refused.
        next_probe: When the next probe is due.
        allowed: Probes at the same time.
        probing: Probes under way.
        room: How many requests of its size fit into what tasks of this package have freed since
            the last refusal. Less than 0 when probes have found room: perhaps that of tasks of
            this package which are not known to have ended yet.
        overtaken_since: When a smaller request of its scope was first launched before those that
            it keeps back.
        reserved_until: Until when smaller requests of its scope are kept back; 0: they are not.
        reserved_for: For whom.
    """

    shortage: Shortage
    refused_at: float = 0.0
    next_probe: float = 0.0
    allowed: int = 1
    probing: int = 0
    room: float = 0.0
    overtaken_since: float | None = None
    reserved_until: float = 0.0
    reserved_for: Any = None

    def allows(self, now: float) -> bool:
        """Whether one of those that it keeps back may try."""
        return self.room >= 1 or (self.probing < self.allowed and now >= self.next_probe)

    def uses_room(self, now: float, interval: float) -> bool:
        """Take note of a try; whether it goes into room that is known of, else it is a probe."""
        if self.room >= 1:
            self.room -= 1
            return True
        self.probing += 1
        if self.allowed == 1:
            self.next_probe = now + interval
        return False


class Breakers:
    """The breakers of one quota bucket."""

    def __init__(self) -> None:
        self._breakers: list[Breaker] = []
        #: By scope and key of their shortages.
        self._by_key: dict[Hashable, list[Breaker]] = {}
        #: What `_look_up` has found for the breakers that there are.
        self._found: dict[Demand, tuple[Sequence[Breaker], Sequence[Breaker]]] = {}

    def __len__(self) -> int:
        return len(self._breakers)

    def __iter__(self) -> Iterator[Breaker]:
        return iter(list(self._breakers))

    # -- what happens ----------------------------------------------------------------------------

    def record_failure(
        self,
        shortage: Shortage,
        now: float,
        interval: float,
        probes: Collection[Breaker] = (),
    ) -> bool:
        """Open a breaker for those that a refusal covers; whether it is a new one.

        Args:
            shortage: What the refusal says.
            now: The time.
            interval: Seconds until the next probe.
            probes: The breakers through which the call was a probe. It has shown nothing of those
                that it was not refused for, so they may be probed again immediately. Otherwise a
                request that is refused for something else would use up all of their probes.
        """
        same = self._by_key.setdefault((shortage.scope, shortage.key), [])
        breaker = next((breaker for breaker in same if breaker.shortage == shortage), None)
        if new := breaker is None:
            breaker = Breaker(shortage)
            self._breakers.append(breaker)
            same.append(breaker)
            self._found.clear()
        breaker.refused_at, breaker.next_probe = now, now + interval
        breaker.allowed, breaker.room = 1, 0.0
        for probed in probes:
            if probed is not breaker:
                probed.next_probe = min(probed.next_probe, now)
        return new

    def record_success(self, demand: Demand, probes: Collection[Breaker], now: float) -> bool:
        """A request was launched, as a probe through some breakers; whether one has closed."""
        closed = False
        for breaker in self._concerned(demand):
            if not breaker.shortage.covers(demand):
                breaker.room -= breaker.shortage.ratio(demand)
                if breaker.overtaken_since is None:
                    breaker.overtaken_since = now
                continue
            breaker.overtaken_since = None
            if breaker in probes:
                breaker.next_probe = 0.0
                breaker.room -= breaker.shortage.ratio(demand)
                breaker.allowed += 1
                if breaker.allowed >= _CLOSE_AT:
                    self.remove(breaker)
                    closed = True
        return closed

    def ended(self, demand: Demand) -> None:
        """A task of this package has ended: where it could have made room, there may be some."""
        concerned = self._concerned(demand)
        for breaker in concerned:
            freed = breaker.shortage.ratio(demand)
            least = not any(
                other is not breaker and breaker.shortage.within(other.shortage)
                for other in concerned
            )
            # There may have been some room before, though too little.
            breaker.room += max(1.0, freed) if least or breaker.reserved_until else freed

    def remove(self, breaker: Breaker) -> None:
        """Close a breaker: the shortage is over."""
        if breaker in self._breakers:
            self._breakers.remove(breaker)
            key = breaker.shortage.scope, breaker.shortage.key
            self._by_key[key].remove(breaker)
            if not self._by_key[key]:
                del self._by_key[key]
            self._found.clear()

    def reserve(self, breaker: Breaker, whom: object, now: float) -> bool:
        """Keep smaller requests back for a larger one; not while that is done in the same scope."""
        chain = breaker.shortage.chain
        if any(other.reserved_until for other in self._breakers if other.shortage.chain == chain):
            return False
        breaker.reserved_until, breaker.reserved_for = now + RESERVED_SECONDS, whom
        return True

    def release(self, breaker: Breaker, now: float, in_vain: bool) -> None:
        """End a reservation; one without success blocks the next for a whole budget."""
        breaker.reserved_until, breaker.reserved_for = 0.0, None
        for other in self._breakers:
            if in_vain and other.shortage.chain == breaker.shortage.chain:
                other.overtaken_since = now

    # -- who may try -----------------------------------------------------------------------------

    def keeps_back(self, demand: Demand) -> bool:
        """Whether a request has to wait for a breaker's try."""
        return bool(self.nearest(demand)) or self.is_reserved(demand)

    def nearest(self, demand: Demand) -> Sequence[Breaker]:
        """The breakers that keep a request back: of those that differ in size only, the largest."""
        return self._look_up(demand)[1]

    def is_reserved(self, demand: Demand) -> bool:
        """Whether room is kept for a larger request of its scope."""
        return any(
            breaker.reserved_until
            and breaker.shortage.concerns(demand)
            and not breaker.shortage.covers(demand)
            for breaker in self._breakers
        )

    def fresh(self, demand: Demand, since: float) -> list[Breaker]:
        """The breakers that keep a request back, and had a refusal since a time."""
        return [each for each in self._look_up(demand)[0] if each.refused_at >= since]

    def due(self, now: float) -> list[Breaker]:
        """The breakers through which somebody may try, the one that waits for longest first."""
        due = [breaker for breaker in self._breakers if breaker.allows(now)]
        return sorted(due, key=lambda breaker: breaker.next_probe)

    def _concerned(self, demand: Demand) -> list[Breaker]:
        """Those in whose scope a request is, whatever its size."""
        keys = ((scope, demand.key(scope)) for scope in Scope)
        return [breaker for key in keys for breaker in self._by_key.get(key, ())]

    def _look_up(self, demand: Demand) -> tuple[Sequence[Breaker], Sequence[Breaker]]:
        """Those that cover a request; and of those that differ in size only, the largest."""
        if (found := self._found.get(demand)) is None:
            covering = [each for each in self._concerned(demand) if each.shortage.covers(demand)]
            nearest = [
                each
                for each in covering
                if not any(g is not each and g.shortage.within(each.shortage) for g in covering)
            ]
            found = self._found[demand] = covering, nearest
        return found
