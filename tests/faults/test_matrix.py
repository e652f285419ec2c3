"""A part of the matrix; `make faults` runs all of it, with two hundred runs a row."""

from __future__ import annotations

import ast
import inspect
import re

import pytest

from prefect_ecs_pinned.aws.calls import api
from tests.faults.contention import cold_rounds, killed_while_launching, stage
from tests.faults.matrix import ROWS
from tests.faults.odd_answers import ANSWERS
from tests.faults.row import run_row

RUNS = 20


@pytest.mark.parametrize("row", [row for row in ROWS if row.quick], ids=lambda row: row.name)
async def test_every_run_is_launched_once(row):
    """Counted by flow run id on the server's side; one revision, no run lost, none hanging."""
    outcome, wrong = await run_row(row, RUNS)
    assert wrong == []
    assert outcome.once + len(outcome.expected) == RUNS * row.crowd


def test_every_action_that_runs_call_is_answered_oddly_in_some_row():
    """Read from the calls themselves: one that is added has to be added here."""
    calls = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(api)))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("call", "do", "_call")
    ]
    named = [arg.value for call in calls for arg in call.args if isinstance(arg, ast.Constant)]
    actions = {name for name in named if re.fullmatch("([A-Z][a-z0-9]+){2,}", str(name))}
    assert {"RunTask", "StopTask", "GetLogEvents", "DescribeVpcs"} < actions
    rules = [fault for row in ROWS for fault in row.faults]
    for answer in ANSWERS.values():
        oddly = {r["action"] for r in rules if answer.items() <= r.items() and "probability" in r}
        assert oddly >= actions


@pytest.fixture(scope="module")
def on_stage():
    with stage() as (ecs, processes):
        yield ecs, processes


@pytest.mark.xdist_group("crowd")
def test_eight_cold_processes_use_one_revision(on_stage):
    """8 x 25 runs at the same moment, twice; a ninth process registers nothing."""
    first, second = cold_rounds(*on_stage, rounds=2)  # type: ignore[misc]
    assert [(r.once, r.wrong, r.later) for r in (first, second)] == [(200, 0, 0)] * 2
    assert sorted((first.active, second.active)) in ([1, 1], [1, 2])


@pytest.mark.xdist_group("crowd")
def test_an_agent_that_is_killed_while_it_launches(on_stage):
    """None is launched twice, none of the launched is lost; the rest can be found and launched."""
    outcome = killed_while_launching(*on_stage, runs=50, after=25)  # type: ignore[misc]
    assert 25 <= outcome.launched < 50
    assert outcome.ended == outcome.launched
    assert outcome.launched + outcome.pending == 50
    assert (outcome.once, outcome.twice, outcome.active) == (50, 0, 1)
