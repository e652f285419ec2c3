"""Watching: a hundred tasks a call, and each run gets the state of its own."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

import pytest

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.loop.control_loop import ThreadsafeQueue
from prefect_ecs_pinned.core.task_state import Snapshot, snapshot
from prefect_ecs_pinned.errors import TaskFateUnknown, TaskStartTimeout
from tests.aws.fakes import arn

DENIED_STOP = Fault(Kind.DENIED, "StopTask", "AccessDeniedException", "not authorized")


def watch(watching, api, interval=5.0, start_timeout=600.0, cluster="default", **task):
    """Watch a new task; returns its ARN and its queue."""
    started = api._start({"taskDefinition": arn("f", 1), "cluster": cluster})
    started.update(task)
    queue: ThreadsafeQueue[Any] = ThreadsafeQueue()
    watching.watch(snapshot(started), interval, start_timeout, queue)
    return started["taskArn"], queue


async def news(clock, queue, limit=1e6):
    return await clock.run(queue.get(), limit)


async def test_a_hundred_and_one_live_tasks_cost_two_calls(api, clock, watching):
    """For each poll."""
    for _ in range(101):
        watch(watching, api)
    await clock.pass_time(5.1)
    assert api.calls["DescribeTasks"] == 2


async def test_each_run_gets_its_own_task(api, clock, watching):
    """Within one interval."""
    first, first_box = watch(watching, api)
    _, second_box = watch(watching, api)
    api.set(first, "RUNNING")
    assert (await news(clock, first_box)).status == "RUNNING"
    assert clock.now() <= 5.2
    assert not second_box._items


async def test_a_task_that_passes_through_running_between_two_polls(api, clock, watching):
    """Its run gets its end, with the exit code."""
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


async def test_a_permission_that_was_never_there_is_logged(api, clock, watching, caplog):
    """A WARNING at once; after two minutes the fate is unknown, and the hint names it."""
    _, box = watch(watching, api)
    api.describe_fault = lambda _: Fault(Kind.DENIED, "DescribeTasks", "AccessDeniedException")
    await clock.pass_time(115)
    assert not box._items
    end = await news(clock, box)
    assert isinstance(end, TaskFateUnknown)
    assert "ecs:DescribeTasks" in end.hint
    assert clock.now() <= 200
    assert ["cannot be watched" in r.message for r in caplog.records] == [True]


LASTING = [
    (Kind.DENIED, "AccessDeniedException"),
    (Kind.NO_CLUSTER, "ClusterNotFoundException"),
    (Kind.REFUSED, "InvalidParameterException"),
    (Kind.REFUSED, "SomethingNew"),
    (Kind.NO_TASK, "InvalidParameterException"),
    (Kind.BAD_SIGNATURE, "InvalidSignatureException"),
]


@pytest.mark.parametrize(("kind", "code"), LASTING)
async def test_a_refusal_of_what_ecs_has_shown_is_waited_out(api, clock, watching, kind, code):
    """Ten minutes of it end none of a hundred watches."""
    boxes = [watch(watching, api) for _ in range(100)]
    for task, _ in boxes:
        api.set(task, "RUNNING")
    await clock.pass_time(6)
    assert {(await news(clock, box)).status for _, box in boxes} == {"RUNNING"}
    until = clock.now() + 600
    refusal = Fault(kind, "DescribeTasks", code, "no")
    api.describe_fault = lambda _: refusal if clock.now() < until else None
    await clock.pass_time(700)
    for task, box in boxes:
        assert not box._items
        api.set(task, "STOPPED", exit_code=0)
    ends = [await news(clock, box) for _, box in boxes]
    assert [end.exit_code for end in ends] == [0] * 100


@pytest.mark.parametrize(("kind", "code"), LASTING[:-1])
async def test_a_refusal_that_has_lasted(api, clock, watching, kind, code, caplog):
    """After fifteen minutes the fate of all is unknown; one WARNING; few calls."""
    boxes = [watch(watching, api) for _ in range(100)]
    await clock.pass_time(6)
    api.describe_fault = lambda _: Fault(kind, "DescribeTasks", code, "no")
    ends = [await news(clock, box) for _, box in boxes]
    assert {type(end) for end in ends} == {TaskFateUnknown}
    assert 900 <= clock.now() <= 1000
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1
    assert api.calls["DescribeTasks"] <= 400
    assert api.stopped == []


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


async def test_waiting_for_instances_is_as_long_as_the_start_timeout(api, clock, watching):
    """If that is longer than fifteen minutes; and the hint names what changes it."""
    _, box = watch(watching, api, start_timeout=1800, capacityProviderName="asg")
    await clock.pass_time(1799)
    assert (box._items, api.stopped) == (deque(), [])
    end = await news(clock, box, limit=15)
    assert isinstance(end, TaskStartTimeout)
    assert "raise task_start_timeout_seconds" in end.hint
    assert "Auto Scaling group" in end.hint


async def test_the_hint_for_instances_that_never_come(api, clock, watching):
    """Raising the timeout to 600 would change nothing: it says above what."""
    _, box = watch(watching, api, start_timeout=30, capacityProviderName="asg")
    end = await news(clock, box)
    assert "raise task_start_timeout_seconds, above 900" in end.hint
    assert "within 900 s" in end.hint


async def test_a_look_that_comes_late_takes_nothing_from_the_start_timeout(api, clock, watching):
    """With ten minutes between polls: PENDING since a minute is not PENDING since ten."""
    task, box = watch(watching, api, interval=600, start_timeout=120, capacityProviderName="asg")
    await clock.pass_time(610)
    api.set(task, "PENDING")
    assert (await news(clock, box)).status == "PENDING"
    seen_at = clock.now()
    await clock.pass_time(seen_at + 100 - clock.now())
    assert api.stopped == []
    api.set(task, "RUNNING")
    assert (await news(clock, box)).status == "RUNNING"


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


async def test_an_hour_without_network_reaches_no_run(api, clock, watching, caplog):
    """It is logged once that tasks cannot be watched, and once that they can again."""
    caplog.set_level(logging.INFO, "prefect_ecs_pinned")
    task, box = watch(watching, api)
    away = Fault(Kind.UNREACHABLE, "DescribeTasks", "EndpointConnectionError", "no route to host")
    api.describe_fault = lambda _: away if clock.now() < 3600 else None
    await clock.pass_time(3600)
    assert not box._items
    api.set(task, "STOPPED", exit_code=0)
    assert (await news(clock, box)).exit_code == 0
    assert clock.now() <= 3600 + 70
    logged = [record.message for record in caplog.records if record.levelno >= logging.INFO]
    assert ["cannot be watched" in m for m in logged] == [True, False]


async def test_an_hour_of_network_that_is_lost_ends_no_task(api, clock, watching):
    """A start timeout that passed meanwhile is decided by a fresh look: the task runs."""
    task, box = watch(watching, api, start_timeout=600)
    away = Fault(Kind.UNREACHABLE, "DescribeTasks", "EndpointConnectionError", "")
    api.describe_fault = lambda _: away if clock.now() < 3600 else None
    await clock.pass_time(60)
    api.set(task, "RUNNING")
    assert (await news(clock, box)).status == "RUNNING"
    assert api.stopped == []


async def test_a_task_that_is_missing_for_a_moment_later_on(api, clock, watching):
    """MISSING may flicker: what counts is how long without a break."""
    task, box = watch(watching, api)
    api.set(task, "RUNNING")
    assert (await news(clock, box)).status == "RUNNING"
    await clock.pass_time(600)
    for _ in range(5):
        hidden = api.tasks.pop(task)
        await clock.pass_time(100)
        api.tasks[task] = hidden
        await clock.pass_time(10)
    assert not box._items
    api.set(task, "STOPPED", exit_code=0)
    assert (await news(clock, box)).exit_code == 0


async def test_a_stopped_task_that_ecs_forgot_during_an_outage(api, clock, watching):
    """Its fate is unknown: the flow run itself knows better, and is unchanged."""
    task, box = watch(watching, api)
    api.set(task, "RUNNING")
    assert (await news(clock, box)).status == "RUNNING"
    away = Fault(Kind.UNREACHABLE, "DescribeTasks", "EndpointConnectionError", "")
    api.describe_fault = lambda _: away if clock.now() < 7200 else None
    del api.tasks[task]
    end = await news(clock, box)
    assert isinstance(end, TaskFateUnknown)
    assert "it was last seen RUNNING" in str(end)
    assert 7200 <= clock.now() <= 7200 + 200


async def test_a_watch_that_is_forgotten_is_not_asked_for(api, clock, watching):
    """Though ECS names its cluster by ARN, and the watch was begun by name."""
    started = api._start({"taskDefinition": arn("f", 1)})
    queue: ThreadsafeQueue[Any] = ThreadsafeQueue()
    one = watching.watch(Snapshot(started["taskArn"], "default", "PROVISIONING"), 5, 600, queue)
    await clock.pass_time(6)
    watching.forget(one)
    assert watching.live() == 0


async def test_an_answer_in_no_shape_that_ecs_has_ends_no_watch(api, clock, watching):
    """The next one is waited for."""
    task, box = watch(watching, api)
    good, api.describe_tasks = api.describe_tasks, _nonsense
    await clock.pass_time(30)
    api.describe_tasks = good
    api.set(task, "STOPPED", exit_code=0)
    assert (await news(clock, box)).exit_code == 0


async def _nonsense(cluster, tasks):
    return {"tasks": [{"no": "ARN"}]}


def refuse_stops(api, until=float("inf"), fault=DENIED_STOP):
    """StopTask refuses until then; returns the times at which it was called."""
    times = []
    stop = api.stop_task

    async def stop_task(cluster, task, reason):
        times.append(api.clock.now())
        if api.clock.now() < until:
            raise fault
        await stop(cluster, task, reason)

    api.stop_task = stop_task
    return times


async def test_a_start_timeout_whose_stop_is_refused_is_no_end(api, clock, watching):
    """The stop is repeated, and the run ends when the task is seen STOPPED."""
    task, box = watch(watching, api, start_timeout=30)
    times = refuse_stops(api, until=600)
    await clock.pass_time(600)
    assert not box._items
    assert watching.live() == 1
    assert 5 <= len(times) <= 40
    end = await news(clock, box, limit=70)
    assert isinstance(end, TaskStartTimeout)
    assert [stopped for stopped, _ in api.stopped] == [task]


async def test_a_task_that_cannot_be_stopped_and_starts_goes_on(api, clock, watching):
    """Its run gets RUNNING and the exit code; nothing stops it later."""
    task, box = watch(watching, api, start_timeout=30)
    times = refuse_stops(api, until=600)
    await clock.pass_time(300)
    api.set(task, "RUNNING")
    assert (await news(clock, box)).status == "RUNNING"
    await clock.pass_time(70)
    calls = len(times)
    await clock.pass_time(900)
    assert (len(times), api.stopped) == (calls, [])
    api.set(task, "STOPPED", exit_code=3)
    assert (await news(clock, box)).exit_code == 3


async def test_a_task_that_started_and_was_stopped_all_the_same(api, clock, watching):
    """What it became is said: its exit code, and not that it never ran."""
    _, box = watch(watching, api, start_timeout=30)

    async def late(cluster, task, reason):
        api.set(task, "STOPPED", exit_code=143, stopCode="UserInitiated", stoppedReason=reason)

    api.stop_task = late
    end = await news(clock, box)
    assert (end.status, end.exit_code, end.ran) == ("STOPPED", 143, True)


async def test_a_task_that_fails_by_itself_while_it_cannot_be_stopped(api, clock, watching):
    """ECS's own reason, and no timeout."""
    task, box = watch(watching, api, start_timeout=30)
    refuse_stops(api)
    await clock.pass_time(60)
    api.set(task, "STOPPED", stopCode="TaskFailedToStart", stoppedReason="CannotPull")
    end = await news(clock, box)
    assert isinstance(end, Snapshot)
    assert (end.stop_code, end.stopped_reason) == ("TaskFailedToStart", "CannotPull")


async def test_a_task_that_neither_starts_nor_can_be_stopped(api, clock, watching, caplog):
    """After about an hour its fate is unknown, and one WARNING has said so long before."""
    task, box = watch(watching, api, start_timeout=30)
    refuse_stops(api)
    end = await news(clock, box)
    assert type(end) is TaskFateUnknown
    assert "could not be stopped (StopTask: AccessDeniedException" in end.why
    assert "last seen PROVISIONING" in end.why
    assert 3500 <= clock.now() <= 3700
    warnings = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert [task in message for message in warnings] == [True]


async def test_a_stop_that_ecs_accepts_and_never_carries_out(api, clock, watching):
    """An instance that is cut off: never "stopped", and after two hours unknown."""
    _, box = watch(watching, api, start_timeout=30)

    async def accept(cluster, task, reason):
        pass

    api.stop_task = accept
    end = await news(clock, box)
    assert type(end) is TaskFateUnknown
    assert 7200 <= clock.now() <= 7300


async def test_a_task_that_stops_by_itself_when_its_time_is_over(api, clock, watching):
    """It is DEPROVISIONING: nothing has to be stopped, and its own reason is its end."""
    task, box = watch(watching, api, start_timeout=30)
    await clock.pass_time(20)
    api.set(task, "DEPROVISIONING")
    assert (await news(clock, box)).status == "DEPROVISIONING"
    await clock.pass_time(100)
    api.set(task, "STOPPED", stopCode="TaskFailedToStart")
    assert (await news(clock, box)).stop_code == "TaskFailedToStart"
    assert api.calls["StopTask"] == 0


async def test_a_start_timeout_names_what_containers_say(api, clock, watching):
    """A sidecar that is pulled for ever is in the message."""
    reason = "CannotPullContainerError: toomanyrequests"
    task, box = watch(watching, api, start_timeout=30)
    api.tasks[task]["containers"] = [{"name": "prefect"}, {"name": "datadog", "reason": reason}]
    end = await news(clock, box)
    assert isinstance(end, TaskStartTimeout)
    assert f"datadog: {reason}" in end.why


async def test_closing_awaits_the_stops_that_are_under_way(api, clock, watching):
    """So that no orphan runs on."""
    task, _ = watch(watching, api, start_timeout=30)
    held = asyncio.Event()

    async def slowly(cluster, arn, reason):
        await held.wait()
        api.stopped.append((arn, reason))

    api.stop_task = slowly
    await clock.pass_time(40)
    closing = asyncio.create_task(watching.close())
    await asyncio.sleep(0)
    assert not closing.done()
    held.set()
    await closing
    assert [stopped for stopped, _ in api.stopped] == [task]


async def test_credentials_that_nobody_renews(api, clock, watching):
    """After four hours the fate is unknown: nobody waits for ever, and no run is called crashed."""
    _, box = watch(watching, api)
    expired = Fault(Kind.EXPIRED, "DescribeTasks", "ExpiredTokenException", "expired")
    api.describe_fault = lambda _: expired
    await clock.pass_time(4 * 3600 - 100)
    assert not box._items
    end = await news(clock, box)
    assert isinstance(end, TaskFateUnknown)
    assert "renew the AWS credentials" in end.hint
    assert api.stopped == []


async def test_closing_ends_every_watch(api, clock, watching):
    """Nobody waits for ever."""
    boxes = [watch(watching, api)[1] for _ in range(3)]
    await clock.pass_time(1)
    await watching.close()
    ends = [await news(clock, box) for box in boxes]
    assert {type(end) for end in ends} == {TaskFateUnknown}
    assert watching.live() == 0


async def test_a_task_that_has_ended_already_is_delivered_at_once(api, clock, watching):
    """RunTask replays the answer of a finished task; ECS may forget it soon."""
    started = api._start({"taskDefinition": arn("f", 1)})
    api.set(started["taskArn"], "STOPPED", exit_code=4)
    box: ThreadsafeQueue[Any] = ThreadsafeQueue()
    watching.watch(snapshot(started), 600, 600, box)
    assert (await news(clock, box, limit=0)).exit_code == 4
    assert (watching.live(), api.calls["DescribeTasks"]) == (0, 0)


async def test_a_task_whose_answer_named_no_cluster(api, clock, watching):
    """Its ARN does."""
    asked = []
    describe = api.describe_tasks

    async def describe_tasks(cluster, tasks):
        asked.append(cluster)
        return await describe(cluster, tasks)

    api.describe_tasks = describe_tasks
    task, box = watch(watching, api, cluster="etl", clusterArn=None)
    api.set(task, "RUNNING")
    assert (await news(clock, box)).status == "RUNNING"
    assert set(asked) == {"etl"}
