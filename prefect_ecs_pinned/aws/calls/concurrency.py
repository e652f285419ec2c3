"""How many calls may be under way at once: pace times latency, with room to spare."""

from __future__ import annotations

import math

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


class Concurrency:
    """Bounds the RunTask calls of a quota bucket that are under way."""

    def __init__(self) -> None:
        self._latency = _ASSUMED_LATENCY

    def answered_in(self, seconds: float) -> None:
        """Take the latency of a call that was accepted into account."""
        weight = _LONGER_WEIGHT if seconds > self._latency else _SHORTER_WEIGHT
        self._latency += (seconds - self._latency) * weight

    def most(self, rate: float) -> int:
        """How many calls may be under way.

        Args:
            rate: Calls a second.
        """
        steps = math.ceil(rate * min(self._latency, _LONGEST_LATENCY) * _ROOM / _STEP)
        return min(MOST_CALLS, max(_ALWAYS_ALLOWED, steps * _STEP))
