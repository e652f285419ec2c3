"""Backing off: full jitter between tries, so that many who failed together do not return so.

Source: https://docs.aws.amazon.com/prescriptive-guidance/latest/cloud-design-patterns/retry-backoff.html
"""

from __future__ import annotations

import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakKeyDictionary

from prefect_ecs_pinned.activity import waiting_for
from prefect_ecs_pinned.aws.calls.faults import UNKNOWN_SECONDS, Fault, Kind
from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.core.kinds import THROTTLES

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds of the first and the longest wait between tries.
FIRST_SECONDS = 0.5
LONGEST_SECONDS = 20.0

#: Seconds for which a read, or a stop, is tried again.
PATIENCE_SECONDS = 120.0

#: Seconds after which a code that is in no table is logged again, and how many are remembered.
_LOGGED_AGAIN_SECONDS = 900.0
_MOST_CODES = 256

#: Asked too often, and in the case of CONTENDED by several.
_THROTTLES = THROTTLES | {Kind.CONTENDED}


@dataclass(frozen=True)
class Waits:
    """How long AWS is waited for, in seconds.

    Attributes:
        reads: For which a look-up is tried again.
        registrations: For which RegisterTaskDefinition is tried again while it fails.
        contended: For which it is while AWS answers that it is asked too often, or that somebody
            else registers a revision of the family.
        connect: To connect.
        answer: Without a byte of an answer.
    """

    reads: float = PATIENCE_SECONDS
    registrations: float = 900.0
    contended: float = 900.0
    connect: float = 10.0
    answer: float = 30.0


#: Of an agent: fifty revisions of one family take 30 s at 1 a second, other processes may
#: do the same, and nobody is there to start it again.
AGENT = Waits()

#: Of a command: a person is waiting. A call that is not answered ends within
#: `reads` and one more `answer` at worst.
COMMAND = Waits(reads=8.0, registrations=10.0, contended=120.0, connect=2.5, answer=9.0)


def backoff(attempt: int, first: float = FIRST_SECONDS, longest: float = LONGEST_SECONDS) -> float:
    """Seconds to wait after the ``attempt``-th failure, counted from 0."""
    ceiling = min(longest, first * 2.0 ** min(attempt, 16))
    return random.uniform(ceiling / 2, ceiling)


async def retry(
    call: Callable[[], Awaitable[T]],
    clock: Clock,
    patience: float = PATIENCE_SECONDS,
    throttled: float | None = None,
) -> T:
    """Repeat a call that is safe to repeat, for as long as its faults are passing ones.

    Args:
        call: Makes it.
        clock: Time.
        patience: Seconds from the beginning of the first call that failed until there is no
            further one; `UNKNOWN_SECONDS` at most while AWS answers codes that is in no table.
        throttled: As ``patience``, while AWS answers that it is asked too often; such an answer
            ends a series of other failures. Left out: the same.

    Raises:
        Fault: A lasting one, or the last one when patience was at an end.
    """
    longest = max(patience, throttled or 0.0)
    patiences = Patience(clock, patience, longest)
    attempt = 0
    while True:
        asked_at = clock.now()
        try:
            return await call()
        except Fault as fault:
            pause = backoff(attempt)
            if not fault.passing or clock.now() + pause > patiences.until(fault, asked_at):
                raise
            warn_of_unknown(fault, clock)
            attempt += 1
            refusal = f"{fault.operation}: {fault.code or fault.kind.value}"
        with waiting_for(f"AWS, to try again after {refusal}"):
            await clock.wait(pause)


class Patience:
    """Until when a series of calls is repeated.

    Args:
        clock: Time.
        patience: Seconds while calls fail, throttles apart; see `retry`.
        longest: Seconds in all.
    """

    def __init__(self, clock: Clock, patience: float, longest: float) -> None:
        self._end = clock.now() + longest
        self._patience = patience
        self._failed_at: float | None = None
        self._unknown_at: float | None = None

    def until(self, fault: Fault, asked_at: float) -> float:
        """The time after which a call that was made at ``asked_at`` is not repeated."""
        if fault.kind in _THROTTLES:
            self._failed_at = self._unknown_at = None
            return self._end
        if self._failed_at is None:
            self._failed_at = asked_at
        if not fault.unknown:
            self._unknown_at = None
        elif self._unknown_at is None:
            self._unknown_at = asked_at
        unknown_at = self._end if self._unknown_at is None else self._unknown_at
        return min(self._end, self._failed_at + self._patience, unknown_at + UNKNOWN_SECONDS)


#: By clock, since times of different clocks have nothing to do with each other: (action, code) ->
#: when it was logged, the latest last.
_logged: WeakKeyDictionary[Clock, OrderedDict[tuple[str, str], float]] = WeakKeyDictionary()


def warn_of_unknown(fault: Fault, clock: Clock) -> None:
    """Log that AWS answers a code that is in no table, once per action and code in a while.

    Does nothing for any other fault. To be called on one event loop per clock.
    """
    if not fault.unknown:
        return
    logged = _logged.setdefault(clock, OrderedDict())
    key, now = (fault.operation, fault.code), clock.now()
    if key in logged and now - logged[key] < _LOGGED_AGAIN_SECONDS:
        return
    logged[key] = now
    logged.move_to_end(key)
    if len(logged) > _MOST_CODES:
        logged.popitem(last=False)
    logger.warning(
        "%s: AWS refuses it with an unknown code; it is repeated for up to %.0f s",
        fault,
        UNKNOWN_SECONDS,
    )
