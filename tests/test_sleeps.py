"""No test sleeps to be right: it waits for what it needs, however long that takes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent

#: A coroutine that sleeps for so many seconds hangs, and is cancelled.
HANGS = 600

#: File::function -> what its sleep is. None of them makes a test pass that would fail without it.
SCENARIOS = {
    "block/test_output.py::test_a_disk_that_is_full_for_a_while_costs_no_line": "the disk is full",
    "docs/session.py::_leave_running": "a command that can't be started ends meanwhile",
    "faults/liveness.py::frozen": "the worker is stopped for three minutes",
    "faults/runs.py::_live": "a run arrives",
    "functional/flows/sleeper.py::sleeper": "the flow takes its time",
    "worker/test_liveness.py::"
    "test_a_worker_that_freezes_launches_nothing_that_others_have_taken": "a launch would come",
    "worker/test_many.py::test_no_more_tasks_live_than_the_job_allows": "one too many would come",
}

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _sleeps(node: ast.AST, function: str = "", polls: bool = False) -> Iterator[tuple[str, int]]:
    """Functions and lines of the sleeps below a node that are neither a poll nor a hang."""
    if isinstance(node, _FUNCTIONS):
        function, polls = node.name, False
    polls = polls or isinstance(node, ast.While) or _is_left(node)
    if isinstance(node, ast.Call) and not polls and _is_sleep(node):
        yield function, node.lineno
    for child in ast.iter_child_nodes(node):
        yield from _sleeps(child, function, polls)


def _is_left(node: ast.AST) -> bool:
    """Whether it is a loop over numbers that ends as soon as something has come true."""
    return isinstance(node, ast.For) and any(isinstance(n, ast.Break) for n in ast.walk(node))


def _is_sleep(call: ast.Call) -> bool:
    """Whether time passes in it: 0 lets others run, and nobody waits for the end of a hang."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name != "sleep" or not call.args:
        return False
    given = call.args[0]
    seconds = given.value if isinstance(given, ast.Constant) else None
    return not isinstance(seconds, int | float) or 0 < seconds < HANGS


def test_a_sleep_polls_or_is_a_part_of_what_happens():
    """Within a loop that ends when something has come true; or in the table above."""
    found = {
        f"{path.relative_to(HERE).as_posix()}::{function}"
        for path in sorted(HERE.rglob("*.py"))
        for function, _ in _sleeps(ast.parse(path.read_text()))
    }
    assert found == set(SCENARIOS)
