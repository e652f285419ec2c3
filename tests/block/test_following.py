"""Flow runs that are followed, on virtual time: what their listeners get, and when."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from uuid import UUID

import httpx
import pytest

from prefect_ecs_pinned.faces.following import Following
from tests.aws.virtual import VirtualClock

ID = str(UUID(int=1))

#: Seconds within which a state is documented to be noticed.
DOCUMENTED = 10.0

#: Seconds for an odd answer to be made good.
ONCE_MORE = 1.0


class Prefect:
    """A `StatesApi`; ``odd`` may raise, or give another answer, for the n-th call of a kind."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.now: dict[str, str | None] = defaultdict(lambda: "PENDING")
        self.batches: list[int] = []
        self.singles: list[str] = []
        self.odd_states: Callable[[int], Mapping[str, str] | None] = lambda _: None
        self.odd_state: Callable[[int], str | None] = lambda _: None
        self.seconds = 0.0
        self.counts = 0
        self.counted: Callable[[Sequence[str]], bool] = lambda _: False

    async def all_continue(self, ids: Sequence[str], /) -> bool:
        self.counts += 1
        await self.clock.wait(self.seconds)
        return self.counted(ids)

    async def states(self, ids: Sequence[str], /) -> Mapping[str, str]:
        self.batches.append(len(ids))
        number = len(self.batches)
        await self.clock.wait(self.seconds)
        odd = self.odd_states(number)
        return odd if odd is not None else {i: s for i in ids if (s := self.now[i]) is not None}

    async def state(self, flow_run_id: str, /) -> str | None:
        self.singles.append(flow_run_id)
        return self.odd_state(len(self.singles)) or self.now[flow_run_id]


class World:
    """What is reported of flow runs, and when."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.prefect = Prefect(self.clock)
        self.following = Following(self.prefect, self.clock)
        self.reported: list[tuple[float, str, str | None]] = []
        self.ends: dict[str, Callable[[], None]] = {}

    def follow(self, *ids: str) -> None:
        for id_ in ids:
            self.ends[id_] = self.following.follow(id_, lambda s, i=id_: self.report(i, s))  # type: ignore[misc]

    def report(self, id_: str, state: str | None) -> None:
        self.reported.append((self.clock.now(), id_, state))

    def states(self, id_: str = ID) -> list[str | None]:
        return [state for _, of, state in self.reported if of == id_]

    def reported_at(self, state: str | None, id_: str = ID) -> float | None:
        return next((at for at, of, s in self.reported if (of, s) == (id_, state)), None)

    async def pass_time(self, seconds: float) -> None:
        await self.clock.pass_time(seconds)

    def failing(self, exception: Exception, first: int, last: float) -> None:
        def odd(number: int) -> None:
            if first <= number <= last:
                raise exception

        self.prefect.odd_states = odd


@pytest.fixture
async def world():
    made = World()
    yield made
    for end in made.ends.values():
        end()


def http(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://user:s3cret@prefect/api/flow_runs/filter")
    response = httpx.Response(status, request=request)
    return httpx.HTTPStatusError("s3cret", request=request, response=response)


ODD = [
    http(500),
    http(503),
    http(429),
    http(404),
    http(422),
    httpx.ReadTimeout("slow"),
    httpx.ConnectError("refused"),
    ValueError("not JSON"),
    KeyError("id"),
    RuntimeError("the event loop ends"),
]


def ids_of(count: int) -> list[str]:
    return [str(UUID(int=n)) for n in range(count)]


# -- one timer, few calls --------------------------------------------------------------------------


async def test_many_runs_are_looked_at_in_few_calls(world: World):
    """Two hundred a call, every ten seconds."""
    world.follow(*ids_of(450))
    await world.pass_time(39.0)
    assert world.prefect.batches == [200, 200, 50] * 3
    assert len(world.reported) == 450 * 3
    assert world.prefect.singles == []


async def test_a_state_is_reported_to_each_of_several_listeners_until_it_ends(world: World):
    """Ending twice is ending once, and ends nobody else's."""
    others: list[str | None] = []
    end = world.following.follow(ID, others.append)
    world.follow(ID)
    await world.pass_time(11.0)
    end()
    end()
    await world.pass_time(10.0)
    assert (others, world.states()) == (["PENDING"], ["PENDING", "PENDING"])


async def test_nobody_is_asked_when_nothing_is_followed(world: World):
    """The timer ends, and begins again."""
    world.follow(ID)
    world.ends[ID]()
    await world.pass_time(60.0)
    assert world.prefect.batches == []
    world.follow(ID)
    await world.pass_time(11.0)
    assert world.states() == ["PENDING"]


async def test_a_listener_that_fails_harms_no_other(world: World, log):
    """Nor the timer."""

    def fails(state: str | None) -> None:
        raise RuntimeError("a fault of ours")

    world.ends["failing"] = world.following.follow(ID, fails)
    world.follow(ID)
    await world.pass_time(31.0)
    assert world.states() == ["PENDING"] * 3


# -- odd answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("exception", ODD, ids=repr)
async def test_a_cancelled_run_is_noticed_in_time_after_an_odd_answer(world: World, exception):
    """It is cancelled right before the look whose answer is odd; nothing else is reported."""
    world.follow(ID)
    world.failing(exception, 2, 2)
    await world.pass_time(11.0)
    world.prefect.now[ID] = "CANCELLED"
    await world.pass_time(DOCUMENTED + ONCE_MORE)
    assert world.states() == ["PENDING", "CANCELLED"]


@pytest.mark.parametrize("exception", ODD, ids=repr)
async def test_the_timer_outlives_an_hour_of_odd_answers(world: World, exception):
    """Nothing is reported meanwhile."""
    world.follow(ID)
    world.failing(exception, 1, float("inf"))
    await world.pass_time(3600.0)
    assert world.reported == []
    world.failing(exception, 0, 0)
    world.prefect.now[ID] = "CANCELLED"
    await world.pass_time(DOCUMENTED + sum((1.0, 2.0)))
    assert world.states()[:1] == ["CANCELLED"]


async def test_one_odd_answer_in_four_is_made_good(world: World):
    """Whichever look it hits."""
    world.follow(ID)

    def odd(number: int) -> None:
        if number % 4 == 0:
            raise http(500)

    world.prefect.odd_states = odd
    await world.pass_time(601.0)
    times = [at for at, *_ in world.reported]
    assert len(times) == 60
    assert max(b - a for a, b in pairwise(times)) <= DOCUMENTED + ONCE_MORE


async def test_a_call_that_hangs_holds_up_only_its_own_runs(world: World):
    """And these until it is given up, after ten seconds."""
    ids = ids_of(300)
    world.follow(*ids)
    hung = asyncio.get_running_loop().create_future()
    answer = world.prefect.states

    async def states(asked: Sequence[str], /) -> Mapping[str, str]:
        if not world.prefect.batches:
            world.prefect.batches.append(len(asked))
            await hung
        return await answer(asked)

    world.prefect.states = states  # type: ignore[method-assign]
    await world.pass_time(20.5)
    assert world.states(ids[-1]) == ["PENDING"] * 2
    assert world.states(ids[0]) == []
    await world.pass_time(1.0)
    assert world.states(ids[0]) == ["PENDING"]
    await world.pass_time(100.0)
    assert len(world.states(ids[0])) > 9


async def test_runs_that_all_continue_are_not_read(world: World):
    """And from the first that does not, its page is: it is noticed as soon as otherwise."""
    ids = ids_of(300)
    world.follow(*ids)
    world.prefect.counted = lambda asked: all(world.prefect.now[id_] == "PENDING" for id_ in asked)
    await world.pass_time(25.0)
    assert (world.prefect.counts, world.prefect.batches) == (4, [])
    assert world.states(ids[0]) == [""] * 2
    world.prefect.now[ids[7]] = "CANCELLING"
    await world.pass_time(10.0)
    assert world.prefect.batches == [200]
    assert world.states(ids[7])[-1] == "CANCELLING"


@pytest.mark.parametrize("seconds", [0.0, 9.0, 16.0, 24.0])
async def test_a_count_takes_no_time_from_the_reading(world: World, seconds: float):
    """It fails, or shows nothing, or is too slow; a run that is cancelled is noticed."""

    def failed(asked: Sequence[str]) -> bool:
        if world.prefect.counts % 2:
            raise ConnectionError("502")
        return False

    world.follow(ID)
    world.prefect.counted, world.prefect.seconds = failed, seconds
    world.prefect.now[ID] = "CANCELLING"
    await world.pass_time(10.0 + 10.0 + 11.0 + 24.0 + 0.5)
    assert "CANCELLING" in world.states()


async def test_slow_answers_are_answers(world: World):
    """A busy server takes 24 s: the second try is given the time."""
    world.follow(ID)
    world.prefect.seconds = 24.0
    await world.pass_time(120.0)
    assert len(world.states()) >= 2
    assert set(world.states()) == {"PENDING"}


async def test_answers_about_others_say_nothing(world: World):
    """Nor does an answer that names only some: what lacks is asked for again."""
    ids = ids_of(120)
    world.follow(*ids)
    world.prefect.odd_states = lambda n: {"another": "CANCELLED"} if n == 1 else None
    await world.pass_time(11.0)
    assert {state for _, _, state in world.reported} == {"PENDING"}
    assert len(world.reported) == 120
    assert {id_ for _, id_, _ in world.reported} == set(ids)


async def test_an_answer_that_is_cut_short_is_completed(world: World):
    """Something gives 50 where 200 were asked for, and does not say so."""
    ids = ids_of(120)
    world.follow(*ids)
    whole = world.prefect.states

    async def states(asked: Sequence[str], /) -> Mapping[str, str]:
        return dict(list((await whole(asked)).items())[:50])

    world.prefect.states = states  # type: ignore[method-assign]
    await world.pass_time(11.0)
    assert world.prefect.batches == [120, 70, 20]
    assert (len(world.reported), world.prefect.singles) == (120, [])


async def test_a_run_without_a_state_is_wanted(world: World):
    """It is reported so, and is not taken for deleted."""
    world.follow(ID)
    world.prefect.now[ID] = ""
    await world.pass_time(35.0)
    assert world.states() == ["", "", ""]
    assert world.prefect.singles == []


# -- missing ---------------------------------------------------------------------------------------


async def test_a_run_that_is_missing_from_answers_but_can_be_read_is_there(world: World):
    """A replica that lags: the run is reported as it was read."""
    world.follow(ID)
    world.prefect.odd_states = lambda n: {}
    await world.pass_time(100.0)
    assert set(world.states()) == {"PENDING"}
    assert world.prefect.singles == [ID] * 9


@pytest.mark.parametrize("missing", [1, 2, 3])
async def test_404_must_come_twice(world: World, missing: int):
    """Some seconds apart: the second look decides, the first does not."""
    world.follow(ID)
    world.prefect.now[ID] = None
    await world.pass_time(10.0 * missing + 5.0)
    assert world.states() == [None] * (missing - 1)


async def test_a_deleted_run_is_noticed_within_twenty_seconds(world: World):
    """Two reads, however often it is reported afterwards."""
    world.follow(ID)
    await world.pass_time(10.5)
    world.prefect.now[ID] = None
    await world.pass_time(20.0)
    assert world.states() == ["PENDING", None]
    await world.pass_time(50.0)
    assert world.states() == ["PENDING"] + [None] * 6
    assert len(world.prefect.singles) == 2


async def test_404s_between_which_the_run_was_seen_prove_nothing(world: World):
    """A failover: half of the answers come from a server that lags."""
    world.follow(ID)
    world.prefect.now[ID] = None
    world.prefect.odd_states = lambda n: {} if n % 2 else {ID: "PENDING"}
    await world.pass_time(601.0)
    assert world.states() == ["PENDING"] * 30
    assert len(world.prefect.singles) == 30


@pytest.mark.parametrize("exception", ODD, ids=repr)
async def test_an_odd_answer_is_no_404(world: World, exception):
    """However often `read_flow_run` fails, the run is wanted."""
    world.follow(ID)
    world.prefect.odd_states = lambda n: {}

    def odd(number: int) -> None:
        raise exception

    world.prefect.odd_state = odd
    await world.pass_time(600.0)
    assert world.reported == []
    assert len(world.prefect.singles) > 50


async def test_a_thousand_deleted_runs_are_read_eight_at_a_time(world: World):
    """And the one that is not deleted is looked at as ever."""
    ids = ids_of(1001)
    world.follow(*ids)
    for id_ in ids[1:]:
        world.prefect.now[id_] = None
    at_once, most = 0, 0
    state = world.prefect.state

    async def counted(id_: str, /) -> str | None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await world.clock.wait(0.05)
        at_once -= 1
        return await state(id_)

    world.prefect.state = counted  # type: ignore[method-assign]
    await world.pass_time(41.0)
    assert most == 8
    assert len(world.states(ids[0])) == 4
    assert sum(world.reported_at(None, id_) is not None for id_ in ids[1:]) == 1000


# -- an outage -------------------------------------------------------------------------------------


def lines(log: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [r.getMessage() for r in log.records if r.levelno == level and "Prefect" in r.message]


async def test_an_outage_is_said_once_and_its_end_too(world: World, log):
    """After three minutes, with the number of runs and the last reason, and no URL."""
    world.follow(*ids_of(3))
    await world.pass_time(15.0)
    world.failing(http(503), 2, float("inf"))
    await world.pass_time(170.0)
    assert lines(log, logging.WARNING) == []
    await world.pass_time(3600.0)
    (warning,) = lines(log, logging.WARNING)
    assert warning.startswith(
        "3 flow runs could not be read from the Prefect API for 3 minutes (HTTP 503)"
    )
    assert lines(log, logging.INFO) == []
    world.failing(http(503), 0, 0)
    await world.pass_time(120.0)
    assert lines(log, logging.INFO) == ["Flow runs can be read from the Prefect API again"]
    assert "s3cret" not in log.text
    world.failing(http(500), 0, float("inf"))
    await world.pass_time(400.0)
    assert len(lines(log, logging.WARNING)) == 2, "the next outage is another"


async def test_an_outage_that_lasts_while_runs_come_and_go_is_said_once(world: World, log):
    """The runs that were waiting leave; others come; nothing was read yet."""
    world.failing(http(503), 0, float("inf"))
    for id_ in ids_of(20):
        world.follow(id_)
        await world.pass_time(200.0)
        world.ends.pop(id_)()
        await world.pass_time(20.0)
    assert len(lines(log, logging.WARNING)) == 1
    assert lines(log, logging.INFO) == []


async def test_failures_that_are_made_good_are_nothing_to_speak_of(world: World, log):
    """Not even when every other answer is odd."""
    world.follow(ID)

    def odd(number: int) -> None:
        if number % 2:
            raise http(500)

    world.prefect.odd_states = odd
    await world.pass_time(3600.0)
    assert lines(log, logging.WARNING) == []


async def test_deleted_runs_are_no_outage(world: World, log):
    """They have been read: they are not there."""
    world.follow(ID)
    world.prefect.now[ID] = None
    await world.pass_time(3600.0)
    assert lines(log, logging.WARNING) == []
