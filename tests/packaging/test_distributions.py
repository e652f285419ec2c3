"""What is built can be installed, and brings the block without an import."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from prefect_ecs_pinned import __version__
from tests.packaging.release import ROOT, build, digests, make_venv, run

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """build and twine, apart from Prefect: they want newer packages than it allows."""
    return make_venv(tmp_path_factory.mktemp("tools"), "build", "twine")


@pytest.fixture(scope="module")
def distributions(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist, and of the wheel that is built from it, of a clean clone."""
    return build(tools, tmp_path_factory.mktemp("distributions"))


def test_a_build_can_be_repeated_to_the_byte(
    tools: Path, distributions: Path, tmp_path: Path
) -> None:
    assert digests(build(tools, tmp_path)) == digests(distributions)


def test_twine_has_nothing_to_say(tools: Path, distributions: Path) -> None:
    assert "PASSED" in run([tools / "twine", "check", "--strict", *distributions.iterdir()])


def test_the_wheel_holds_the_package_and_nothing_else(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    assert wheel.name == f"prefect_ecs_pinned-{__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"prefect_ecs_pinned", f"prefect_ecs_pinned-{__version__}.dist-info"}
    assert "prefect_ecs_pinned/py.typed" in names
    assert "prefect_ecs_pinned/operations/demo/healthcheck.py" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_each_major_of_prefect_gets_its_own_prefect_aws(distributions: Path) -> None:
    """0.4 goes with 2, and 0.7 and later with 3; what lies between is for an older worker."""
    (wheel,) = distributions.glob("*.whl")
    (name,) = (n for n in zipfile.ZipFile(wheel).namelist() if n.endswith("/METADATA"))
    metadata = zipfile.ZipFile(wheel).read(name).decode()
    (line,) = re.findall(r"^Requires-Dist: (prefect-aws\b.*)$", metadata, re.MULTILINE)
    allowed = Requirement(line).specifier
    versions = ("0.4.17", "0.4.18", "0.4.20", "0.5.13", "0.6.5", "0.7.0", "0.7.12", "0.8.0")
    assert list(allowed.filter(versions)) == ["0.4.18", "0.4.20", "0.7.0", "0.7.12", "0.8.0"]


def test_the_sdist_can_be_tested(distributions: Path) -> None:
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"Makefile", "README.md", "LICENSE", "mkdocs.yml", "docs/index.md"}
    assert wanted <= names
    assert "tests/core/test_fingerprint.py" in names
    assert not [name for name in names if name.startswith((".venv", "build", "site", ".git/"))]


def test_an_installed_wheel_shows_the_block_without_an_import(
    distributions: Path, tmp_path: Path
) -> None:
    (wheel,) = distributions.glob("*.whl")
    binaries = make_venv(tmp_path / "venv", wheel, "prefect<3")
    prefect = {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }
    registered = run(
        [binaries / "prefect", "block", "register", "-m", "prefect_ecs_pinned"], **prefect
    )
    assert "Successfully registered 1 block" in registered
    assert "Pinned ECS Task" in registered
    listed = run([binaries / "prefect", "block", "type", "ls"], **prefect)
    assert "pinned-ecs-task" in listed
    # Looked up by slug: Prefect loads the entry point, nobody imports the package.
    found = run(
        [
            binaries / "python",
            "-c",
            "from prefect.blocks.core import Block, lookup_type\n"
            "from prefect.plugins import load_prefect_collections\n"
            "load_prefect_collections()\n"
            "print(lookup_type(Block, 'pinned-ecs-task').__name__)",
        ],
        **prefect,
    )
    assert found.split()[-1] == "PinnedECSTask"
    assert run([binaries / "pinned-ecs", "--version"]).strip() == f"pinned-ecs {__version__}"
    missing = subprocess.run([binaries / "pinned-ecs", "local"], capture_output=True, text=True)
    assert missing.returncode == 1
    assert "pip install 'prefect-ecs-pinned[local]'" in missing.stderr


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Prefect 3.9 needs Python 3.11")
def test_an_installed_wheel_shows_the_worker_without_an_import(
    distributions: Path, tmp_path: Path
) -> None:
    """Under Prefect 3: the type is found by the entry point, and nothing fails to load."""
    (wheel,) = distributions.glob("*.whl")
    binaries = make_venv(tmp_path / "venv", wheel, "prefect>=3.9,<4")
    found = run(
        [
            binaries / "python",
            "-c",
            "from prefect.plugins import load_prefect_collections\n"
            "from prefect.workers.base import BaseWorker\n"
            "load_prefect_collections()\n"
            "print(BaseWorker.get_worker_class_from_type('pinned-ecs').__name__)",
        ],
        PREFECT_HOME=str(tmp_path / "prefect"),
    )
    assert found.split() == ["PinnedECSWorker"]
    assert run([binaries / "pinned-ecs", "--version"]).strip() == f"pinned-ecs {__version__}"


def test_the_version_is_said_once() -> None:
    """In the package; the metadata are made of it."""
    project = (ROOT / "pyproject.toml").read_text()
    assert not re.search(r"^version = ", project, re.M)
    assert re.search(r'^dynamic = \["version"\]', project, re.M)
    path = "prefect_ecs_pinned/__init__.py"
    assert f'[tool.hatch.version]\npath = "{path}"\n' in project
    assert f'\n__version__ = "{__version__}"\n' in (ROOT / path).read_text()
