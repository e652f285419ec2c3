"""The least that a role has to be allowed, for exactly the blocks that are saved.

`needs` reads what launching a block touches, `statements` makes a policy of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from typing import Any

from prefect_ecs_pinned.operations.blocks import configurations
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.iam.needs import Needs, needs
from prefect_ecs_pinned.operations.iam.statements import Role, statements

__all__ = ["Needs", "Registration", "Role", "needs", "policy", "policy_for", "statements"]


class Registration(str, Enum):
    """Whether a role registers revisions: the block's ``registration``."""

    on_change = "on-change"
    never = "never"


async def policy(
    reference: str,
    role: Role = Role.agent,
    registration: Registration | None = None,
    deployment: str | None = None,
    every: bool = False,
) -> dict[str, Any]:
    """An IAM policy document; see `blocks.configurations` for what it covers.

    Args:
        reference: The saved block.
        role: Who it is for.
        registration: Whether an agent registers; None for what the block says.
        deployment: See `blocks.configurations`.
        every: See there.

    Raises:
        ConfigurationError: No such block, or it can not become a definition.
        PinnedECSError: AWS or Prefect refused, or could not be reached.
    """
    return await policy_for(await configurations(reference, deployment, every), role, registration)


async def policy_for(
    wanted: Sequence[Configuration],
    role: Role = Role.agent,
    registration: Registration | None = None,
) -> dict[str, Any]:
    """As `policy`, for configurations that have been read."""
    found = [await needs(configuration) for configuration in wanted]
    if registration is not None:
        found = [replace(n, registers=registration is Registration.on_change) for n in found]
    return {"Version": "2012-10-17", "Statement": statements(role, found)}
