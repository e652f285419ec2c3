"""Run the tests against the built wheel: with this Python, on the oldest and the newest versions.

Usage: python tests/packaging/matrix.py [CELL ...]

Each cell is a virtual environment of its own below ``build/matrix``, made anew, into which the
wheel of this checkout is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "matrix"

#: What the tests themselves need, beside the extra "local".
TOOLS = ("pytest>=8", "pytest-asyncio>=0.24", "pytest-timeout>=2.3", "pytest-xdist>=3.7",
         "hypothesis>=6.100", "microburst>=0.10")  # fmt: skip

#: Folders of tests that need no server, no browser and no second interpreter.
QUICK = ("tests/core", "tests/aws", "tests/runs", "tests/block", "tests/local")

#: All that `make test` runs.
ALL = ("tests",)


@dataclass(frozen=True)
class Cell:
    """One combination.

    Attributes:
        name: For people.
        python: Which CPython.
        requirements: Exact versions; what is not named is the newest that fits.
        tests: Folders.
    """

    name: str
    python: str
    requirements: tuple[str, ...]
    tests: tuple[str, ...] = QUICK


CELLS = (
    Cell("here", f"{sys.version_info[0]}.{sys.version_info[1]}", ("prefect>=2.20.27,<3",), ALL),
    Cell(
        "oldest",
        "3.10",
        ("prefect==2.20.0", "prefect-aws==0.4.18", "boto3==1.34.0", "pydantic==1.10.17"),
    ),
    Cell(
        "newest",
        "3.12",
        ("prefect>=2.20,<3", "prefect-aws>=0.4,<0.5", "pydantic>=2", "boto3", "moto"),
        ALL,
    ),
    # tests/conftest.py leaves out what needs the other major.
    Cell(
        "prefect3",
        "3.12",
        ("prefect>=3.9,<4", "prefect-aws>=0.7"),
        ("tests/majors", "tests/worker", "tests/runs", "tests/local"),
    ),
)


def interpreter(version: str) -> str | None:
    """A CPython of a version: on the PATH, or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), sys.executable]
    candidates += [str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python"))]
    probe = "import sys; print('%d.%d' % sys.version_info[:2])"
    for candidate in filter(None, candidates):
        found = subprocess.run([candidate, "-c", probe], capture_output=True, text=True)
        if found.stdout.strip() == version:
            return candidate
    return None


def run_cell(cell: Cell) -> str:
    """What a cell came to: ``passed``, ``failed``, or why it was not run."""
    python = interpreter(cell.python)
    if python is None:
        return f"not run: there is no Python {cell.python}"
    home = FOLDER / cell.name
    _run([python, "-m", "venv", "--clear", str(home)])
    own = str(home / "bin" / "python")
    wheels = home / "wheels"
    _run([own, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), str(ROOT)])
    (wheel,) = wheels.glob("prefect_ecs_pinned-*.whl")
    wanted = (f"{wheel}[local]", *cell.requirements, *TOOLS)
    _run([own, "-m", "pip", "install", "-q", *wanted])
    _run([own, "-m", "pip", "check"])
    # Out of the checkout, so that the installed wheel is what is imported.
    tests = home / "checkout"
    shutil.copytree(ROOT / "tests", tests / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tests)
    command = [own, "-m", "pytest", "-q", "-n", "3", "--dist", "loadgroup"]
    command += ["-p", "no:cacheprovider", *cell.tests]
    return "passed" if subprocess.run(command, cwd=tests).returncode == 0 else "failed"


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, cwd=ROOT)


def main(names: Sequence[str]) -> int:
    """Run the cells of these names, or all; the exit code."""
    ends = {}
    for cell in CELLS:
        if not names or cell.name in names:
            began = time.monotonic()
            print(f"== {cell.name}: Python {cell.python}, {', '.join(cell.requirements)}")
            ends[cell.name] = f"{run_cell(cell)} ({time.monotonic() - began:.0f} s)"
    for name, end in ends.items():
        print(f"{name}: {end}")
    bad = any(end.startswith("failed") for end in ends.values())
    return int(bad or not any(end.startswith("passed") for end in ends.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
