"""Runs that are not equal: capacity is a matter of the request, and every clock its own."""

from __future__ import annotations

import asyncio
import logging
import random
import re
from typing import Any

import pytest

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.errors import LaunchTimeout, PinnedECSError
from tests.aws.fakes import VCPU, arn, outcomes


def vcpus(number: float) -> str:
    return str(int(number * 1024))


def request(number: int = 0, cpu: float = 1, **members):
    return {
        "taskDefinition": arn("prefect-default", 1),
        "launchType": "FARGATE",
        "startedBy": f"run-{number}",
        "overrides": {"cpu": vcpus(cpu), "memory": "2048"},
        **members,
    }


def failures(*reasons: str):
    return {"tasks": [], "failures": [{"reason": reason} for reason in reasons]}


class Account:
    """A vCPU quota that counts what runs, and tasks that end by themselves."""

    def __init__(self, api, clock, launching, quota=6.0, seconds=5.0):
        self.api, self.clock, self.launching = api, clock, launching
        self.quota, self.seconds = quota, seconds
        self.used = 0.0
        self.most = 0.0
        api.answer = self.answer

    def answer(self, request):
        cpu = float(request["overrides"]["cpu"]) / 1024
        if self.used + cpu > self.quota:
            return failures(VCPU)
        self.used += cpu
        self.most = max(self.most, self.used)
        return None

    async def run(self, number, cpu=1.0, budget=900.0, seconds=None, after=0.0):
        """One flow run: when it was launched, or how it failed and when."""
        if after:
            await self.clock.wait(after)
        submission = self.launching.submit(request(number, cpu), budget)
        asked = self.clock.now()
        try:
            await submission.outcome
        except PinnedECSError as error:
            return error, self.clock.now() - asked
        launched = self.clock.now()
        await self.clock.wait(self.seconds if seconds is None else seconds)
        self.used -= cpu
        self.launching.task_stopped(submission)
        return None, launched - asked

    async def all(self, *runs, limit=100_000.0):
        return await self.clock.run(asyncio.gather(*runs), limit)


async def test_one_that_never_fits_keeps_nobody_waiting(api, clock, launching):
    """16 vCPUs under a quota of 6, first of 200: the others run at the speed of the capacity, and
    it fails after its own budget, refused each time."""
    account = Account(api, clock, launching)
    large, *small = await account.all(
        account.run(0, cpu=16, budget=300), *(account.run(n) for n in range(1, 200))
    )
    assert [error for error, _ in small] == [None] * 199
    assert max(waited for _, waited in small) <= 199 / 6 * 5 * 1.25
    error, waited = large
    assert isinstance(error, LaunchTimeout)
    assert 300 <= waited <= 330
    assert "AWS refused" not in error.why
    itself, others = map(int, re.findall(r"(\d+) (?:times|refusals)", error.why))
    assert 300 / 2.5 * 0.8 <= itself <= 300 / 2.5 * 1.2
    assert others <= 199
    assert api.calls["RunTask"] <= 199 * 1.5 + itself
    assert account.most <= 6


async def test_each_says_for_which_refusals_of_others_it_has_waited(api, clock, launching):
    """Last tries are refusals like any other: own and others' together are all that were."""
    api.answer = lambda _: failures(VCPU)
    errors = await outcomes(clock, [launching.submit(request(n), 20) for n in range(3)])
    pairs = [tuple(map(int, re.findall(r"(\d+) (?:times|refusals)", e.why))) for e in errors]
    assert len(api.requests) == sum(itself for itself, _ in pairs)
    before = [sum(pair) for pair in pairs]
    assert sorted(before)[-1] == len(api.requests)
    assert all(total >= len(api.requests) - 2 for total in before)


@pytest.mark.parametrize(
    "kind", [Kind.HIDDEN_THROTTLE, Kind.UNREACHABLE, Kind.UNKNOWN, Kind.THROTTLED]
)
@pytest.mark.parametrize("at", [0.0, 1.0, 7.0, 100.0])
async def test_withdrawn_in_a_pause_it_is_not_queued_again(api, clock, launching, kind, at):
    """Behind a shortage it would wait there for its whole budget."""
    api.answer = lambda of: (
        failures(VCPU) if of["startedBy"] != "run-9" else Fault(kind, "RunTask", "Odd", "odd")
    )
    others = [launching.submit(request(n), 900) for n in range(3)]
    asked = launching.submit(request(9, 0.25), 900)

    async def withdraw():
        await clock.wait(at)
        api.answer = lambda _: failures(VCPU)
        launching.withdraw(asked)
        began = clock.now()
        with pytest.raises(PinnedECSError, match="cancelled"):
            await asked.outcome
        for other in others:
            launching.withdraw(other)
        return clock.now() - began

    waited, *_ = await clock.run(
        asyncio.gather(withdraw(), *(o.outcome for o in others), return_exceptions=True), 5_000
    )
    assert waited <= 60


async def test_two_hundred_that_never_fit_beside_two_hundred_that_do(api, clock, launching):
    """All that fit run; all others fail within their budget and a minute, each sent at least once,
    and say how often they were refused themselves."""
    account = Account(api, clock, launching, quota=40)
    order = [(n, 64 if n % 2 else 1) for n in range(400)]
    ended = await account.all(*(account.run(n, cpu=cpu, budget=300) for n, cpu in order))
    for (_, cpu), (error, waited) in zip(order, ended, strict=True):
        if cpu == 1:
            assert error is None
        else:
            assert isinstance(error, LaunchTimeout)
            assert 300 <= waited <= 360
    sent = {r["startedBy"] for r in api.requests}
    assert len(sent) == 400
    assert len(api.tasks) == 200


async def test_a_large_one_beside_a_stream_of_small_ones_is_launched(api, clock, launching, caplog):
    """It fits when four of six have ended. The small ones overtake it for one budget; then its
    scope is reserved until it runs, and that is logged."""
    caplog.set_level(logging.WARNING)
    account = Account(api, clock, launching)
    stream = [account.run(n, after=n * 0.5, seconds=5) for n in range(1200)]
    large, *small = await account.all(
        account.run(5000, cpu=4, budget=60, after=10), *stream, limit=5000
    )
    error, waited = large
    assert error is None
    assert 60 <= waited <= 125
    assert [error for error, _ in small] == [None] * 1200
    assert "smaller launches have overtaken it" in caplog.text


async def test_what_a_reservation_costs_at_most(api, clock, launching):
    """Tasks that outlive it: the small ones wait for a minute, once in a budget."""
    account = Account(api, clock, launching)
    forever = [account.run(n, seconds=650) for n in range(3)]
    stream = [account.run(n, after=n, seconds=1) for n in range(10, 760)]
    late = account.run(5000, cpu=4, budget=150, after=3)
    (error, waited), *rest = await account.all(late, *forever, *stream)
    assert error is None
    assert 640 <= waited <= 760
    waits = [waited for error, waited in rest if error is None]
    assert len(waits) == 3 + 750
    assert max(waits) <= 70
    assert sum(waits) / len(waits) <= 40


async def test_a_run_that_arrives_in_the_middle_of_a_shortage_has_its_whole_budget(
    api, clock, launching
):
    """At 895 s of somebody else's 900."""
    api.answer = lambda _: failures(VCPU)
    launching.submit(request(0), 900)
    await clock.pass_time(895)
    before = clock.now()
    late = launching.submit(request(1), 900)
    with pytest.raises(LaunchTimeout):
        await clock.run(late.outcome)
    assert 900 <= clock.now() - before <= 930


async def test_a_run_that_arrives_an_hour_after_a_shortage_has_its_whole_budget(
    api, clock, launching
):
    """What was refused then says nothing any more."""
    api.answer = lambda _: failures(VCPU)
    first = launching.submit(request(0), 900)
    await clock.pass_time(10)
    launching.withdraw(first)
    await clock.pass_time(3600)
    before, calls = clock.now(), api.calls["RunTask"]
    late = launching.submit(request(1), 900)
    await clock.pass_time(2)
    assert api.calls["RunTask"] > calls
    with pytest.raises(LaunchTimeout):
        await clock.run(late.outcome)
    assert 900 <= clock.now() - before <= 930


async def test_throttles_spend_no_budget(api, clock, launching):
    """Half an hour of nothing but throttles, under a budget of a minute."""
    throttle = Fault(Kind.THROTTLED, "RunTask", "ThrottlingException", "Rate exceeded")
    hidden = Fault(Kind.HIDDEN_THROTTLE, "RunTask", "ClientException", "ErrorCode: Throttling")
    api.answer = lambda _: None if clock.now() > 1800 else random.choice((throttle, hidden))
    submission = launching.submit(request(), 60)
    task = await clock.run(submission.outcome)
    assert [task.task_arn] == list(api.tasks)


async def test_any_answer_of_ecs_restarts_the_count_of_those_without(api, clock, launching):
    """An unbroken series of lost answers ends at the budget; one that is broken does not."""
    lost = Fault(Kind.OUTCOME_UNKNOWN, "RunTask", "ServerException", "5xx")
    throttle = Fault(Kind.THROTTLED, "RunTask", "ThrottlingException", "Rate exceeded")

    def answer(_):
        if clock.now() > 600:
            return None
        return throttle if api.calls["RunTask"] % 4 == 0 else lost

    api.answer = answer
    task = await clock.run(launching.submit(request(), 100).outcome)
    assert list(api.tasks) == [task.task_arn]
    api.answer = lambda _: lost
    before = clock.now()
    with pytest.raises(LaunchTimeout, match="5xx, for 100 s"):
        await clock.run(launching.submit(request(1), 100).outcome)
    assert 100 <= clock.now() - before <= 125


async def test_a_clock_pauses_while_live_tasks_could_make_room(api, clock, launching):
    """Six tasks of ours run for half an hour: the seventh waits longer than its budget."""
    account = Account(api, clock, launching, seconds=1800)
    *_, last = await account.all(*(account.run(n, budget=60) for n in range(7)))
    error, waited = last
    assert error is None
    assert 1800 <= waited <= 1810


async def test_a_clock_pauses_for_four_budgets_or_an_hour_at_most(api, clock, launching):
    """Tasks that never end make no room."""
    account = Account(api, clock, launching, seconds=100_000)
    runs = [asyncio.ensure_future(account.run(n, budget=60)) for n in range(7)]
    error, waited = await clock.run(runs[-1])
    assert isinstance(error, LaunchTimeout)
    assert 3660 <= waited <= 3700


async def test_live_tasks_that_are_too_small_together_pause_no_clock(api, clock, launching):
    """Three of 1 vCPU can never make room for 4; other processes run the rest of the quota."""
    account = Account(api, clock, launching, quota=3, seconds=10_000)
    runs = [asyncio.ensure_future(account.run(n)) for n in range(3)]
    await clock.pass_time(2)
    large = asyncio.ensure_future(account.run(9, cpu=4, budget=60))
    error, waited = await clock.run(large)
    assert isinstance(error, LaunchTimeout)
    assert 60 <= waited <= 70
    for run in runs:
        run.cancel()


# -- EC2 ------------------------------------------------------------------------------------------


def on_ec2(number=0, memory=1024, gpu=0, **members):
    container = {"name": "prefect", "memory": memory}
    if gpu:
        container["resourceRequirements"] = [{"type": "GPU", "value": str(gpu)}]
    return {
        "taskDefinition": arn("prefect-default", 1),
        "launchType": "EC2",
        "startedBy": f"run-{number}",
        "overrides": {"containerOverrides": [container]},
        **members,
    }


DEFINITION = {"containerDefinitions": [{"name": "prefect", "memory": 512}]}


async def submit_all(launching, requests, budget=60):
    return [launching.submit(r, budget, definition=DEFINITION) for r in requests]


async def test_a_gpu_that_no_instance_has_keeps_nobody_waiting(api, clock, launching):
    """Fifty with, fifty without, in one cluster."""

    def answer(request):
        (container,) = request["overrides"]["containerOverrides"]
        return failures("RESOURCE:GPU") if container.get("resourceRequirements") else None

    api.answer = answer
    with_gpu = await submit_all(launching, [on_ec2(n, gpu=1) for n in range(50)])
    without = await submit_all(launching, [on_ec2(n) for n in range(50, 100)])
    await outcomes(clock, without)
    assert clock.now() < 6
    ended = await outcomes(clock, with_gpu)
    assert all(isinstance(error, LaunchTimeout) for error in ended)
    assert clock.now() <= 60 + 60
    assert len({r["startedBy"] for r in api.requests}) == 100


@pytest.mark.parametrize("reason", ["ATTRIBUTE", "LOCATION"])
async def test_what_no_instance_can_ever_take_fails_at_once(api, clock, launching, reason):
    """Only that request: the others of the cluster are launched."""
    api.answer = lambda r: failures(reason) if "2" in r["taskDefinition"][-1] else None
    arm = launching.submit(on_ec2(0, taskDefinition=arn("prefect-arm", 2)), 900)
    others = await submit_all(launching, [on_ec2(n) for n in range(1, 20)])
    ended = await outcomes(clock, [arm, *others])
    assert isinstance(ended[0], PinnedECSError)
    assert not isinstance(ended[0], LaunchTimeout)
    assert len(api.tasks) == 19
    assert sum(r["startedBy"] == "run-0" for r in api.requests) == 1


async def test_a_capacity_provider_may_add_what_is_missing(api, clock, launching):
    """ATTRIBUTE under a strategy waits, and for equal requests only."""
    strategy = {"launchType": None, "capacityProviderStrategy": [{"capacityProvider": "arm"}]}
    first = on_ec2(0, **strategy)
    del first["launchType"]
    api.answer = lambda r: (
        failures("ATTRIBUTE") if r["startedBy"] == "run-0" and clock.now() < 100 else None
    )
    submission = launching.submit(first, 300, definition=DEFINITION)
    other = launching.submit({**first, "startedBy": "run-1", "taskDefinition": arn("x", 9)}, 300)
    await clock.run(other.outcome)
    assert clock.now() < 2
    await clock.run(submission.outcome)
    assert 100 <= clock.now() <= 110


@pytest.mark.parametrize(
    "order", [("ATTRIBUTE", "RESOURCE:MEMORY"), ("RESOURCE:MEMORY", "ATTRIBUTE")]
)
async def test_every_failure_of_an_answer_counts_in_any_order(api, clock, launching, order):
    """One instance lacks an attribute, another has no memory left: it waits, and names both."""
    api.answer = lambda _: failures(*order)
    (error,) = await outcomes(clock, [launching.submit(on_ec2(), 60)])
    assert isinstance(error, LaunchTimeout)
    assert all(reason in error.why for reason in order)
    assert 60 <= clock.now() <= 70


async def test_no_memory_for_a_large_one_is_memory_for_a_small_one(api, clock, launching):
    """RESOURCE:MEMORY covers what is at least as large in memory."""

    def answer(request):
        (container,) = request["overrides"]["containerOverrides"]
        return failures("RESOURCE:MEMORY") if container["memory"] > 2048 else None

    api.answer = answer
    large = await submit_all(launching, [on_ec2(n, memory=4096) for n in range(30)], 120)
    small = await submit_all(launching, [on_ec2(n, memory=1024) for n in range(30, 60)])
    await outcomes(clock, small)
    assert clock.now() < 5
    assert not any(s.outcome.done() for s in large)


async def test_a_full_provisioning_queue_of_one_provider_is_capacity(api, clock, launching):
    """An exception, not a failure inside a 200; another provider goes on."""
    text = "Tasks provisioning capacity limit exceeded."
    full = Fault(Kind.CAPACITY, "RunTask", "ClientException", text)
    providers = [{"capacityProviderStrategy": [{"capacityProvider": name}]} for name in "ab"]
    api.answer = lambda r: (
        full
        if r["capacityProviderStrategy"][0]["capacityProvider"] == "a" and clock.now() < 50
        else None
    )
    requests = [{**on_ec2(n), **providers[n % 2]} for n in range(60)]
    for r in requests:
        del r["launchType"]
    submissions = await submit_all(launching, requests, 300)
    await outcomes(clock, submissions[1::2])
    assert clock.now() < 5
    await outcomes(clock, submissions)
    assert len(api.tasks) == 60


async def test_five_thousand_behind_a_full_cluster_cost_the_others_nothing(api, clock, launching):
    """The way of a permit does not walk past them."""
    api.answer = lambda r: failures("RESOURCE:MEMORY") if r["cluster"] == "full" else None
    for n in range(5000):
        launching.submit(on_ec2(n, cluster="full"), 900, definition=DEFINITION)
    other = [launching.submit(on_ec2(n, cluster="b"), 900) for n in range(20)]
    await outcomes(clock, other)
    assert clock.now() < 5
    assert sum(r["cluster"] == "full" for r in api.requests) <= 40


async def test_the_probes_of_forty_full_clusters_are_a_tenth_of_the_pace(api, clock, launching):
    """Each is probed in its turn, whatever the pace has become."""
    api.answer = lambda _: failures("RESOURCE:MEMORY")
    for n in range(80):
        launching.submit(on_ec2(n, cluster=f"full-{n % 40}"), 9000, definition=DEFINITION)
    await clock.pass_time(60)
    calls, pace = len(api.requests), launching.snapshot()["EC2"]["rate"]
    await clock.pass_time(120)
    assert pace <= launching.snapshot()["EC2"]["rate"]
    probed = [r["cluster"] for r in api.requests[calls:]]
    each = 120 * launching.snapshot()["EC2"]["rate"] * 0.1 / 40
    assert {probed.count(f"full-{n}") for n in range(40)} <= set(
        range(int(each - 1), int(each + 2))
    )


# -- odd answers ----------------------------------------------------------------------------------


def odd(code="SomethingNew", message="nobody has seen this"):
    return Fault(Kind.UNKNOWN, "RunTask", code, message)


async def test_one_odd_answer_in_four_loses_nobody(api, clock, launching):
    """An unknown code, and an unknown reason inside a 200; 200 runs, each launched once."""
    answers = [odd(), failures("SOMETHING_NEW"), failures(), {"tasks": [], "failures": None}]

    def answer(_):
        return random.choice(answers) if random.random() < 0.25 else None

    random.seed(7)
    api.answer = answer
    submissions = [launching.submit(request(n), 900) for n in range(200)]
    tasks = await outcomes(clock, submissions)
    assert len({task.task_arn for task in tasks}) == len(api.tasks) == 200


@pytest.mark.parametrize("answer", [odd(), failures("SOMETHING_NEW"), failures()])
async def test_an_odd_answer_that_stays_is_final_after_two_minutes(
    api, clock, launching, answer, caplog
):
    """And says what it was; one WARNING says that it is repeated."""
    api.answer = lambda _: answer
    (error,) = await outcomes(clock, [launching.submit(request(), 900)])
    assert sum("unknown code" in line.getMessage() for line in caplog.records) == 1
    assert isinstance(error, PinnedECSError)
    assert not isinstance(error, LaunchTimeout)
    assert 120 <= clock.now() <= 150


async def test_a_refusal_that_an_odd_code_hides_is_not_taken_for_a_launch(api, clock, launching):
    """A proxy's code after the call took effect: the same token brings the task, no second one."""
    api.recall = True
    lost = [odd()]
    original = api.run_task

    async def run_task(request):
        answer = await original(request)
        if lost:
            raise lost.pop()
        return answer

    api.run_task = run_task
    (task,) = await outcomes(clock, [launching.submit(request(), 900)])
    assert list(api.tasks) == [task.task_arn]


async def test_denied_as_before_waits_and_as_never_before_does_not(api, clock, launching):
    """IAM is eventually consistent: what has worked will work again."""
    denied = Fault(Kind.DENIED, "RunTask", "AccessDeniedException", "no", worked=True)
    api.answer = lambda _: denied if clock.now() < 200 else None
    task = await clock.run(launching.submit(request(), 900).outcome)
    assert list(api.tasks) == [task.task_arn]
    assert clock.now() >= 200


# -- never a second task, and what is said is so ---------------------------------------------------

LOST = Fault(Kind.OUTCOME_UNKNOWN, "RunTask", "ServerException", "5xx")
DENIED = Fault(Kind.DENIED, "ListTasks", "AccessDeniedException", "no")


@pytest.mark.parametrize("list_fault", [None, DENIED])
async def test_a_lost_answer_that_cannot_be_looked_up_starts_no_second_task(
    api, clock, launching, list_fault
):
    """For an hour no answer, and the token grows too old: it is found, or reported as 'may run'."""
    api.recall = False
    api.lose = lambda _: len(api.tasks) == 1
    api.answer = lambda _: LOST if 0.5 < clock.now() < 3400 else None
    api.list_fault = lambda: list_fault
    submission = launching.submit(request(), 86400)
    (ended,) = await outcomes(clock, [submission])
    assert len(api.tasks) == 1
    if list_fault is None:
        assert ended.task_arn in api.tasks
    else:
        assert "may be running" in str(ended)


@pytest.mark.parametrize("when", [0.1, 0.31, 50.0])
async def test_withdrawn_at_any_moment_its_task_is_stopped_and_not_live(
    api, clock, launching, when
):
    """While it is called, after its answer, and long after it, by a caller who has not taken it."""
    submission = launching.submit(request(), 900)
    await clock.pass_time(when)
    task = await clock.run(launching.withdraw(submission))
    assert task is None
    assert submission.stopped.task_arn in api.tasks
    assert [stopped for stopped, _ in api.stopped] == list(api.tasks)
    assert launching.snapshot()["FARGATE"]["live"] == 0


@pytest.mark.parametrize("when", [0.1, 0.31, 50.0])
async def test_a_task_that_cannot_be_stopped_is_handed_out(api, clock, launching, when):
    """No caller gets that it is cancelled."""
    api.stop_fault = lambda: Fault(Kind.DENIED, "StopTask", "AccessDeniedException", "no")
    submission = launching.submit(request(), 900)
    await clock.pass_time(when)
    task = await clock.run(launching.withdraw(submission))
    assert [task.task_arn] == list(api.tasks)
    assert launching.snapshot()["FARGATE"]["live"] == 1


ODD_ANSWERS: list[Any] = [
    None,
    7,
    [],
    {},
    {"tasks": 7},
    {"tasks": [None]},
    {"lastStatus": "RUNNING"},
    ZeroDivisionError(),
]


@pytest.mark.parametrize("method", ["run_task", "find_task", "stop_task", "tasks_started_by"])
@pytest.mark.parametrize("odd_answer", ODD_ANSWERS)
async def test_whatever_a_call_answers_every_outcome_is_settled(
    api, clock, launching, method, odd_answer
):
    """And nothing is left behind: no call under way, no submission."""

    async def answer(*_):
        await clock.wait(0.1)
        if isinstance(odd_answer, Exception):
            raise odd_answer
        return odd_answer

    conflict = Fault(Kind.CONFLICT, "RunTask", "ConflictException", "x", ["arn:task/1"])
    answers = [conflict, LOST, failures("RESOURCE:MEMORY")]
    api.answer = lambda _: random.choice(answers)
    setattr(api, method, answer)
    submissions = [launching.submit(request(n), 30) for n in range(8)]
    await clock.pass_time(20)
    for submission in submissions[::2]:
        launching.withdraw(submission)
    await outcomes(clock, submissions)
    numbers = launching.snapshot()["FARGATE"]
    assert (numbers["queued"], numbers["calling"]) == (0, 0)


async def test_a_subnet_that_is_gone_is_replaced_and_the_launch_goes_on(api, clock, launching):
    """It was looked up: another look heals it."""
    text = "The subnet ID 'subnet-0' does not exist (ErrorCode: InvalidSubnetID.NotFound)"
    gone = Fault(Kind.NO_SUBNET, "RunTask", "InvalidParameterException", text)

    def subnets(request):
        return request["networkConfiguration"]["awsvpcConfiguration"]["subnets"]

    api.answer = lambda r: gone if "subnet-0" in subnets(r) else None

    async def heal(stale):
        assert list(stale) == ["subnet-0"]
        return ["subnet-1"]

    network = {"awsvpcConfiguration": {"subnets": ["subnet-0"], "securityGroups": ["sg-0"]}}
    asked = request(networkConfiguration=network)
    await clock.run(launching.submit(asked, 900, heal=heal).outcome)
    ((_, started),) = api.started
    sent = started["networkConfiguration"]["awsvpcConfiguration"]
    assert sent == {"subnets": ["subnet-1"], "securityGroups": ["sg-0"]}
    (error,) = await outcomes(clock, [launching.submit(asked, 900)])
    assert "does not exist" in str(error)


async def test_a_deep_queue_costs_no_more_per_permit_than_a_short_one(api, clock, launching):
    """However many ask for the same, their group is offered once."""
    submissions = [launching.submit(request(n), 900) for n in range(1000)]
    await clock.pass_time(1)
    queue = launching._queues["FARGATE"]
    assert queue.snapshot()["queued"] > 900
    assert len(queue.line._open) <= 2
    await outcomes(clock, submissions)
    assert [r["startedBy"] for _, r in api.started] == [f"run-{n}" for n in range(1000)]


@pytest.mark.parametrize("method", ["_tick", "line.interval", "line.next", "line.is_waited"])
async def test_a_queue_that_cannot_be_served_leaves_nobody_waiting(
    api, clock, launching, monkeypatch, method
):
    """Whatever is raised in it reaches all who wait; those who come later are served again."""
    first = launching.submit(request(0), 900)
    await clock.run(first.outcome)
    queue = launching._queues["FARGATE"]
    with monkeypatch.context() as broken:
        owner = queue.line if method.startswith("line.") else queue
        broken.setattr(owner, method.removeprefix("line."), lambda *_: 1 / 0)
        submissions = [launching.submit(request(n), 900) for n in range(1, 30)]
        ended = await outcomes(clock, submissions)
    assert all(isinstance(error, ZeroDivisionError) for error in ended)
    later = launching.submit(request(99), 900)
    await clock.run(later.outcome)
    assert queue.snapshot()["calling"] == 0
