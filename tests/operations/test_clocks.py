"""Clocks of other machines: whatever they show, less is done, and never more.

The worlds here have a true time. Prefect's server, AWS and this machine each show another one, up
to a day off; answers take a while, and an HTTP Date has whole seconds and may be a second old.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.operations.clocks import (
    DATE_GRAIN,
    Clock,
    Moment,
    date_of,
    http_date,
    steady_now,
)
from prefect_ecs_pinned.operations.reconcile.facts import (
    FINAL,
    UNFINISHED,
    Action,
    ByPid,
    BySearch,
    Evidence,
    History,
    Limits,
    Run,
    Task,
)
from prefect_ecs_pinned.operations.reconcile.outlived import decide_task
from prefect_ecs_pinned.operations.reconcile.verdict import decide, needs_search

NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)
DAY = 86400.0
LIMITS = Limits(never_launched=timedelta(hours=2))
HERE, ELSEWHERE = "https://prefect.example.com/api", "https://staging.example.com/api"


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


@dataclass(frozen=True)
class Skew:
    """What clocks show, less the true time, in seconds; and how long answers take.

    An answer is made at some time of the call: 0 for its end, 1 for its beginning.
    """

    prefect: float = 0.0
    aws: float = 0.0
    ours: float = 0.0
    prefect_took: float = 0.0
    aws_took: float = 0.0
    when: float = 0.5
    lag: float = 0.0


def read(skew: Skew, off: float, took: float) -> Clock:
    """The clock of a server, read once from a Date, just before now; at some time of the call."""
    clock = Clock()
    shown = NOW + seconds(off - took * skew.when - skew.lag)
    ours = NOW + seconds(skew.ours)
    clock.read(shown.replace(microsecond=0), ours - seconds(took), ours, DATE_GRAIN)
    return clock


@dataclass(frozen=True)
class TrueTask:
    """A task, with seconds before now as its times."""

    created: float
    stopped: float | None
    named: bool
    reports_to: str = ""


@dataclass(frozen=True)
class World:
    """A flow run and its tasks as they truly are; times in seconds before now."""

    state: str
    since: float
    launches: int
    ran: float | None
    by_pid: ByPid
    by_search: BySearch
    tasks: tuple[TrueTask, ...]


class Seen:
    """A world as a command sees it; without a skew, exactly."""

    def __init__(self, world: World, skew: Skew | None) -> None:
        self.world = world
        self._skew = skew
        self.now = NOW + seconds(skew.ours if skew else 0)
        self._prefect = read(skew, skew.prefect, skew.prefect_took) if skew else None
        self._aws = read(skew, skew.aws, skew.aws_took) if skew else None

    def _moment(self, clock: Clock | None, off: float, before: float) -> Moment:
        stamp = NOW + seconds(off - before)
        return clock.ours(stamp) if clock is not None else Moment.at(stamp)

    def prefect(self, before: float) -> Moment:
        return self._moment(self._prefect, self._skew.prefect if self._skew else 0, before)

    def aws(self, before: float) -> Moment:
        return self._moment(self._aws, self._skew.aws if self._skew else 0, before)

    def run(self) -> Run:
        world = self.world
        ran_at = None if world.ran is None else self.prefect(world.ran)
        history = History(world.launches, ran_at) if world.launches else None
        return Run(world.state, self.prefect(world.since), history)

    def task(self, number: int) -> Task:
        task = self.world.tasks[number]
        status = "RUNNING" if task.stopped is None else "STOPPED"
        snapshot = Snapshot(f"arn:{number}", "arn:cluster", status, exit_code=1, ran=True)
        stopped = None if task.stopped is None else self.aws(task.stopped)
        return Task(snapshot, self.aws(task.created), stopped, reports_to=task.reports_to)

    def action(self) -> Action:
        """What is done with the flow run; a search is made when one is needed."""
        world, run = self.world, self.run()
        tasks = tuple(self.task(number) for number in range(len(world.tasks)))
        named = next((f"arn:{n}" for n, task in enumerate(world.tasks) if task.named), "")
        evidence = Evidence(world.by_pid, BySearch.NOT_NEEDED, tasks, named)
        if needs_search(run, evidence, self.now, LIMITS):
            evidence = replace(evidence, by_search=world.by_search)
        return decide(run, evidence, self.now, LIMITS).action

    def tasks_action(self) -> tuple[Action, bool]:
        """What is done with the first task, and whether the server is doubted."""
        named = "arn:0" if self.world.tasks[0].named else ""
        verdict = decide_task(self.run(), self.task(0), named, (HERE,), self.now, LIMITS)
        return verdict.action, bool(verdict.doubt)


skews = st.builds(
    Skew,
    prefect=st.floats(-DAY, DAY),
    aws=st.floats(-DAY, DAY),
    ours=st.floats(-DAY, DAY),
    prefect_took=st.floats(0, 40),
    aws_took=st.floats(0, 40),
    when=st.floats(0, 1),
    lag=st.floats(0, 1),
)

#: Seconds before now: near every limit, and anywhere.
ages = st.one_of(
    st.floats(0, 3 * DAY),
    st.sampled_from([30.0, 60.0, 300.0, 600.0, 7200.0]).flatmap(lambda a: st.floats(a - 3, a + 3)),
    st.floats(0, 120),
)


def stopped_tasks(since: float, ran: float | None) -> st.SearchStrategy[TrueTask]:
    """Created and stopped at any time; also about when the run's state was set, or it ran."""
    near = st.sampled_from([since, since if ran is None else ran]).flatmap(
        lambda age: st.floats(max(0.0, age - 40), age + 40)
    )
    times = st.tuples(st.one_of(ages, near), st.one_of(ages, near))
    return st.builds(lambda two, named: TrueTask(max(two), min(two), named), times, st.booleans())


@st.composite
def worlds(draw: st.DrawFn) -> World:
    since, ran = draw(ages), draw(st.none() | ages)
    return World(
        state=draw(st.sampled_from(UNFINISHED)),
        since=since,
        launches=draw(st.integers(0, 3)),
        ran=ran,
        by_pid=draw(st.sampled_from(ByPid)),
        by_search=draw(st.sampled_from(BySearch)),
        tasks=tuple(draw(st.lists(stopped_tasks(since, ran), max_size=3))),
    )


ended_worlds = st.builds(
    World,
    state=st.sampled_from(FINAL),
    since=ages,
    launches=st.just(1),
    ran=st.none(),
    by_pid=st.just(ByPid.NO_PID),
    by_search=st.just(BySearch.NOT_NEEDED),
    tasks=st.builds(
        TrueTask, ages, st.none(), st.booleans(), st.sampled_from(["", HERE, ELSEWHERE])
    ).map(lambda task: (task,)),
)


@given(worlds(), skews)
@settings(max_examples=1000, deadline=None)
def test_no_skew_ends_a_flow_run_that_would_be_left(world, skew):
    """Each clock up to a day off: what is done then is done without as well."""
    assert Seen(world, skew).action() in (Action.LEAVE, Seen(world, None).action())


@given(st.lists(ended_worlds, min_size=1, max_size=4), skews)
@settings(max_examples=800, deadline=None)
def test_no_skew_stops_a_task_that_would_be_left(ended, skew):
    """Nor does it remove a reason to doubt the server, for which all are left."""
    seen = [Seen(world, skew).tasks_action() for world in ended]
    exact = [Seen(world, None).tasks_action() for world in ended]
    assert any(doubt for _, doubt in seen) or not any(doubt for _, doubt in exact)
    if not any(doubt for _, doubt in seen):
        for (action, _), (without, _) in zip(seen, exact, strict=True):
            assert action in (Action.LEAVE, without)


@given(skews, st.floats(1, 3600), st.floats(1, 3600), st.floats(1, 3600), st.floats(1, 7000))
@settings(max_examples=1000, deadline=None)
def test_a_second_attempt_that_waits_is_never_ended_for_the_first(skew, ran, rest, gap, waits):
    """Its pid and id are those of the task that ended; that took any time, at any time before."""
    ended = waits + gap
    first = TrueTask(created=ended + rest + ran, stopped=ended, named=True)
    world = World("PENDING", waits, 2, None, ByPid.FOUND, BySearch.DONE, (first,))
    assert Seen(world, skew).action() is Action.LEAVE


def one_task(state: str, launches: int, ran: float | None, created: float, stopped: float) -> World:
    """A flow run that came into its state 15 minutes ago, and its task."""
    task = TrueTask(created, stopped, named=True)
    return World(state, 900, launches, ran, ByPid.FOUND, BySearch.DONE, (task,))


#: What a number of seconds is -> the world with it, and from when on it allows to act.
LIMITS_OF_TASKS = {
    "created before the run became Pending": (
        lambda s: one_task("PENDING", 1, None, 900 + s, 600),
        lambda s: s <= 30,
    ),
    "stopped before the run was set Running": (
        lambda s: one_task("RUNNING", 1, 900, 1200, 900 + s),
        lambda s: s <= 30,
    ),
    "lived after its second attempt was set Running": (
        lambda s: one_task("RUNNING", 2, 900, 1200, 900 - s),
        lambda s: s >= 30,
    ),
    "stopped before now": (
        lambda s: one_task("RUNNING", 1, 900, 1200, s),
        lambda s: s >= 60,
    ),
}


@pytest.mark.parametrize("what", LIMITS_OF_TASKS)
@given(skew=skews, number=st.floats(0, 90))
@settings(max_examples=600, deadline=None)
def test_no_skew_moves_a_limit(what, skew, number):
    """Exactly known, a time allows to act up to its limit; known badly, at most up to there."""
    world, allows = LIMITS_OF_TASKS[what]
    exact = Seen(world(number), None).action()
    assert exact is (Action.CRASH if allows(number) else Action.LEAVE)
    assert Seen(world(number), skew).action() in (Action.LEAVE, exact)


@given(skews, st.sampled_from(["RUNNING", "PENDING", "CANCELLING"]))
@settings(max_examples=300, deadline=None)
def test_skew_does_not_keep_from_what_is_clear(skew, state):
    """A task of the only attempt, killed ten minutes ago; another that outlived its run."""
    ran = 1700.0 if state == "RUNNING" else None
    killed = TrueTask(created=1800, stopped=600, named=True)
    world = World(
        state, 1850 if ran is None else ran, 1, ran, ByPid.FOUND, BySearch.DONE, (killed,)
    )
    assert Seen(world, skew).action() is not Action.LEAVE
    outlived = TrueTask(created=1800, stopped=None, named=True, reports_to=HERE)
    ended = World("CRASHED", 600, 1, None, ByPid.FOUND, BySearch.DONE, (outlived,))
    assert Seen(ended, skew).tasks_action() == (Action.STOP, False)


@given(st.lists(st.tuples(skews, st.booleans()), min_size=1, max_size=4), st.floats(-DAY, DAY))
@settings(max_examples=500, deadline=None)
def test_a_time_lies_between_its_bounds(readings, off):
    """By every reading, of a Date or of an exact time."""
    clock = Clock()
    for skew, exact in readings:
        took, shown = seconds(skew.aws_took), NOW + seconds(off)
        if not exact:
            shown = (shown - seconds(skew.lag)).replace(microsecond=0)
        clock.read(shown, NOW - took / 2, NOW + took / 2, timedelta() if exact else DATE_GRAIN)
    earliest, latest = clock.ours(NOW + seconds(off) - timedelta(hours=1))
    assert earliest <= NOW - timedelta(hours=1) <= latest


def test_readings_that_contradict_each_other_widen_the_bounds():
    """The clock was set by an hour in between: a minute may have been an hour and a minute."""
    clock = Clock()
    clock.read(NOW, NOW, NOW)
    clock.read(NOW + timedelta(hours=1), NOW, NOW)
    earliest, latest = clock.ours(NOW)
    assert latest - earliest == timedelta(hours=1)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Fri, 02 Jan 2026 00:00:00 GMT", NOW),
        ("Fri, 02 Jan 2026 00:00:00 -0000", NOW),
        ("Fri, 02 Jan 2026 01:00:00 +0100", NOW),
        ("yesterday", None),
        ("", None),
        ("Fri, 99 Jan 2026 00:00:00 GMT", None),
    ],
)
def test_dates_of_answers(header, expected):
    """RFC 9110, 5.6.7; what can't be read is none."""
    assert http_date({"date": header}) == expected
    assert date_of({"ResponseMetadata": {"HTTPHeaders": {"date": header}}}) == expected


def test_answers_without_a_date():
    """Of a fake, or through a proxy that leaves it out."""
    assert (http_date({}), date_of({}), date_of({"ResponseMetadata": {}})) == (None, None, None)


def test_our_own_clock_never_goes_back():
    """And is near the time of day."""
    first, second = steady_now(), steady_now()
    assert first <= second
    assert abs(datetime.now(timezone.utc) - second) < timedelta(minutes=5)
