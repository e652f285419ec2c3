"""When clusters are polled, and what one bad task costs the others."""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.loop.control_loop import ThreadsafeQueue
from prefect_ecs_pinned.aws.watching.polling import fair_share
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.errors import TaskFateUnknown

BAD = Fault(Kind.REFUSED, "DescribeTasks", "InvalidParameterException", "Invalid identifier")
DENIED = Fault(Kind.DENIED, "DescribeTasks", "AccessDeniedException", "not authorized")
THROTTLED = Fault(Kind.THROTTLED, "DescribeTasks", "ThrottlingException", "Rate exceeded")
SERVER = Fault(Kind.OUTCOME_UNKNOWN, "DescribeTasks", "ServerException", "")


class Api:
    """`ports.WatchApi`: tasks are RUNNING; a call that names a bad one is refused."""

    def __init__(self, clock):
        self.clock = clock
        self.asked: dict[str, list[float]] = defaultdict(list)
        self.seen: Counter[str] = Counter()
        self.bad: set[str] = set()
        self.fault = BAD
        self.status = "RUNNING"

    async def describe_tasks(self, cluster, tasks):
        assert 1 <= len(tasks) <= 100
        self.asked[cluster].append(self.clock.now())
        await self.clock.wait(0.05)
        if self.bad.intersection(tasks):
            raise self.fault
        self.seen.update(tasks)
        described = [
            {"taskArn": t, "clusterArn": cluster, "lastStatus": self.status} for t in tasks
        ]
        return {"tasks": described, "failures": []}

    async def stop_task(self, cluster, task, reason):
        raise AssertionError("nothing is to be stopped")


@pytest.fixture
def api(clock):
    return Api(clock)


def watch(watching, arn, cluster="c", interval=5.0, start_timeout=600.0, status="RUNNING"):
    box: ThreadsafeQueue[Any] = ThreadsafeQueue()
    return watching.watch(Snapshot(arn, cluster, status), interval, start_timeout, box), box


def gaps(times):
    return [after - before for before, after in pairwise(times)]


# -- intervals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("joins_at", [1, 100, 599])
async def test_a_shorter_interval_wakes_the_poller(api, clock, watching, joins_at):
    """Five seconds beside ten minutes: the first look within five seconds, and every five then."""
    watch(watching, "slow", interval=600)
    await clock.pass_time(joins_at)
    watch(watching, "quick", interval=5)
    await clock.pass_time(60)
    times = [t for t in api.asked["c"] if t > joins_at]
    assert times[0] <= joins_at + 5
    assert max(gaps(times)) <= 5.5
    assert len(times) <= 14


async def test_the_longer_interval_comes_back(api, clock, watching):
    """When the run with the shorter one has gone."""
    watch(watching, "slow", interval=600)
    quick, _ = watch(watching, "quick", interval=5)
    await clock.pass_time(30)
    watching.forget(quick)
    before = len(api.asked["c"])
    await clock.pass_time(1200)
    assert 1 <= len(api.asked["c"]) - before <= 3


async def test_a_start_timeout_beside_a_long_interval(clock, watching, api):
    """It is found when it is over, not ten minutes later."""
    stopped = []

    async def stop_task(cluster, task, reason):
        stopped.append(clock.now())

    api.stop_task, api.status = stop_task, "PENDING"
    watch(watching, "slow", interval=600, status="PENDING")
    await clock.pass_time(100)
    watch(watching, "quick", interval=5, start_timeout=30, status="PENDING")
    await clock.pass_time(60)
    assert len(stopped) == 1
    assert 130 <= stopped[0] <= 136


async def test_a_start_timeout_shorter_than_its_own_interval(clock, watching, api):
    """The task is looked at when its time is over."""
    stopped = []

    async def stop_task(cluster, task, reason):
        stopped.append(clock.now())

    api.stop_task, api.status = stop_task, "PENDING"
    watch(watching, "one", interval=600, start_timeout=60, status="PENDING")
    await clock.pass_time(120)
    assert stopped == [pytest.approx(60, abs=1)]
    assert len(api.asked["c"]) == 1


async def test_a_thousand_that_join_one_by_one_do_not_poll_each(api, clock, watching):
    """Twenty a second with the same interval: a poll each five seconds, of ten calls at most."""
    for number in range(1000):
        watch(watching, f"t{number}")
        await clock.pass_time(0.05)
    polls = 1 + sum(gap > 1 for gap in gaps(api.asked["c"]))
    assert polls <= 11


async def test_a_poller_without_watches_sleeps_no_longer(api, clock, watching):
    """Whatever its interval was: a new watch begins afresh."""
    one, _ = watch(watching, "one", interval=86_400)
    await clock.pass_time(1)
    watching.forget(one)
    await clock.pass_time(1)
    watch(watching, "two", interval=5)
    await clock.pass_time(6)
    assert (watching.live(), len(api.asked["c"])) == (1, 1)


@pytest.mark.parametrize("interval", [0.0, -5.0, math.nan])
async def test_an_interval_that_is_none(api, clock, watching, interval):
    """It is polled as fast as the read quota permits."""
    watch(watching, "one", interval=interval)
    await clock.pass_time(60)
    assert 300 <= len(api.asked["c"]) <= 650


# -- several watches of one task -------------------------------------------------------------------


async def test_every_watch_of_a_task_gets_its_news(api, clock, watching):
    """Three watches, one ARN in the calls."""
    boxes = [watch(watching, "one", status="PENDING")[1] for _ in range(3)]
    await clock.pass_time(6)
    assert [[n.status for n in box._items] for box in boxes] == [["RUNNING"]] * 3
    assert (watching.live(), api.seen["one"]) == (1, 1)
    api.status = "STOPPED"
    await clock.pass_time(6)
    assert [[n.status for n in box._items] for box in boxes] == [["RUNNING", "STOPPED"]] * 3
    assert watching.live() == 0


async def test_forgetting_one_watch_keeps_the_others(api, clock, watching):
    """And forgetting it twice, too."""
    first, first_box = watch(watching, "one", status="PENDING")
    _, second_box = watch(watching, "one", status="PENDING")
    watching.forget(first)
    watching.forget(first)
    await clock.pass_time(6)
    assert not first_box._items
    assert [n.status for n in second_box._items] == ["RUNNING"]


# -- the read quota --------------------------------------------------------------------------------


async def test_many_small_clusters_share_the_quota_evenly(api, clock, watching):
    """Fifty clusters that ask for a poll each second get one each five seconds, all of them."""
    for number in range(50):
        watch(watching, f"t{number}", cluster=f"c{number}", interval=1)
    await clock.pass_time(200)
    calls = [len(times) for times in api.asked.values()]
    assert len(calls) == 50
    assert sum(calls) <= 50 + 10 * 200
    assert min(calls) >= 30
    assert max(calls) - min(calls) <= 3


async def test_a_large_cluster_does_not_slow_down_a_small_one(api, clock, watching):
    """Ten thousand tasks beside one: that is polled every five seconds."""
    for number in range(10_000):
        watch(watching, f"t{number}", cluster="large", interval=1)
    watch(watching, "one", cluster="small", interval=5)
    await clock.pass_time(200)
    assert max(gaps(api.asked["small"])) <= 7
    assert 1500 <= len(api.asked["large"]) <= 50 + 10 * 200


async def test_a_cluster_that_asks_rarely_takes_nothing_from_others(api, clock, watching):
    """A hundred clusters with ten minutes beside one with a second."""
    for number in range(100):
        watch(watching, f"t{number}", cluster=f"c{number}", interval=600)
    watch(watching, "one", cluster="quick", interval=1)
    await clock.pass_time(590)
    assert len(api.asked["quick"]) >= 560


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=50), st.floats(0.1, 100))
def test_a_fair_share(demands, rate):
    """Together they keep to the rate, use it up if they can, and none gets more than another."""
    share = fair_share(demands, rate)
    taken = [min(demand, share) for demand in demands]
    assert sum(taken) <= rate * (1 + 1e-9)
    if share == math.inf:
        assert taken == demands
    else:
        assert sum(taken) == pytest.approx(rate)


# -- one bad task ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [BAD, DENIED, ValueError("odd")])
@pytest.mark.parametrize("bad", [1, 2, 5])
async def test_bad_tasks_end_no_other_watch(api, clock, watching, fault, bad, caplog):
    """The ninety-odd others are seen within a poll or two; the bad ones end after 15 minutes."""
    boxes = {f"t{n}": watch(watching, f"t{n}", status="PENDING")[1] for n in range(100)}
    api.fault, api.bad = fault, {f"t{n * 17}" for n in range(bad)}
    await clock.pass_time(30)
    seen = {arn for arn, box in boxes.items() if [n.status for n in box._items] == ["RUNNING"]}
    assert seen == set(boxes) - api.bad
    calls = len(api.asked["c"])
    await clock.pass_time(600)
    assert watching.live() == 100
    assert len(api.asked["c"]) - calls <= 121 * (1 + bad)
    assert api.seen["t1"] >= 110
    await clock.pass_time(600)
    assert watching.live() == 100 - bad
    for arn in api.bad:
        assert [type(n) for n in boxes[arn]._items] == [TaskFateUnknown]
    warnings = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len([m for m in warnings if "Task t" in m]) == bad


async def test_a_bad_task_that_is_good_again(api, clock, watching):
    """It is asked for with the others."""
    for number in range(100):
        watch(watching, f"t{number}")
    api.bad = {"t42"}
    await clock.pass_time(300)
    api.bad = set()
    await clock.pass_time(20)
    calls = len(api.asked["c"])
    await clock.pass_time(100)
    assert watching.live() == 100
    assert len(api.asked["c"]) - calls <= 21


async def test_thirty_batches_with_a_bad_task_each(api, clock, watching):
    """Nobody else is lost, and the read quota holds."""
    for number in range(3000):
        watch(watching, f"t{number}")
    api.bad = {f"t{number * 100}" for number in range(30)}
    await clock.pass_time(1500)
    assert watching.live() == 2970
    assert len(api.asked["c"]) <= 50 + 10 * 1500


async def test_all_refused_costs_few_calls(api, clock, watching):
    """A thousand tasks that nobody may describe: no search for the bad one in each batch."""
    for number in range(1000):
        watch(watching, f"t{number}")
    await clock.pass_time(6)
    before = len(api.asked["c"])
    api.bad, api.fault = {f"t{number}" for number in range(1000)}, DENIED
    await clock.pass_time(600)
    assert watching.live() == 1000
    assert len(api.asked["c"]) - before <= 500


async def test_a_task_that_makes_aws_fail_hides_no_other(api, clock, watching):
    """A 500 for every call that names it may pass; the others are seen meanwhile."""
    boxes = [watch(watching, f"t{n}", status="PENDING")[1] for n in range(50)]
    api.bad, api.fault = {"t7"}, SERVER
    await clock.pass_time(300)
    assert sum(bool(box._items) for box in boxes) == 49
    assert watching.live() == 50


async def test_throttles_in_one_of_many_batches(api, clock, watching):
    """They are no reason to look for a bad task."""
    for number in range(300):
        watch(watching, f"t{number}")
    await clock.pass_time(6)
    before = len(api.asked["c"])
    api.bad, api.fault = {"t5"}, THROTTLED
    await clock.pass_time(60)
    assert len(api.asked["c"]) - before <= 3 * 13
