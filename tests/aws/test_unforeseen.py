"""A launch, when what it asks raises something unforeseen, or reads what cannot be read.

Whatever it is, the caller gets an outcome; and where a task may run, the outcome says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections import Counter
from itertools import count, cycle

import pytest

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.launching.outcomes import MayRun
from prefect_ecs_pinned.aws.launching.queues import QuotaQueue
from prefect_ecs_pinned.core.breakers import Breaker, Breakers
from prefect_ecs_pinned.core.capacity import Shortage
from prefect_ecs_pinned.core.groups import Group
from prefect_ecs_pinned.core.queueing import Queue
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.errors import PinnedECSError
from tests.aws.fakes import arn

REQUEST = {"taskDefinition": arn("f", 1), "launchType": "EC2", "cluster": "etl"}
NO_ROOM = {"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]}


async def outcome(clock, launching, **members):
    submission = launching.submit({**REQUEST, **members}, 60.0)
    await clock.run(asyncio.wait((submission.outcome,)))
    assert not launching._open
    return submission.outcome.exception() or submission.outcome.result()


ODD_TASKS = [
    None,
    [None],
    [1],
    ["x"],
    [{"overrides": 5}],
    [{"overrides": {"containerOverrides": 5}}],
    [{"overrides": {"containerOverrides": [None]}}],
    [{"overrides": {"containerOverrides": [{"environment": ["x"]}]}}],
    ValueError("hunter2"),
    KeyError("hunter2"),
]


@pytest.mark.parametrize("started_by", ["run-1", ""])
@pytest.mark.parametrize("listed", ODD_TASKS, ids=repr)
async def test_a_look_that_cannot_be_read_is_no_proof_of_absence(
    api, clock, launching, listed, started_by
):
    """An answer was lost, the next one refuses for certain: the task may run, and that is said."""
    api.recall, api.lose = False, lambda _: True
    api.answer = lambda _: None if api.calls["RunTask"] == 1 else NO_ROOM

    async def look(*_):
        if isinstance(listed, Exception):
            raise listed
        return listed

    api.tasks_started_by = api.tasks_of_family = look
    error = await outcome(clock, launching, startedBy=started_by)
    assert isinstance(error, MayRun)
    assert "hunter2" not in str(error)
    assert len(api.tasks) == 1


@pytest.mark.parametrize("listed", ODD_TASKS, ids=repr)
async def test_a_look_that_is_odd_once_is_repeated(api, clock, launching, listed):
    """And the task is found."""
    api.recall, api.lose = False, lambda _: True
    api.answer = lambda _: None if api.calls["RunTask"] == 1 else NO_ROOM
    look, odd = api.tasks_started_by, [listed]

    async def once(*which):
        if not odd:
            return await look(*which)
        if isinstance(odd[0], Exception):
            raise odd.pop()
        return odd.pop()

    api.tasks_started_by = once
    task = await outcome(clock, launching, startedBy="run-1")
    assert isinstance(task, Snapshot)
    assert list(api.tasks) == [task.task_arn]


@pytest.mark.parametrize("found", [[], "x", 5, {"overrides": 5}, ValueError("x")], ids=repr)
async def test_a_conflict_whose_task_cannot_be_read_may_run(api, clock, launching, found):
    api.answer = lambda _: Fault(Kind.CONFLICT, "RunTask", "ConflictException", "", ["arn:a/b/c"])

    async def find(*_):
        if isinstance(found, Exception):
            raise found
        return found

    api.find_task = find
    assert isinstance(await outcome(clock, launching), MayRun)


@pytest.mark.parametrize("error", [ValueError("v"), KeyError("k"), TimeoutError(), OSError(5)])
async def test_a_call_that_raises_anything_may_have_been_made(api, clock, launching, error):
    """It is repeated with the same token: of two calls that raise, the first started the task."""
    run_task, tokens = api.run_task, []

    async def raising(request):
        tokens.append(request["clientToken"])
        answer = await run_task(request)
        if len(tokens) < 3:
            raise error
        return answer

    api.run_task = raising
    task = await outcome(clock, launching)
    assert list(api.tasks) == [task.task_arn]
    assert len(tokens) == 3
    assert len(set(tokens)) == 1


@pytest.mark.parametrize(
    "task", [None, {}, [], "x", {"taskArn": None}, {"taskArn": ""}, {"taskArn": 7}], ids=repr
)
async def test_a_task_without_an_arn_is_no_task(api, clock, launching, task):
    """The call is repeated with its token until the answer can be read."""
    run_task, answers = api.run_task, []

    async def odd(request):
        answers.append(await run_task(request))
        return {"tasks": [task]} if len(answers) < 3 else answers[-1]

    api.run_task = odd
    found = await outcome(clock, launching)
    assert list(api.tasks) == [found.task_arn]


async def test_a_task_that_cannot_be_counted_is_its_callers_all_the_same(
    api, clock, launching, monkeypatch, caplog
):
    """Between ECS's answer and the watch nothing is lost."""

    def accepted(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(QuotaQueue, "accepted", accepted)
    task = await outcome(clock, launching)
    assert list(api.tasks) == [task.task_arn]
    assert "could not be counted" in caplog.text


@pytest.mark.parametrize("taken", [False, True])
async def test_a_task_that_is_stopped_late_is_not_counted_for_ever(api, clock, launching, taken):
    """StopTask is denied for ten minutes; nobody watches the tasks of those that were withdrawn."""
    denied = Fault(Kind.DENIED, "StopTask", "AccessDeniedException", "no")
    api.stop_fault = lambda: denied if clock.now() < 600 else None
    submissions = [launching.submit(REQUEST, 60.0) for _ in range(10)]
    await clock.pass_time(5.0 if taken else 0.1)  # ECS has answered, or not yet
    withdrawn = [launching.withdraw(submission) for submission in submissions]
    left = await clock.run(asyncio.gather(*withdrawn))
    assert {task.task_arn for task in left} == set(api.tasks)
    assert launching.snapshot()["EC2"]["live"] == 10
    await clock.pass_time(700)
    assert len(api.stopped) == 10
    assert launching.snapshot()["EC2"]["live"] == 0
    assert not launching._withdrawing._background


async def test_a_task_whose_answer_names_no_cluster_is_stopped_where_it_was_launched(
    api, clock, launching
):
    """Even after its launch has let go of the request."""
    stops, start = [], api._start

    def without_cluster(request):
        task = start(request)
        del task["clusterArn"]
        return task

    async def stop_task(cluster, task, reason):
        stops.append((cluster, task))

    api._start, api.stop_task = without_cluster, stop_task
    submission = launching.submit(REQUEST, 60.0)
    await clock.run(asyncio.wait((submission.outcome,)))
    task = submission.outcome.result()
    assert await clock.run(launching.withdraw(submission)) is None
    assert stops == [("etl", task.task_arn)]


# -- answers in turn -------------------------------------------------------------------------------

ODD = {
    "unknown": Fault(Kind.UNKNOWN, "RunTask", "BrandNewException", "no"),
    "in band": {"tasks": [], "failures": [{"reason": "BRANDNEW"}]},
    "conflict": Fault(Kind.CONFLICT, "RunTask", "ConflictException", "no"),
    "not found": Fault(Kind.NO_DEFINITION, "RunTask", "ClientException", "not found"),
}
BETWEEN = {
    "throttle": Fault(Kind.THROTTLED, "RunTask", "ThrottlingException", "Rate exceeded"),
    "hidden": Fault(Kind.HIDDEN_THROTTLE, "RunTask", "ClientException", "Rate exceeded"),
    "lost": Fault(Kind.OUTCOME_UNKNOWN, "RunTask", "502", "Bad Gateway"),
    "unreachable": Fault(Kind.UNREACHABLE, "RunTask", "EndpointConnectionError", "no route"),
    "denied": Fault(Kind.DENIED, "RunTask", "AccessDeniedException", "no", worked=True),
}


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("pattern", ["ob", "oob", "obb"])
async def test_what_says_nothing_of_a_call_does_not_keep_it_alive(
    api, clock, launching, pattern, odd, between
):
    """Answers that nobody knows, and throttles or a flaky proxy in between: it ends, in minutes."""
    answers = cycle([ODD[odd] if which == "o" else BETWEEN[between] for which in pattern])
    api.answer = lambda _: next(answers)
    submission = launching.submit(REQUEST, 300.0)
    await clock.run(asyncio.wait((submission.outcome,)), limit=900.0)
    assert isinstance(submission.outcome.exception(), PinnedECSError)
    assert not api.tasks


async def test_throttles_do_not_count_as_time_of_an_answer_that_nobody_knows(api, clock, launching):
    """One such answer, twenty minutes of throttles, another one: the launch goes on."""
    at = iter([ODD["unknown"]])

    def answer(_):
        if (odd := next(at, None)) is not None:
            return odd
        if clock.now() < 1200:
            return BETWEEN["throttle"]
        return ODD["unknown"] if clock.now() < 1210 else None

    api.answer = answer
    assert isinstance(await outcome(clock, launching), Snapshot)


# -- the queue's own bookkeeping -------------------------------------------------------------------

#: Where a call returns and where all is settled: what is raised on entry there is raised nowhere.
OUTERMOST = {"returned", "stopped", "snapshot", "_dispatch", "count_ended", "live"}

METHODS = [
    (of, name)
    for of in (QuotaQueue, Queue, Group, Breakers, Breaker, Shortage)
    for name, member in vars(of).items()
    if inspect.isfunction(member) and not name.startswith("__") and name not in OUTERMOST
]


@pytest.mark.parametrize(
    ("of", "name"), METHODS, ids=lambda value: getattr(value, "__name__", value)
)
@pytest.mark.parametrize("at", [1, 2, 9])
async def test_whatever_is_raised_in_a_queue_hangs_nobody(
    api, clock, launching, monkeypatch, of, name, at
):
    """Thirty of three sizes, room for six, one method that raises once at some call of it.

    Each has an outcome, each task that was started is known to its caller, and no count stays.
    """
    method, calls = getattr(of, name), count(1)

    def check() -> None:
        if next(calls) == at:
            raise ZeroDivisionError(name)

    async def raising(*given, **named):
        check()
        return await method(*given, **named)

    def raises(*given, **named):
        check()
        return method(*given, **named)

    monkeypatch.setattr(of, name, raising if inspect.iscoroutinefunction(method) else raises)
    live: set[str] = set()
    api.answer = lambda _: (
        {"tasks": [], "failures": [{"reason": "RESOURCE:CPU"}]} if len(live) >= 6 else None
    )
    start = api._start

    def noting(request):
        task = start(request)
        live.add(task["taskArn"])
        return task

    api._start = noting

    async def run(number: int) -> str:
        overrides = {"cpu": str(256 * (1 + number % 3)), "memory": "512"}
        submission = launching.submit({**REQUEST, "overrides": overrides}, 120.0)
        await asyncio.wait((submission.outcome,))
        if (error := submission.outcome.exception()) is not None:
            return type(error).__name__
        await clock.wait(5.0)
        live.discard(submission.outcome.result().task_arn)
        with contextlib.suppress(ZeroDivisionError):
            launching.task_stopped(submission)
        return "launched"

    outcomes = Counter(await clock.run(asyncio.gather(*map(run, range(30))), limit=5000))
    assert set(outcomes) <= {"launched", "ZeroDivisionError"}
    assert outcomes["launched"] == len(api.tasks)
    numbers = launching.snapshot().get("EC2", {"live": 0, "calling": 0, "queued": 0})
    assert (numbers["live"], numbers["calling"], numbers["queued"]) == (0, 0, 0)
    assert not launching._open
