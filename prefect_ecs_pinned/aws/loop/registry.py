"""One value per key in a process, created on first use and released after the last.

A value is kept for as long as somebody holds it; a few that were used recently are kept too.
So when credentials change, and with them the key, the old value lives until its last run has
ended, and no longer. It does not depend on AWS.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")


class Registry(Generic[T]):
    """Values by key.

    A forked child begins afresh: threads of the parent's values do not exist there, and the lock
    may have been held.

    Args:
        kept: How many values are kept that nobody holds.
        kept_seconds: For how long, since they were last asked for.
        now: Seconds on a clock that never goes back.
    """

    def __init__(
        self, kept: int, kept_seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._kept = kept
        self._kept_seconds = kept_seconds
        self._now = now
        self._begin_afresh()
        os.register_at_fork(after_in_child=self._begin_afresh)

    def _begin_afresh(self) -> None:
        #: Guards the two tables below.
        self._lock = threading.Lock()
        #: Every value that is alive.
        self._alive: WeakValueDictionary[str, T] = WeakValueDictionary()
        #: Those asked for lately, the latest last, with the time.
        self._recent: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def get(self, key: str, make: Callable[[], T]) -> T:
        """The value of a key."""
        let_go: list[T] = []  # freed when the lock is, in case that takes it again
        with self._lock:
            value = self._alive.get(key)
            if value is None:
                value = self._alive[key] = make()
            self._recent[key] = (self._now(), value)
            self._recent.move_to_end(key)
            self._forget(let_go)
        return value

    def tidy(self) -> None:
        """Release what was not asked for in a while; nobody has to ask for another value."""
        let_go: list[T] = []
        with self._lock:
            self._forget(let_go)

    def _forget(self, let_go: list[T]) -> None:
        while self._recent:
            if len(self._recent) <= self._kept and self._oldest() <= self._kept_seconds:
                return
            let_go.append(self._recent.popitem(last=False)[1][1])

    def _oldest(self) -> float:
        """Seconds since the value was asked for that was asked for longest ago."""
        asked_at, _ = next(iter(self._recent.values()))
        return self._now() - asked_at

    def clear(self) -> list[T]:
        """Forget all values; returns those that were alive."""
        with self._lock:
            alive = list(self._alive.values())
            self._alive.clear()
            self._recent.clear()
        return alive

    def __len__(self) -> int:
        """How many values are alive."""
        return len(self._alive)
