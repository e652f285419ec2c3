"""Which tests go with which major of Prefect, and how they are spread over processes.

What shares a slow set-up runs in one process.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_ecs_pinned.majors import prefect_major
from tests.databases import migrated_database

__all__ = ["migrated_database"]

HERE = Path(__file__).parent

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

#: Folder -> group. The slowest stand first, so that nothing slow begins last.
GROUPS = {"functional": "servers", "operations": "prefect", "cli": "prefect too"}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = list(GROUPS)

    def rank(item: pytest.Item) -> int:
        folder = item.path.relative_to(HERE).parts[0]
        return order.index(folder) if folder in GROUPS else len(order)

    for item in items:
        group = GROUPS.get(item.path.relative_to(HERE).parts[0])
        if group and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=rank)
