"""A Prefect database with its tables, made once for all processes of a test run and copied.

Prefect makes a new one by eighty migrations, which take ten seconds and more each time.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

#: How Prefect writes the URL of a SQLite file.
_SQLITE = "sqlite+aiosqlite:///"


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The database to copy. The first process that wants it makes it, by Prefect's own command."""
    directory = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        directory = directory.parent  # which xdist's workers share
    made = directory / "migrated.db"
    with (directory / "migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _migrate(made)
    return made


def _migrate(made: Path) -> None:
    new = made.with_suffix(".new")
    subprocess.run(
        [Path(sys.executable).with_name("prefect"), "server", "database", "upgrade", "-y"],
        env={**os.environ, PREFECT_API_DATABASE_CONNECTION_URL.name: f"{_SQLITE}{new}"},
        check=True,
        capture_output=True,
    )
    whole = made.with_suffix(".whole")
    with sqlite3.connect(new) as source, sqlite3.connect(whole) as target:
        source.backup(target)  # with what stands in the write-ahead log
    whole.rename(made)


def fill_database(migrated: Path) -> None:
    """Put a copy where Prefect's settings want their database, which must not exist yet."""
    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    assert url.startswith(_SQLITE), url
    wanted = Path(url.removeprefix(_SQLITE))
    assert not wanted.exists()
    shutil.copyfile(migrated, wanted)
