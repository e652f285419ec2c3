"""Launching: paced, in order, once; refusals waited out or told."""

from __future__ import annotations

import asyncio

import pytest

from prefect_ecs_pinned.aws.faults import Fault, Kind
from prefect_ecs_pinned.aws.launching import Launching
from prefect_ecs_pinned.errors import AccessDenied, ClusterNotFound, LaunchTimeout, PinnedECSError
from tests.aws.fakes import FakeTasks, arn
from tests.aws.virtual import VirtualClock

VCPU = "You’ve reached the limit on the number of vCPUs you can run concurrently"


def request(number: int = 0, **members):
    return {
        "taskDefinition": arn("prefect-default", 1),
        "launchType": "FARGATE",
        "startedBy": f"run-{number}",
        **members,
    }


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def api(clock):
    return FakeTasks(clock)


@pytest.fixture
async def launching(api, clock):
    return Launching(api, clock)


class Quota:
    """The Fargate RunTask bucket: 20 calls, 20 more each second."""

    def __init__(self, clock, rate=20.0, burst=20.0):
        self.clock, self.rate, self.burst = clock, rate, burst
        self.tokens, self.at = burst, clock.now()

    def __call__(self, _):
        now = self.clock.now()
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return Fault(Kind.THROTTLED, "RunTask", "ThrottlingException", "Rate exceeded")
        self.tokens -= 1
        return None


async def outcomes(clock, submissions):
    return await clock.run(
        asyncio.gather(*(s.outcome for s in submissions), return_exceptions=True)
    )


async def test_three_hundred_runs_start_once_each_and_in_order(api, clock, launching):
    """Under the documented quota; throttles reach nobody."""
    api.answer = Quota(clock)
    submissions = [launching.submit(request(n), 900) for n in range(300)]
    tasks = await outcomes(clock, submissions)
    assert len({task.task_arn for task in tasks}) == 300
    started = [r["startedBy"] for _, r in api.started]
    places = [started.index(f"run-{n}") for n in range(300)]
    assert max(abs(place - n) for n, place in enumerate(places)) <= 48
    assert clock.now() <= 1.35 * (300 - 20) / 20


async def test_a_raised_quota_is_found(api, clock, launching):
    """Five times the quota: more than three times the speed, with nothing configured."""
    api.answer = Quota(clock, rate=100.0, burst=100.0)
    await outcomes(clock, [launching.submit(request(n), 900) for n in range(1000)])
    assert clock.now() <= (1000 - 20) / 20 / 3


async def test_a_lost_answer_starts_no_second_task(api, clock, launching):
    """The identical request is sent with the same token until the outcome is known."""
    lost = [True, True]
    api.lose = lambda _: bool(lost and lost.pop())
    (task,) = await outcomes(clock, [launching.submit(request(), 900)])
    assert list(api.tasks) == [task.task_arn]
    assert len({r["clientToken"] for r in api.requests}) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        {"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]},
        {"tasks": [], "failures": [{"reason": VCPU}]},
        Fault(Kind.HIDDEN_THROTTLE, "RunTask", "InvalidParameterException", "Rate exceeded"),
    ],
)
async def test_a_refusal_ends_its_token(api, clock, launching, refusal):
    """ECS replays refusals for a token that it knows."""
    refusals = [refusal]
    api.answer = lambda _: refusals.pop() if refusals else None
    (task,) = await outcomes(clock, [launching.submit(request(), 900)])
    assert task.task_arn in api.tasks
    assert len({r["clientToken"] for r in api.requests}) == 2


async def test_a_throttle_keeps_its_token(api, clock, launching):
    """Nothing was done, and nothing has been decided."""
    throttle = [Fault(Kind.THROTTLED, "RunTask", "ThrottlingException", "Rate exceeded")]
    api.answer = lambda _: throttle.pop() if throttle else None
    await outcomes(clock, [launching.submit(request(), 900)])
    assert len({r["clientToken"] for r in api.requests}) == 1


@pytest.mark.parametrize(
    ("kind", "error"), [(Kind.NO_CLUSTER, ClusterNotFound), (Kind.DENIED, AccessDenied)]
)
async def test_a_lasting_refusal_fails_at_once(api, clock, launching, kind, error):
    """One call, and AWS's reason with a hint."""
    api.answer = lambda _: Fault(kind, "RunTask", "SomeException", "because")
    (failure,) = await outcomes(clock, [launching.submit(request(), 900)])
    assert isinstance(failure, error)
    assert "because" in str(failure)
    assert failure.hint
    assert api.calls["RunTask"] == 1


async def test_no_capacity_for_longer_than_the_budget(api, clock, launching):
    """Everybody behind the gate is told after the launch budget, not one after the other."""
    api.answer = lambda _: {"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]}
    submissions = [launching.submit(request(n, launchType="EC2"), 100) for n in range(5)]
    failures = await outcomes(clock, submissions)
    assert all(isinstance(failure, LaunchTimeout) for failure in failures)
    assert "RESOURCE:MEMORY" in str(failures[0])
    assert 100 <= clock.now() <= 110


async def test_six_vcpus_run_sixty_tasks(api, clock, launching):
    """They wait for room instead of crashing, however little budget they have."""
    live: list[str] = []

    def answer(_):
        if len(live) >= 6:
            return {"tasks": [], "failures": [{"reason": VCPU}]}
        return None

    async def run_for_five_seconds(submission):
        task = await submission.outcome
        live.append(task.task_arn)
        await clock.wait(5)
        live.remove(task.task_arn)
        launching.task_stopped(submission.request)

    api.answer = answer
    runs = [run_for_five_seconds(launching.submit(request(n), 30)) for n in range(60)]
    await clock.run(asyncio.gather(*runs))
    assert len(api.tasks) == 60
    assert clock.now() <= 60 / 6 * 5 + 25


async def test_a_full_account_blocks_no_other_launch_type(api, clock, launching):
    """Fargate is full; EC2 launches at once."""
    api.answer = lambda r: (
        {"tasks": [], "failures": [{"reason": VCPU}]} if r["launchType"] == "FARGATE" else None
    )
    full = [launching.submit(request(n), 900) for n in range(50)]
    other = launching.submit(request(99, launchType="EC2"), 900)
    await clock.run(other.outcome)
    assert clock.now() < 2
    assert not any(s.outcome.done() for s in full)


async def test_a_full_cluster_blocks_no_other_cluster(api, clock, launching):
    """One cluster has no memory left; the other launches at once."""
    api.answer = lambda r: (
        {"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]} if r["cluster"] == "a" else None
    )
    for n in range(50):
        launching.submit(request(n, launchType="EC2", cluster="a"), 900)
    other = [launching.submit(request(n, launchType="EC2", cluster="b"), 900) for n in range(20)]
    await outcomes(clock, other)
    assert clock.now() < 5


async def test_withdrawn_while_it_queues_is_never_launched(api, clock, launching):
    """No RunTask call is made for it."""
    first = [launching.submit(request(n), 900) for n in range(100)]
    late = launching.submit(request(100), 900)
    launching.withdraw(late)
    await outcomes(clock, [*first, late])
    assert len(api.tasks) == 100
    assert isinstance(late.outcome.exception(), PinnedECSError)


async def test_withdrawn_in_the_middle_of_run_task_is_stopped(api, clock, launching):
    """Its answer is awaited, and its task stopped."""
    api.hold = asyncio.Event()
    submission = launching.submit(request(), 900)
    await clock.pass_time(1)
    launching.withdraw(submission)
    assert not submission.outcome.done()
    api.hold.set()
    await outcomes(clock, [submission])
    assert [task for task, _ in api.stopped] == list(api.tasks)


async def test_withdrawn_with_a_lost_answer_is_found_and_stopped(api, clock, launching):
    """The task runs although nobody heard so: it is asked for by its token."""
    lost = [True]
    api.lose = lambda _: bool(lost and lost.pop())
    submission = launching.submit(request(), 900)
    await clock.pass_time(0.4)
    launching.withdraw(submission)
    await outcomes(clock, [submission])
    assert [task for task, _ in api.stopped] == list(api.tasks)


async def test_a_conflict_adopts_the_task_that_it_names(api, clock, launching):
    """The token is ours: so is the task."""
    (task,) = await outcomes(clock, [launching.submit(request(), 900)])
    conflict = Fault(Kind.CONFLICT, "RunTask", "ConflictException", "", [task.task_arn])
    api.answer = lambda _: conflict
    (adopted,) = await outcomes(clock, [launching.submit(request(1), 900)])
    assert adopted.task_arn == task.task_arn


async def test_an_inactive_revision_is_renewed_and_the_launches_go_on(api, clock, launching):
    """Each submission asks for another revision, and launches from it."""
    old, new = arn("prefect-default", 1), arn("prefect-default", 2)

    async def renew(stale: str) -> str:
        assert stale == old
        return new

    api.answer = lambda r: (
        Fault(Kind.INACTIVE, "RunTask", "InvalidParameterException", "TaskDefinition is inactive")
        if r["taskDefinition"] == old
        else None
    )
    submissions = [launching.submit(request(n), 900, renew) for n in range(50)]
    await outcomes(clock, submissions)
    assert {r["taskDefinition"] for _, r in api.started} == {new}
    assert len(api.tasks) == 50


async def test_calls_under_way_follow_pace_times_latency(api, clock, launching):
    """At 20 calls a second and 300 ms, some twelve threads do for three hundred runs."""
    api.answer = Quota(clock)
    await outcomes(clock, [launching.submit(request(n), 900) for n in range(300)])
    assert api.most_under_way <= 16
