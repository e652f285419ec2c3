"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Any

import typer

from prefect_ecs_pinned.errors import ConfigurationError

BLOCK: Any = typer.Argument(
    ..., metavar="BLOCK", help="A saved block: pinned-ecs-task/NAME, or NAME.", show_default=False
)
DEPLOYMENT: Any = typer.Option(
    None,
    metavar="FLOW/NAME",
    help="With the overrides of this deployment.",
    show_default=False,
)
ALL: Any = typer.Option(
    False, "--all", help="The block, and the block with the overrides of each deployment on it."
)
JSON: Any = typer.Option(False, "--json", help="Print the data as JSON.")


def check_one_of(deployment: str | None, every: bool) -> None:
    """Refuse --deployment together with --all.

    Raises:
        ConfigurationError: Both are given.
    """
    if deployment and every:
        raise ConfigurationError(
            "cannot combine --deployment and --all", hint="--all includes every deployment"
        )
