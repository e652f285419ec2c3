"""Who has to wait for room, and who may try whether there is some again.

A refusal for want of room closes a gate: it keeps back the requests that its shortage covers, and
nobody else. Pure state: whoever owns it says what time it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_ecs_pinned.core.capacity import Demand, Shortage

#: Tries at once through a gate at which it opens.
_OPEN_AT = 16

#: Longest time in seconds for which smaller requests are kept back for a larger one (decision 24).
RESERVED_SECONDS = 60.0


@dataclass(eq=False)
class Gate:
    """A shortage, and the tries that find its end.

    A task of ours that has ended gives room for as many tries as it was larger. Besides, there is
    one try in a while, for what others have freed: a probe. Each success allows one more at once,
    so they double with each round of answers; a refusal leaves one. With `_OPEN_AT` the shortage
    is over.

    Attributes:
        shortage: Which requests it keeps back.
        refused_at: When one of those was last refused.
        next_probe: When the next probe is due.
        allowed: Probes at once.
        probing: Probes under way.
        room: How many requests of its size fit into what tasks of ours have freed since the last
            refusal. Less than 0 when probes have found room: perhaps that of tasks of ours which
            are not known to have ended yet.
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

    def lets_try(self, now: float) -> bool:
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


class Gates:
    """The gates of one quota bucket."""

    def __init__(self) -> None:
        self._gates: list[Gate] = []
        #: What `nearest` has found for the gates that there are.
        self._nearest: dict[Demand, Sequence[Gate]] = {}

    def __len__(self) -> int:
        return len(self._gates)

    def __iter__(self) -> Iterator[Gate]:
        return iter(list(self._gates))

    # -- what happens ----------------------------------------------------------------------------

    def refused(self, shortage: Shortage, now: float, interval: float) -> bool:
        """Close a gate for those that a refusal covers; whether it is a new one."""
        gate = next((gate for gate in self._gates if gate.shortage == shortage), None)
        if new := gate is None:
            gate = Gate(shortage)
            self._gates.append(gate)
            self._nearest.clear()
        gate.refused_at, gate.next_probe = now, now + interval
        gate.allowed, gate.room = 1, 0.0
        return new

    def accepted(self, demand: Demand, probes: Collection[Gate], now: float) -> bool:
        """A request was launched, as a probe through some gates; whether one has opened."""
        opened = False
        for gate in self._concerned(demand):
            if not gate.shortage.covers(demand):
                gate.room -= gate.shortage.ratio(demand)
                if gate.overtaken_since is None:
                    gate.overtaken_since = now
                continue
            gate.overtaken_since = None
            if gate in probes:
                gate.next_probe = 0.0
                gate.room -= gate.shortage.ratio(demand)
                gate.allowed += 1
                if gate.allowed >= _OPEN_AT:
                    self.remove(gate)
                    opened = True
        return opened

    def ended(self, demand: Demand) -> None:
        """A task of ours has ended: where it could have made room, there may be some."""
        for gate in self._concerned(demand):
            freed = gate.shortage.ratio(demand)
            least = not any(
                other is not gate and gate.shortage.within(other.shortage) for other in self._gates
            )
            # There may have been some room before, though too little.
            gate.room += max(1.0, freed) if least or gate.reserved_until else freed

    def remove(self, gate: Gate) -> None:
        """Open a gate."""
        if gate in self._gates:
            self._gates.remove(gate)
            self._nearest.clear()

    def reserve(self, gate: Gate, whom: object, now: float) -> bool:
        """Keep smaller requests back for a larger one; not while that is done in the same scope."""
        chain = gate.shortage.chain
        if any(other.reserved_until for other in self._gates if other.shortage.chain == chain):
            return False
        gate.reserved_until, gate.reserved_for = now + RESERVED_SECONDS, whom
        return True

    def release(self, gate: Gate, now: float, in_vain: bool) -> None:
        """End a reservation; one in vain is paid for by not being overtaken for a whole budget."""
        gate.reserved_until, gate.reserved_for = 0.0, None
        for other in self._gates:
            if in_vain and other.shortage.chain == gate.shortage.chain:
                other.overtaken_since = now

    # -- who may try -----------------------------------------------------------------------------

    def keeps_back(self, demand: Demand) -> bool:
        """Whether a request has to wait for a gate's try."""
        return bool(self.nearest(demand)) or self.is_reserved(demand)

    def nearest(self, demand: Demand) -> Sequence[Gate]:
        """The gates that keep a request back: of those that differ in size only, the largest."""
        if (found := self._nearest.get(demand)) is None:
            gates = [gate for gate in self._gates if gate.shortage.covers(demand)]
            found = [
                gate
                for gate in gates
                if not any(g is not gate and g.shortage.within(gate.shortage) for g in gates)
            ]
            self._nearest[demand] = found
        return found

    def is_reserved(self, demand: Demand) -> bool:
        """Whether room is kept for a larger request of its scope."""
        return any(
            gate.reserved_until
            and gate.shortage.concerns(demand)
            and not gate.shortage.covers(demand)
            for gate in self._gates
        )

    def fresh(self, demand: Demand, since: float) -> list[Gate]:
        """The gates that keep a request back, and had a refusal since a time."""
        return [
            gate
            for gate in self._gates
            if gate.refused_at >= since and gate.shortage.covers(demand)
        ]

    def due(self, now: float) -> list[Gate]:
        """The gates through which somebody may try, the one that waits for longest first."""
        due = [gate for gate in self._gates if gate.lets_try(now)]
        return sorted(due, key=lambda gate: gate.next_probe)

    def _concerned(self, demand: Demand) -> list[Gate]:
        return [gate for gate in self._gates if gate.shortage.concerns(demand)]
