"""Rows of the matrix in which a worker dies, stops or freezes, at full size and in life's seconds.

Real `prefect worker start` processes, a real server (SQLite) and the embedded ECS, with nothing
shortened but the poll. `tests/worker/test_liveness.py` does the same for a dozen runs, in seconds.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.queued.server import Server
from prefect_ecs_pinned.local import LocalECS, Settings
from prefect_ecs_pinned.local.settings import Phases
from tests.worker.conftest import WITHOUT
from tests.worker.test_liveness import launched, seen, states, with_pid
from tests.worker.workers import worker
from tests.worker.world import World

NEVER = 100_000.0

#: Seconds for anything that has to come.
PATIENCE = 900.0

#: Seconds in which a worker that is asked to stop has to end.
GONE = 10.0

#: Seconds in which a new worker has to report what has failed.
REPORTED = 60.0

#: Seconds for which a worker is frozen; and for which a second launch is waited for.
FROZEN, LINGER = 180.0, 15.0

#: vCPUs of a run.
SIZE = 0.25

#: Row, runs, launched once, launched twice, lost; what else is worth a word; what is wrong.
Outcome = tuple[int, int, int, int, str, list[str]]


async def _until(
    world: World, runs: Sequence[FlowRun], true: Callable[[list[FlowRun]], bool]
) -> float:
    """Seconds until something is true of all runs.

    Raises:
        TimeoutError: It takes too long.
    """
    began = time.monotonic()
    while not true(now := await _seen(world, runs)):
        if time.monotonic() - began > PATIENCE:
            raise TimeoutError(f"{states(now)}, {with_pid(now)} with a pid")
        await asyncio.sleep(0.5)
    return time.monotonic() - began


async def _seen(world: World, runs: Sequence[FlowRun]) -> list[FlowRun]:
    found: list[FlowRun] = []
    for first in range(0, len(runs), 200):
        found += await seen(world, runs[first : first + 200])
    return found


async def _queued(world: World, number: int) -> list[FlowRun]:
    await world.make_pool()
    return await world.schedule(await world.deployment(cpu=256, memory=512), number)


async def _outcome(
    world: World, runs: Sequence[FlowRun], crashed: set[object], words: str, wrong: list[str]
) -> Outcome:
    """Counted on ECS's side, and compared with what Prefect says."""
    count = Counter({str(run.id): launched(world)[str(run.id)] for run in runs})
    once, twice = (sum(n == 1 for n in count.values()), sum(n > 1 for n in count.values()))
    now = await _seen(world, runs)
    said = {run.id for run in now if run.state is not None and run.state.is_crashed()}
    if said != crashed:
        wrong.append(f"{len(said)} are Crashed, {len(said ^ crashed)} of them wrongly or not")
    if left := {k: n for k, n in states(now).items() if k not in ("PENDING", "CRASHED")}:
        wrong.append(f"{left}")
    return len(runs), once, twice, len(runs) - once - twice, words, wrong


async def killed(world: World, live: int = 200, fail: int = 50, wait: int = 50) -> Outcome:
    """SIGKILL; then some of the tasks fail. Another worker reports them, and launches the rest."""
    world.ecs.change(vcpu_quota=live * SIZE)
    runs = await _queued(world, live + wait)
    async with worker(world.pool, "one", short={}) as first:
        await _until(
            world,
            runs,
            lambda now: with_pid(now) == live and states(now)["PENDING"] == live + wait,
        )
        first.send(signal.SIGKILL)
        await first.gone()
    failed = [run for run in await _seen(world, runs) if run.infrastructure_pid][:fail]
    for run in failed:
        world.end(run, 1)
    world.ecs.change(vcpu_quota=None)
    async with worker(world.pool, "two", short={}):
        reported = await _until(world, failed, lambda now: states(now)["CRASHED"] == fail)
        rest = await _until(world, runs, lambda now: with_pid(now) == live + wait)
    words = f"{fail} reported {reported:.0f} s after the start, {wait} launched {rest:.0f} s later"
    wrong = [f"reported after {reported:.0f} s"] if reported > REPORTED else []
    return await _outcome(world, runs, {run.id for run in failed}, words, wrong)


async def stopped(world: World, number: int = 200) -> Outcome:
    """SIGTERM when half of the runs have been launched; another worker launches the rest."""
    runs = await _queued(world, number)
    wrong = []
    async with worker(world.pool, "one", short={}) as first:
        await _until(world, runs, lambda _: len(world.ecs.launches) >= number // 2)
        first.send(signal.SIGTERM)
        gone = await first.gone()
        now = await _seen(world, runs)
        launches = len(world.ecs.launches)
        said = f"{launches} launched, {states(now)['SCHEDULED']} handed back"
        if gone >= GONE:
            wrong.append(f"gone after {gone:.1f} s: {first.output()[-2000:]}")
    async with worker(world.pool, "two", short={}):
        rest = await _until(world, runs, lambda now: with_pid(now) == number)
    if world.live_tasks() != number:
        wrong.append(f"{world.live_tasks()} tasks live")
    words = f"gone after {gone:.1f} s: {said}; the rest {rest:.0f} s later"
    return await _outcome(world, runs, set(), words, wrong)


async def frozen(world: World, number: int = 50) -> Outcome:
    """SIGSTOP for three minutes while runs wait, beside a second worker; then SIGCONT."""
    world.ecs.change(vcpu_quota=0.0)
    runs = await _queued(world, number)
    async with worker(world.pool, "one", short={}) as first:
        await _until(world, runs, lambda now: states(now)["PENDING"] == number)
        async with worker(world.pool, "two", short={}):
            first.send(signal.SIGSTOP)
            world.ecs.change(vcpu_quota=None)
            await asyncio.sleep(FROZEN)
            first.send(signal.SIGCONT)
            rest = await _until(world, runs, lambda now: with_pid(now) == number)
            await asyncio.sleep(LINGER)
    return await _outcome(world, runs, set(), f"launched {rest:.0f} s after SIGCONT", [])


ROWS: dict[str, Callable[[World], Awaitable[Outcome]]] = {
    "a worker killed, 200 live tasks, 50 of which fail, 50 runs queued": killed,
    "a worker stopped in the middle of 200 launches": stopped,
    "a worker frozen for 3 minutes, 50 runs queued, a second beside it": frozen,
}


@contextmanager
def _server() -> Iterator[None]:
    """`prefect server start` without what locks SQLite for nothing here.

    Not Prefect's test harness: its server is an ephemeral one, which never calls a worker OFFLINE.
    """
    without = {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in WITHOUT}
    with tempfile.TemporaryDirectory() as folder:
        database = f"sqlite+aiosqlite:///{folder}/prefect.db"
        server = Server(Path(sys.executable).parent, Path(folder), database, without)
        with server, temporary_settings({PREFECT_API_URL: server.url}):
            yield


async def _live(row: Callable[[World], Awaitable[Outcome]]) -> Outcome:
    phases = Phases(0, 0, 0, 0, 0, 0)
    settings = Settings(phases=phases, task_seconds=NEVER)
    with LocalECS(settings) as ecs:
        async with World.begin(ecs) as world:
            world.poll_seconds = 5.0
            return await row(world)


def lived_through(name: str) -> tuple[Sequence[str], list[str]]:
    """Live through a row; its line of the table, and what is wrong."""
    began = time.monotonic()
    with _server():
        try:
            runs, once, twice, lost, words, wrong = asyncio.run(_live(ROWS[name]))
        except TimeoutError as error:
            runs, once, twice, lost, words, wrong = 0, 0, 0, 0, "", [f"it takes too long: {error}"]
    numbers = (runs, once, 0, lost, twice, 0)
    seconds = f"{time.monotonic() - began:.0f}"
    return (f"{name}: {words}", *map(str, numbers), "-", seconds), wrong
