"""A bound on the tasks of a worker that live."""

from __future__ import annotations

import asyncio


class Room:
    """Counts launches and live tasks, and lets others wait; belongs to one event loop.

    Anyone who has entered leaves once. Waiting callers come first in, first out, but nobody
    waits for somebody whose own bound is lower.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._waiting: dict[asyncio.Future[None], int] = {}

    def __len__(self) -> int:
        """How many are inside."""
        return self._inside

    def enter(self, bound: int | None) -> asyncio.Future[None]:
        """Come in as soon as fewer than so many are inside; immediately when there is no bound.

        Returns:
            Done when it is so. A caller that does not await its end passes it to `give_up`.
        """
        turn = asyncio.get_running_loop().create_future()
        if bound is None or self._inside < bound:
            self._inside += 1
            turn.set_result(None)
        else:
            self._waiting[turn] = bound
        return turn

    def give_up(self, turn: asyncio.Future[None]) -> None:
        """Not come in after all, or leave immediately."""
        was_waiting = self._waiting.pop(turn, None) is not None
        if not was_waiting and turn.done() and turn.exception() is None:
            self.leave()  # it was let in, and is gone

    def leave(self) -> None:
        """Make room."""
        self._inside -= 1
        for turn, bound in list(self._waiting.items()):
            if self._inside < bound:
                del self._waiting[turn]
                if not turn.done():
                    self._inside += 1
                    turn.set_result(None)
