"""A real Prefect server and an embedded ECS that executes, for all functional tests at once."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_ecs_pinned.operations.demo.stage import Stage
from tests.functional.world import World

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def world(migrated_database: Path) -> Iterator[World]:
    with Stage() as stage:
        home = Path(stage.environment["PREFECT_HOME"])
        home.mkdir(exist_ok=True)
        shutil.copyfile(migrated_database, home / "prefect.db")
        stage.start_servers()
        shutil.copy(HERE / "flows" / "sleeper.py", stage.flows)
        stage.run("register", stage.prefect("block", "register", "-m", "prefect_ecs_pinned"))
        stage.run("prepare", [sys.executable, str(HERE / "prepare.py"), stage.ecs_url])
        yield World(stage)
