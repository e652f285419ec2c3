"""A Prefect container that is added to those of a definition: meant so, or a name that is wrong.

`ECSTask` adds one when none has its name. Somebody whose definition has one container, of another
name, then runs two: theirs, and one that they have not asked for.
"""

from __future__ import annotations

from prefect_ecs_pinned.core.compare import Desired
from prefect_ecs_pinned.core.shown import named

#: What to do, whichever was meant.
HINT = (
    "name the container that runs the flow in container_name; to add a container, put it into "
    "containerDefinitions with only its name"
)


def added(desired: Desired) -> str:
    """That the Prefect container is added, and to which others; empty when it is one of them."""
    if not desired.added_to:
        return ""
    others = ", ".join(map(repr, desired.added_to))
    return (
        f"a container {named(desired.container_name)!r} of {desired.image} is added to those of "
        f"the definition: {others}"
    )
