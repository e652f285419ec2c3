"""From a saved `ECSTask` to a saved `PinnedECSTask`, and its deployments with it."""

from prefect_ecs_pinned.operations.migrate.changes import Change
from prefect_ecs_pinned.operations.migrate.move import Migration, converted, migrate

__all__ = ["Change", "Migration", "converted", "migrate"]
