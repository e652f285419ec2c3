"""`Host`: what a run needs from anyone who hosts it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Protocol

from prefect_ecs_pinned.core.task_state import Snapshot

#: Types of the states in which a flow run is not to be launched any more.
UNWANTED = frozenset({"CANCELLING", "CANCELLED", "COMPLETED", "CRASHED", "FAILED"})

#: Types of the states in which a task that was launched is to be stopped. A flow may have ended
#: before anybody noticed that its task runs: that is no reason.
CANCELLED = frozenset({"CANCELLING", "CANCELLED"})


class Log(Protocol):
    """Log lines; `logging.Logger` and its adapters write them."""

    def isEnabledFor(self, level: int, /) -> bool:  # noqa: N802 - as in `logging`
        """Whether a line of that level goes anywhere."""

    def debug(self, line: object, /) -> None:
        """A line for those who look for a fault."""

    def info(self, line: object, /) -> None:
        """A line about what has changed."""

    def warning(self, line: object, /) -> None:
        """A line about what is not as asked for."""

    def error(self, line: object, /) -> None:
        """A line about what went wrong."""


class Host(Protocol):
    """Hosts one run. What it reports on is the run's flow run; without one it does nothing.

    Reports never raise, and never end a run.
    """

    @property
    def log(self) -> Log:
        """Where the run's lines go: the host's own log."""

    @property
    def page(self) -> Log:
        """The log that the flow run's page shows."""

    @property
    def supervised(self) -> bool:
        """Somebody, such as an agent, acts on the identifier and on the status code.

        Otherwise a task that does not run is an error to its caller.
        """

    def started(self, identifier: str) -> None:
        """The task was accepted; called once at most.

        Args:
            identifier: ``cluster::task-arn``; empty when the run has no task, or when one may run
                that nobody can find.
        """

    def on_state(self, states: Collection[str], call: Callable[[], object]) -> Callable[[], object]:
        """Have a function called when the flow run is in one of these states, or deleted.

        Args:
            states: Types of states, such as ``CANCELLING``.
            call: The function; it may be called again.

        Returns:
            What ends it.
        """

    def shield(self) -> AbstractContextManager[object]:
        """A block that the host does not cancel, for what has to be seen to the end.

        It need not hold against ``asyncio.Task.cancel``. A host whose library cancels a task again
        whenever it waits, as anyio's scopes do, reports it here.
        """

    async def report_crash(self, reason: str) -> None:
        """Report the flow run as crashed, unless it has ended by itself."""

    async def report_interruption(self, end: Snapshot) -> str:
        """Report a flow run as crashed that runs still though its task was interrupted.

        Returns:
            The reason that was reported; empty if the flow run was not changed.
        """

    async def confirm_cancelled(self, reason: str) -> None:
        """Report the flow run as cancelled, if it is being cancelled."""
