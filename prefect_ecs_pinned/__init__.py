"""Hundreds of Prefect flow runs on Amazon ECS, all from one pinned task-definition revision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect_ecs_pinned.block import PinnedECSTask

__version__ = "0.1.0"
__all__ = ["PinnedECSTask", "__version__"]


def __getattr__(name: str) -> Any:
    """Import Prefect only when the block is asked for: `core`, `aws` and `local` do without it."""
    if name == "PinnedECSTask":
        from prefect_ecs_pinned.block import PinnedECSTask

        return PinnedECSTask
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Let `prefect block register -m prefect_ecs_pinned` see the block."""
    return sorted({*globals(), *__all__})
