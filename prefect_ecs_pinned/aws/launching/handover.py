"""A launch as its caller sees it, on an event loop of the caller's own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from prefect_ecs_pinned.aws.launching.submission import Submission
from prefect_ecs_pinned.aws.loop.control_loop import ControlLoop
from prefect_ecs_pinned.aws.loop.posting import ThreadsafeCalls
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.errors import PinnedECSError

_CLOSED = "the control plane has been closed"


@dataclass(eq=False, slots=True)
class Launch:
    """A launch that was asked for; made on the caller's event loop.

    Attributes:
        outcome: Of the caller's event loop: the launched task, or the `PinnedECSError`.
        submission: None until the control loop has taken it up.
    """

    outcome: asyncio.Future[Snapshot] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    submission: Submission | None = None
    _threadsafe: ThreadsafeCalls = field(default_factory=ThreadsafeCalls.here)

    @property
    def stopped(self) -> Snapshot | None:
        """The task that was started before the launch was withdrawn, when ECS stops it."""
        return self.submission.stopped if self.submission is not None else None

    def begin(self, loop: ControlLoop, submit: Callable[[], Submission]) -> None:
        """Have it submitted on the control loop; whatever becomes of that settles the outcome."""

        def begin() -> None:
            try:
                self.submission = submit()
                self.submission.outcome.add_done_callback(self._hand_over)
            except Exception as error:  # noqa: BLE001 - handed to the caller's event loop
                self._fail(error)

        try:
            loop.call(begin)
        except RuntimeError:
            self._fail(PinnedECSError("cannot launch", _CLOSED))

    def retract(self, loop: ControlLoop) -> None:
        """Never launch it; its outcome is a task that was started before, or else an error."""

        def retract() -> None:
            if self.submission is not None:
                self.submission.withdraw(keep=True)

        with contextlib.suppress(RuntimeError):  # the control plane has been closed
            loop.call(retract)

    def _hand_over(self, done: asyncio.Future[Snapshot]) -> None:
        """Hand the submission's outcome over to the caller's event loop."""
        if done.cancelled():
            self._fail(PinnedECSError("cannot launch", _CLOSED))
        elif (error := done.exception()) is not None:
            self._fail(error)
        else:
            self._settle(lambda: self.outcome.set_result(done.result()))

    def _fail(self, error: BaseException) -> None:
        """Hand an error over to the caller's event loop."""

        def fail() -> None:
            self.outcome.set_exception(error)
            self.outcome.exception()  # its caller may be gone

        self._settle(fail)

    def _settle(self, settle: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the caller's loop has closed
            self._threadsafe.call_soon(lambda: None if self.outcome.done() else settle())
