"""Many callers, one call: a window in time collects items, each caller gets its own answer.

It knows nothing of ECS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from prefect_ecs_pinned.aws.ports import Clock

Item = TypeVar("Item", bound=Hashable)
Answer = TypeVar("Answer")
Any_ = TypeVar("Any_")


def in_batches(items: Sequence[Any_], size: int) -> Iterator[Sequence[Any_]]:
    """Cut a sequence into pieces of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


class Batcher(Generic[Item, Answer]):
    """Collects what is asked for within a window, and asks once.

    Args:
        ask_all: One call for many items; items that its answer leaves out have no answer.
        limit: The most items in a call.
        window: Seconds that the first of a batch waits for others.
        clock: Time.
    """

    def __init__(
        self,
        ask_all: Callable[[Sequence[Item]], Awaitable[Mapping[Item, Answer]]],
        limit: int,
        window: float,
        clock: Clock,
    ) -> None:
        self._ask_all = ask_all
        self._limit = limit
        self._window = window
        self._clock = clock
        self._waiting: dict[Item, asyncio.Future[Answer | None]] = {}
        self._calls: set[asyncio.Task[None]] = set()

    async def ask(self, item: Item) -> Answer | None:
        """The answer for one item, None when there is none.

        Raises:
            Exception: What the call for the item's batch raised.
        """
        if item not in self._waiting:
            if not self._waiting:
                call = asyncio.create_task(self._call())
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
            self._waiting[item] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._waiting[item])

    async def _call(self) -> None:
        await self._clock.wait(self._window)
        waiting, self._waiting = self._waiting, {}
        for batch in in_batches(list(waiting), self._limit):
            try:
                answers = await self._ask_all(batch)
            except Exception as exception:
                for item in batch:
                    _settle(waiting[item], exception=exception)
            else:
                for item in batch:
                    _settle(waiting[item], answers.get(item))


def _settle(
    future: asyncio.Future[Answer | None],
    answer: Answer | None = None,
    exception: Exception | None = None,
) -> None:
    if future.done():
        return
    if exception is None:
        future.set_result(answer)
    else:
        future.set_exception(exception)
        future.exception()  # an asker that was cancelled leaves nobody to retrieve it
