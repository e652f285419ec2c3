"""Asked once, shared by all who ask meanwhile, remembered on success, forgotten on failure.

A generic engine without AWS. Each key is looked up by one asyncio task at a time, which belongs to
nobody: a caller that is cancelled leaves it to the others. Every caller gets the value or the
failure of that one task. A failure is forgotten before any of them gets it, so that the next caller
starts a new one. Nothing is repeated here (`retrying.retry`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

#: Values that are remembered unless said otherwise.
MOST_REMEMBERED = 1024


class Once(Generic[K, T]):
    """Values by key; lives on one event loop.

    Args:
        most: How many values are remembered; those used longest ago are forgotten first. Look-ups
            under way do not count.
        released: Called with each value that is forgotten.
    """

    def __init__(
        self, most: int = MOST_REMEMBERED, released: Callable[[T], object] = lambda _: None
    ) -> None:
        self._most = most
        self._released = released
        #: Values, the one used last at the end. Written on the event loop, read by any thread.
        self._known: OrderedDict[K, T] = OrderedDict()
        self._asking: dict[K, asyncio.Task[T]] = {}

    async def get(self, key: K, ask: Callable[[], Awaitable[T]]) -> T:
        """The value of a key: remembered, or as it is being asked for, or asked for now.

        Args:
            key: What is asked for.
            ask: Called at most once, and only if nobody else has asked.

        Raises:
            Exception: Whatever ``ask`` raised; then nothing is remembered.
        """
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.ensure_future(_run(ask))
            # The first callback of the task: it comes before any of those who wait.
            task.add_done_callback(lambda done: self._settle(key, done))
        return await asyncio.shield(task)

    def peek(self, key: K) -> T | None:
        """The value of a key if it is remembered. Safe from any thread."""
        return self._known.get(key)

    def forget(self, key: K, stale: T | None = None) -> bool:
        """Forget a value, so that the next who asks looks again; says whether there was one.

        Of many who report the same incident only the first makes it forgotten: each gives the
        value that has failed it, and that is not what is remembered any more.

        Args:
            key: What was asked for.
            stale: The value that is to be forgotten; None forgets any, and the answer of a
                look-up under way as well (those who wait for it get it anyway).
        """
        if stale is None:
            self._asking.pop(key, None)
        elif key not in self._known or self._known[key] != stale:
            return False
        if key not in self._known:
            return False
        self._released(self._known.pop(key))
        return True

    def clear(self) -> None:
        """Forget everything, look-ups under way as well."""
        self._asking.clear()
        while self._known:
            self._released(self._known.popitem()[1])

    def __len__(self) -> int:
        """How many values are remembered."""
        return len(self._known)

    def _settle(self, key: K, done: asyncio.Task[T]) -> None:
        asked_for = self._asking.get(key) is done
        if asked_for:
            del self._asking[key]
        # Asking for the exception marks it as seen: all callers may be gone.
        if done.cancelled() or done.exception() is not None:
            return
        if not asked_for:  # forgotten while it was looked up
            self._released(done.result())
            return
        self._known[key] = done.result()
        while len(self._known) > self._most:
            self._released(self._known.popitem(last=False)[1])


async def _run(ask: Callable[[], Awaitable[T]]) -> T:
    return await ask()
