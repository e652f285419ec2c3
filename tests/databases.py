"""A Prefect database with its tables and block types, made once for a test run and copied.

Prefect makes a new one by eighty migrations, which take ten seconds and more each time; then each
server registers the blocks of all collections, which takes seconds as well. It is imported where
it is used: xdist's own process only hands tests out.
"""

from __future__ import annotations

import asyncio
import fcntl
import multiprocessing
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

#: What a server that has a copy need not do when it starts: settings that are false.
MADE_ALREADY = (
    "PREFECT_API_DATABASE_MIGRATE_ON_START",
    "PREFECT_API_BLOCKS_REGISTER_ON_START",
    "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION",  # it would read all blocks to compare them
)

#: How Prefect writes the URL of a SQLite file.
_SQLITE = "sqlite+aiosqlite:///"


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The database to copy. The first process that needs it makes it, by Prefect's migrations."""
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
    upgrade = multiprocessing.get_context("fork").Process(target=_upgrade, args=(new,))
    upgrade.start()
    upgrade.join()
    assert upgrade.exitcode == 0
    whole = made.with_suffix(".whole")
    with sqlite3.connect(new) as source, sqlite3.connect(whole) as target:
        source.backup(target)  # with what stands in the write-ahead log
    whole.rename(made)


def _upgrade(new: Path) -> None:
    """What a server does with a new database, in a fork that need not import Prefect."""
    from prefect.server.database.alembic_commands import alembic_upgrade
    from prefect.server.database.dependencies import provide_database_interface
    from prefect.server.models.block_registration import run_block_auto_registration
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, temporary_settings

    async def register() -> None:
        async with await provide_database_interface().session() as session:
            await run_block_auto_registration(session=session)

    with temporary_settings({PREFECT_API_DATABASE_CONNECTION_URL: f"{_SQLITE}{new}"}):
        alembic_upgrade()
        asyncio.run(register())


def _file() -> Path:
    """Where Prefect's settings want their database."""
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    assert url.startswith(_SQLITE), url
    return Path(url.removeprefix(_SQLITE))


@contextmanager
def filled_database(migrated: Path) -> Iterator[None]:
    """Put a copy where Prefect's settings want their database, which must not exist yet.

    A server that starts within the context leaves it as it is.
    """
    from prefect import settings

    assert not _file().exists()
    shutil.copyfile(migrated, _file())
    with settings.temporary_settings({getattr(settings, name): False for name in MADE_ALREADY}):
        yield


def empty_tables(*tables: str) -> None:
    """Delete all rows, and those that belong to them: the API takes ten requests for it."""
    with closing(sqlite3.connect(_file(), timeout=60)) as database, database:
        database.execute("PRAGMA foreign_keys = ON")
        for table in tables:
            database.execute(f"DELETE FROM {table}")
