"""The database of a Prefect server, new for each measurement: a SQLite file, or PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

#: Where PostgreSQL's programs are that are not on the PATH: Debian's packages.
_DEBIAN = Path("/usr/lib/postgresql")

#: Seconds in which a new PostgreSQL has to answer.
_READY_SECONDS = 30.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def sqlite(home: Path) -> Iterator[tuple[str, int | None]]:
    """A file below ``home``, in Prefect's default mode (write-ahead log)."""
    yield f"sqlite+aiosqlite:///{home}/prefect.db", None


@contextlib.contextmanager
def postgres(home: Path) -> Iterator[tuple[str, int | None]]:
    """A cluster with PostgreSQL's default settings. ``home`` is not used: it has another owner.

    Yields:
        The URL for Prefect, and the id of the process.
    """
    who = _owner()
    data = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    if who is not None:
        os.chown(data, pwd.getpwnam(who).pw_uid, -1)
    port = free_port()
    made = {"check": True, "user": who, "stdout": subprocess.DEVNULL, "cwd": "/"}
    options = ["-A", "trust", "-U", "prefect", "-E", "UTF8", "--locale=C"]
    subprocess.run([_program("initdb"), "-D", f"{data}/db", *options], **made)  # type: ignore[call-overload]
    process = subprocess.Popen(
        [
            *(_program("postgres"), "-D", f"{data}/db", "-p", str(port), "-k", str(data)),
            *("-c", "listen_addresses=127.0.0.1"),
        ],
        user=who,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres", process.pid
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        shutil.rmtree(data, ignore_errors=True)


#: By name, as measurements are called.
DATABASES = {"sqlite": sqlite, "postgres": postgres}


def _owner() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        newest = sorted(_DEBIAN.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
        if not newest:
            raise FileNotFoundError(f"{name}: install PostgreSQL (Debian: apt install postgresql)")
        found = str(newest[-1])
    return found


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
