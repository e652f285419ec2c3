"""Bounds: of what is remembered, and of what one call takes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(OrderedDict[K, V]):
    """At most so many items; what is set again counts as new.

    Args:
        most: How many.
        in_use: Of an item: it is not to be forgotten now.
    """

    def __init__(self, most: int, in_use: Callable[[V], bool] = lambda _: False) -> None:
        super().__init__()
        self._most = most
        self._in_use = in_use

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self._most:
            oldest = next((k for k, v in self.items() if k != key and not self._in_use(v)), None)
            if oldest is not None:
                del self[oldest]


def in_batches(items: Sequence[V], size: int) -> Iterator[Sequence[V]]:
    """Cut a sequence into pieces of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
