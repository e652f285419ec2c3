"""`pinned-ecs local`: an embedded ECS for one machine."""

from __future__ import annotations

import typer

from prefect_ecs_pinned.errors import ConfigurationError


def local(
    host: str = typer.Option("127.0.0.1", help="Address to listen on."),
    port: int = typer.Option(4510, help="Port to listen on."),
    execute: bool = typer.Option(
        True, "--execute/--no-execute", help="Run each task's command as a local process."
    ),
    task_seconds: float = typer.Option(
        30.0, help="With --no-execute: how long a task runs, in seconds."
    ),
    quota_scale: float = typer.Option(
        1.0, min=0.0, help="Request quotas, as a multiple of AWS's own; 0 switches them off."
    ),
    max_processes: int = typer.Option(0, min=0, help="Tasks at once; 0 is what the machine bears."),
) -> None:
    """Serve the AWS API for ECS, EC2, Logs, IAM, STS, Secrets Manager, SSM and ECR here.

    Point any AWS client at it: export AWS_ENDPOINT_URL=http://127.0.0.1:4510
    """
    try:
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
    serve(host, port, settings)
