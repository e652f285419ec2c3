"""Leave to launch a task, where somebody else may come to launch it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Permit(Protocol):
    """Is asked before each RunTask call of a submission.

    Attributes:
        id: Becomes the submission's id, which its task carries.
        retracted: It was taken back: nothing is launched any more, and a task that was started
            before is kept.
    """

    @property
    def id(self) -> str:
        """See above."""

    @property
    def retracted(self) -> bool:
        """See above."""

    def used_by(self, retract: Callable[[], None], /) -> None:
        """Is given what has to be called, on the caller's event loop, when it is retracted."""

    async def granted(self) -> bool:
        """Whether the call may be made; awaited on the control loop. False is final."""
