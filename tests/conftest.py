"""Which tests go with which major of Prefect, and how they are spread over processes.

What shares a set-up runs in one process: the tests of a file, and those of some folders.
"""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

import pytest

from prefect_ecs_pinned.majors import prefect_major
from tests.computed import compute_once
from tests.databases import migrated_database

__all__ = ["migrated_database"]

HERE = Path(__file__).parent

# moto makes 500 machine images, with volumes, whenever EC2 is asked first: 40 ms of CPU each time
# that an embedded ECS starts. Nothing here is made of them.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

# A shell starts what it puts in the background with SIGINT ignored, and all that it starts inherits
# that: then nothing here could be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Major of Prefect -> tests that need it. What is not named runs under both.
ONLY_UNDER = {
    2: (
        *("benchmarks", "block", "cli", "docs", "faults", "functional", "operations", "ui"),
        *(
            "runs/test_agree.py",
            "runs/test_nonsense.py",
            "runs/test_patches.py",
            "runs/test_spec.py",
        ),
    ),
    3: ("worker",),
}
collect_ignore = [
    name for major, names in ONLY_UNDER.items() if major != prefect_major() for name in names
]

#: Folder -> group: one Prefect server, or one for each process of the tests that has such a folder.
GROUPS = {"functional": "servers", "cli": "prefect too", "operations": "prefect"}

#: Files that take longest, longest first. Those that wait stand before those that compute, so that
#: no process is left alone with them at the end (--no-loadscope-reorder: xdist would begin with
#: the files that have the most tests).
SLOW = (
    *("majors/test_faces.py", "faults/test_matrix.py", "block/test_prefect_api.py"),
    *("block/test_many.py", "faults/test_secrets.py", "local/test_forking.py"),
    *("local/test_access.py", "aws/test_planted.py", "core/test_compare.py", "test_layers.py"),
    *("block/test_canaries.py", "core/test_queueing.py", "aws/test_unforeseen.py"),
    *("aws/test_unequal.py", "aws/test_odd_answers.py", "aws/test_output_faults.py"),
    *("aws/test_clients.py", "local/test_fixtures.py", "local/test_runner.py"),
    *("core/test_shown.py", "block/test_run.py", "block/test_sharing.py", "block/test_output.py"),
    *("local/test_rules.py", "local/test_wire.py", "aws/test_control_plane.py"),
)

_ORDER = (*GROUPS, *SLOW)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one process, and begin with what takes longest."""

    def rank(item: pytest.Item) -> int:
        name = item.path.relative_to(HERE).as_posix()
        folder = name.partition("/")[0]
        found = folder if folder in GROUPS else name
        return _ORDER.index(found) if found in _ORDER else len(_ORDER)

    for item in items:
        name = item.path.relative_to(HERE).as_posix()
        if item.get_closest_marker("xdist_group") is None:
            group = GROUPS.get(name.partition("/")[0], name)
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=rank)


def pytest_collection_finish() -> None:
    """Leave what has been imported and collected to no garbage collection: two million objects."""
    compute_once()
    gc.collect()
    gc.freeze()
