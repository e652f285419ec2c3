"""Arguments and options that several commands have."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import typer

from prefect_ecs_pinned.core.shown import Rule, part, shown
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.majors import prefect_major, prefect_version
from prefect_ecs_pinned.runs.spec import FIELDS

if TYPE_CHECKING:
    from prefect_ecs_pinned.operations.sources import Holder

BLOCK: Any = typer.Argument(
    None,
    metavar="[BLOCK]",
    help="A saved block: pinned-ecs-task/NAME, or NAME (Prefect 2).",
    show_default=False,
)
BLOCK_OR_ALL: Any = typer.Argument(
    None,
    metavar="[BLOCK]",
    help="A saved block (Prefect 2). Without it and --pool, all blocks or pools.",
    show_default=False,
)
POOL: Any = typer.Option(
    None,
    metavar="NAME",
    help="A work pool, with the job variables of its deployments (Prefect 3).",
    show_default=False,
)
DEPLOYMENT: Any = typer.Option(
    None,
    metavar="FLOW/NAME",
    help="With the overrides or job variables of this deployment.",
    show_default=False,
)
ALL: Any = typer.Option(
    False,
    "--all",
    help="The block or pool alone, and with each of its deployments.",
)
OVERRIDE: Any = typer.Option(
    None,
    metavar="PATH=VALUE",
    help="An override or job variable that is not deployed yet; repeatable.",
    show_default=False,
)

YES: Any = typer.Option(
    False, "--yes", help="Apply the changes (default: dry run, which changes nothing)."
)

JSON: Any = typer.Option(False, "--json", help="Print the data as JSON.")


def holder_or_all(block: str | None, pool: str | None) -> Holder | None:
    """The block or the pool that is meant; None for all of them.

    Raises:
        ConfigurationError: Both are given.
        WrongPrefect: It is the other major's.
    """
    from prefect_ecs_pinned.operations.sources import Pool, face_of

    if block and pool:
        raise ConfigurationError(
            "cannot combine a block and --pool",
            hint="saved blocks are for Prefect 2, work pools for Prefect 3",
        )
    found = Pool(pool) if pool else block
    face_of(found)
    return found


def holder(block: str | None, pool: str | None) -> Holder:
    """The block or the pool that is meant.

    Raises:
        ConfigurationError: Neither or both are given.
        WrongPrefect: It is the other major's.
    """
    found = holder_or_all(block, pool)
    if not found:
        major = prefect_major()
        raise ConfigurationError(
            "a block or work pool is missing",
            f"Prefect {prefect_version()} is installed, which has "
            + ("saved blocks" if major == 2 else "work pools"),
            "give pinned-ecs-task/NAME" if major == 2 else "give --pool NAME",
        )
    return found


def words(block: str | None, pool: str | None) -> str:
    """The same again, for a command that is suggested."""
    return f"--pool {shlex.quote(pool)}" if pool else shlex.quote(block) if block else ""


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
                "there is no '=' in it" if path else "the path before '=' is empty",
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
