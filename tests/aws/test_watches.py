"""Whatever an answer holds, each watch goes on or gets an error."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_ecs_pinned.aws.calls.pacing import DESCRIBE_TASKS, Pacer
from prefect_ecs_pinned.aws.watching.descriptions import by_arn, reasons
from prefect_ecs_pinned.aws.watching.watcher import Watching
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.errors import TaskFateUnknown
from tests.aws.virtual import VirtualClock

#: Values that stand where ECS has something else.
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.text(max_size=3),
    st.just([]),
    st.just({}),
    st.just([None]),
    st.just(["x"]),
    st.just([{}]),
    st.just(float("nan")),
)
STATUSES = ["PROVISIONING", "PENDING", "RUNNING", "DEPROVISIONING", "STOPPED", "DELETED", "NEW"]
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "taskArn": st.one_of(ODD, st.sampled_from(["odd", "good", "of somebody else"])),
        "clusterArn": ODD,
        "lastStatus": st.one_of(ODD, st.sampled_from(STATUSES)),
        "containers": st.one_of(
            ODD,
            st.lists(
                st.fixed_dictionaries(
                    {}, optional={"name": ODD | st.just("prefect"), "exitCode": ODD, "reason": ODD}
                )
            ),
        ),
        "startedAt": ODD,
        "stopCode": ODD,
        "stoppedReason": ODD,
        "capacityProviderName": ODD,
    },
)
FAILURES = st.one_of(
    ODD,
    st.lists(
        st.one_of(
            ODD,
            st.fixed_dictionaries(
                {},
                optional={
                    "arn": ODD | st.sampled_from(["odd", "nobody"]),
                    "reason": ODD | st.sampled_from(["MISSING", "ACCESS"]),
                    "detail": ODD,
                },
            ),
        )
    ),
)


class Api:
    """`ports.WatchApi`: one answer after another, the last one for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def describe_tasks(self, cluster, tasks):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def stop_task(self, cluster, task, reason):
        pass


class Box:
    """A queue that refuses the first ``broken`` puts."""

    def __init__(self, broken=0):
        self.got: list[Any] = []
        self.broken = broken

    def put(self, item):
        if self.broken:
            self.broken -= 1
            raise OSError("no")
        self.got.append(item)


def described(arn, status="RUNNING", **members):
    return {"taskArn": arn, "clusterArn": "c", "lastStatus": status, **members}


def started(api, *arns, boxes=None, status="PENDING"):
    """Watching, its clock, and the mailboxes of watches of these tasks."""
    clock = VirtualClock()
    watching = Watching(api, Pacer(DESCRIBE_TASKS, clock, probing=False), clock)
    boxes = boxes or [Box() for _ in arns]
    for arn, box in zip(arns, boxes, strict=True):
        watching.watch(Snapshot(arn, "c", status), 5.0, 100_000.0, box)
    return watching, clock, boxes


@settings(max_examples=300, deadline=None)
@given(odd=st.lists(st.one_of(ODD, MEMBERS), max_size=4), failures=FAILURES, last=st.booleans())
def test_odd_entries_end_no_other_watch(odd, failures, last):
    """Beside any of them the good task is seen to run, and to end, within two polls."""

    async def check():
        entries = [e for e in odd if not (isinstance(e, dict) and e.get("taskArn") == "good")]

        def answer(status):
            good = [described("good", status, containers=[{"name": "prefect", "exitCode": 3}])]
            return {"tasks": entries + good if last else good + entries, "failures": failures}

        api = Api(answer("RUNNING"), answer("STOPPED"))
        watching, clock, (good, other) = started(api, "good", "odd")
        await clock.pass_time(11)
        assert [news.status for news in good.got] == ["RUNNING", "STOPPED"]
        assert good.got[-1].exit_code == 3
        await clock.pass_time(2000)
        ended = bool(other.got) and (isinstance(other.got[-1], Exception) or other.got[-1].final)
        assert watching.live() == (0 if ended else 1)

    asyncio.run(check())


@settings(max_examples=100, deadline=None)
@given(ODD | st.fixed_dictionaries({}, optional={"tasks": ODD, "failures": FAILURES}))
def test_odd_answers_end_no_watch_at_once(answer):
    """Two minutes of them at least; and when all is well again, all is seen."""

    async def check():
        api = Api(answer)
        watching, clock, boxes = started(api, "a", "b")
        await clock.pass_time(100)
        assert [box.got for box in boxes] == [[], []]
        assert watching.live() == 2
        api.answers = [{"tasks": [described("a"), described("b")]}]
        await clock.pass_time(61)
        assert [[news.status for news in box.got] for box in boxes] == [["RUNNING"]] * 2

    asyncio.run(check())


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ({"tasks": [], "failures": [{"arn": "a", "reason": "MISSING"}]}, 120),
        ({"tasks": [], "failures": []}, 120),
        ({"tasks": [], "failures": [{"arn": "a", "reason": "ACCESS", "detail": "why"}]}, 900),
        ({"tasks": [described("a", None)]}, 900),
        ({"tasks": [described("a", 7)]}, 900),
        ({"tasks": None}, 900),
        ({}, 900),
        (None, 900),
        (RuntimeError("odd"), 900),
    ],
)
async def test_what_lasts_ends_in_an_error(answer, seconds, caplog):
    """It neither hangs nor says that the task has failed; all but absence is logged, once."""
    watching, clock, (box,) = started(Api(answer), "a")
    await clock.pass_time(seconds)
    assert box.got == []
    await clock.pass_time(130)
    assert [type(news) for news in box.got] == [TaskFateUnknown]
    assert "last seen PENDING" in str(box.got[0])
    assert watching.live() == 0
    warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == (1 if seconds == 900 else 0)


async def test_a_failure_that_is_not_missing_says_why():
    """AWS's own words."""
    failures = [{"arn": "a", "reason": "ACCESS", "detail": "why"}]
    _, clock, (box,) = started(Api({"tasks": [], "failures": failures}), "a")
    await clock.pass_time(1000)
    assert "DescribeTasks: ACCESS (why)" in str(box.got[0])


async def test_a_status_that_nobody_knows_is_passed_on():
    """ECS may add one; it ends nothing."""
    api = Api({"tasks": [described("a", "HIBERNATING")]}, {"tasks": [described("a", "STOPPED")]})
    _, clock, (box,) = started(api, "a")
    await clock.pass_time(11)
    assert [news.status for news in box.got] == ["HIBERNATING", "STOPPED"]


@pytest.mark.parametrize("back", ["PROVISIONING", "PENDING", "ACTIVATING"])
async def test_a_running_task_that_seems_to_go_back(back):
    """An old answer: no news, and no start timeout over a task that runs."""
    api = Api({"tasks": [described("a")]}, {"tasks": [described("a", back)]})
    stopped = []

    async def stop_task(cluster, task, reason):
        stopped.append(task)

    api.stop_task = stop_task  # type: ignore[method-assign]
    clock = VirtualClock()
    watching = Watching(api, Pacer(DESCRIBE_TASKS, clock, probing=False), clock)
    box = Box()
    watching.watch(Snapshot("a", "c", "PENDING"), 5.0, 30.0, box)
    await clock.pass_time(600)
    assert [news.status for news in box.got] == ["RUNNING"]
    assert (stopped, watching.live()) == ([], 1)


async def test_two_descriptions_of_one_task_that_contradict_each_other():
    """The one that has not ended counts: one look is no proof."""
    for entries in ([0, 1], [1, 0]):
        pair = [described("a", "STOPPED"), described("a", "RUNNING")]
        watching, clock, (box,) = started(Api({"tasks": [pair[i] for i in entries]}), "a")
        await clock.pass_time(60)
        assert [news.status for news in box.got] == ["RUNNING"]
        assert watching.live() == 1


@pytest.mark.parametrize("broken", [1, 2, 50])
async def test_a_mailbox_that_refuses_news_gets_them_later(broken):
    """And the others in the batch get theirs in time."""
    api = Api({"tasks": [described("a"), described("b")]})
    boxes = [Box(broken), Box()]
    _, clock, _ = started(api, "a", "b", boxes=boxes)
    await clock.pass_time(6)
    assert [len(box.got) for box in boxes] == [0, 1]
    await clock.pass_time(5 * broken)
    assert [[news.status for news in box.got] for box in boxes] == [["RUNNING"]] * 2


@pytest.mark.parametrize("status", ["RUNNING", "STOPPED"])
async def test_a_mailbox_that_never_takes_news_is_given_up(status, caplog):
    """After fifteen minutes: nothing is polled for ever for a run that is not there."""
    boxes = [Box(10**9), Box()]
    answer = {"tasks": [described("a", status), described("b")]}
    watching, clock, _ = started(Api(answer), "a", "b", boxes=boxes)
    await clock.pass_time(1000)
    assert watching.live() == 1
    assert "does not accept updates" in caplog.text
    assert [news.status for news in boxes[1].got] == ["RUNNING"]


async def test_whatever_a_poll_raises_the_watches_go_on():
    """A fault of our own, even: polls slow down, and the next good one is handed out."""
    api = Api({"tasks": [described("a")]})
    watching, clock, (box,) = started(api, "a")
    (poller,) = watching._pollers.values()
    isolate = poller._isolate
    poller._isolate = lambda *a, **k: 1 / 0
    await clock.pass_time(300)
    assert (watching.live(), [n.status for n in box.got]) == (1, ["RUNNING"])
    poller._isolate = isolate
    api.answers = [{"tasks": [described("a", "STOPPED")]}]
    await clock.pass_time(70)
    assert box.got[-1].final


def test_an_answer_as_it_should_be_is_taken_apart_unchanged():
    """By ARN."""
    tasks = [described("a"), described("b")]
    assert by_arn({"tasks": tasks}) == {"a": tasks[0], "b": tasks[1]}
    assert reasons({"failures": [{"arn": "x", "reason": "MISSING", "detail": "y"}]}) == {
        "x": "MISSING"
    }
