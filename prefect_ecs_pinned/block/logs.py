"""The log lines of runs, at the cost of a line.

A run has ten of them. Prefect's console handler sets each with Rich, and its handler for the API
passes each through two threads: together that is more than all else that a run costs. What comes
out here is the same, except for what Rich makes of some characters (see `_prints_plainly`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import lru_cache
from uuid import UUID

from prefect.logging.handlers import APILogHandler, PrefectConsoleHandler
from prefect.logging.loggers import get_logger
from prefect.settings import PREFECT_LOGGING_MARKUP, PREFECT_LOGGING_TO_API_ENABLED

from prefect_ecs_pinned.block.prefect_api import PrefectApi


class RunLogger(logging.Logger):
    """Another logger, whose lines cost less. Its level, filters and handlers are the other's.

    Args:
        real: The other logger.
    """

    def __init__(self, real: logging.Logger) -> None:
        super().__init__(real.name)
        self._real = real

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        """Whether a line of that level goes anywhere."""
        return self._real.isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        """Pass a record by the other's filters to its handlers."""
        if self._real.disabled or not (kept := self._real.filter(record)):
            return
        record = kept if isinstance(kept, logging.LogRecord) else record  # Python 3.12
        handlers = list(_handlers(self._real))
        for handler in handlers:
            if record.levelno >= handler.level:
                _hand_over(record, handler)
        if not handlers:
            self._real.callHandlers(record)  # Python's last resort


@lru_cache
def run_logger(name: str) -> RunLogger:
    """The logger of that name, made for many lines."""
    return RunLogger(get_logger(name))


def page_logger(flow_run_id: str, name: str | None) -> logging.LoggerAdapter[logging.Logger]:
    """A logger whose lines are on a flow run's page, as those of the flow itself do."""
    extra = {
        "flow_run_id": flow_run_id,
        "flow_run_name": name or "<unknown>",
        "flow_name": "<unknown>",
    }
    return logging.LoggerAdapter(run_logger("prefect.flow_runs"), extra)


def _handlers(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    """All handlers that a logger's records reach."""
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


def _hand_over(record: logging.LogRecord, handler: logging.Handler) -> None:
    if type(handler) is APILogHandler and _is_of_flow_run(record):
        emit = _store
    elif type(handler) is PrefectConsoleHandler and _prints_plainly(handler):
        emit = _print
    else:
        handler.handle(record)
        return
    if kept := handler.filter(record):
        # From Python 3.12 on a filter may give another record, with a secret masked, say.
        emit(kept if isinstance(kept, logging.LogRecord) else record, handler)


def _print(record: logging.LogRecord, handler: logging.Handler) -> None:
    with handler.lock:  # type: ignore[union-attr] # every handler has one
        logging.StreamHandler.emit(handler, record)


def _is_of_flow_run(record: logging.LogRecord) -> bool:
    try:
        return bool(UUID(str(getattr(record, "flow_run_id", ""))))
    except ValueError:
        return False


def _store(record: logging.LogRecord, handler: logging.Handler) -> None:
    """Have the API store a line, with those of other runs."""
    if not PREFECT_LOGGING_TO_API_ENABLED.value() or not getattr(record, "send_to_api", True):
        return
    try:
        message = handler.format(record)
        try:
            api = PrefectApi.here()
        except RuntimeError:  # no event loop runs here
            handler.emit(record)
            return
        api.write(
            {
                "name": record.name,
                "level": record.levelno,
                "message": message,
                "timestamp": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
                "flow_run_id": str(record.flow_run_id),  # type: ignore[attr-defined]
            }
        )
    except Exception:  # noqa: BLE001 - Prefect's own loggers do so
        handler.handleError(record)


def _prints_plainly(handler: PrefectConsoleHandler) -> bool:
    """Whether a console has no colours, as when it is a file or a pipe: it prints the text as is.

    Then Rich would write what `logging.StreamHandler` writes, its parent, but that it expands tabs,
    drops control characters, and makes an emoji of ``:100:``.
    """
    return handler.console.color_system is None and not PREFECT_LOGGING_MARKUP.value()
