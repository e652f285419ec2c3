"""What a run does needs no Prefect: what import-linter says, seen from an interpreter."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import grimp
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


# -- the page docs/concepts/layers.md ------------------------------------------------------------

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def imports() -> ModuleType:
    """What draws."""
    spec = importlib.util.spec_from_file_location("imports", ROOT / "docs" / "hooks" / "imports.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_drawings_are_what_the_code_says(imports):
    """If they are not: `make drawing`."""
    page = imports.PAGE.read_text()
    assert page == imports.renewed(page)
    assert page.count("```mermaid") == len(imports.DRAWINGS)


def test_no_arrow_goes_up(imports):
    """So there is no circle of packages."""
    for _, package, contract in imports.DRAWINGS:
        of = imports.layers(contract)
        found = imports.imports(package)
        assert len(of) > 5
        assert len(found) > len(of)
        assert imports.upward(of, found) == []
        assert imports.upward(of, {(of[-1][0], of[0][0]): 1}) == [f"{of[-1][0]} imports {of[0][0]}"]


def test_no_modules_import_each_other():
    """No circle within a package either; nor by imports in functions, or for types alone."""
    graph = grimp.build_graph("prefect_ecs_pinned", cache_dir=None)
    imported = {
        module: {
            name
            for name in graph.find_modules_directly_imported_by(module)
            if not graph.find_children(name)  # a package hands on what its modules have
        }
        for module in graph.modules
    }
    assert len(imported) > 200
    TopologicalSorter(imported).prepare()  # raises CycleError, which names the circle


def test_the_embedded_ecs_stands_apart(imports):
    """As the page says."""
    found = imports.imports(imports.PACKAGE)
    assert {above for above, below in found if below == "local"} == {"cli"}
    assert not [below for above, below in found if above == "local"]


def test_the_walk_names_functions_that_exist(imports):
    """Ten steps, each with a function for the block, and one for the worker."""
    walk = imports.PAGE.read_text().partition("step by step")[2]
    rows = [line.split("|")[2:4] for line in walk.splitlines() if re.match(r"\| \d+\.", line)]
    assert len(rows) == 10
    for block, worker in rows:
        names = re.findall(r"`([\w.]+)`", block + worker)
        assert len(names) == (1 if "the same" in worker else 2)
        assert [name for name in names if not _is_function(name)] == []


def _is_function(name: str) -> bool:
    """Whether a module, or a class in it, defines a function; the module is not imported."""
    parts = name.split(".")
    folder = ROOT / "prefect_ecs_pinned"
    while parts and (folder / parts[0]).is_dir():
        folder /= parts.pop(0)
    body = ast.parse((folder / f"{parts.pop(0)}.py").read_text()).body
    for part in parts[:-1]:
        body = next(n.body for n in body if isinstance(n, ast.ClassDef) and n.name == part)
    functions = [n for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return parts[-1] in [function.name for function in functions]
