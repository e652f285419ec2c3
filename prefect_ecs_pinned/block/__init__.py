"""Prefect's side: the infrastructure block, and what it says to the Prefect API."""

from prefect_ecs_pinned import majors

majors.require(majors.BLOCK)  # before an import that fails for a reason harder to read

from prefect_ecs_pinned.block.pinned_ecs_task import PinnedECSTask  # noqa: E402

__all__ = ["PinnedECSTask"]
