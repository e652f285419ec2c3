"""Arguments and options that several commands have."""

from __future__ import annotations

import shlex
from typing import Any

import typer

from prefect_ecs_pinned.core.showable import FIELDS
from prefect_ecs_pinned.core.shown import Rule, part, shown
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
OVERRIDE: Any = typer.Option(
    None,
    metavar="PATH=VALUE",
    help="An override that is not deployed yet, as for `prefect deployment build`; repeatable.",
    show_default=False,
)

JSON: Any = typer.Option(False, "--json", help="Print the data as JSON.")


def overrides(given: list[str] | None) -> dict[str, str]:
    """Read --override: dotted path -> value.

    Raises:
        ConfigurationError: There is no ``=`` in one.
    """
    pairs = [text.partition("=") for text in given or []]
    for path, separator, _ in pairs:
        if not path or not separator:
            # It is not quoted: it may be a value that belongs to the override before it.
            raise ConfigurationError(
                "cannot read an override",
                "there is no '=' in it" if path else "there is no path in front of its '='",
                "write it as image=repository:tag",
            )
    return {path: value for path, _, value in pairs}


def which(deployment: str | None, every: bool, given: list[str] | None) -> str:
    """The same options again, for a command that is suggested; hidden values as `***`."""
    words = ["--deployment", deployment] if deployment else ["--all"] if every else []
    words += [word for text in given or [] for word in ("--override", _shown(text))]
    return "".join(f" {shlex.quote(word)}" for word in words)


def _shown(override: str) -> str:
    path, _, value = override.partition("=")
    rule: Rule = FIELDS
    for word in path.split("."):
        rule = part(rule, word)
    return f"{path}={shown(value, rule)}"


def check_one_of(deployment: str | None, every: bool) -> None:
    """Refuse --deployment together with --all.

    Raises:
        ConfigurationError: Both are given.
    """
    if deployment and every:
        raise ConfigurationError(
            "cannot combine --deployment and --all", hint="--all includes every deployment"
        )
