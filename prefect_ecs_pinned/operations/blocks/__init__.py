"""A source of configurations (`operations.sources`): the saved blocks of Prefect 2.

- `loading`, `reads`: from a block's document, and a deployment's overrides, to a `Configuration`.
- `checks`: what `doctor` says of how runs are picked up.
- `claims`: which revisions everything that is saved lays claim to.
"""

from prefect_ecs_pinned import majors

majors.require(majors.BLOCK)  # before an import that fails for a reason harder to read

from prefect_ecs_pinned.operations.blocks.claims import read_claims  # noqa: E402
from prefect_ecs_pinned.operations.blocks.loading import (  # noqa: E402
    configuration,
    of_block,
    overridden_data,
)
from prefect_ecs_pinned.operations.blocks.reads import candidates, configurations  # noqa: E402

__all__ = [
    "candidates",
    "configuration",
    "configurations",
    "of_block",
    "overridden_data",
    "read_claims",
]
