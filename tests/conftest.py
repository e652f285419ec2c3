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

#: Folders of tests that need one major of Prefect. What is not named runs under both.
ONLY_PREFECT = {
    2: ("benchmarks", "block", "docs", "faults", "functional", "operations", "packaging", "ui"),
    3: ("worker",),
}

#: Modules in folders of both that need Prefect 2's block, or what is saved of it.
ONLY_PREFECT_2 = (
    "cli/test_[!f]*.py",
    "runs/test_agree.py",
)

collect_ignore_glob = [
    *(f"{folder}/*" for major in ONLY_PREFECT if major != prefect_major()
      for folder in ONLY_PREFECT[major]),
    *(ONLY_PREFECT_2 if prefect_major() != 2 else ()),
]  # fmt: skip

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
