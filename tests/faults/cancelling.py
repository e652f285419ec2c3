"""Rows in which StopTask is denied while runs are cancelled: queued, in RunTask, and later."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tests.faults.odd_answers import called, each_in_four
from tests.faults.prefect_rows import prefect
from tests.faults.row import QUICK, Row
from tests.faults.runs import CANCELLED, NOT_LAUNCHED, WELL, Day, Run

#: Where a run is when it is cancelled, by its number. The rules distinguish them by size.
QUEUED, IN_RUN_TASK, PROVISIONING, RUNNING = range(4)
_SIZES = ((4096, 8192), (512, 1024), (256, 512), (1024, 2048))

#: Seconds from RunTask to RUNNING; there is time to cancel in between.
_PHASES = replace(QUICK, provisioning=3.0)

_DENIED = {
    "kind": "error",
    "action": "StopTask",
    "code": "AccessDeniedException",
    "message": "User: arn:aws:iam::123456789012:root is not authorized to perform: ecs:StopTask",
}


def stage(number: int) -> int:
    """Where a run is cancelled."""
    return number % 4


def by_prefect(number: int) -> bool:
    """Whether it is cancelled in Prefect; otherwise its coroutine is, as by an agent that ends."""
    return number // 4 % 2 == 0


def _sized(number: int) -> Mapping[str, Any]:
    cpu, memory = _SIZES[stage(number)]
    return {"cpu": cpu, "memory": memory}


@contextmanager
def truth(day: Day) -> Iterator[None]:
    """Whatever state is set in Prefect is compared with ECS at that moment."""

    with prefect(day) as side:
        side.on_state = day.note_untruth
        yield


@contextmanager
def all_stopped(day: Day) -> Iterator[None]:
    """As `truth`; afterwards no task lives that was to be stopped, long before its own end.

    An agent that ends leaves those alone that it has launched.
    """
    with truth(day):
        yield
        ours = [r for r in day.runs if by_prefect(r.number) or stage(r.number) == IN_RUN_TASK]
        if living := sum(day.lives(run) for run in ours):
            day.notes.append(f"{living} tasks live still")


async def cancel_at_every_stage(day: Day) -> None:
    """Cancel each run when it is where it is to be cancelled."""
    await asyncio.gather(*(_cancel(day, run) for run in day.runs))


async def _cancel(day: Day, run: Run) -> None:
    while not _is_there(day, run):  # noqa: ASYNC110 - the server is in another thread
        await asyncio.sleep(0.05)
    if not by_prefect(run.number):
        day.tasks[run.number].cancel()
        return
    day.api.states[run.flow_run_id] = "CANCELLING"
    if stage(run.number) == RUNNING:  # now the agent kills what it knows
        try:
            await day.face.kill(run)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is shown or counted
            if "StopTask" not in str(error):
                day.notes.append(f"kill: {error}")
        else:
            statuses = day.statuses(run)
            if statuses == ["RUNNING"]:
                run.untrue = "killed, while its task is RUNNING"


def _is_there(day: Day, run: Run) -> bool:
    where, sent = stage(run.number), day.requests.at.get(run.flow_run_id)
    if where == QUEUED:  # at the start of it all, and when it has been refused
        return bool(sent) or len(day.requests.at) > len(day.runs) // 2
    if where == IN_RUN_TASK:
        return bool(sent)
    wanted = "PROVISIONING" if where == PROVISIONING else "RUNNING"
    return run.status.identifier is not None and day.statuses(run) == [wanted]


def _end(number: int, runs: int) -> str:
    """How a run ends: a coroutine that was cancelled says nothing."""
    if not by_prefect(number):
        return CANCELLED
    if stage(number) == QUEUED:
        return NOT_LAUNCHED
    return rf"{WELL}|{NOT_LAUNCHED}" if stage(number) == IN_RUN_TASK else WELL


def _end_if_stopped(number: int, runs: int) -> str:
    """As `_end`; and a container that is stopped while it runs ends with SIGKILL."""
    killed = by_prefect(number) and stage(number) == RUNNING
    return rf"status code 137|{WELL}" if killed else _end(number, runs)


def _row(name: str, seconds: float, *answers: Mapping[str, Any]) -> Row:
    full = {"kind": "in-band", "action": "RunTask", "min_cpu": _SIZES[QUEUED][0]}
    slow = {"kind": "slow", "action": "RunTask", "match": {"overrides.cpu": "512"}, "seconds": 1.5}
    return Row(
        f"StopTask {name}, runs cancelled at every stage",
        settings={"phases": _PHASES, "task_seconds": seconds},
        faults=[slow, {**full, "message": "Capacity is unavailable at this time."}, *answers],
        each=_sized,
        around=truth,
        meanwhile=cancel_at_every_stage,
        stated=_end,
        cancelled=lambda number: not by_prefect(number),
        patience=150.0,
    )


ROWS = (
    _row("denied for 10 s", 30.0, {**_DENIED, "duration": 10.0}),
    _row("denied for good", 10.0, _DENIED),
    replace(
        _row("answered oddly, 1 in 4", 30.0, *each_in_four("StopTask")),
        around=all_stopped,
        stated=_end_if_stopped,
        also=called("StopTask"),
    ),
)
