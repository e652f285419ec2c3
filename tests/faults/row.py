"""A row of the matrix: what is wrong on that day, and what has to come of it all the same."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from prefect_ecs_pinned import majors
from prefect_ecs_pinned.aws import control_plane
from prefect_ecs_pinned.local import LocalECS, Settings
from prefect_ecs_pinned.local.faults import Fault
from prefect_ecs_pinned.local.settings import Phases
from tests.faults.runs import WELL, Day, Face, FieldsOf, Outcome, Requests, live_through
from tests.faults.world import microburst, no_prefect_api

QUICK = Phases(0.1, 0.1, 0.1, 0.0, 0.0, 0.1)

#: Seconds from RunTask to STOPPED of a task that runs for a second.
LIFE = 0.4 + 1.0


@dataclass(frozen=True)
class Row:
    """One day.

    Attributes:
        name: What is wrong.
        settings: How the embedded ECS behaves; a function is given the number of runs.
        faults: What it does wrong.
        wire: Rules of microburst, which stands in front of it when there are any.
        meanwhile: What happens while the runs are under way.
        around: What stands around the day; it may set ``api`` or ``notes`` of it.
        revisions: How many there may be in the end, deregistered ones included.
        fields: Of the block.
        each: Fields of one run's block besides, by its number.
        arrives: Seconds until a run is started, by its number.
        stated: Pattern of the whole end of a run, by its number and that of all; None for one that
            is to be launched once and end with 0.
        also: What else is wrong with the outcome.
        cancelled: Whether a run's coroutine is cancelled, by its number. For a worker these are
            runs that a caller submits, since Prefect cancels those that it polls only to stop.
        crowd: How many times the number of runs there are.
        warm: The revision is there already, and nobody remembers it.
        patience: Seconds for 200 runs.
        quick: It belongs to the part that is run with the tests.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    faults: Sequence[Mapping[str, Any]] = ()
    wire: Sequence[Mapping[str, Any]] = ()
    meanwhile: Callable[[Day], Awaitable[None]] | None = None
    around: Callable[[Day], AbstractContextManager[None]] | None = None
    revisions: int = 1
    fields: Mapping[str, Any] = field(default_factory=dict)
    each: Callable[[int], Mapping[str, Any]] = lambda number: {}
    arrives: Callable[[int], float] = lambda number: 0.0
    stated: Callable[[int, int], str | None] = lambda number, runs: None
    also: Callable[[Outcome], list[str]] = lambda outcome: []
    cancelled: Callable[[int], bool] = lambda number: False
    crowd: int = 1
    warm: bool = False
    patience: float = 240.0
    quick: bool = False


def a_fifth(runs: int) -> int:
    """A fifth of the runs."""
    return max(1, runs // 5)


def settings_of(row: Row, runs: int) -> Settings:
    """The settings of a row, quotas off unless it says otherwise."""
    given = {
        name: value(runs) if callable(value) else value for name, value in row.settings.items()
    }
    quick = Settings(quota_scale=None, phases=QUICK, task_seconds=1.0)
    return replace(quick, latencies={"RunTask": 0.1, "RegisterTaskDefinition": 0.2}, **given)


def fields_of(row: Row) -> FieldsOf:
    """The fields of a run, by its number."""
    return lambda number: {**row.fields, **row.each(number)}


def _day(row: Row, ecs: LocalECS, endpoint: str, prefect: Any) -> Day:
    """A day through the face of the Prefect that is installed."""
    face: Face
    if prefect is None:
        from tests.faults.block_face import BlockFace

        face = BlockFace(endpoint, fields_of(row))
    else:
        from tests.faults.worker_face import WorkerFace

        face = WorkerFace(prefect, endpoint, fields_of(row), row.cancelled)
    return Day(ecs, Requests(), face, row.arrives, api=prefect)


def _prefect(ecs: LocalECS, stack: ExitStack) -> Any:
    """Prefect's API, which a worker cannot be without; None for blocks."""
    if majors.face() is not majors.WORKER:
        return None
    from tests.faults.prefect_side import serving
    from tests.faults.worker_side import WorkerSide

    side = WorkerSide()
    side.ecs = ecs
    stack.enter_context(serving(side))
    return side


async def run_row(row: Row, runs: int) -> tuple[Outcome, list[str]]:
    """Live through one day with that many runs; what came of it, and what is wrong with that."""
    control_plane.forget_all()
    runs *= row.crowd
    with ExitStack() as stack:
        stack.enter_context(no_prefect_api())
        ecs = stack.enter_context(LocalECS(settings_of(row, runs), access_key="local"))
        prefect = _prefect(ecs, stack)
        if row.warm:
            await live_through(_day(row, ecs, ecs.endpoint_url, prefect), 1, row.patience)
            control_plane.forget_all()
            ecs.reset()
        endpoint = ecs.endpoint_url
        if row.wire:
            endpoint = stack.enter_context(microburst(endpoint, row.wire))
        day = _day(row, ecs, endpoint, prefect)
        if prefect is not None:
            prefect.on_state = day.note_untruth
        if row.around is not None:
            stack.enter_context(row.around(day))
        ecs.faults(day.requests, *(Fault(**fault) for fault in row.faults))
        outcome = await live_through(
            *(day, runs, row.patience, row.meanwhile),
            stated=lambda number: row.stated(number, runs),
        )
        control_plane.forget_all()
    return outcome, complaints(row, outcome) + day.notes


def complaints(row: Row, outcome: Outcome) -> list[str]:
    """What is wrong with an outcome."""
    wrong = [
        f"{name}: {count}"
        for name, count in (
            ("lost", outcome.lost),
            ("launched twice", outcome.twice),
            ("hanging", outcome.hanging),
        )
        if count
    ]
    ends = Counter(
        run.end
        for run in outcome.each
        if not re.fullmatch(outcome.expected.get(run.number, re.escape(WELL)), run.end)
    )
    wrong += [f"{end} ({count})" for end, count in ends.most_common(5)]
    untrue = Counter(run.untrue for run in outcome.each if run.untrue)
    wrong += [f"untrue: {said} ({count})" for said, count in untrue.most_common(5)]
    if outcome.revisions > row.revisions or outcome.active != 1:
        wrong.append(f"{outcome.active} ACTIVE of {outcome.revisions} revisions")
    return wrong + row.also(outcome)
