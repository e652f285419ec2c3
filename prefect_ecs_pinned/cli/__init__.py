"""`pinned-ecs`: one file per command. Data goes to stdout, talk to stderr."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from prefect_ecs_pinned import __version__
from prefect_ecs_pinned.cli.demo import demo
from prefect_ecs_pinned.cli.local import local
from prefect_ecs_pinned.errors import PinnedECSError

app = typer.Typer(
    name="pinned-ecs",
    help="Run Prefect flow runs on Amazon ECS from one pinned task-definition revision.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(local)
app.command()(demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pinned-ecs {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line; a failure is one message and a hint on stderr."""
    try:
        app()
    except PinnedECSError as error:
        Console(stderr=True, highlight=False).print(f"error: {error}", style="red", markup=False)
        sys.exit(1)
