"""`pinned-ecs iam`: the least-privilege policy for a saved block or a pool."""

from __future__ import annotations

from enum import Enum

import typer

from prefect_ecs_pinned.cli import console, options


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
        None, help="Whether it registers revisions; what is configured if left out."
    ),
    deployment: str | None = options.DEPLOYMENT,
    every: bool = options.ALL,
    json: bool = typer.Option(False, "--json", help="Print JSON, as is done without it too."),
) -> None:
    """Print the IAM policy that a block or a pool needs.

    Actions, resources and conditions for exactly what is configured: family, cluster, roles and
    log group. Pass it to `aws iam put-role-policy --policy-document`.
    """
    from prefect_ecs_pinned.operations.iam import Registration, Role, policy

    options.check_one_of(deployment, every)
    wanted = Registration(registration.value) if registration is not None else None
    document = console.run(
        policy(options.holder(block, pool), Role(role.value), wanted, deployment, every)
    )
    console.print_json(document)
    if block and not deployment and not every:
        console.say("For the block without overrides; --all covers its deployments as well.")
