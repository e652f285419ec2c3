"""`pinned-ecs`: one file per command. Data goes to stdout, messages to stderr.

A command's file holds its options and its output. Its actions are in
`prefect_ecs_pinned.operations`, and is imported when the command runs, so that ``--help`` does
not wait for Prefect. To add one, import its function and add it to ``COMMANDS``.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import typer

from prefect_ecs_pinned import __version__
from prefect_ecs_pinned.cli import console
from prefect_ecs_pinned.cli.demo import demo
from prefect_ecs_pinned.cli.doctor import doctor
from prefect_ecs_pinned.cli.iam import iam
from prefect_ecs_pinned.cli.local import local
from prefect_ecs_pinned.cli.migrate import migrate
from prefect_ecs_pinned.cli.pin import pin
from prefect_ecs_pinned.cli.plan import plan
from prefect_ecs_pinned.cli.prune import prune
from prefect_ecs_pinned.cli.reconcile import reconcile
from prefect_ecs_pinned.cli.show import show
from prefect_ecs_pinned.cli.waiting import reported
from prefect_ecs_pinned.errors import ConfigurationError, PinnedECSError

#: In the order in which ``--help`` lists them.
COMMANDS = (
    plan,
    pin,
    show,
    prune,
    doctor,
    migrate,
    reconcile,
    iam,
    local,
    demo,
)

#: What parsing raises. typer has a copy of click of its own since 0.24, and click's own before.
_UsageError: Any = typer.BadParameter.__mro__[1]
_ClickException: Any = typer.BadParameter.__mro__[2]

#: How click's message begins that lists arguments which no command takes.
_EXTRA = "Got unexpected extra argument"

app = typer.Typer(
    name="pinned-ecs",
    help="Run Prefect flow runs on Amazon ECS from one pinned task-definition revision.",
    epilog="Exit codes: 0 done, 1 failed, 2 `plan --exit-code` would register, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
    # A short help that is given is wrapped; one that is derived is cut at the terminal's width.
    app.command(short_help=(command.__doc__ or "").partition("\n")[0])(command)


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; a failure is one message and a hint on stderr.

    Args:
        arguments: Without the program's name; None for those of the process.

    Returns:
        The exit code: see `console`.
    """
    try:
        with reported("Prefect to be imported"):
            code = _run(sys.argv[1:] if arguments is None else arguments)
    except _ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # since click 8.2: the help is its message
            console.say(error.format_message())
        else:
            console.fail(_usage_error(error), link=False)
        return console.FAILED
    except (typer.Abort, KeyboardInterrupt):
        code = console.INTERRUPTED
    except PinnedECSError as error:
        console.fail(error)
        return console.FAILED
    except ValueError as error:
        if (wrong := _settings_error(error)) is None:
            raise
        console.fail(wrong)
        return console.FAILED
    except BrokenPipeError:  # who reads has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return console.FAILED
    if code == console.INTERRUPTED:
        console.say("interrupted: changes made so far stay; you can repeat the command")
    return code if isinstance(code, int) else console.OK


def _run(arguments: Sequence[str]) -> object:
    """Run a command, without the warnings of libraries unless Python is asked for them (-W)."""
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        return app(
            # Words from a file that was written on Windows end with a carriage return.
            args=[word.rstrip("\r\n") for word in arguments],
            prog_name="pinned-ecs",
            standalone_mode=False,
        )


def _usage_error(error: Any) -> PinnedECSError:
    path = error.ctx.command_path if isinstance(error, _UsageError) and error.ctx else ""
    message = error.format_message().rstrip(".")
    if message.startswith(_EXTRA):  # they may be the values of options that need an "="
        message = message.partition(" (")[0]
    return PinnedECSError(message, hint=f"{path or 'pinned-ecs'} --help")


def _settings_error(error: Any) -> ConfigurationError | None:
    """What is wrong with Prefect's settings, which it reads when it is imported; None otherwise.

    Args:
        error: A ``ValidationError`` of pydantic 2 (Prefect 3) has a title, one of its v1 API
            (Prefect 2) a model.
    """
    name = getattr(error, "title", "") or getattr(getattr(error, "model", None), "__name__", "")
    if not str(name).endswith("Settings") or not hasattr(error, "errors"):
        return None
    wrong = [each for each in error.errors() if each["type"] != "default_factory_not_called"]
    return ConfigurationError(
        "cannot import Prefect",
        "; ".join(_setting(each) for each in wrong),
        "correct this PREFECT_ variable, or the setting of the active profile (`profiles.toml`)",
    )


def _setting(wrong: Any) -> str:
    """Setting and message, without the value, which may be a key."""
    where = ".".join(str(part) for part in wrong["loc"] if part != "__root__")
    return f"{where}: {wrong['msg']}" if where else f"settings: {wrong['msg']}"
