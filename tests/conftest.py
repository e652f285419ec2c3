"""How the tests are spread over processes: what shares a slow set-up runs in one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.databases import migrated_database

__all__ = ["migrated_database"]

HERE = Path(__file__).parent

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
