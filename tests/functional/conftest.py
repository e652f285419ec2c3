"""A real Prefect server and an embedded ECS that executes, for all functional tests at once."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from prefect_ecs_pinned.operations.demo.stage import Stage
from tests.databases import MADE_ALREADY
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


#: Settings of the server alone: what runs have in their environment is a part of what is tested.
WITHOUT = dict.fromkeys(MADE_ALREADY, "false")


class ForkingStage(Stage):
    """A stage whose Prefect server is a fork, as its agents are.

    `prefect server start` is two processes, each of which imports Prefect; the demo has it.
    """

    commands: Commands

    def start(
        self, name: str, command: Sequence[str], settings: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        if name != "server":
            return super().start(name, command, settings)
        host, port = command[command.index("--host") + 1], command[command.index("--port") + 1]
        self.commands = Commands(self.home, self.flows, self.environment)
        self.commands.start(name, [str(HERE / "serve.py"), host, port], WITHOUT)
        return self.commands.host

    def close(self) -> None:
        if hasattr(self, "commands"):
            self.commands.close()
        super().close()


@pytest.fixture(scope="session")
def world(migrated_database: Path) -> Iterator[World]:
    with closing(ForkingStage()) as stage:
        home = Path(stage.environment["PREFECT_HOME"])
        home.mkdir(exist_ok=True)
        shutil.copyfile(migrated_database, home / "prefect.db")
        shutil.copy(HERE / "flows" / "sleeper.py", stage.flows)
        for service in _WITHOUT:
            stage.environment[f"PREFECT_API_SERVICES_{service}_ENABLED"] = "false"
        # Each client would ask for a token, which this server does not need.
        stage.environment["PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"] = "false"
        stage.start_servers()
        stage.commands.run("register", ["block", "register", "-m", "prefect_ecs_pinned"])
        stage.commands.run("prepare", [str(HERE / "prepare.py"), stage.ecs_url])
        yield World(stage, stage.commands)
