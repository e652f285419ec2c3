"""Backing off: full jitter between tries, so that many who failed together do not return so.

Source: https://docs.aws.amazon.com/prescriptive-guidance/latest/cloud-design-patterns/retry-backoff.html
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from prefect_ecs_pinned.aws.faults import PASSING, Fault
from prefect_ecs_pinned.aws.ports import Clock

T = TypeVar("T")

#: Seconds of the first and the longest wait between tries.
FIRST_SECONDS = 0.5
LONGEST_SECONDS = 20.0

#: Seconds for which a read, or a stop, is tried again.
PATIENCE_SECONDS = 120.0


def backoff(attempt: int, first: float = FIRST_SECONDS, longest: float = LONGEST_SECONDS) -> float:
    """Seconds to wait after the ``attempt``-th failure, counted from 0."""
    ceiling = min(longest, first * 2.0 ** min(attempt, 16))
    return random.uniform(ceiling / 2, ceiling)


async def patiently(
    call: Callable[[], Awaitable[T]], clock: Clock, patience: float = PATIENCE_SECONDS
) -> T:
    """Repeat a call that is safe to repeat, for as long as its faults are passing ones.

    Raises:
        Fault: A lasting one, or the last one when patience was at an end.
    """
    until = clock.now() + patience
    attempt = 0
    while True:
        try:
            return await call()
        except Fault as fault:
            pause = backoff(attempt)
            if fault.kind not in PASSING or clock.now() + pause > until:
                raise
            attempt += 1
        await clock.wait(pause)
