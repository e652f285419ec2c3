"""Hundreds of Prefect flow runs on Amazon ECS, all from one pinned task-definition revision.

`PinnedECSTask` is there under Prefect 2, `PinnedECSWorker` under Prefect 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect_ecs_pinned.block import PinnedECSTask as PinnedECSTask
    from prefect_ecs_pinned.worker import PinnedECSWorker as PinnedECSWorker

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Import Prefect only when a face is asked for: `core`, `aws` and `local` do not need it."""
    if name == "__all__":
        return _public()
    if name in ("PinnedECSTask", "PinnedECSWorker"):
        from prefect_ecs_pinned import majors

        return majors.load(majors.FACES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Let `prefect block register -m prefect_ecs_pinned` see the block, and no other class."""
    return sorted({*globals(), *_public()})


def _public() -> list[str]:
    from prefect_ecs_pinned import majors

    try:
        return [majors.face().name, "__version__"]
    except ModuleNotFoundError:
        return ["__version__"]
