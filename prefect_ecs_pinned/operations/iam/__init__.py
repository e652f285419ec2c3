"""The least that a role has to be allowed, for exactly what is configured.

`needs` reads what launching touches, `statements` makes a policy of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from typing import Any

from prefect_ecs_pinned.errors import PinnedECSError
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.iam.account import Account, read_account
from prefect_ecs_pinned.operations.iam.needs import Needs, needs
from prefect_ecs_pinned.operations.iam.statements import Role, statements
from prefect_ecs_pinned.operations.sources import Holder, configurations

__all__ = ["Needs", "Registration", "Role", "needs", "policy", "policy_for", "statements"]


class Registration(str, Enum):
    """Whether a role registers revisions: its ``registration``."""

    on_change = "on-change"
    never = "never"


async def policy(
    reference: Holder,
    role: Role = Role.agent,
    registration: Registration | None = None,
    deployment: str | None = None,
    every: bool = False,
    unknown: list[PinnedECSError] | None = None,
) -> dict[str, Any]:
    """An IAM policy document; see `sources.Source.configurations` for what it covers.

    Args:
        reference: The saved block, or the pool.
        role: Who it is for.
        registration: Whether an agent registers; None for what it says itself.
        deployment: See `sources.Source.configurations`.
        every: See there.
        unknown: Gets the errors for which AWS could not be asked whose account it is: the policy
            has placeholders then (`account.PLACEHOLDERS`).

    Raises:
        ConfigurationError: No such block or pool, or it can not become a definition.
        PinnedECSError: AWS does not show a linked revision, or Prefect could not be reached.
    """
    wanted = await configurations(reference, deployment, every)
    return await policy_for(wanted, role, registration, unknown)


async def policy_for(
    wanted: Sequence[Configuration],
    role: Role = Role.agent,
    registration: Registration | None = None,
    unknown: list[PinnedECSError] | None = None,
) -> dict[str, Any]:
    """As `policy`, for configurations that have been read."""
    known: dict[str, tuple[Account, Calls]] = {}
    found = []
    for configuration in wanted:
        key = configuration.access.key
        if key not in known:
            calls = Calls.of(configuration.access)
            known[key] = await read_account(calls), calls
            if (why := known[key][0].unknown) is not None and unknown is not None:
                unknown.append(why)
        found.append(await needs(configuration, *known[key]))
    if registration is not None:
        found = [replace(n, registers=registration is Registration.on_change) for n in found]
    return {"Version": "2012-10-17", "Statement": statements(role, found)}
