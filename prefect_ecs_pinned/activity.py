"""What this process waits for at the moment, for a command that reports it.

The caller records its call with `waiting_for`; the command line reads `current` when
nothing has been printed for a while. Nothing else depends on it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

#: Guards `_entered` and `_last`.
_lock = threading.Lock()

#: What is waited for, the newest last.
_entered: dict[object, Activity] = {}
_last: Activity | None = None


class Activity(NamedTuple):
    """What is waited for.

    Attributes:
        what: Its words; called when they are needed.
        since: When it began, in seconds of `time.monotonic`.
    """

    what: Callable[[], str]
    since: float


@contextmanager
def waiting_for(what: str | Callable[[], str]) -> Iterator[None]:
    """Enter what is waited for, until the block ends. Safe from any thread and coroutine."""
    global _last
    key = object()
    words = what if callable(what) else lambda: what
    with _lock:
        _last = _entered[key] = Activity(words, time.monotonic())
    try:
        yield
    finally:
        with _lock:
            del _entered[key]


def current() -> str:
    """What is waited for: the newest that has not ended, or the last that did; empty for none."""
    with _lock:
        newest = next(reversed(_entered.values()), _last)
    return newest.what() if newest is not None else ""
