"""pytest fixtures: an embedded ECS for your own tests.

In ``conftest.py``: ``pytest_plugins = ["prefect_ecs_pinned.local.fixtures"]``.
"""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest

from prefect_ecs_pinned.local.access import new_access_key
from prefect_ecs_pinned.local.embedding import LocalECS
from prefect_ecs_pinned.local.settings import Settings

#: One for all tests of a process: a boto3 session keeps the credentials that it has read.
_ACCESS_KEY = new_access_key()


@pytest.fixture
def local_ecs_settings() -> Settings:
    """How `local_ecs` behaves; override it to change that. Here: no waiting, commands executed."""
    return Settings(quota_scale=None, latencies={"*": 0.0}, execute=True, stop_seconds=2.0)


@pytest.fixture
def local_ecs(local_ecs_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalECS]:
    """An embedded ECS that every boto3 client uses for the length of a test."""
    with LocalECS(local_ecs_settings, access_key=_ACCESS_KEY) as ecs:
        for name, value in ecs.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
        # The default session of boto3 may have read other credentials before.
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        yield ecs
