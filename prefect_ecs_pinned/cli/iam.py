"""`pinned-ecs iam`: the least-privilege policy for a saved block or a pool."""

from __future__ import annotations

from enum import Enum
from json import dumps
from typing import Any

import typer

from prefect_ecs_pinned.cli import console, options
from prefect_ecs_pinned.errors import PinnedECSError


class RoleName(str, Enum):
    """Who the policy is for."""

    agent = "agent"
    ci = "ci"
    operator = "operator"


class RegistrationName(str, Enum):
    """Whether an agent may register."""

    on_change = "on-change"
    never = "never"


def iam(
    block: str | None = options.BLOCK,
    pool: str | None = options.POOL,
    role: RoleName = typer.Option(
        RoleName.agent,
        help="agent (or worker) launches and watches; ci runs plan and pin; operator runs every "
        "command.",
    ),
    registration: RegistrationName | None = typer.Option(
        None, help="Whether it registers revisions. Default: as configured."
    ),
    deployment: str | None = options.DEPLOYMENT,
    every: bool = options.ALL,
    json: bool = typer.Option(False, "--json", help="Print JSON, which is also the default."),
) -> None:
    """Print the IAM policy that a block or a pool needs.

    The policy has only the actions, resources and conditions of this configuration: family,
    cluster, roles and log group. Pass it to `aws iam put-role-policy --policy-document`. Without
    credentials it prints placeholders, and lists them.
    """
    from prefect_ecs_pinned.operations.iam import Registration, Role, policy

    options.check_one_of(deployment, every)
    wanted = Registration(registration.value) if registration is not None else None
    unknown: list[PinnedECSError] = []
    holder = options.holder(block, pool)
    document = console.run(policy(holder, Role(role.value), wanted, deployment, every, unknown))
    console.print_json(document)
    _warn_of_placeholders(document, unknown)
    if block and not deployment and not every:
        console.say("For the block without overrides; --all includes its deployments.")


def _warn_of_placeholders(document: dict[str, Any], unknown: list[PinnedECSError]) -> None:
    """Say what to replace, and why it is not known."""
    from prefect_ecs_pinned.operations.iam.account import EXECUTION_ROLE, PLACEHOLDERS

    text = dumps(document)
    if unknown and (names := [name for name in PLACEHOLDERS if name in text]):
        console.warn(f"{unknown[0].what}: {unknown[0].why}")
        console.say(f"Replace the placeholders in the policy: {', '.join(names)}.")
        if EXECUTION_ROLE in names:
            console.say("The linked revision was not read: add its task role, logs and secrets.")
        console.say(f"hint: or {unknown[0].hint}")
