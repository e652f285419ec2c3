"""What Prefect's entry point `prefect.collections` names: it brings the face of this Prefect.

Prefect 2 imports it when a block type is looked up, Prefect 3 when a worker type is, and both in
every process that executes a flow run. An exception here would be a line "Failed to load
collection" on the stdout of each. So it is logged instead, once, and an import of the class raises
the exception itself.
"""

from __future__ import annotations

import logging

from prefect_ecs_pinned import majors

__all__: list[str] = []


def _bring_face() -> None:
    try:
        majors.load(majors.face())
    except Exception as error:  # noqa: BLE001 - shown by its users
        logging.getLogger("prefect_ecs_pinned").warning(
            "the Prefect collection prefect_ecs_pinned is not available: %s: %s",
            type(error).__name__,
            error,
        )


_bring_face()
