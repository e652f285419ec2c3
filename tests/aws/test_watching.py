"""Watching: a hundred tasks a call, and every run hears of its own."""

from __future__ import annotations

import asyncio

import pytest

from prefect_ecs_pinned.aws.faults import Fault, Kind
from prefect_ecs_pinned.aws.loop import Mailbox
from prefect_ecs_pinned.aws.pacing import DESCRIBE_TASKS, Pacer
from prefect_ecs_pinned.aws.watching import Watching
from prefect_ecs_pinned.core.task_state import snapshot
from prefect_ecs_pinned.errors import TaskFateUnknown, TaskStartTimeout
from tests.aws.fakes import FakeTasks, arn
from tests.aws.virtual import VirtualClock


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def api(clock):
    return FakeTasks(clock)


@pytest.fixture
async def watching(api, clock):
    return Watching(api, Pacer(DESCRIBE_TASKS, clock, probing=False), clock)


def watch(watching, api, interval=5.0, start_timeout=600.0, cluster="default", **task):
    """Watch a new task; returns its ARN and its mailbox."""
    started = api._start({"taskDefinition": arn("f", 1), "cluster": cluster})
    started.update(task)
    mailbox = Mailbox()
    watching.watch(snapshot(started), interval, start_timeout, mailbox)
    return started["taskArn"], mailbox


async def news(clock, mailbox, limit=1e6):
    return await clock.run(mailbox.get(), limit)


async def test_a_hundred_and_one_live_tasks_cost_two_calls(api, clock, watching):
    """For each poll."""
    for _ in range(101):
        watch(watching, api)
    await clock.pass_time(5.1)
    assert api.calls["DescribeTasks"] == 2


async def test_each_run_hears_of_its_own_task(api, clock, watching):
    """Within one interval."""
    first, first_box = watch(watching, api)
    _, second_box = watch(watching, api)
    api.set(first, "RUNNING")
    assert (await news(clock, first_box)).status == "RUNNING"
    assert clock.now() <= 5.2
    assert not second_box._items


async def test_a_task_that_passes_through_running_between_two_polls(api, clock, watching):
    """Its run hears of its end, with the exit code."""
    task, box = watch(watching, api)
    api.set(task, "STOPPED", exit_code=3)
    end = await news(clock, box)
    assert (end.status, end.exit_code, end.started) == ("STOPPED", 3, True)
    assert watching.live() == 0


async def test_missing_after_launch_is_tolerated(api, clock, watching):
    """ECS is eventually consistent: a minute of MISSING is nothing."""
    task, box = watch(watching, api)
    hidden = api.tasks.pop(task)
    await clock.pass_time(60)
    api.tasks[task] = hidden
    api.set(task, "RUNNING")
    assert (await news(clock, box)).status == "RUNNING"


async def test_missing_for_good_ends_in_a_clear_answer(api, clock, watching):
    """It neither hangs nor says that the task has failed."""
    task, box = watch(watching, api)
    del api.tasks[task]
    end = await news(clock, box, limit=300)
    assert isinstance(end, TaskFateUnknown)


@pytest.mark.parametrize("kind", [Kind.THROTTLED, Kind.OUTCOME_UNKNOWN, Kind.EXPIRED])
async def test_an_hour_of_faults_reaches_no_run(api, clock, watching, kind):
    """The polls slow down, and go on when AWS answers again."""
    task, box = watch(watching, api)
    api.describe_fault = lambda _: Fault(kind, "DescribeTasks", "x") if clock.now() < 3600 else None
    await clock.pass_time(3600)
    assert not box._items
    assert api.calls["DescribeTasks"] <= 150
    api.set(task, "STOPPED", exit_code=0)
    assert (await news(clock, box)).exit_code == 0


async def test_a_denied_look_is_told(api, clock, watching):
    """Watching is impossible: the fate is unknown, and the hint names the permission."""
    _, box = watch(watching, api)
    api.describe_fault = lambda _: Fault(Kind.DENIED, "DescribeTasks", "AccessDeniedException")
    end = await news(clock, box)
    assert isinstance(end, TaskFateUnknown)
    assert "ecs:DescribeTasks" in end.hint


async def test_a_task_that_does_not_start_in_time_is_stopped(api, clock, watching):
    """After a last look, so that no orphan runs on."""
    task, box = watch(watching, api, start_timeout=30)
    await clock.pass_time(5.1)
    end = await news(clock, box)
    assert isinstance(end, TaskStartTimeout)
    assert [stopped for stopped, _ in api.stopped] == [task]
    assert 30 <= clock.now() <= 36


async def test_a_task_that_starts_at_the_last_look_is_left_alone(api, clock, watching):
    """The look that finds the time over finds it running."""
    task, box = watch(watching, api, start_timeout=29)
    await clock.pass_time(28)
    api.set(task, "RUNNING")
    assert (await news(clock, box)).status == "RUNNING"
    assert api.stopped == []


async def test_waiting_for_instances_is_not_counted(api, clock, watching):
    """PROVISIONING under an EC2 capacity provider has a bound of its own, 15 minutes."""
    task, box = watch(watching, api, start_timeout=30, capacityProviderName="asg")
    await clock.pass_time(300)
    assert api.stopped == []
    api.set(task, "PENDING")
    assert (await news(clock, box)).status == "PENDING"
    end = await news(clock, box)
    assert isinstance(end, TaskStartTimeout)
    assert 325 <= clock.now() <= 345


async def test_instances_that_never_come(api, clock, watching):
    """Fifteen minutes are enough."""
    _, box = watch(watching, api, start_timeout=30, capacityProviderName="asg")
    end = await news(clock, box)
    assert isinstance(end, TaskStartTimeout)
    assert 900 <= clock.now() <= 910


async def test_two_clusters_are_asked_apart(api, clock, watching):
    """DescribeTasks names one cluster."""
    watch(watching, api, cluster="a")
    watch(watching, api, cluster="b")
    await clock.pass_time(5.1)
    assert api.calls["DescribeTasks"] == 2


async def test_ten_thousand_tasks_take_half_of_the_quota(api, clock, watching):
    """At most ten calls a second, whatever interval is asked for."""
    boxes = [watch(watching, api, interval=1.0) for _ in range(10_000)]
    await clock.pass_time(100)
    assert len(boxes) == watching.live()
    assert 700 <= api.calls["DescribeTasks"] <= 50 + 10 * 100


async def test_polling_ends_with_the_last_task(api, clock, watching):
    """And begins again with the next one."""
    task, box = watch(watching, api)
    api.set(task, "STOPPED", exit_code=0)
    await news(clock, box)
    calls = api.calls["DescribeTasks"]
    await clock.pass_time(100)
    assert api.calls["DescribeTasks"] == calls
    task, box = watch(watching, api)
    api.set(task, "STOPPED", exit_code=0)
    assert (await news(clock, box)).exit_code == 0
    await asyncio.sleep(0)
