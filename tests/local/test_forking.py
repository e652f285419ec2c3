"""Processes of Prefect are forked, and so are those that they start; others are not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from prefect_ecs_pinned.local.forked import program_of
from tests.local.test_runner import Recorder, gone

NOBODY = "00000000-0000-0000-0000-000000000000"
SUPERVISOR = "prefect.runner._workspace_supervisor"


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("python -m prefect.engine", "prefect.engine"),
        ("/usr/bin/python3.11 -m prefect.engine 1234", "prefect.engine"),
        (f"python -m {SUPERVISOR} a.json", SUPERVISOR),
        ("prefect flow-run execute", "prefect"),
        ("/opt/bin/prefect flow-run execute 1234", "prefect"),
        ("prefect flow-run cancel 1234", None),
        ("prefect server start", None),
        ("python -m prefect", None),
        ("python -m prefecture.engine", None),
        ("python -c prefect.engine", None),
        ("python", None),
        ("sh -c 'prefect flow-run execute'", None),
    ],
)  # fmt: skip
def test_what_is_forked(command, program):
    """Prefect's way to run a flow, under either major, and its own modules; nothing else."""
    assert program_of(command.split()) == program


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def _spawner(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[psutil.Process]:
    """The process that forks, started by a first task; its first fork takes it 4 s of CPU."""
    recorder = Recorder(tmp_path_factory.mktemp("runner"), at_once=2)
    recorder.submit("first", "true")
    assert await recorder.end("first") == 0
    assert recorder.runner._spawner is not None
    yield psutil.Process(recorder.runner._spawner.pid)
    await recorder.runner.close()


@pytest.fixture
def spawner(_spawner: psutil.Process) -> Iterator[psutil.Process]:
    """The same, without forks."""
    assert _spawner.children() == []
    yield _spawner
    psutil.wait_procs(_spawner.children(), timeout=10)


@pytest.fixture
def stand_in(spawner: psutil.Process) -> Iterator[str]:
    """The path of what forks take for their interpreter; afterwards it is what it was."""
    (path,) = {c.laddr for c in spawner.net_connections("unix") if c.laddr}
    script = Path(str(path)).with_name("python")
    before = script.read_text()
    yield str(script)
    script.write_text(before)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a Prefect API that accepts connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/api"


def start(stand_in: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [stand_in, *arguments],
        env={**os.environ, "PREFECT__FLOW_RUN_ID": NOBODY, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def fork_of(spawner: psutil.Process) -> psutil.Process:
    """The one process that it has forked; looked for until it is there."""
    while not (children := spawner.children()):
        pass
    (child,) = children
    return child


def test_the_folder_of_the_socket_is_closed_to_others(stand_in):
    """What executes commands lets nobody in."""
    assert Path(stand_in).parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("arguments", "output", "code"),
    [
        (("-c", "import sys; print(sys.argv[1]); sys.exit(7)", "a b"), "a b\n", 7),
        (("-m", "base64", "-t"), "", 0),
    ],
)
def test_what_is_not_prefects_is_executed(stand_in, arguments, output, code):
    """By the interpreter itself, with its arguments and exit code."""
    process = start(stand_in, *arguments)
    assert process.communicate(timeout=60)[0].startswith(output)
    assert process.returncode == code


def test_a_module_of_prefect_is_forked(stand_in, spawner):
    """Its environment, output and exit code are its own; it runs as a child of the spawner."""
    process = start(stand_in, "-m", "prefect.engine", PREFECT_API_URL="http://127.0.0.1:9/api")
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert f"xecution of flow run '{NOBODY}'" in said
    assert "ConnectError" in said
    assert spawner.children() == []


@pytest.mark.parametrize(
    "variable", ["PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_LOGGERS_PREFECT_LEVEL", "config"]
)
def test_the_levels_of_its_loggers_are_its_own(variable, stand_in, spawner, tmp_path):
    """Set by a setting, by an override of a logger, or by a configuration file."""
    file = tmp_path / "logging.yml"
    file.write_text("version: 1\nloggers: {prefect: {level: CRITICAL}, prefect.engine: {}}\n")
    given = {"PREFECT_LOGGING_SETTINGS_PATH": str(file)} if variable == "config" else {}
    given = given or {variable: "CRITICAL"}
    process = start(
        stand_in, "-m", "prefect.engine", PREFECT_API_URL="http://127.0.0.1:9/api", **given
    )
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "xecution of flow run" not in said


def test_signals_are_forwarded_and_ends_are_the_same(stand_in, spawner, silent):
    """SIGTERM ends the fork, and the stand-in by the same signal or exit code."""
    process = start(stand_in, "-m", "prefect.engine", PREFECT_API_URL=silent)
    child = fork_of(spawner)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGTERM, 1, 143)
    assert gone(child)


def test_a_fork_ends_with_its_stand_in(stand_in, spawner, silent):
    """SIGKILL can not be forwarded: that the connection ends is enough."""
    process = start(stand_in, "-m", "prefect.engine", PREFECT_API_URL=silent)
    child = fork_of(spawner)
    process.kill()
    process.communicate(timeout=60)
    assert gone(child)


def test_without_a_spawner_the_interpreter_does_it(stand_in, spawner, tmp_path):
    """A task that outlives the spawner is not left without Python."""
    script = Path(stand_in).read_text().replace("/socket", "/no-socket")
    Path(stand_in).write_text(script)
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "__init__.py").touch()  # the real one takes 3 s to import
    process = start(stand_in, "-m", "prefect.no_such_module", PYTHONPATH=str(tmp_path))
    assert "No module named prefect.no_such_module" in process.communicate(timeout=60)[0]
    assert process.returncode == 1
