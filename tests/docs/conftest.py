"""A Prefect server and an embedded ECS for the snippets of all pages."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_ecs_pinned import majors
from prefect_ecs_pinned.operations.demo.stage import Stage

ROOT = Path(__file__).parents[2]


def pytest_configure() -> None:
    """Let SIGTERM end the tests as Ctrl-C does, so that no server is left behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """The stage of the demo, with the flow healthcheck.

    With Prefect 2 there is the block `default` as well, which the pages take for given.
    """
    demo = ROOT / "prefect_ecs_pinned" / "operations" / "demo"
    with Stage() as stage:
        stage.start_servers()
        (stage.flows / "healthcheck.py").write_text((demo / "healthcheck.py").read_text())
        if majors.face() is majors.WORKER:
            yield stage
            return
        stage.run("register", stage.prefect("block", "register", "-m", "prefect_ecs_pinned"))
        command = [sys.executable, str(demo / "save_block.py"), "pinned-ecs-task", stage.ecs_url]
        stage.run("save", [*command, "prefecthq/prefect:2-latest"])
        yield stage
