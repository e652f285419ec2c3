"""`pinned-ecs local`: an embedded ECS for one machine."""

from __future__ import annotations

from errno import EADDRINUSE
from typing import TYPE_CHECKING

import typer

from prefect_ecs_pinned.activity import waiting_for
from prefect_ecs_pinned.cli import console
from prefect_ecs_pinned.errors import ConfigurationError

if TYPE_CHECKING:
    from prefect_ecs_pinned.local import LocalECS, Settings

#: Read instead of ``--access-key``: a command line can be seen by every user of the machine.
ACCESS_KEY_VARIABLE = "PINNED_ECS_LOCAL_ACCESS_KEY"


def local(
    host: str = typer.Option("127.0.0.1", help="Address to listen on."),
    port: int = typer.Option(4510, min=0, max=65535, help="Port to listen on; 0 for a free one."),
    access_key: str = typer.Option(
        "",
        envvar=ACCESS_KEY_VARIABLE,
        help="The access key that requests need. Default: a new random one. Set it by the "
        "variable: other users can see a command line.",
    ),
    allow_host: list[str] = typer.Option(
        [],
        metavar="NAME[:PORT]",
        help="Another host name that clients use, for containers and proxies; repeatable.",
    ),
    execute: bool = typer.Option(
        True, "--execute/--no-execute", help="Run each task's command as a local process."
    ),
    task_seconds: float = typer.Option(
        30.0, help="With --no-execute: how long a task runs, in seconds."
    ),
    quota_scale: float = typer.Option(
        1.0, min=0.0, help="Request quotas, as a multiple of AWS's own; 0 switches them off."
    ),
    max_processes: int = typer.Option(
        0, min=0, help="Tasks at the same time; 0: as many as the machine can run."
    ),
    quiet: bool = typer.Option(
        False, "--quiet", "-q", help="Print no line for each task that starts or ends."
    ),
) -> None:
    """Serve an embedded ECS on this machine.

    It also emulates the parts of EC2, Logs, IAM, STS, Secrets Manager, SSM and ECR that flow runs
    need. It executes commands, so it accepts only requests with its access key. On stdout it prints
    the exports that point an AWS client at it; they are secret. On stderr it prints the address,
    and a line for each task that starts or ends.
    """
    try:
        with waiting_for("moto to be imported"):
            from prefect_ecs_pinned.local import Settings, serve
    except ImportError as error:
        raise ConfigurationError(
            "cannot serve an embedded ECS",
            f"{error.name} is not installed",
            "pip install 'prefect-ecs-pinned[local]'",
        ) from error
    settings = Settings(
        execute=execute,
        task_seconds=task_seconds,
        quota_scale=quota_scale or None,
    )
    if max_processes:
        settings.max_processes = max_processes
    # A file of variables that was written on Windows ends its lines with a carriage return.
    ecs = _listen(settings, host, port, access_key.rstrip("\r\n"), allow_host)
    _warn(ecs, host, execute)
    # Immediately, also into a file or a pipe: anyone who started this waits for it.
    exports = [f"export {name}={value}" for name, value in ecs.environment.items()]
    print(*exports, sep="\n", flush=True)
    console.say(f"listening on {ecs.endpoint_url}; paste the exports where AWS clients run")
    console.say("Press Ctrl-C to stop it and its tasks.", "dim")
    with console.reporting():
        serve(ecs, None if quiet else console.say)


def _listen(
    settings: Settings, host: str, port: int, access_key: str, allow_host: list[str]
) -> LocalECS:
    from prefect_ecs_pinned.local import LocalECS

    try:
        return LocalECS(settings, host, port, access_key or None, allow_host)
    except (OSError, ValueError) as error:
        hint = "give another --host or --port" if isinstance(error, OSError) else "see --help"
        if isinstance(error, OSError) and error.errno == EADDRINUSE:
            hint = "stop the other `pinned-ecs local`, or give another --port; 0 for a free one"
        raise ConfigurationError(
            f"cannot serve an embedded ECS on {host}:{port}", str(error), hint
        ) from error


def _warn(ecs: LocalECS, host: str, execute: bool) -> None:
    """What makes it easier to get in than by default."""
    from prefect_ecs_pinned.local.access import STRONG_CHARACTERS

    if not ecs.loopback:
        does = "execute commands as you" if execute else "use this ECS"
        console.warn(
            f"{host} is not a loopback address: other machines can reach it. Anyone with the "
            f"access key can {does}, and the network carries the key unencrypted."
        )
    if len(ecs.access_key) < STRONG_CHARACTERS:
        console.warn(
            f"an access key of {len(ecs.access_key)} characters can be guessed; use a random "
            f"one of {STRONG_CHARACTERS} or more"
        )
