"""What a run does needs no Prefect: what import-linter says, seen from an interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

from prefect_ecs_pinned import majors

#: Modules that import of which raises, in an interpreter of its own.
_WITHOUT = "import sys; sys.modules.update(dict.fromkeys({names!r}))\n"

#: Imports every module of some packages.
_IMPORT_ALL = """
import importlib, pkgutil
for name in {packages!r}:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
loaded = [name for name in {names!r} if sys.modules.get(name) is not None]
assert not loaded, loaded
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("names", "packages"),
    [
        (("prefect", "prefect_aws", "pydantic", "anyio"), ("runs", "aws", "core")),
        (("prefect", "prefect_aws", "pydantic", "moto", "boto3", "anyio"), ("core",)),
    ],
)
def test_every_module_is_imported_without_prefect(names, packages):
    """Each module of these packages, with Prefect and pydantic made unimportable."""
    whole = [f"prefect_ecs_pinned.{name}" for name in packages]
    code = _WITHOUT.format(names=names) + _IMPORT_ALL.format(packages=whole, names=names)
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_the_packages_are_imported_without_prefect():
    """The embedded ECS, too; only what preloads Prefect for its tasks imports Prefect."""
    names = ("prefect", "prefect_aws", "pydantic")
    packages = [f"prefect_ecs_pinned.{name}" for name in ("runs", "aws", "core", "local")]
    done = python(_WITHOUT.format(names=names) + "import " + ", ".join(packages))
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(majors.face() is not majors.BLOCK, reason="blocks are of Prefect 2")
def test_what_registers_blocks_finds_the_block():
    """`prefect block register -m` looks through the namespace; nothing is loaded before that."""
    done = python(
        "import sys, inspect, prefect_ecs_pinned\n"
        "assert 'prefect' not in sys.modules\n"
        "from prefect_ecs_pinned.block import PinnedECSTask\n"
        "assert ('PinnedECSTask', PinnedECSTask) in inspect.getmembers(prefect_ecs_pinned)\n"
    )
    assert done.returncode == 0, done.stderr


def test_a_broken_installation_is_not_hidden():
    """Without Prefect, its face is an ImportError that says so, and no missing attribute."""
    name = majors.face().name
    done = python(_WITHOUT.format(names=("prefect",)) + f"from prefect_ecs_pinned import {name}")
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'prefect" in done.stderr
