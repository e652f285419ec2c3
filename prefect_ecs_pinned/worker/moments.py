"""Points in time that say how old they are, even to a process that was stopped or suspended."""

from __future__ import annotations

import time
from typing import NamedTuple


class Moment(NamedTuple):
    """A time by two clocks, in seconds.

    ``CLOCK_BOOTTIME`` continues while a process is stopped (SIGSTOP) and while a machine sleeps. It
    stops while a virtual machine is paused; the wall clock is set right afterwards.
    """

    since_boot: float
    wall: float

    @classmethod
    def now(cls) -> Moment:
        """This moment."""
        clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux has it
        return cls(time.clock_gettime(clock), time.time())

    def age(self, now: Moment) -> float:
        """Seconds from this moment to another, at the most: by the clock that shows more.

        A wall clock that is reset says nothing; one that is set forward makes it look older,
        for which nothing worse happens than one more look.
        """
        return max(now.since_boot - self.since_boot, now.wall - self.wall)
