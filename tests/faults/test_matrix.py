"""A part of the matrix; `make faults` runs all of it, with two hundred runs a row."""

from __future__ import annotations

import pytest

from tests.faults.contention import cold_rounds, killed_while_launching
from tests.faults.matrix import ROWS, complaints, run_row

RUNS = 25


@pytest.mark.parametrize("row", [row for row in ROWS if row.quick], ids=lambda row: row.name)
async def test_every_run_is_launched_once(row):
    """Counted by flow run id on the server's side; one revision, no run lost, none hanging."""
    outcome = await run_row(row, RUNS)
    assert complaints(row, outcome) == []
    assert outcome.once == RUNS


def test_eight_cold_processes_use_one_revision():
    """8 x 25 runs at the same moment, twice; a ninth process registers nothing."""
    first, second = cold_rounds(2)
    assert [(r.once, r.wrong, r.later) for r in (first, second)] == [(200, 0, 0)] * 2
    assert sorted((first.active, second.active)) in ([1, 1], [1, 2])


def test_an_agent_that_is_killed_while_it_launches():
    """None is launched twice, none of the launched is lost; the rest can be found and launched."""
    outcome = killed_while_launching(runs=60, after=30)
    assert 30 <= outcome.launched < 60
    assert outcome.ended == outcome.launched
    assert outcome.launched + outcome.pending == 60
    assert (outcome.once, outcome.twice, outcome.active) == (60, 0, 1)
