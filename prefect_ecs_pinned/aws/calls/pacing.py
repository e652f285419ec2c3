"""How fast to call, and how many at the same time.

`Pacer` is a token bucket whose rate follows what AWS lets through; `Concurrency` bounds the calls
that are under way.

The rate begins at the documented rate and doubles every second while there is work and no throttle.
So a raised quota is found without configuration. It does so steadily, not in steps: a quota that is
as documented is overshot by little, and few calls are made for nothing. The first throttle ends
that: the rate goes back to what it was a second ago, which went through. From then on every
throttle lowers it by a factor, and it climbs slowly. Processes that share a quota converge without
communication, since each slows down in proportion and speeds up alike (additive increase,
multiplicative decrease).

Permits that have to be waited for come a few at a time. Calls that follow each other closely find
the processor's caches warm, and cost half of what they cost one by one.
"""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass

from prefect_ecs_pinned.aws.calls.ports import Clock


@dataclass(frozen=True)
class Pace:
    """What a pacer begins with, and how it changes.

    Attributes:
        rate: Calls per second at first, and what slow increase is measured by.
        burst: Calls that may be made together after a pause; more if two rounds bring more.
        decrease: Factor of the rate at a throttle.
        increase: Calls per second that the rate climbs each second after a throttle.
        floor: Calls per second that are always allowed.
        min_wait: Minimum wait for a permit in seconds, plus or minus half of it, so that
            processes do not run in step. Calls that are ready by then start together.
    """

    rate: float
    burst: float
    decrease: float = 0.85
    increase: float = 1.0
    floor: float = 0.5
    min_wait: float = 0.0


#: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html: Fargate RunTask,
#: 20 a second, burst 20. EC2's quota is higher (40/s, burst 100), and is found by doubling.
RUN_TASK = Pace(rate=20.0, burst=20.0, min_wait=0.2)

#: Half of the bucket of DescribeTasks and its like (20/s, burst 100): the other half is for
#: everybody else in the account.
#: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
DESCRIBE_TASKS = Pace(rate=10.0, burst=50.0, min_wait=0.3)

#: Half of the bucket of DescribeTaskDefinition and its like (20/s, burst 50), same page.
DESCRIBE_TASK_DEFINITION = Pace(rate=10.0, burst=25.0)

#: Tokens that may be missing by rounding: waiting for them would take no time at all.
_ROUNDING = 1e-6

#: Factor by which an unthrottled rate grows in a second.
_DOUBLING_FACTOR = 2.0

#: The most RunTask calls under way at the same time: 100 a second at 300 ms, with room to spare.
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


class Pacer:
    """Permits for calls, first come, first served; lives on the control loop.

    Args:
        pace: Where to begin.
        clock: Time.
        probing: Whether to look for a higher rate than the documented one.
    """

    def __init__(self, pace: Pace, clock: Clock, probing: bool = True) -> None:
        self._pace = pace
        self._clock = clock
        self._probing = probing
        self._doubling = probing
        self._tokens = pace.burst
        self._filled_at = clock.now()
        self._raised_at = clock.now()
        self._lowered_at = float("-inf")
        #: Held by the one coroutine that waits for tokens; the others queue for it, first in,
        #: first out. It guards nothing else: the fields belong to the event loop.
        self._turn = asyncio.Lock()
        self.rate = pace.rate
        self.throttles = 0

    async def permit(self) -> None:
        """Wait for a permit, behind those who asked before.

        A coroutine that is cancelled takes none, and leaves its place to the next.
        """
        async with self._turn:
            while (shortfall := self._shortfall()) > 0:
                min_wait = self._pace.min_wait * random.uniform(0.5, 1.5)  # not in step with others
                await self._clock.wait(max(shortfall / self.rate, min_wait))
            self._tokens -= 1

    def give_back(self) -> None:
        """Return a permit that was not used."""
        self._tokens = min(self._tokens + 1, self._burst())

    def throttled(self, asked_at: float) -> None:
        """Record that a call which was made at ``asked_at`` has been throttled."""
        self.throttles += 1
        if asked_at < self._lowered_at:
            return  # it was under way when the rate fell, and says nothing about the new one
        if self._doubling and self.rate > self._pace.rate:
            self.rate = max(self.rate / _DOUBLING_FACTOR, self._pace.rate)
        else:
            self.rate = max(self.rate * self._pace.decrease, self._pace.floor)
        self._doubling = False
        self._tokens = min(self._tokens, 0.0)
        self._lowered_at = self._raised_at = self._clock.now()

    def _shortfall(self) -> float:
        """Tokens that are missing for a permit; asking means that there is work."""
        now = self._clock.now()
        self._tokens = min(self._burst(), self._tokens + (now - self._filled_at) * self.rate)
        idle = self._tokens >= self._burst()
        self._filled_at = now
        self._raise_rate(now, idle)
        shortfall = 1 - self._tokens
        return shortfall if shortfall > _ROUNDING else 0.0

    def _raise_rate(self, now: float, idle: bool) -> None:
        elapsed = now - self._raised_at
        if idle:
            self._raised_at = now  # only a rate that is used says anything about the quota
        elif self._doubling:
            self.rate *= _DOUBLING_FACTOR**elapsed
            self._raised_at = now
        elif elapsed > 0:
            ceiling = float("inf") if self._probing else self._pace.rate
            self.rate = min(self.rate + elapsed * self._pace.increase, max(ceiling, self.rate))
            self._raised_at = now

    def _burst(self) -> float:
        return max(1.0, self._pace.burst, self.rate * 2 * self._pace.min_wait)


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
