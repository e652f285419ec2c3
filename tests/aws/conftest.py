"""What most tests of calls stand on: virtual time, an ECS of it, launching and watching."""

from __future__ import annotations

import pytest

from prefect_ecs_pinned.aws.calls.pacing import DESCRIBE_TASKS, Pacer
from prefect_ecs_pinned.aws.launching.launch import Launching
from prefect_ecs_pinned.aws.watching.watcher import Watching
from tests.aws.fakes import FakeTasks
from tests.aws.virtual import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def api(clock: VirtualClock) -> FakeTasks:
    return FakeTasks(clock)


@pytest.fixture
async def launching(api: FakeTasks, clock: VirtualClock) -> Launching:
    return Launching(api, clock)


@pytest.fixture
async def watching(api: FakeTasks, clock: VirtualClock) -> Watching:
    return Watching(api, Pacer(DESCRIBE_TASKS, clock, probing=False), clock)
