"""A release, rehearsed: the same bytes twice, a local index, an installation from it.

``python -m tests.packaging.release`` says what it does; nothing leaves this machine but the
download of dependencies. ``--install`` installs from the index as well, for both majors of Prefect,
with and without the extra (minutes).
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from prefect_ecs_pinned import __version__

ROOT = Path(__file__).parents[2]

#: What builds and uploads, apart from Prefect: they want newer packages than it allows.
TOOLS = ("build", "twine", "pypiserver>=2.3", "passlib")

#: Name -> what is installed of the index: each major, with and without the extra.
INSTALLED: Mapping[str, tuple[str, ...]] = {
    "Prefect 2": ("prefect-ecs-pinned", "prefect>=2.20,<3"),
    "Prefect 2, local": ("prefect-ecs-pinned[local]", "prefect>=2.20,<3"),
    "Prefect 3": ("prefect-ecs-pinned", "prefect>=3,<4"),
    "Prefect 3, local": ("prefect-ecs-pinned[local]", "prefect>=3,<4"),
}

#: Seconds until the index answers.
_PATIENCE = 60.0


def run(command: Sequence[str | Path], **environment: str) -> str:
    """The output of a command that has to succeed; it sees no code but what is installed."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        command,
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
    )
    if found.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{found.stdout}")
    return found.stdout


def make_venv(folder: Path, *requirements: str | Path, **environment: str) -> Path:
    """The ``bin`` of a new virtual environment with these packages."""
    run([sys.executable, "-m", "venv", folder])
    run([folder / "bin" / "pip", "install", "--quiet", *requirements], **environment)
    return folder / "bin"


def build(tools: Path, folder: Path) -> Path:
    """The folder of the sdist, and of the wheel that is built from it, of a clean clone.

    The time of each member is that of the commit: nothing of the build is in what is built.
    """
    run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", folder / "clone"])
    epoch = run(["git", "-C", folder / "clone", "log", "-1", "--format=%ct"]).strip()
    command: list[str | Path] = [tools / "python", "-m", "build", "--outdir"]
    command += [folder / "dist", folder / "clone"]
    run(command, SOURCE_DATE_EPOCH=epoch)
    return folder / "dist"


def digests(folder: Path) -> dict[str, str]:
    """File -> SHA-256."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


@contextmanager
def index(tools: Path, folder: Path) -> Iterator[str]:
    """The URL of an index of this machine that takes uploads; its packages are in the folder."""
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    options = ["--interface", "127.0.0.1", "--port", str(port), "--disable-fallback"]
    command: list[str | Path] = [tools / "pypi-server", "run", *options]
    command += ["-a", ".", "-P", ".", folder]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(url)
            yield url
        finally:
            server.terminate()


def _wait_for(url: str) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            urllib.request.urlopen(f"{url}/simple/", timeout=5).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            return


def upload(tools: Path, distributions: Path, url: str) -> None:
    """Check the distributions, and upload them as a release does."""
    files = sorted(distributions.iterdir())
    run([tools / "twine", "check", "--strict", *files])
    login = {"TWINE_USERNAME": "nobody", "TWINE_PASSWORD": "nothing"}
    command: list[str | Path] = [tools / "twine", "upload", "--non-interactive"]
    command += ["--repository-url", url, *files]
    run(command, **login)


def install(url: str, folder: Path, requirements: Sequence[str]) -> str:
    """The version of the command line, installed from the index with these requirements."""
    pip = {"PIP_EXTRA_INDEX_URL": f"{url}/simple/", "PIP_TRUSTED_HOST": "127.0.0.1"}
    first, *others = requirements
    exact = f"{first}=={__version__}"
    binaries = make_venv(folder, exact, *others, **pip)
    return run([binaries / "pinned-ecs", "--version"]).strip()


def main(arguments: Sequence[str]) -> None:
    """Rehearse a release, and print what came of it."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        tools = make_venv(folder / "tools", *TOOLS)
        builds = []
        for name in ("once", "again"):
            (folder / name).mkdir()
            builds.append(build(tools, folder / name))
        once, again = map(digests, builds)
        for name, digest in once.items():
            print(f"{digest}  {name}", flush=True)
        if once != again:
            raise SystemExit(f"the second build differs: {again}")
        print("built twice: the same bytes", flush=True)
        with index(tools, folder / "index") as url:
            upload(tools, builds[0], url)
            print("uploaded to a local index", flush=True)
            if "--install" in arguments:
                for name, requirements in INSTALLED.items():
                    version = install(url, folder / name, requirements)
                    print(f"installed with {name}: {version}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
