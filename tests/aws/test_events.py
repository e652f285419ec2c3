"""Events: what a control plane emits, how often, and about what."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prefect_ecs_pinned.aws.calls.pacing import DESCRIBE_TASK_DEFINITION, Pacer
from prefect_ecs_pinned.aws.events import LaunchesQueued, LaunchesThrottled, RevisionPinned
from prefect_ecs_pinned.aws.launching.launch import Launching
from prefect_ecs_pinned.aws.launching.progress import Progress
from prefect_ecs_pinned.aws.pinning.resolving import Pinning
from prefect_ecs_pinned.core.plan import Desired
from tests.aws.fakes import FakeDefinitions, FakeTasks
from tests.aws.test_pacing import Quota, request
from tests.aws.virtual import VirtualClock


def desired(image: str = "flows:1") -> Desired:
    return Desired({"family": "f", "containerDefinitions": [{"name": "prefect", "image": image}]})


class Emitted(list[Any]):
    """A listener that remembers events, and when they were emitted."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self.clock = clock

    def __call__(self, event) -> None:
        self.append((round(self.clock.now()), event))


async def test_a_queue_is_reported_every_half_minute_until_it_is_empty(clock):
    """Two thousand runs at 20 a second take 99 s: three times, and nothing for those after."""
    api, emitted = FakeTasks(clock), Emitted(clock)
    api.answer = Quota(clock, 20.0)
    launching = Launching(api, clock)
    progress = Progress(launching.snapshot, emitted, clock)
    submissions = []
    for number in range(2000):
        submissions.append(launching.submit(request(number), budget=900.0))
        progress.begin()
    await clock.run(asyncio.gather(*(s.outcome for s in submissions)))
    await clock.pass_time(300.0)
    queued = [(at, n) for at, n in emitted if isinstance(n, LaunchesQueued)]
    assert [at for at, _ in queued] == [30, 60, 90]
    for at, event in queued:
        assert event.quota == "FARGATE"
        assert event.queued + event.launched == 2000
        assert event.launched == event.live == pytest.approx(20 * at, abs=40)
        assert event.pace == pytest.approx(20, abs=4)
        assert event.throttles > 0
    assert sum(at > 120 for at, _ in emitted) == 0


async def test_throttles_are_reported_as_often_and_counted_once(clock):
    """Their sum is what the pacer has counted."""
    api, emitted = FakeTasks(clock), Emitted(clock)
    api.answer = quota = Quota(clock, 20.0)
    launching = Launching(api, clock)
    progress = Progress(launching.snapshot, emitted, clock)
    submissions = [launching.submit(request(n), budget=900.0) for n in range(1000)]
    progress.begin()
    await clock.run(asyncio.gather(*(s.outcome for s in submissions)))
    await clock.pass_time(60.0)
    throttled = [(at, n) for at, n in emitted if isinstance(n, LaunchesThrottled)]
    assert {at for at, _ in throttled} <= {30, 60}
    assert sum(n.throttles for _, n in throttled) == quota.throttled > 0


async def test_a_few_runs_that_pass_are_not_worth_a_word(clock):
    """Nothing waits, nothing was throttled."""
    api, emitted = FakeTasks(clock), Emitted(clock)
    launching = Launching(api, clock)
    progress = Progress(launching.snapshot, emitted, clock)
    submission = launching.submit(request(0), budget=900.0)
    progress.begin()
    await clock.run(submission.outcome)
    await clock.pass_time(100.0)
    assert emitted == []


@pytest.fixture
def emitted(clock):
    return Emitted(clock)


@pytest.fixture
async def pinning(clock, emitted):
    definitions = FakeDefinitions(clock)
    reads = Pacer(DESCRIBE_TASK_DEFINITION, clock, probing=False)
    return Pinning(definitions, reads, clock, emitted)


def revisions(emitted: Emitted) -> list[RevisionPinned]:
    return [event for _, event in emitted if isinstance(event, RevisionPinned)]


async def test_a_registration_is_reported_once_with_changed_members(clock, pinning, emitted):
    """However many runs ask; and why the first one was registered."""
    for image in ("flows:1", "flows:2"):
        asked = [pinning.resolve(desired(image)) for _ in range(20)]
        pins = await clock.run(asyncio.gather(*asked))
        assert len({pin.arn for pin in pins}) == 1
    first, second = revisions(emitted)
    assert (first.how, second.how) == ("registered", "registered")
    assert "no revision yet" in first.reason
    assert second.changed == ("containerDefinitions.prefect.image",)
    assert second.arn.endswith(":2")
    assert second.instead_of == ""


async def test_a_revision_that_replaces_an_inactive_one_is_reported(clock, pinning, emitted):
    """Once, although every launch reports it."""
    pin = await clock.run(pinning.resolve(desired()))
    pinning._api.deregister(pin.arn)
    asked = [pinning.renew(desired(), pin.arn) for _ in range(20)]
    await clock.run(asyncio.gather(*asked))
    _, again = revisions(emitted)
    assert again.instead_of == pin.arn
    assert again.how == "registered"
    assert again.arn != pin.arn


async def test_an_adoption_is_reported(clock, pinning, emitted):
    """Somebody else has registered what means the same."""
    arn = pinning._api.add(desired().definition)
    await clock.run(pinning.resolve(desired()))
    (event,) = revisions(emitted)
    assert (event.how, event.arn, event.family) == ("adopted", arn, "f")
