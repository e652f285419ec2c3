"""`make faults`: the whole matrix as a table; the exit code says whether every row holds.

It goes through the block where Prefect 2 is installed, and through the worker where Prefect 3 is;
``make faults`` does both. ``make faults ARGS="--rows lost"`` runs the rows whose names contain a
word, ``ARGS=--soak`` the soak alone, ``ARGS=--properties`` the generated definitions alone,
``ARGS=--liveness`` the workers that are killed, stopped and frozen.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from prefect_ecs_pinned import majors

COLUMNS = (
    "row",
    "runs",
    "once",
    "stated",
    "lost",
    "twice",
    "hanging",
    "ACTIVE/all",
    "seconds",
    "verdict",
)

#: Generated definitions, all property tests together; and as many documents of nonsense.
EXAMPLES = 10_000

#: Of pytest: in this process, and for as long as it takes.
OPTIONS = ("-n", "0", "--timeout", "1800")

Line = tuple[Sequence[str], list[str]]


def _matrix(words: Sequence[str], runs: int) -> list[Callable[[], Line]]:
    from tests.faults.matrix import ROWS
    from tests.faults.row import Row, run_row

    def live_through(row: Row) -> Line:
        o, wrong = asyncio.run(run_row(row, runs))
        numbers = (o.runs, o.once, len(o.expected), o.lost, o.twice, o.hanging)
        active = f"{o.active}/{o.revisions}"
        return (row.name, *map(str, numbers), active, f"{o.seconds:.0f}"), wrong

    chosen = [row for row in ROWS if not words or any(word in row.name for word in words)]
    return [lambda row=row: live_through(row) for row in chosen]  # type: ignore[misc]


def _cold(rounds: int) -> Line:
    from tests.faults.contention import PROCESSES, RUNS_EACH, cold_rounds, stage

    began = time.monotonic()
    with stage() as (ecs, processes):
        results = cold_rounds(ecs, processes, rounds)
    one = sum(r.active == 1 for r in results)
    wrong = []
    if any(r.wrong for r in results):
        wrong.append(f"{sum(r.wrong for r in results)} runs")
    if one < 0.95 * rounds or any(r.active > 2 for r in results):
        wrong.append(f"ACTIVE revisions: {[r.active for r in results]}")
    if any(r.later for r in results):
        wrong.append("a later process registered")
    once = sum(r.once for r in results)
    runs = rounds * PROCESSES * RUNS_EACH
    name = f"{PROCESSES} processes x {RUNS_EACH} runs, cold at once, {rounds} times"
    active = f"1 in {one} of {rounds}"
    seconds = f"{time.monotonic() - began:.0f}"
    return (name, str(runs), str(once), "-", "-", "-", "-", active, seconds), wrong


def _killed(runs: int) -> Line:
    from tests.faults.contention import killed_while_launching, stage

    began = time.monotonic()
    with stage() as (ecs, processes):
        k = killed_while_launching(ecs, processes, runs, after=runs // 3)
    wrong = []
    if k.twice or k.once != runs or k.active != 1:
        wrong.append(str(k))
    if k.ended != k.launched or k.launched + k.pending != runs:
        wrong.append(f"lost: {k}")
    name = f"SIGKILL after {k.launched} launches; {k.pending} found Pending, launched by the next"
    seconds = f"{time.monotonic() - began:.0f}"
    numbers = (runs, k.once, 0, 0, k.twice, 0)
    return (name, *map(str, numbers), f"{k.active}/1", seconds), wrong


def _soak(seconds: float, rate: float) -> Line:
    from tests.faults.soak import soak

    result = soak(seconds, rate)
    grown = ", ".join(f"{n} {a:.0f} -> {b:.0f}" for n, (a, b) in result.growth().items())
    name = f"soak, {rate:.0f} launches/s, other credentials every second: {grown}"
    numbers = (result.launched, result.ended, 0, result.launched - result.ended, result.twice)
    return (name, *map(str, numbers), "0", f"{result.revisions}/1", f"{seconds:.0f}"), (
        result.complaints()
    )


def _properties() -> Line:
    began = time.monotonic()
    tests = (
        "tests/core/test_properties.py",
        "tests/runs/test_nonsense.py",
        "tests/block/test_accepted.py",
    )
    counts = dict.fromkeys(("GENERATED_DEFINITIONS", "GENERATED_DOCUMENTS"), str(EXAMPLES))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *OPTIONS, *tests],
        env={**os.environ, **counts},
        capture_output=True,
        text=True,
        check=False,
    )
    wrong = done.stdout.splitlines()[-8:] if done.returncode else []
    name = f"{EXAMPLES:,} generated definitions through the property tests, and nonsense"
    seconds = f"{time.monotonic() - began:.0f}"
    return (name, *"-------", seconds), wrong


def _liveness(rows: Sequence[str]) -> list[Callable[[], Line]]:
    from tests.faults.liveness import ROWS, lived_through

    chosen = [name for name in ROWS if not rows or any(word in name for word in rows)]
    return [lambda name=name: lived_through(name) for name in chosen]  # type: ignore[misc]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rows", nargs="*", default=[], help="words in the names of rows")
    parser.add_argument("--soak", action="store_true", help="the soak alone")
    parser.add_argument("--seconds", type=float, default=300.0, help="of the soak")
    parser.add_argument("--rate", type=float, default=50.0, help="launches a second of the soak")
    parser.add_argument("--cold", action="store_true", help="the cold processes alone")
    parser.add_argument("--killed", action="store_true", help="the killed agent alone")
    parser.add_argument("--properties", action="store_true", help="generated definitions alone")
    parser.add_argument(
        "--liveness",
        nargs="*",
        help="workers that are killed, stopped and frozen, alone; or words of them",
    )
    parser.add_argument("--face", choices=("block", "worker"), help="what has to be installed")
    given = parser.parse_args()
    return _show(_work(given), given.face or _face())


def _face() -> str:
    return "worker" if majors.face() is majors.WORKER else "block"


def _work(given: argparse.Namespace) -> list[Callable[[], Line]]:
    """What was asked for, as far as there is such a thing for the face."""
    if given.face:
        majors.require(majors.WORKER if given.face == "worker" else majors.BLOCK)
    worker = _face() == "worker"
    work: list[Callable[[], Line]] = []
    liveness = given.liveness is not None
    alone = (given.soak, given.rows, given.cold, given.killed, given.properties, liveness)
    everything = not any(alone)
    if everything or given.rows:
        work += _matrix(given.rows, given.runs)
    if everything or given.cold:
        work.append(lambda: _cold(given.rounds))
    if worker:
        return work + (_liveness(given.liveness or ()) if everything or liveness else [])
    if everything or given.killed:
        work.append(lambda: _killed(given.runs))
    if everything or given.properties:
        work.append(_properties)
    if given.soak:
        work.append(lambda: _soak(given.seconds, given.rate))
    return work


def _show(work: Sequence[Callable[[], Line]], face: str) -> int:
    console = Console(width=max(120, Console().width))
    table = Table(*COLUMNS, title=f"The fault matrix through the {face}")
    failed = 0
    for piece in work:
        cells, wrong = piece()
        failed += bool(wrong)
        verdict = "FAILED: " + "; ".join(wrong) if wrong else "ok"
        console.print(f"{cells[0]}: {verdict}", highlight=False)
        table.add_row(*cells, verdict)
    console.print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    logging.getLogger("uvicorn.error").addFilter(lambda _: False)  # answers that are not sent
    os.environ.setdefault("PREFECT_LOGGING_ROOT_LEVEL", "CRITICAL")
    warnings.simplefilter("ignore")
    sys.exit(main())
