"""A part of the fault matrix through the worker; `make faults` runs all of it, 200 runs a row."""

from __future__ import annotations

import pytest

from tests.faults.matrix import ROWS
from tests.faults.row import run_row

RUNS = 10

#: A lost answer, and an odd one while tasks are watched.
WORDS = ("register replies lost", "an odd task")
QUICK = [row for row in ROWS if any(word in row.name for word in WORDS)]


@pytest.mark.parametrize("row", QUICK, ids=lambda row: row.name)
async def test_every_run_is_launched_once(row):
    """Polled, taken, launched once, and what is said of it is so; one revision."""
    outcome, wrong = await run_row(row, RUNS)
    assert wrong == []
    assert outcome.once + len(outcome.expected) == RUNS
