"""A real Prefect server and an embedded ECS that executes, for all functional tests at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_ecs_pinned.operations.demo.stage import Stage
from tests.functional.commands import Commands
from tests.functional.world import World

HERE = Path(__file__).parent

#: Services of the Prefect server that do nothing for these flow runs, several times a second.
_WITHOUT = (
    "SCHEDULER",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "FLOW_RUN_NOTIFICATIONS",
    "FOREMAN",
)


@pytest.fixture(scope="session")
def world(migrated_database: Path) -> Iterator[World]:
    with Stage() as stage:
        home = Path(stage.environment["PREFECT_HOME"])
        home.mkdir(exist_ok=True)
        shutil.copyfile(migrated_database, home / "prefect.db")
        shutil.copy(HERE / "flows" / "sleeper.py", stage.flows)
        for service in _WITHOUT:
            stage.environment[f"PREFECT_API_SERVICES_{service}_ENABLED"] = "false"
        stage.start_servers()
        commands = Commands(stage.home, stage.flows, stage.environment)
        try:
            commands.run("register", ["block", "register", "-m", "prefect_ecs_pinned"])
            commands.run("prepare", [str(HERE / "prepare.py"), stage.ecs_url])
            yield World(stage, commands)
        finally:
            commands.close()
