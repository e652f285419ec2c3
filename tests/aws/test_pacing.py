"""Pacing: how fast a quota is found, how closely it is kept, and how several share one."""

from __future__ import annotations

import asyncio
import random

import pytest

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.calls.pacing import RUN_TASK, Pace, Pacer
from prefect_ecs_pinned.aws.launching.launch import Launching
from tests.aws.fakes import FakeTasks, arn
from tests.aws.virtual import VirtualClock

THROTTLED = Fault(Kind.THROTTLED, "RunTask", "ThrottlingException", "Rate exceeded")


class Quota:
    """A token bucket of AWS: so many calls at once, and as many more each second."""

    def __init__(self, clock: VirtualClock, rate: float) -> None:
        self.clock, self.rate, self.tokens, self.at = clock, rate, rate, clock.now()
        self.throttled = 0

    def __call__(self, request: object) -> Fault | None:
        now = self.clock.now()
        self.tokens = min(self.rate, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            self.throttled += 1
            return THROTTLED
        self.tokens -= 1
        return None


def request(number: int) -> dict[str, str]:
    return {
        "taskDefinition": arn("prefect-default", 1),
        "launchType": "FARGATE",
        "startedBy": f"run-{number}",
    }


@pytest.fixture
def clock() -> VirtualClock:
    random.seed(1)  # of jitter
    return VirtualClock()


async def launch_all(clock: VirtualClock, launchings: list[Launching], runs: int) -> list[float]:
    """Launch so many runs with each, and say when each had launched its last."""
    ends = [0.0] * len(launchings)

    async def one(index: int) -> None:
        submissions = [launchings[index].submit(request(n), budget=900.0) for n in range(runs)]
        for submission in submissions:
            await submission.outcome
        ends[index] = clock.now()

    async def everyone() -> None:
        await asyncio.gather(*map(one, range(len(launchings))))

    await clock.run(everyone())
    return ends


def span(*apis: FakeTasks) -> float:
    """Seconds from the first accepted launch to the last."""
    times = [at for api in apis for at, _ in api.started]
    return max(times) - min(times)


@pytest.mark.parametrize(("rate", "allowance"), [(20.0, 1.05), (100.0, 1.5)])
async def test_a_thousand_launches_take_hardly_longer_than_the_quota_demands(
    clock, rate, allowance
):
    """The documented quota, and one that AWS has raised and nobody has configured."""
    api = FakeTasks(clock)
    api.answer = quota = Quota(clock, rate)
    await launch_all(clock, [Launching(api, clock)], 1000)
    assert len(api.started) == 1000
    assert span(api) <= allowance * (1000 - rate) / rate
    assert quota.throttled <= 100


async def test_the_documented_quota_is_found_with_few_throttles(clock):
    """Each throttled call is a call more that was made for nothing."""
    api = FakeTasks(clock)
    api.answer = quota = Quota(clock, 20.0)
    await launch_all(clock, [Launching(api, clock)], 200)
    assert 1 <= quota.throttled <= 9


async def test_three_processes_share_a_quota_fairly(clock):
    """Without knowing of each other, and none gives up a launch."""
    apis = [FakeTasks(clock) for _ in range(3)]
    quota = Quota(clock, 20.0)
    for api in apis:
        api.answer = quota
    ends = await launch_all(clock, [Launching(api, clock) for api in apis], 200)
    assert [len(api.started) for api in apis] == [200] * 3
    assert span(*apis) <= 1.15 * (600 - 20) / 20
    assert max(ends) <= 1.5 * min(ends)


async def take(clock: VirtualClock, pacer: Pacer, seconds: float) -> int:
    """Take permits for so long, one after the other; how many there were."""
    until, taken = clock.now() + seconds, 0
    while clock.now() < until:
        await clock.run(pacer.permit())
        taken += 1
    return taken


async def test_it_doubles_every_second_until_a_throttle_then_goes_back(clock):
    """What it was a second before went through."""
    pacer = Pacer(RUN_TASK, clock)
    begun_at = clock.now()
    for _ in range(8):
        await take(clock, pacer, 0.5)
        assert pacer.rate == pytest.approx(20.0 * 2 ** (clock.now() - begun_at))
    before = pacer.rate
    assert before >= 320.0
    pacer.throttled(asked_at=clock.now())
    assert pacer.rate == before / 2
    assert pacer.throttles == 1


async def test_it_goes_back_to_the_documented_rate_and_no_further(clock):
    """A quota that was hardly overshot is as documented."""
    pacer = Pacer(RUN_TASK, clock)
    await take(clock, pacer, 0.4)
    assert 20.0 < pacer.rate < 40.0
    pacer.throttled(asked_at=clock.now())
    assert pacer.rate == 20.0


async def test_permits_that_are_waited_for_come_a_few_at_a_time(clock):
    """Calls that follow each other closely cost half."""
    pacer = Pacer(RUN_TASK, clock, probing=False)
    times = []
    for _ in range(200):
        await clock.run(pacer.permit())
        times.append(clock.now())
    assert times[:20] == [times[0]] * 20
    assert 200 / (2 * len(set(times))) > 1.5
    assert times[-1] - times[0] == pytest.approx(180 / 20, abs=0.3)


async def test_the_first_rate_is_lowered_by_a_factor(clock):
    """It never doubled: there is nothing to go back to."""
    pacer = Pacer(RUN_TASK, clock)
    pacer.throttled(asked_at=clock.now())
    assert pacer.rate == pytest.approx(20.0 * 0.85)


async def test_after_a_throttle_it_climbs_slowly(clock):
    """By one call a second each second, for as long as permits are wanted."""
    pacer = Pacer(RUN_TASK, clock)
    pacer.throttled(asked_at=clock.now())
    low = pacer.rate
    await take(clock, pacer, 4.0)
    assert pacer.rate == pytest.approx(low + 4.0, abs=0.3)


async def test_a_rate_that_is_not_used_does_not_climb(clock):
    """Idleness says nothing about the quota."""
    pacer = Pacer(RUN_TASK, clock)
    await clock.run(pacer.permit())
    await clock.pass_time(3600.0)
    await clock.run(pacer.permit())
    assert pacer.rate == 20.0


async def test_throttles_of_calls_from_before_count_once(clock):
    """Twenty calls under way say the same thing twenty times."""
    pacer = Pacer(RUN_TASK, clock)
    asked_at = clock.now()
    await clock.pass_time(0.3)
    for _ in range(20):
        pacer.throttled(asked_at)
    assert pacer.rate == pytest.approx(20.0 * 0.85)
    assert pacer.throttles == 20


async def test_there_is_always_a_way_back(clock):
    """However often it is throttled."""
    pacer = Pacer(RUN_TASK, clock)
    for _ in range(100):
        await clock.pass_time(0.1)
        pacer.throttled(clock.now())
    assert pacer.rate == RUN_TASK.floor


async def test_a_pace_that_does_not_probe_stays_below_what_it_was_given(clock):
    """Reads keep to half of the quota; the other half is everybody else's."""
    pacer = Pacer(Pace(rate=10.0, burst=5.0), clock, probing=False)
    taken = await take(clock, pacer, 60.0)
    assert pacer.rate == 10.0
    assert taken == pytest.approx(10 * 60 + 5, abs=2)


async def test_a_permit_that_was_not_used_is_there_for_the_next(clock):
    """And giving back more than was taken makes no more of them."""
    pacer = Pacer(Pace(rate=1.0, burst=1.0), clock, probing=False)
    await clock.run(pacer.permit())
    pacer.give_back()
    pacer.give_back()
    before = clock.now()
    await clock.run(pacer.permit())
    assert clock.now() == before
    await clock.run(pacer.permit())
    assert clock.now() == pytest.approx(before + 1.0)


async def test_many_may_wait_and_come_in_the_order_of_asking(clock):
    """Fifty at once: not one permit more than the pace allows, first come, first served."""
    pacer = Pacer(Pace(rate=10.0, burst=5.0), clock, probing=False)
    given: list[tuple[int, float]] = []

    async def take_one(number: int) -> None:
        await pacer.permit()
        given.append((number, clock.now()))

    await clock.run(asyncio.gather(*(take_one(number) for number in range(50))))
    assert [number for number, _ in given] == list(range(50))
    assert [at for _, at in given] == pytest.approx([max(0, n - 4) / 10 for n in range(50)])


@pytest.mark.parametrize("cancelled", [0, 1, 25, 49], ids="the {}th".format)
async def test_a_cancelled_wait_takes_no_permit_and_keeps_nobody_waiting(clock, cancelled):
    """The head of the queue, or anybody in it: those behind move up by one."""
    pacer = Pacer(Pace(rate=10.0, burst=1.0), clock, probing=False)
    await clock.run(pacer.permit())
    waiting = [asyncio.create_task(pacer.permit()) for _ in range(50)]
    await clock.pass_time(0.05)
    waiting[cancelled].cancel()
    await clock.run(asyncio.wait(waiting))
    assert [task.cancelled() for task in waiting] == [n == cancelled for n in range(50)]
    assert clock.now() == pytest.approx(4.9)


async def test_whoever_is_cancelled_at_random_no_permit_is_lost(clock):
    """Two hundred ask, sixty go at random moments: the others have theirs at the pace."""
    pacer = Pacer(Pace(rate=10.0, burst=1.0), clock, probing=False)
    waiting = [asyncio.create_task(pacer.permit()) for _ in range(200)]
    for task in random.sample(waiting, 60):
        await clock.pass_time(random.uniform(0.0, 0.1))
        task.cancel()
    await clock.run(asyncio.wait(waiting))
    served = sum(not task.cancelled() for task in waiting)
    assert served >= 140
    assert clock.now() == pytest.approx((served - 1) / 10, abs=0.11)
