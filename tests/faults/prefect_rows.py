"""Rows in which Prefect's API answers oddly while runs wait for room."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from prefect_ecs_pinned.faces import following
from tests.faults.prefect_side import PrefectSide, serving
from tests.faults.row import Row, a_fifth
from tests.faults.runs import NOT_LAUNCHED, Day

#: Seconds between two looks at the flow runs that wait: there are some while the runs do.
LOOK_SECONDS = 1.0

#: So many of the runs, the last, are not wanted: they show that the API is listened to.
UNWANTED = 10


@contextmanager
def prefect(day: Day, limit: int = 200) -> Iterator[PrefectSide]:
    """A stand-in of Prefect's API, if there is none yet; flow runs are looked at often."""
    served: AbstractContextManager[None] = nullcontext()
    if day.api is None:
        day.api = PrefectSide()
        served = serving(day.api)
    side: PrefectSide = day.api
    side.limit = limit
    with served, pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "LOOK_SECONDS", LOOK_SECONDS)
        yield side


@contextmanager
def missing_once(day: Day) -> Iterator[None]:
    """Each flow run is missing from one answer, half also from one look at it alone."""
    missing: set[str] = set()
    alone: set[str] = set()

    def leaves_out(ids: Collection[str]) -> Collection[str]:
        first = [id_ for id_ in ids if id_ not in missing]
        missing.update(first)
        return first

    def not_found(id_: str) -> bool:
        first = int(id_[0], 16) % 2 == 0 and id_ not in alone
        alone.add(id_)
        return first

    with prefect(day) as side:
        side.leaves_out, side.not_found = leaves_out, not_found
        yield
        if len(missing) < len(day.runs) // 4:
            day.notes.append(f"only {len(missing)} flow runs were looked at")


async def delete_the_last(day: Day) -> None:
    """The last of the runs are deleted in Prefect, and really so."""
    for run in day.runs[-UNWANTED:]:
        day.api.states[run.flow_run_id] = None


@contextmanager
def limit_of_50(day: Day) -> Iterator[None]:
    """The server refuses a ``limit`` above 50."""
    with prefect(day, limit=50) as side:
        yield
        if not side.asked or max(side.asked) > 50 or not 1 <= side.refused <= 10:
            day.notes.append(f"asked for {side.asked[:5]} flow runs, {side.refused} times refused")


@contextmanager
def one_in_five_fails(day: Day) -> Iterator[None]:
    """Prefect's API answers 503, and Prefect's client asks again, as it does by itself."""
    draw = random.Random(5).random
    with prefect(day) as side, temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 5}):
        side.fails = lambda: draw() < 0.2
        yield


async def cancel_the_last(day: Day) -> None:
    """The last of the runs are cancelled in Prefect."""
    for run in day.runs[-UNWANTED:]:
        day.api.states[run.flow_run_id] = "CANCELLING"


def _the_last(number: int, runs: int) -> str | None:
    return NOT_LAUNCHED if number >= runs - UNWANTED else None


_WAITING = {"vcpu_quota": a_fifth, "task_seconds": 3.0}

ROWS = (
    Row(
        "each flow run missing from one answer of Prefect's API",
        settings=_WAITING,
        fields={"cpu": 1024, "memory": 2048},
        around=missing_once,
        meanwhile=delete_the_last,
        stated=_the_last,
    ),
    Row(
        "a Prefect server whose limit is 50",
        settings=_WAITING,
        fields={"cpu": 1024, "memory": 2048},
        around=limit_of_50,
        meanwhile=cancel_the_last,
        stated=_the_last,
    ),
    Row(
        "503 from Prefect's API, 20 % of its answers",
        settings=_WAITING,
        fields={"cpu": 1024, "memory": 2048},
        around=one_in_five_fails,
        meanwhile=cancel_the_last,
        stated=_the_last,
    ),
)
