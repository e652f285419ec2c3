"""Prefect's side: the infrastructure block, and what it says to the Prefect API."""

from prefect_ecs_pinned.block.pinned_ecs_task import PinnedECSTask

__all__ = ["PinnedECSTask"]
