"""One distribution, two faces: which one is there, and what is said of the other."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest

import prefect_ecs_pinned
from prefect_ecs_pinned import majors
from prefect_ecs_pinned.cli import main
from prefect_ecs_pinned.errors import PinnedECSError, WrongPrefect

BIN = Path(sys.executable).parent
HERE, OTHER = (
    (majors.BLOCK, majors.WORKER) if majors.prefect_major() == 2 else (majors.WORKER, majors.BLOCK)
)

needs_worker = pytest.mark.skipif(
    find_spec(majors.WORKER.module) is None, reason="this checkout has no worker yet"
)


def run(home: Path, *command: str | Path, code: int = 0) -> str:
    """What a command prints, on both streams, with a home of its own and no server."""
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "NO_COLOR": "1",
        "COLUMNS": "300",
    }
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    return said


@needs_worker
def test_this_major_has_its_face():
    """Under its name, in what is listed, and in what a star brings."""
    found = getattr(prefect_ecs_pinned, HERE.name)
    assert found.__name__ == HERE.name
    assert HERE.name in dir(prefect_ecs_pinned)
    namespace: dict[str, object] = {}
    exec("from prefect_ecs_pinned import *", namespace)
    assert namespace[HERE.name] is found
    assert OTHER.name not in namespace


@needs_worker
@pytest.mark.parametrize(
    "statement", [f"from prefect_ecs_pinned import {OTHER.name}", f"import {OTHER.module}"]
)
def test_the_other_majors_face_is_one_clear_sentence(statement):
    """An ImportError and one of ours: what it is, what is installed, what to do instead."""
    with pytest.raises(WrongPrefect) as caught:
        exec(statement)
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value, PinnedECSError)
    what, hint, see = str(caught.value).splitlines()
    assert see == f"see: {caught.value.page}"
    assert what == (
        f"cannot use {OTHER.name}: it is {OTHER.what}, "
        f"and Prefect {majors.prefect_version()} is installed"
    )
    assert hint == f"hint: {OTHER.instead}"
    assert OTHER.name not in dir(prefect_ecs_pinned)


def test_importing_the_package_imports_no_prefect(tmp_path):
    """Nor does a look at its version or at what it holds."""
    code = (
        "import sys, prefect_ecs_pinned as p; p.__version__; dir(p)\n"
        "assert not {'prefect', 'pydantic', 'boto3'} & set(sys.modules)"
    )
    run(tmp_path, sys.executable, "-c", code)


@pytest.mark.parametrize(
    ("version", "major"),
    [("2.20.27", 2), ("2.20.0+1.gabc", 2), ("3.9.1", 3), ("3.0.0rc1", 3), ("4.0.0", 4)],
)
def test_the_version_decides(monkeypatch, version, major):
    """Prefect's own, whatever stands behind its first number."""
    import prefect

    monkeypatch.setattr(prefect, "__version__", version)
    assert majors.prefect_major() == major
    assert majors.face() is (majors.BLOCK if major == 2 else majors.WORKER)


@pytest.mark.parametrize("version", ["0+unknown", "0+untagged.1.gabc", "unknown"])
def test_a_checkout_without_tags_is_known_by_what_it_has(monkeypatch, version):
    """Agents: Prefect 3 has none."""
    import prefect

    monkeypatch.setattr(prefect, "__version__", version)
    assert majors.face() is HERE


@needs_worker
def test_the_entry_point_brings_the_face():
    """It is one module for both, and leaves nothing else in its namespace to register."""
    (found,) = (e for e in entry_points(group="prefect.collections") if "ecs_pinned" in e.name)
    assert found.value == "prefect_ecs_pinned.collection"
    module = found.load()
    assert [name for name in vars(module) if name in majors.FACES] == []
    assert sys.modules[HERE.module]


@needs_worker
def test_a_broken_installation_is_logged_and_not_raised(tmp_path):
    """Prefect would print a line on the stdout of every process; the log has the reason.

    Before it is broken, a fork of the same process loads the collection, and prints nothing.
    """
    code = (
        "import os, sys\n"
        "from prefect.plugins import load_prefect_collections as load\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    load()\n"
        "    sys.exit()\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "print('now it is broken', flush=True)\n"
        f"sys.modules[{HERE.module!r}] = None\n"
        "module = load()['prefect_ecs_pinned']\n"
        "assert not isinstance(module, Exception), module\n"
    )
    both = tmp_path / "both"  # streams in one file, so that their order is seen
    run(tmp_path, "sh", "-c", 'exec "$0" -c "$1" > "$2" 2>&1', sys.executable, code, both)
    before, said = both.read_text().split("now it is broken\n")
    assert "Failed to load" not in before
    assert "not available" not in before
    assert said.count("the Prefect collection prefect_ecs_pinned is not available") == 1
    assert "Failed to load collection" not in said


@needs_worker
@pytest.mark.skipif(HERE is not majors.BLOCK, reason="a command of Prefect 2")
def test_no_command_of_prefect_prints_a_failure(tmp_path):
    """One that loads collections, as a user starts it."""
    said = run(tmp_path, BIN / "prefect", "worker", "--help")
    assert "Failed to load" not in said
    assert "not available" not in said


@pytest.mark.skipif(HERE is majors.BLOCK, reason="saved blocks are there under Prefect 2")
@pytest.mark.parametrize(
    "command",
    [
        "plan x",
        "pin x",
        "show x",
        "prune x --keep 3",
        "doctor x",
        "migrate x",
        "reconcile x",
        "iam x",
    ],
)
def test_commands_on_saved_blocks_say_what_is_there(capsys, command):
    """One sentence and a hint, exit code 1, and no traceback."""
    assert main(command.split()) == 1
    error, hint, see = capsys.readouterr().err.splitlines()
    assert see.endswith("/errors/WrongPrefect/")
    assert error.startswith("error: cannot use PinnedECSTask: it is an infrastructure block of")
    assert "prefect work-pool create NAME --type pinned-ecs" in hint


@pytest.mark.skipif(HERE is majors.WORKER, reason="work pools are there under Prefect 3")
@pytest.mark.parametrize(
    "command", ["plan", "pin", "show", "prune --keep 3", "doctor", "migrate", "reconcile", "iam"]
)
def test_commands_on_work_pools_say_what_is_there(capsys, command):
    """One sentence and a hint, exit code 1, and no traceback."""
    assert main([*command.split(), "--pool", "etl"]) == 1
    error, hint, see = capsys.readouterr().err.splitlines()
    assert see.endswith("/errors/WrongPrefect/")
    assert error.startswith("error: cannot use PinnedECSWorker: it is a worker of Prefect 3, and")
    assert "prefect_ecs_pinned.PinnedECSTask" in hint


@pytest.mark.parametrize("command", ["plan", "pin", "prune --keep 3", "migrate", "iam"])
def test_what_neither_a_block_nor_a_pool_is_given_says_which_there_are(capsys, command):
    """What the installed Prefect has, and how it is named."""
    assert main(command.split()) == 1
    error, hint, see = capsys.readouterr().err.splitlines()
    assert see.endswith("/errors/ConfigurationError/")
    there = {2: "saved blocks", 3: "work pools"}[majors.prefect_major()]
    assert error.startswith("error: a block or work pool is missing: Prefect ")
    assert error.endswith(f" is installed, which has {there}")
    assert (
        hint
        == "hint: give " + {2: "pinned-ecs-task/NAME", 3: "--pool NAME"}[majors.prefect_major()]
    )


@pytest.mark.parametrize("arguments", [["local", "--no-such"], ["local", "--port", "x"], ["lcoal"]])
def test_wrong_usage_is_one_message_and_a_hint(capsys, arguments):
    """Under the typer of either major: later ones have a click of their own."""
    assert main(arguments) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: pinned-ecs")


def test_every_module_is_imported_or_says_which_prefect_it_needs():
    """No command fails under either major for a name that Prefect no longer has."""
    found: dict[str, list[str]] = {"imported": [], "refused": []}
    scripts = ("preload", "loop", "save_block", "__main__")

    def walk(package):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if module.name.rpartition(".")[2] in scripts or module.name == OTHER.module:
                continue
            try:
                imported = importlib.import_module(module.name)
            except WrongPrefect:
                found["refused"].append(module.name)
                continue
            found["imported"].append(module.name)
            if module.ispkg:
                walk(imported)

    walk(prefect_ecs_pinned)
    assert len(found["imported"]) > 100
    refused = {2: ["pools"], 3: ["blocks", "migrate"]}[majors.prefect_major()]
    assert found["refused"] == [f"prefect_ecs_pinned.operations.{name}" for name in refused]
