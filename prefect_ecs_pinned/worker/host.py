"""Prefect 3 as the host of a run: the worker that was handed it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager

import anyio
from prefect.logging.handlers import APILogHandler

from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.runs.host import Log
from prefect_ecs_pinned.worker.attempt import Attempt
from prefect_ecs_pinned.worker.flow_runs import FlowRuns


class WorkerHost:
    """Hosts one run; see `runs.host.Host`.

    Args:
        attempt: The run's; its identifier is filled in.
        flow_runs: Where it is reported on.
        log: The worker's.
        page: The log that the flow run's page shows.

    Attributes:
        has_started: Its identifier is known; an empty one when there is none.
        crash: Why the flow run is to be reported as crashed; empty when it is not.
        interrupted: How the task ended, if it was stopped from outside and exited with 0.
    """

    def __init__(
        self,
        attempt: Attempt,
        flow_runs: FlowRuns,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
        page: Log,
    ) -> None:
        self.log: Log = _Quiet(log)
        self.page = page
        self.attempt = attempt
        self.crash = ""
        self.interrupted: Snapshot | None = None
        self.has_started = False
        self._flow_runs = flow_runs

    @property
    def supervised(self) -> bool:
        """The worker acts on whatever becomes of the task."""
        return True

    def started(self, identifier: str) -> None:
        """Take the identifier, which the worker hands to Prefect: only Prefect's own task may."""
        self.attempt.identifier = identifier
        self.has_started = True

    def on_state(self, states: Collection[str], call: Callable[[], object]) -> Callable[[], object]:
        """See `FlowRuns.on_state`."""
        return self._flow_runs.on_state(states, self.attempt.flow_run_id, call)

    def shield(self) -> AbstractContextManager[object]:
        """Prefect cancels by anyio."""
        return anyio.CancelScope(shield=True)

    async def report_crash(self, reason: str) -> None:
        """Nothing is awaited for it: `live_tasks` reports it when the task has been released."""
        self.crash = reason

    async def report_interruption(self, end: Snapshot) -> str:
        """Nothing is reported now: exit code 0 is looked at a little later, see `live_tasks`."""
        self.interrupted = end
        return ""

    async def confirm_cancelled(self, reason: str) -> None:
        """See `FlowRuns.confirm_cancelled`."""
        await self._flow_runs.confirm_cancelled(self.attempt, reason)

    async def store_identifier(self) -> None:
        """See `FlowRuns.store_identifier`."""
        await self._flow_runs.store_identifier(self.attempt)


class Page:
    """The log that a flow run's page shows; what matters only there is not printed.

    Args:
        log: Of the flow run, as Prefect makes it.
    """

    __slots__ = ("_log",)

    def __init__(self, log: logging.LoggerAdapter[logging.Logger]) -> None:
        self._log = log

    def isEnabledFor(self, level: int, /) -> bool:  # noqa: D102, N802 - as in `logging`
        return self._log.isEnabledFor(level)

    def debug(self, line: object, /) -> None:  # noqa: D102
        self._log.debug(line)

    def info(self, line: object, /) -> None:
        """A line for the page alone: the console, which costs most, has others of the run."""
        logger = self._log.logger
        if not logger.isEnabledFor(logging.INFO):
            return
        _, extra = self._log.process(line, {})
        where = (logger.name, logging.INFO, __file__, 0, line, (), None, "info")
        record = logger.makeRecord(*where, extra["extra"])
        for handler in _handlers_of_pages(logger):
            if record.levelno >= handler.level:
                handler.handle(record)

    def warning(self, line: object, /) -> None:  # noqa: D102
        self._log.warning(line)

    def error(self, line: object, /) -> None:  # noqa: D102
        self._log.error(line)


def _handlers_of_pages(logger: logging.Logger | None) -> list[logging.Handler]:
    """The handlers of Prefect's that store lines."""
    while logger is not None and not logger.handlers:
        logger = logger.parent
    handlers = logger.handlers if logger is not None else []
    return [handler for handler in handlers if isinstance(handler, APILogHandler)]


class _Quiet:
    """A log for the lines of many runs: what is worth a line for one is worth DEBUG here.

    A line costs more than most of what it is about: Prefect's console sets each with Rich.
    """

    __slots__ = ("_log",)

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._log = log

    def isEnabledFor(self, level: int, /) -> bool:  # noqa: N802 - as in `logging`
        return self._log.isEnabledFor(level)

    def debug(self, line: object, /) -> None:
        self._log.debug(line)

    def info(self, line: object, /) -> None:
        self._log.debug(line)

    def warning(self, line: object, /) -> None:
        self._log.warning(line)

    def error(self, line: object, /) -> None:
        self._log.error(line)
