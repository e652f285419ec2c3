"""Log lines of runs: the same as Prefect's own, where Prefect's own go, for less."""

from __future__ import annotations

import io
import logging
import sys
import time

import pytest
from prefect.logging.formatters import PrefectFormatter
from prefect.logging.handlers import APILogHandler, PrefectConsoleHandler
from prefect.logging.loggers import get_logger
from prefect.settings import (
    PREFECT_API_KEY,
    PREFECT_LOGGING_MARKUP,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)

from prefect_ecs_pinned.block.logs import RunLogger, page_logger

LINES = [
    "ECSTask 'brisk-otter': Status is RUNNING.",
    "ECSTask 'brisk-otter': Running command 'python -m prefect.engine' in container 'prefect'...",
    "https://us-east-1.console.aws.amazon.com/ecs/v2/clusters/default/tasks/0a1b?region=us-east-1",
    "[bold]not markup[/bold] 100 % {} – ünïcode " + "long " * 100,
    "two\nlines",
]


@pytest.fixture
def console(monkeypatch):
    """Makes console handlers, the only handlers of a logger of its own."""
    logger = get_logger("prefect.test-logs")
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "handlers", [])
    logger.setLevel(logging.INFO)

    def console() -> io.StringIO:
        stream = io.StringIO()
        handler = PrefectConsoleHandler(stream, styles={"log.info_level": "cyan"})
        handler.setFormatter(PrefectFormatter("%(levelname)-7s | %(name)s - %(message)s"))
        logger.handlers = [handler]
        return stream

    return console, logger


def said(console, say) -> str:
    stream = console()
    for line in LINES:
        say(line)
    return str(stream.getvalue())


@pytest.mark.parametrize("markup", [False, True])
@pytest.mark.parametrize("colours", [False, True])
def test_the_console_shows_what_prefect_shows(console, monkeypatch, colours, markup):
    """To the byte, with colours and without, with markup and without."""
    if colours:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
    make, logger = console
    with temporary_settings({PREFECT_LOGGING_MARKUP: markup}):
        ours = said(make, RunLogger(logger).info)
        theirs = said(make, logger.info)
    assert ours == theirs
    assert ours.count("INFO") == len(LINES)
    assert ("\x1b[" in ours) is colours


def test_a_line_costs_a_fifth(console):
    """Of what it costs with Rich; in fact it is a tenth."""
    make, logger = console

    def cost(say) -> float:
        best = []
        for _ in range(5):
            make()
            before = time.process_time()
            for _ in range(100):
                say(LINES[0])
            best.append(time.process_time() - before)
        return min(best)

    assert cost(RunLogger(logger).info) < cost(logger.info) / 5


def test_level_filters_and_switch_are_those_of_the_real_logger(console):
    """As they are when the line is said, not as they were before."""
    make, logger = console
    ours, stream = RunLogger(logger), make()
    logger.setLevel(logging.ERROR)
    ours.info("too low")
    logger.setLevel(logging.INFO)
    ours.info("first")
    logger.handlers[0].setLevel(logging.ERROR)
    ours.info("too low for the handler")
    logger.handlers[0].setLevel(logging.INFO)

    def nothing(record):
        return False

    logger.addFilter(nothing)
    ours.info("filtered")
    logger.removeFilter(nothing)
    logger.disabled = True
    ours.info("disabled")
    logger.disabled = False
    ours.info("last")
    shown = [line.rsplit(" - ", 1)[-1] for line in stream.getvalue().splitlines()]
    assert shown == ["first", "last"]


def test_the_api_key_is_not_shown(console):
    """Prefect's own filter stays in the way."""
    make, logger = console
    stream = make()
    with temporary_settings({PREFECT_API_KEY: "pnu_verysecret1234"}):
        RunLogger(logger).info("the key is pnu_verysecret1234")
    assert "pnu_verysecret1234" not in stream.getvalue()
    assert "the key is" in stream.getvalue()


def test_other_handlers_get_the_record(caplog):
    """pytest's, a file's, or whatever else there is, above and beside."""
    caplog.set_level(logging.INFO, "prefect.flow_runs")
    page_logger("0a4f7e30-0000-4000-8000-000000000000", "brisk-otter").info("hello")
    (record,) = [r for r in caplog.records if r.getMessage() == "hello"]
    assert record.flow_run_name == "brisk-otter"
    assert record.name == "prefect.flow_runs"
    assert record.funcName == "test_other_handlers_get_the_record"


def test_where_no_event_loop_runs_prefects_own_handler_stores_the_line(monkeypatch):
    """None is lost, and nothing is raised at the one who logs."""
    stored = []
    monkeypatch.setattr(APILogHandler, "emit", lambda self, record: stored.append(record.msg))
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}):
        page_logger("0a4f7e30-0000-4000-8000-000000000000", "brisk-otter").info("hello")
    assert stored == ["hello"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="filters replace records from 3.12 on")
def test_a_filter_of_the_handler_may_mask_a_record(console):
    """What it gives is what is shown."""
    make, logger = console
    stream = make()

    def mask(record):
        return logging.makeLogRecord({**vars(record), "msg": "***"})

    logger.handlers[0].addFilter(mask)
    RunLogger(logger).info("hunter2")
    assert "hunter2" not in stream.getvalue()
    assert "***" in stream.getvalue()
