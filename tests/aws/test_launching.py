"""Launching: paced, in order, once; refusals waited out or raised."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone

import pytest

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.launching.outcomes import MayRun
from prefect_ecs_pinned.core.reaction import MOST_RENEWALS
from prefect_ecs_pinned.errors import AccessDenied, ClusterNotFound, LaunchTimeout, PinnedECSError
from tests.aws.fakes import VCPU, arn, outcomes

#: An answer to RunTask without a task.
NO_ROOM = {"tasks": [], "failures": [{"reason": "RESOURCE:CPU"}]}


def request(number: int = 0, **members):
    return {
        "taskDefinition": arn("prefect-default", 1),
        "launchType": "FARGATE",
        "startedBy": f"run-{number}",
        **members,
    }


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
    """Everybody behind the breaker fails after the launch budget, not one after the other."""
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
        launching.task_stopped(submission)

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
    """The task runs although the answer was lost: it is asked for by its token."""
    lost = [True]
    api.lose = lambda _: bool(lost and lost.pop())
    submission = launching.submit(request(), 900)
    await clock.pass_time(0.4)
    launching.withdraw(submission)
    await outcomes(clock, [submission])
    assert [task for task, _ in api.stopped] == list(api.tasks)


async def test_a_conflict_adopts_the_task_that_it_names(api, clock, launching):
    """It carries the submission's id: it is the one that an earlier call has started."""
    api.recall = False
    api.lose = lambda _: True

    def conflict(_):
        ids = list(api.tasks)
        return Fault(Kind.CONFLICT, "RunTask", "ConflictException", "", ids) if ids else None

    api.answer = conflict
    (task,) = await outcomes(clock, [launching.submit(request(), 900)])
    assert [task.task_arn] == list(api.tasks)
    assert api.calls["RunTask"] == 2


async def test_a_conflict_that_names_somebody_elses_task_adopts_nothing(api, clock, launching):
    """It carries another id. The next call takes another token."""
    (other,) = await outcomes(clock, [launching.submit(request(), 900)])
    conflict = [Fault(Kind.CONFLICT, "RunTask", "ConflictException", "", [other.task_arn])]
    api.answer = lambda _: conflict.pop() if conflict else None
    (task,) = await outcomes(clock, [launching.submit(request(1), 900)])
    assert task.task_arn != other.task_arn
    assert len(api.tasks) == 2


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"containerOverrides": []},
        {"containerOverrides": [{"name": "prefect"}]},
        {"containerOverrides": [{"name": "prefect", "environment": [{"name": "A", "value": "b"}]}]},
        None,
    ],
)
@pytest.mark.parametrize("lost", [False, True])
async def test_a_task_without_an_id_is_somebody_elses(api, clock, launching, overrides, lost):
    """Of another program: whether ECS names it or lists it, it is not adopted or stopped."""
    (other,) = await outcomes(clock, [launching.submit(request(1), 900)])
    api.tasks[other.task_arn]["overrides"] = overrides
    conflict = Fault(Kind.CONFLICT, "RunTask", "ConflictException", "", [other.task_arn])
    answers = [NO_ROOM, LOST] if lost else [conflict]
    api.answer = lambda _: answers.pop() if answers else None
    submission = launching.submit(request(1), 900)
    (task,) = await outcomes(clock, [submission])
    assert task.task_arn != other.task_arn
    assert len(api.tasks) == 2
    await clock.run(launching.withdraw(submission))
    assert [stopped for stopped, _ in api.stopped] == [task.task_arn]


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("odd_answers", [2, 10_000])
async def test_a_description_without_overrides_says_nothing(
    api, clock, launching, lost, odd_answers
):
    """ECS always describes them. It is asked again; if they are never there, the task may run."""
    api.recall, api.lose = False, lambda _: True

    def answer(_):
        if not api.tasks:
            return None
        named = Fault(Kind.CONFLICT, "RunTask", "ConflictException", "", list(api.tasks))
        return NO_ROOM if lost else named

    api.answer = answer
    kept: list[object] = []

    async def described(cluster, which):
        task = dict(next(iter(api.tasks.values())))
        await clock.wait(0.05)
        if len(kept) < odd_answers:
            kept.append(task.pop("overrides"))
        return [task] if lost else task

    api.tasks_started_by = api.find_task = described
    (ended,) = await outcomes(clock, [launching.submit(request(), 900)])
    assert len(api.tasks) == 1
    if odd_answers == 2:
        assert [ended.task_arn] == list(api.tasks)
    else:
        assert isinstance(ended, MayRun)


async def test_conflicts_without_end_end_in_two_minutes(api, clock, launching):
    """And hang nobody."""
    (other,) = await outcomes(clock, [launching.submit(request(), 900)])
    conflict = Fault(Kind.CONFLICT, "RunTask", "ConflictException", "odd", [other.task_arn])
    api.answer = lambda _: conflict
    before = clock.now()
    (failure,) = await outcomes(clock, [launching.submit(request(1), 900)])
    assert isinstance(failure, PinnedECSError)
    assert 120 <= clock.now() - before <= 135


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


async def test_a_new_revision_that_is_waited_for_is_no_renewal(api, clock, launching):
    """However often: the end of that is `Pinning.renew`'s to say."""
    waits = []

    async def renew(stale: str) -> str:
        waits.append(clock.now())
        await clock.wait(4.0)
        return stale

    api.answer = lambda _: (
        Fault(Kind.NO_DEFINITION, "RunTask", "ClientException", "TaskDefinition not found.")
        if clock.now() < 58
        else None
    )
    await outcomes(clock, [launching.submit(request(0), 900, renew)])
    assert len(api.tasks) == 1
    assert len(waits) > MOST_RENEWALS


async def test_calls_under_way_follow_pace_times_latency(api, clock, launching):
    """At 20 calls a second and 300 ms, sixteen threads do for three hundred runs."""
    api.answer = Quota(clock)
    await outcomes(clock, [launching.submit(request(n), 900) for n in range(300)])
    assert api.most_under_way == 16


async def test_an_ecs_that_answers_slowly_gets_more_calls_at_once(api, clock, launching):
    """At a second a call the quota takes twenty at once: it is used up all the same."""
    api.latency = 1.0
    api.answer = Quota(clock)
    await outcomes(clock, [launching.submit(request(n), 900) for n in range(600)])
    times = [at for at, _ in api.started]
    assert max(times) - min(times) <= 1.1 * (600 - 20) / 20
    assert api.most_under_way > 16


# -- lost answers ----------------------------------------------------------------------------------

LOST = Fault(Kind.OUTCOME_UNKNOWN, "RunTask", "ReadTimeoutError", "Read timeout")
UNREACHABLE = Fault(Kind.UNREACHABLE, "RunTask", "EndpointConnectionError", "no route to host")


async def test_lost_to_the_end_of_the_budget_its_task_is_found(api, clock, launching):
    """By `startedBy`: the task runs, so the run is launched, not failed."""
    api.lose = lambda _: True
    api.recall = False
    submission = launching.submit(request(7), 60)
    api.answer = lambda _: LOST if api.tasks else None
    (task,) = await outcomes(clock, [submission])
    assert [task.task_arn] == list(api.tasks)
    assert api.calls["ListTasks"] == 1
    assert len({r["clientToken"] for r in api.requests}) == 1


async def test_lost_to_the_end_of_the_budget_and_never_started(api, clock, launching):
    """Two looks, five seconds apart, since ListTasks is eventually consistent; then an error."""
    api.answer = lambda _: LOST
    (failure,) = await outcomes(clock, [launching.submit(request(), 60)])
    assert isinstance(failure, LaunchTimeout)
    assert "Read timeout, for 60 s" in str(failure)
    assert api.calls["ListTasks"] == 2
    assert 60 <= clock.now() <= 90


async def test_a_call_that_was_never_sent_leaves_nothing_to_look_for(api, clock, launching):
    """No route to AWS: nothing was done."""
    api.answer = lambda _: UNREACHABLE
    (failure,) = await outcomes(clock, [launching.submit(request(), 60)])
    assert isinstance(failure, LaunchTimeout)
    assert failure.hint == (
        "check the network, the proxy, region_name, endpoint_url and AWS_ENDPOINT_URL"
    )
    assert api.calls["ListTasks"] == 0


async def test_an_hour_without_network_is_waited_out_by_a_large_budget(api, clock, launching):
    """And launches once."""
    api.answer = lambda _: UNREACHABLE if clock.now() < 3600 else None
    (task,) = await outcomes(clock, [launching.submit(request(), 7200)])
    assert list(api.tasks) == [task.task_arn]


async def test_a_token_is_not_sent_again_when_ecs_may_have_forgotten_it(api, clock, launching):
    """It lives for the life of its task and an hour: then its task is looked for instead."""
    api.lose = lambda _: True
    api.answer = lambda _: LOST if api.tasks and clock.now() < 4000 else None
    submission = launching.submit(request(), 10_000)
    await clock.pass_time(3000)
    api.tokens.clear()  # ECS has forgotten
    (task,) = await outcomes(clock, [submission])
    assert list(api.tasks) == [task.task_arn]


@pytest.mark.parametrize(
    "refusal",
    [
        {"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]},
        Fault(Kind.HIDDEN_THROTTLE, "RunTask", "InvalidParameterException", "Rate exceeded"),
        Fault(Kind.INACTIVE, "RunTask", "InvalidParameterException", "TaskDefinition is inactive"),
        Fault(Kind.DENIED, "RunTask", "AccessDeniedException", "not authorized"),
    ],
)
async def test_a_refusal_after_a_lost_answer_looks_first(api, clock, launching, refusal):
    """Whatever ECS refuses now: the call before may have started the task."""
    api.lose = lambda _: True
    submission = launching.submit(request(3), 900)
    api.answer = lambda _: refusal if api.tasks else None
    api.recall = False
    (task,) = await outcomes(clock, [submission])
    assert list(api.tasks) == [task.task_arn]


async def test_where_looking_is_denied_it_is_said(api, clock, launching):
    """The error says that the task may run, and which permission is missing."""
    api.answer = lambda _: LOST
    api.list_fault = lambda: Fault(Kind.DENIED, "ListTasks", "AccessDeniedException", "no")
    (failure,) = await outcomes(clock, [launching.submit(request(), 60)])
    assert isinstance(failure, LaunchTimeout)
    assert "may be running" in failure.why
    assert failure.hint == "allow ecs:ListTasks to the credentials"


async def test_looking_survives_an_outage(api, clock, launching):
    """AWS is away for half an hour more when the budget ends."""
    api.lose = lambda _: True
    api.recall = False
    api.answer = lambda _: LOST if api.tasks else None
    api.list_fault = lambda: UNREACHABLE if clock.now() < 1800 else None
    (task,) = await outcomes(clock, [launching.submit(request(), 60)])
    assert list(api.tasks) == [task.task_arn]


async def test_a_task_of_an_earlier_attempt_is_not_taken_for_this_one(api, clock, launching):
    """It stopped an hour ago, under the same flow run."""
    earlier = api._start(request(1))
    long_ago = datetime.now(timezone.utc) - timedelta(hours=1)
    api.set(earlier["taskArn"], "STOPPED", createdAt=long_ago)
    api.answer = lambda _: LOST
    (failure,) = await outcomes(clock, [launching.submit(request(1), 60)])
    assert isinstance(failure, LaunchTimeout)


async def test_a_living_task_of_the_same_flow_run_is_not_taken_for_this_one(api, clock, launching):
    """An earlier attempt of the flow run is still being stopped, or somebody has patched
    `startedBy`: only the id in its overrides makes a task the submission's."""
    api._start(request(1))
    api.answer = lambda _: LOST
    (failure,) = await outcomes(clock, [launching.submit(request(1), 60)])
    assert isinstance(failure, LaunchTimeout)


async def test_a_task_that_has_stopped_since_is_found_all_the_same(api, clock, launching):
    """No status decides, and no clock: it was created an hour ago, if that clock is right."""
    api.lose = lambda _: True
    api.recall = False
    submission = launching.submit(request(1), 60)
    api.answer = lambda _: LOST if api.tasks else None
    await clock.pass_time(5)
    (task,) = api.tasks
    long_ago = datetime.now(timezone.utc) - timedelta(hours=1)
    api.set(task, "STOPPED", createdAt=long_ago, exit_code=0)
    (found,) = await outcomes(clock, [submission])
    assert (found.task_arn, found.status) == (task, "STOPPED")


@pytest.mark.parametrize("started_by", ["", None])
async def test_nothing_is_searched_by_a_patched_started_by(api, clock, launching, started_by):
    """The task is looked for among those of its family."""
    api.lose = lambda _: True
    api.recall = False
    asked = dict(request(7))
    if started_by is None:
        del asked["startedBy"]
    submission = launching.submit(asked, 60, started_by=started_by)

    async def nothing(*_):
        raise AssertionError("it is searched by startedBy")

    api.tasks_started_by = nothing
    api.answer = lambda _: LOST if api.tasks else None
    (task,) = await outcomes(clock, [submission])
    assert [task.task_arn] == list(api.tasks)


async def test_withdrawn_and_lost_to_the_end_of_the_budget_is_stopped(api, clock, launching):
    """Found by `startedBy`, and stopped: nobody wants it."""
    api.lose = lambda _: True
    api.recall = False
    api.answer = lambda _: LOST if api.tasks else None
    submission = launching.submit(request(), 60)
    await clock.pass_time(1)
    launching.withdraw(submission)
    await outcomes(clock, [submission])
    assert [task for task, _ in api.stopped] == list(api.tasks)
    assert len(api.tasks) == 1


@pytest.mark.parametrize(
    "answer", [{}, {"message": "<html>Bad gateway</html>"}, {"tasks": [{"lastStatus": "PENDING"}]}]
)
async def test_an_answer_that_cannot_be_read_is_no_answer(api, clock, launching, answer):
    """A proxy's page, or one that was cut short: the same token again."""
    answers = [answer]
    api.answer = lambda _: answers.pop() if answers else None
    (task,) = await outcomes(clock, [launching.submit(request(), 900)])
    assert list(api.tasks) == [task.task_arn]
    assert len({r["clientToken"] for r in api.requests}) == 1


async def test_no_container_instances_fails_at_once(api, clock, launching):
    """Nothing adds them on launch type EC2."""
    text = "No Container Instances were found in your cluster."
    api.answer = lambda _: Fault(Kind.NO_INSTANCES, "RunTask", "InvalidParameterException", text)
    (failure,) = await outcomes(clock, [launching.submit(request(launchType="EC2"), 900)])
    assert text in str(failure)
    assert "container instances" in failure.hint
    assert api.calls["RunTask"] == 1


async def test_a_task_that_a_conflict_names_and_nobody_can_describe_yet(api, clock, launching):
    """Its cluster is the submission's."""
    named = "arn:aws:ecs:us-east-1:123456789012:task/etl/0"
    api.answer = lambda _: Fault(Kind.CONFLICT, "RunTask", "ConflictException", "", [named])
    (task,) = await outcomes(clock, [launching.submit(request(cluster="etl"), 900)])
    assert (task.task_arn, task.cluster_arn) == (named, "etl")


async def test_closing_launches_nothing_more(api, clock, launching):
    """What queues is dropped; what is under way is awaited, and stopped."""
    submissions = [launching.submit(request(n), 900) for n in range(100)]
    await clock.pass_time(0.1)
    under_way = api.under_way
    closing = asyncio.create_task(launching.close())
    await outcomes(clock, submissions)
    await closing
    assert 0 < under_way == len(api.tasks)
    assert {task for task, _ in api.stopped} == set(api.tasks)


async def test_withdrawn_while_its_token_grew_too_old(api, clock, launching):
    """Its task is looked for instead of a call; there is none, and none is launched."""
    api.answer = lambda _: LOST
    submission = launching.submit(request(), 10_000)
    await clock.pass_time(2990)
    launching.withdraw(submission)
    await outcomes(clock, [submission])
    assert api.calls["ListTasks"] == 2
    assert not api.tasks
    assert "cancelled" in str(submission.outcome.exception())


async def test_an_error_that_nobody_foresaw_hangs_nobody(api, clock, launching):
    """Neither in looking for a task, which may run then, nor in renewing a revision."""

    async def broken(*_):
        raise ZeroDivisionError

    api.answer = lambda _: LOST
    api.tasks_started_by = broken
    first = launching.submit(request(), 60)
    (failure,) = await outcomes(clock, [first])
    assert isinstance(failure, MayRun)
    assert "ZeroDivisionError" in str(failure)
    api.answer = lambda _: Fault(Kind.INACTIVE, "RunTask", "ClientException", "inactive")
    (failure,) = await outcomes(clock, [launching.submit(request(), 60, broken)])
    assert isinstance(failure, ZeroDivisionError)
