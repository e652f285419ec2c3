"""Whose turn it is: everybody's in time, with no more than a share of the pace for probes.

A quota bucket in virtual time: a permit each 50 ms, each call answered after 300 ms, a tick each
quarter of a second.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_ecs_pinned.core.breakers import Breaker
from prefect_ecs_pinned.core.capacity import Demand, shortage
from prefect_ecs_pinned.core.groups import Group
from prefect_ecs_pinned.core.queueing import PROBE_SECONDS, PROBE_SHARE, Queue

PACE = 20.0
LATENCY = 0.3

MEMORY = "RESOURCE:MEMORY"
GPU = "RESOURCE:GPU"
VCPU = "You’ve reached the limit on the number of vCPUs you can run concurrently"
UNAVAILABLE = "Capacity is unavailable at this time. Please try again later"

#: CPU units that no cluster has, nor all tasks together that ever end.
LARGE = 1e6

#: The reason for which a request is refused at a time; None: it is launched.
Answer = Callable[[Demand, float], str | None]


@dataclass(eq=False)
class Waiter:
    """A request, and the times at which it was sent."""

    number: int
    demand: Demand
    budget: float = 900.0
    last_try: bool = False
    spent: tuple[float, float, int] = (0.0, 0.0, 0)
    refusals: int = 0
    waiting: bool = False
    ended_at: float | None = None
    launched: bool = False
    sent: list[float] = field(default_factory=list)
    looks: int = 0

    def __lt__(self, other: Waiter) -> bool:
        return self.number < other.number

    def waits(self) -> bool:
        self.looks += 1
        return self.waiting

    def settled(self) -> bool:
        return self.ended_at is not None


@dataclass
class Call:
    """One that was made: when, whose, and whether it was a probe."""

    at: float
    waiter: Waiter
    probes: Sequence[Breaker]


class Bucket:
    """A queue in virtual time, as `aws.launching` uses it."""

    def __init__(self, answer: Answer, step: float = 1 / PACE) -> None:
        self.answer = answer
        self.step = step
        self.now = 0.0
        self.queue: Queue[Waiter] = Queue(0.0)
        self.calls: list[Call] = []
        self.permits = 0
        self.most_breakers = 0
        self._numbers = count()
        self._answers: list[tuple[float, int, Call]] = []

    def ask(self, demand: Demand, budget: float = 900.0) -> Waiter:
        waiter = Waiter(next(self._numbers), demand, budget, waiting=True)
        self.queue.join(waiter, demand)
        self.queue.wait(waiter)
        return waiter

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += self.step
            while self._answers and self._answers[0][0] <= self.now:
                _, _, call = heapq.heappop(self._answers)
                self._answered(call)
            if self.permits % 5 == 0:
                self.queue.tick(self.now, PACE)
            self.permits += 1
            self.most_breakers = max(self.most_breakers, len(self.queue.breakers))
            if (turn := self.queue.next(self.now, PACE)) is not None:
                waiter, probes = turn
                waiter.waiting = False
                waiter.sent.append(self.now)
                call = Call(self.now, waiter, probes)
                self.calls.append(call)
                heapq.heappush(self._answers, (self.now + LATENCY, waiter.number, call))

    def _answered(self, call: Call) -> None:
        waiter, queue = call.waiter, self.queue
        queue.returned(call.probes)
        reason = self.answer(waiter.demand, self.now)
        if reason is None:
            queue.launched(waiter, call.probes, "", self.now)
            waiter.launched = True
        else:
            waiter.refusals += 1
            queue.tick(self.now, PACE)
            missing = shortage([reason], waiter.demand)
            assert missing is not None
            queue.refused(missing, call.probes, self.now, PACE)
        if reason is None or waiter.last_try:
            queue.leave(waiter)
            waiter.ended_at = self.now
        else:
            waiter.waiting = True
            queue.wait(waiter)


def on_ec2(cluster: str = "a", cpu: float = 1024.0, memory: float = 1024.0, gpu: int = 0) -> Demand:
    return Demand(
        "EC2", cluster=cluster, provider="EC2", revision="f:1", cpu=cpu, memory=memory, gpu=gpu
    )


def on_fargate(subnet: str, cpu: float = 1024.0) -> Demand:
    return Demand("FARGATE", subnets=frozenset({subnet}), revision="f:1", cpu=cpu, memory=2048.0)


def longest_gap(waiters: Sequence[Waiter], since: float, until: float) -> float:
    """Longest time without a call of any of them."""
    times = sorted({since, until, *(t for w in waiters for t in w.sent if since <= t <= until)})
    return max(b - a for a, b in pairwise(times))


# -- the share of probes ---------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("scopes", [1, 5, 40])
def test_all_probes_together_take_a_tenth_of_the_pace(scopes, stream):
    """Forty clusters without memory, three requests for each; each is probed in its turn, and a
    stream of requests for another cluster gets the rest of the pace."""
    bucket = Bucket(lambda demand, _: None if demand.cluster == "open" else MEMORY)
    waiting = [
        [bucket.ask(on_ec2(f"full-{n}"), 100_000.0) for _ in range(3)] for n in range(scopes)
    ]
    open_ones = [bucket.ask(on_ec2("open")) for _ in range(6000 if stream else 0)]
    bucket.run(100)  # the first refusals
    permits, calls = bucket.permits, len(bucket.calls)
    bucket.run(200)
    permits, made = bucket.permits - permits, bucket.calls[calls:]
    probes = [call for call in made if call.probes]
    assert permits == pytest.approx(200 * PACE, abs=2)
    each = max(PROBE_SECONDS, scopes / (PROBE_SHARE * PACE))
    assert len(probes) <= min(PROBE_SHARE * permits, 200 / each * scopes) + scopes
    assert [call for call in made if not call.probes and call.waiter.demand.cluster != "open"] == []
    for scope in waiting:
        assert longest_gap(scope, 100, 300) <= 1.5 * each
    if stream:
        assert len(made) - len(probes) >= 0.9 * permits - 1
        assert sum(waiter.launched for waiter in open_ones) >= 0.9 * 300 * PACE - scopes * 4


def test_behind_a_quota_each_scope_is_probed_in_its_turn():
    """All behind the vCPU quota, and each subnet without capacity besides."""
    full: list[str] = [VCPU]
    bucket = Bucket(lambda *_: full[0])
    waiting = [bucket.ask(on_fargate(f"subnet-{n}"), 100_000.0) for n in range(40)]
    bucket.run(60)
    full[0] = UNAVAILABLE
    bucket.run(100)
    calls, since = len(bucket.calls), bucket.now
    bucket.run(400)
    assert len(bucket.calls) - calls <= PROBE_SHARE * PACE * 400 + 41
    for waiter in waiting:
        assert longest_gap([waiter], since, bucket.now) <= 1.5 * 41 / (PROBE_SHARE * PACE)


@pytest.mark.parametrize("step", [0.05, 0.2, 0.5, 1.0])
def test_a_request_that_is_refused_for_something_else_uses_up_no_probes(step):
    """The first needs a GPU as well, and never gets one; the second needs memory only, which is
    back. The first has arrived before, and would take each probe of the memory."""
    full = True

    def answer(demand: Demand, _: float) -> str | None:
        if full:
            return MEMORY
        return GPU if demand.gpu else None

    bucket = Bucket(answer, step)
    first, second = bucket.ask(on_ec2(gpu=1)), bucket.ask(on_ec2())
    bucket.run(20)
    full = False
    bucket.run(2.2 * PROBE_SECONDS)
    assert second.launched
    assert not first.launched


DEMANDS = st.builds(
    on_ec2,
    cluster=st.sampled_from("abcd"),
    cpu=st.sampled_from([256.0, 1024.0, 4096.0]),
    memory=st.sampled_from([512.0, 2048.0, 8192.0]),
    gpu=st.sampled_from([0, 0, 1]),
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    demands=st.lists(DEMANDS, min_size=1, max_size=25),
    lacks=st.sets(st.tuples(st.sampled_from("abcd"), st.sampled_from(["CPU", "MEMORY", "GPU"]))),
)
def test_whatever_there_is_too_little_of_the_share_holds_and_nobody_is_starved(demands, lacks):
    """Some clusters have no room for what is large in a dimension, some of what is asked for lacks
    several. What fits is launched; of what does not, each kind is sent again and again."""
    limits = {"CPU": ("cpu", 256.0), "MEMORY": ("memory", 512.0), "GPU": ("gpu", 0)}

    def answer(demand: Demand, now: float) -> str | None:
        """Of several that are lacking, ECS names another one from time to time."""
        reasons = [
            f"RESOURCE:{name}"
            for name, (attribute, most) in limits.items()
            if (demand.cluster, name) in lacks and getattr(demand, attribute) > most
        ]
        return reasons[int(now / 40) % len(reasons)] if reasons else None

    bucket = Bucket(answer)
    waiters = [bucket.ask(demand, 100_000.0) for demand in demands]
    bucket.run(200)
    assert all(w.launched == (answer(w.demand, 0.0) is None) for w in waiters)
    calls, since = len(bucket.calls), bucket.now
    bucket.run(200)
    most = bucket.most_breakers
    longest = max(PROBE_SECONDS, most / (PROBE_SHARE * PACE))  # between the tries of one breaker
    share = min(PROBE_SHARE * PACE, most / PROBE_SECONDS)
    assert len(bucket.calls) - calls <= 200 * share + most
    kinds: dict[Demand, list[Waiter]] = {}
    for waiter in waiters:
        if not waiter.launched:
            kinds.setdefault(waiter.demand, []).append(waiter)
    nearest = {demand: bucket.queue.breakers.nearest(demand) for demand in kinds}
    for demand, those in kinds.items():
        # Those that nothing but one breaker keeps back share its turns.
        rivals = sum(bool(set(nearest[demand]) & set(other)) for other in nearest.values())
        if rivals == 1:
            assert longest_gap(those, since, bucket.now) <= 2.5 * longest


# -- last tries ------------------------------------------------------------------------------------


def only_small(demand: Demand, _: float) -> str | None:
    return "RESOURCE:CPU" if demand.cpu == LARGE else None


def test_last_tries_and_those_for_whom_there_is_room_take_turns():
    """Five thousand that never fit have come to the end of their clocks, and take 250 s to be sent
    once more. A hundred that fit arrive then: they wait for their own hundred turns, and as many
    last tries."""
    bucket = Bucket(only_small)
    doomed = [bucket.ask(on_ec2(cpu=LARGE), 30.0) for _ in range(5000)]
    bucket.run(33)
    assert sum(waiter.last_try for waiter in doomed) == 5000
    asked_at = bucket.now
    small = [bucket.ask(on_ec2()) for _ in range(100)]
    bucket.run(260)
    waited = [(w.ended_at or bucket.now) - asked_at for w in small]
    assert max(waited) <= 2 * 100 / PACE + LATENCY + 1
    assert all(waiter.launched for waiter in small)
    assert all(waiter.sent for waiter in doomed)
    assert max(waiter.ended_at or 0.0 for waiter in doomed) <= 33 + 5100 / PACE + LATENCY + 1


@pytest.mark.parametrize("stream", [0, 4000])
def test_who_never_fits_fails_within_the_budget_and_a_minute(stream):
    """Two hundred of them beside two hundred that fit, and beside a stream that would take each
    turn for minutes; each is sent at the end of its clock, and not before it."""
    bucket = Bucket(only_small)
    pairs = [(bucket.ask(on_ec2(cpu=LARGE), 60.0), bucket.ask(on_ec2())) for _ in range(200)]
    beside = [bucket.ask(on_ec2("other")) for _ in range(stream)]
    bucket.run(125)
    doomed = [waiter for waiter, _ in pairs]
    assert all(waiter.sent[-1] >= 60 for waiter in doomed)
    assert all(waiter.ended_at and waiter.ended_at <= 60 + 60 for waiter in doomed)
    assert all(waiter.launched for _, waiter in pairs)
    assert sum(waiter.launched for waiter in beside) >= min(stream, (125 * PACE - 700) * 0.9)


# -- what a tick costs -----------------------------------------------------------------------------


class Counted(Waiter):
    """Counts how often anything is read of any of them."""

    reads: ClassVar[Counter[str]] = Counter()

    def __getattribute__(self, name: str):
        Counted.reads[name] += 1
        return super().__getattribute__(name)


@pytest.mark.parametrize("waiting", [50, 5000])
def test_a_tick_looks_at_those_whose_clock_has_run_out_and_at_no_other(waiting):
    """However many wait: three reads or so for each group and breaker."""
    queue: Queue[Counted] = Queue(0.0)
    demand = on_ec2(memory=4096.0)
    for number in range(waiting):
        waiter = Counted(number, demand, budget=100.0 + number, waiting=True)
        queue.join(waiter, demand)
        queue.wait(waiter)
    missing = shortage([MEMORY], demand)
    assert missing is not None
    queue.refused(missing, (), 0.0, PACE)
    Counted.reads.clear()
    for tick in range(1, 200):  # refused again and again, nobody's clock has run out
        queue.tick(tick * 0.5, PACE)
        queue.refused(missing, (), tick * 0.5, PACE)
    assert Counted.reads.total() <= 200 * 4
    Counted.reads.clear()
    for tick in range(200, 210):
        queue.tick(tick * 0.5, PACE)
        queue.refused(missing, (), tick * 0.5, PACE)
    assert len(queue._last) == 5
    assert Counted.reads.total() <= 5 * (8 + 4 * waiting.bit_length()) + 10 * 4


class Model(Group[Waiter]):
    """Its clocks as they are defined: whoever waits is looked at."""

    def spent(self) -> set[Waiter]:
        return {waiter for waiter in self.waiting if self._is_spent(waiter)}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, 40), st.integers(0, 30)),
        st.tuples(st.sampled_from(["held", "paused"]), st.integers(0, 60), st.just(0)),
        st.tuples(st.just("paused"), st.sampled_from([3600, 4000]), st.just(0)),
        st.tuples(st.sampled_from(["take", "again", "leave"]), st.integers(0, 9), st.just(0)),
    ),
    max_size=80,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(steps=STEPS)
def test_clocks_end_as_if_everyone_were_looked_at(steps):
    """Whoever joins, is sent, waits again or leaves meanwhile; some clocks have counted before."""
    group: Model = Model(on_ec2())
    called: list[Waiter] = []
    for number, (step, value, counted) in enumerate(steps):
        match step:
            case "join":
                waiter = Waiter(number, group.demand, float(value), waiting=True)
                waiter.spent = float(counted), float(2 * counted), 0
                group.join(waiter)
                group.wait(waiter)
            case "take" if (head := group.head()) is not None:
                group.take()
                called.append(head)
            case "again" if called:
                group.wait(called.pop(value % len(called)))
            case "leave" if called:
                group.leave(called.pop(value % len(called)))
            case "held" | "paused":
                setattr(group, step, getattr(group, step) + value)
                expected = group.spent()
                assert set(group.end_clocks()) == expected
                assert not group.spent()
        entries = len(group._by_arrival), len(group._by_held), len(group._by_both)
        assert max(entries) <= 2 * len(group.waiting) + 18
        assert group.head() is min(group.waiting, default=None)
