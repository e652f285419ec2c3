"""Tests of the worker; under Prefect 2, which has none of ours, there is nothing to collect."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import prefect
import pytest

from prefect_ecs_pinned.aws import control_plane
from prefect_ecs_pinned.local import LocalECS, Settings
from prefect_ecs_pinned.local.settings import Phases

collect_ignore_glob = [] if prefect.__version__.startswith("3.") else ["test_*.py"]

#: Services of the server that none of these tests needs: on SQLite each locks the others out.
WITHOUT = (
    *("EVENT_PERSISTER", "EVENT_LOGGER", "TASK_RUN_RECORDER", "TRIGGERS", "SCHEDULER", "LATE_RUNS"),
    *("CANCELLATION_CLEANUP", "REPOSSESSOR", "PAUSE_EXPIRATIONS"),
)

NO_PHASES = Phases(0, 0, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def _ecs() -> Iterator[LocalECS]:
    settings = Settings(quota_scale=None, latencies={"*": 0.0}, phases=NO_PHASES, task_seconds=0.02)
    with LocalECS(settings) as ecs:
        yield ecs


@pytest.fixture
def ecs(_ecs: LocalECS) -> Iterator[LocalECS]:
    """The embedded ECS with its counters at zero; afterwards as it was before."""
    before = dict(vars(_ecs.settings))
    _ecs.reset()
    control_plane.forget_all()
    yield _ecs
    control_plane.forget_all()
    _ecs.faults()
    _ecs.model.start_failures.clear()
    _ecs.change(**before)


@pytest.fixture(scope="session")
def _server() -> Iterator[None]:
    """A Prefect server of this session's own, as a process."""
    from prefect.testing.utilities import prefect_test_harness

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS", "2")
        for service in WITHOUT:
            patch.setenv(f"PREFECT_SERVER_SERVICES_{service}_ENABLED", "false")
        with prefect_test_harness(server_startup_timeout=120):
            yield


@pytest.fixture
async def world(ecs: LocalECS, _server: None) -> AsyncIterator[object]:
    """A work pool on that server, and the embedded ECS."""
    from tests.worker.world import World

    async with World.begin(ecs) as begun:
        yield begun
