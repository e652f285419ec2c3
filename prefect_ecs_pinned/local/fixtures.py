"""pytest fixtures: an embedded ECS for your own tests.

In ``conftest.py``: ``pytest_plugins = ["prefect_ecs_pinned.local.fixtures"]``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prefect_ecs_pinned.local.embedding import LocalECS
from prefect_ecs_pinned.local.settings import Settings, client_environment


@pytest.fixture
def local_ecs_settings() -> Settings:
    """How `local_ecs` behaves; override it to change that. Here: no waiting, commands executed."""
    return Settings(quota_scale=None, latencies={"*": 0.0}, execute=True, stop_seconds=2.0)


@pytest.fixture
def local_ecs(local_ecs_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalECS]:
    """An embedded ECS that every boto3 client talks to for the length of a test."""
    with LocalECS(local_ecs_settings) as ecs:
        for name, value in client_environment(ecs.endpoint_url).items():
            monkeypatch.setenv(name, value)
        yield ecs
