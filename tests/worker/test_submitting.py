"""What is asked of Prefect's API before a launch: by how many runs at once, how often, how long."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from prefect_ecs_pinned.worker import reading
from prefect_ecs_pinned.worker.reading import POLLED_AT, Remembered, prepare_client
from prefect_ecs_pinned.worker.turns import Turns
from tests.worker.world import World, live, submit, true

NEVER = 1000.0


class Reads:
    """A call that is counted, and answered when it is let."""

    def __init__(self, *failures: Exception) -> None:
        self.count = 0
        self.answered = asyncio.Event()
        self.answered.set()
        self._failures = list(failures)

    async def __call__(self, asked_for: UUID) -> DeploymentResponse:
        self.count += 1
        await self.answered.wait()
        if self._failures:
            raise self._failures.pop(0)
        about: dict[str, Any] = {"id": asked_for, "flow_id": uuid4(), "name": "nightly"}
        return DeploymentResponse(**about, job_variables={"env": {"N": str(self.count)}})


class NoTime:
    """A clock whose waits are noted, and over at once."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def now(self) -> float:
        return 0.0

    async def wait(self, seconds: float) -> None:
        self.waits.append(seconds)


def now() -> float:
    return asyncio.get_running_loop().time()


async def others() -> None:
    """Let all others run for as long as they have something to do."""
    for _ in range(5):
        await asyncio.sleep(0)


def refused(code: int) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://server/api")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(code))


# -- deployments and flows ------------------------------------------------------------------------


async def test_all_runs_of_a_poll_read_a_deployment_once():
    """While the first call is under way, and after it. Each gets an object of its own."""
    reads = Reads()
    remembered, deployment = Remembered(reads), uuid4()
    POLLED_AT.set(now())
    reads.answered.clear()
    asking = [asyncio.create_task(remembered(deployment)) for _ in range(200)]
    await asyncio.sleep(0)
    reads.answered.set()
    found = await asyncio.gather(*asking)
    found.append(await remembered(deployment))
    assert reads.count == 1
    assert len({id(one.job_variables["env"]) for one in found}) == 201
    await remembered(uuid4())
    assert reads.count == 2


async def test_a_run_of_a_later_poll_reads_it_anew():
    """It may have been asked for after the deployment was changed."""
    reads = Reads()
    remembered, deployment = Remembered(reads), uuid4()
    POLLED_AT.set(now())
    first = await remembered(deployment)
    POLLED_AT.set(now() + 0.001)
    second = await remembered(deployment)
    assert (first.job_variables["env"], second.job_variables["env"]) == ({"N": "1"}, {"N": "2"})


async def test_what_is_not_polled_is_read_each_time():
    """Such as runs of other workers, whose jobs are looked for."""
    reads = Reads()
    remembered, deployment = Remembered(reads), uuid4()
    assert POLLED_AT.get() is None
    await remembered(deployment)
    await remembered(deployment)
    assert reads.count == 2


async def test_a_failure_is_not_shared():
    """The run whose call has failed gets it; the others read again."""
    reads = Reads(ObjectNotFound(ValueError()))
    remembered, deployment = Remembered(reads), uuid4()
    POLLED_AT.set(now())
    asking = [asyncio.create_task(remembered(deployment)) for _ in range(3)]
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [isinstance(one, ObjectNotFound) for one in found] == [True, False, False]


async def test_a_run_that_is_cancelled_keeps_no_other_from_its_answer():
    reads = Reads()
    reads.answered.clear()
    remembered, deployment = Remembered(reads), uuid4()
    POLLED_AT.set(now())
    first, second = (asyncio.create_task(remembered(deployment)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    reads.answered.set()
    assert (await second).id == deployment
    assert reads.count == 1


class Failing:
    """A client each of whose calls fails a few times."""

    def __init__(self, *failures: Exception) -> None:
        self.calls: list[str] = []
        self._failures = list(failures)

    def __getattr__(self, name: str) -> Any:
        failures = list(self._failures)

        async def call(*_args: Any, **_values: Any) -> str:
            self.calls.append(name)
            if failures:
                raise failures.pop(0)
            return name

        return call


CALLS = ("read_deployment", "read_flow", "update_flow_run_labels", "update_flow_run")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "failure", [refused(500), refused(503), httpx.PoolTimeout(""), httpx.ReadError("")]
)
async def test_a_call_that_may_be_repeated_is(name: str, failure: Exception):
    """`database is locked` and the like would crash the run, or lose its identifier."""
    client, clock = Failing(failure, failure), NoTime()
    prepare_client(client, clock)  # type: ignore[arg-type]
    assert await getattr(client, name)(uuid4()) == name
    assert client.calls == [name] * 3
    assert clock.waits == [1.0, 2.0]


@pytest.mark.parametrize("failure", [refused(404), refused(422), ObjectNotFound(ValueError())])
async def test_a_refusal_is_not_repeated(failure: Exception):
    client, clock = Failing(failure), NoTime()
    prepare_client(client, clock)  # type: ignore[arg-type]
    with pytest.raises(type(failure)):
        await client.read_flow(uuid4())
    assert clock.waits == []


async def test_what_lasts_is_raised():
    """After two minutes: then Prefect reports the run as Crashed."""
    client, clock = Failing(*[refused(500)] * 20), NoTime()
    prepare_client(client, clock)  # type: ignore[arg-type]
    with pytest.raises(httpx.HTTPStatusError):
        await client.update_flow_run_labels(uuid4(), {})
    assert sum(clock.waits) == 120.0


# -- turns -----------------------------------------------------------------------------------------


async def test_so_many_runs_at_once_have_their_turn():
    """The others have it in the order in which they came; one that gives back twice gives once."""
    turns, order = Turns(2), []
    runs = [UUID(int=number) for number in range(6)]

    async def run(id_: UUID) -> None:
        await turns.take(id_)
        order.append(id_.int)

    tasks = [asyncio.create_task(run(id_)) for id_ in runs]
    await others()
    assert order == [0, 1]
    turns.give_back(runs[1])
    turns.give_back(runs[1])
    turns.give_back(runs[5])
    await others()
    assert order == [0, 1, 2]
    for task in tasks:
        task.cancel()


async def test_a_run_gives_back_its_turn_before_it_waits_for_capacity(world: World):
    """More runs wait for a place in the cluster than have their turn at Prefect's API at once."""
    runs = 4
    world.ecs.change(task_seconds=NEVER, vcpu_quota=0.0)
    async with world.worker() as worker:
        worker._turns = Turns(runs - 2)
        await world.schedule(await world.deployment(), runs)
        assert len(await submit(worker)) == runs
        claims = worker._claims_or_none()
        assert claims is not None
        await true(lambda: sum(claim.launching for claim in claims.all()) == runs)
        assert worker._turns._having == set()
        world.ecs.change(vcpu_quota=None)
        await true(lambda: len(live(worker)) == runs)


class Stop(Exception):
    """Why a worker stops; SIGTERM and SIGINT reach it as an exception, too."""


async def test_a_run_that_waits_for_its_turn_when_the_worker_stops_stays_scheduled(world: World):
    """Nothing was asked for it. One that gets its turn while the worker stops gives it up."""
    runs: list[Any] = []

    async def life() -> None:
        other = uuid4()
        async with world.worker(limit=5) as worker:
            worker._turns = Turns(1)
            await worker._turns.take(other)
            runs.extend(await world.schedule(await world.deployment(), 2))
            assert len(await submit(worker)) == 2
            worker.stopping = True
            worker._turns.give_back(other)
            await true(lambda: not worker._submitting_flow_run_ids)
            assert worker._turns._having == set()
            assert worker.limiter.borrowed_tokens == 0
            raise Stop

    with pytest.raises(Stop):
        await life()
    assert [(await world.read(run)).state.is_scheduled() for run in runs] == [True, True]
    assert world.ecs.launches == []


async def test_a_deployment_is_read_once_a_poll(world: World, monkeypatch):
    """By Prefect's own code: the calls that reach its client are counted."""
    from prefect.client.orchestration import PrefectClient

    counted: list[str] = []
    for name in ("read_deployment", "read_flow"):
        real = getattr(PrefectClient, name)

        async def call(client: Any, asked_for: UUID, name: str = name, real: Any = real) -> Any:
            counted.append(name)
            return await real(client, asked_for)

        monkeypatch.setattr(PrefectClient, name, call)
    world.ecs.change(task_seconds=NEVER)
    async with world.worker() as worker:
        deployment = await world.deployment()
        await world.schedule(deployment, 3)
        await submit(worker)
        await true(lambda: len(live(worker)) == 3)
        assert sorted(counted) == ["read_deployment", "read_flow"]
        await world.schedule(deployment)
        await submit(worker)
        await true(lambda: len(live(worker)) == 4)
        assert sorted(counted) == ["read_deployment"] * 2 + ["read_flow"] * 2


async def test_what_was_read_long_ago_is_forgotten(monkeypatch):
    """So a worker keeps no deployment for ever."""
    monkeypatch.setattr(reading, "_KEPT_SECONDS", 0.0)
    remembered = Remembered(Reads())
    POLLED_AT.set(now())
    for _ in range(3):
        await remembered(uuid4())
    assert len(remembered._reads) == 1


async def test_a_call_that_fails_does_not_end_the_worker(world: World, monkeypatch):
    """Prefect's own would end. The run stays Scheduled, and is polled again."""
    world.ecs.change(task_seconds=NEVER)
    async with world.worker() as worker:
        [run] = await world.schedule(await world.deployment())
        with monkeypatch.context() as patch:
            patch.setattr(worker.client, "read_deployment", Reads(httpx.ConnectError("away")))
            await submit(worker)
            await true(lambda: not worker._submitting_flow_run_ids)
        assert (await world.read(run)).state.is_scheduled()
        await submit(worker)
        await world.until(run, lambda seen: bool(seen.infrastructure_pid))


async def test_a_run_that_prefect_still_prepares_is_handed_back_at_once(world: World, monkeypatch):
    """When the worker stops; and a call of that part which fails later crashes nothing."""
    with contextlib.suppress(asyncio.CancelledError):
        async with world.worker() as worker:
            [run] = await world.schedule(await world.deployment())
            failed = asyncio.Event()

            async def read_flow(_: UUID) -> None:
                await world.until(run, lambda seen: seen.state.is_scheduled())
                failed.set()
                raise ConnectionError

            monkeypatch.setattr(worker.client, "read_flow", read_flow)
            await submit(worker)
            await world.until(run, lambda seen: seen.state.is_pending())
            raise asyncio.CancelledError
    assert failed.is_set()
    assert (await world.read(run)).state.is_scheduled()
    assert world.ecs.launches == []
