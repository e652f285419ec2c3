"""`pinned-ecs demo`: the main job, end to end, on this machine."""

from __future__ import annotations

from enum import Enum

import typer

from prefect_ecs_pinned.cli import console


class BlockKind(str, Enum):
    """Which block takes the load, under Prefect 2."""

    pinned = "pinned-ecs-task"
    plain = "ecs-task"


class WorkerKind(str, Enum):
    """Which type of worker takes the load, under Prefect 3."""

    pinned = "pinned-ecs"
    plain = "ecs"


def demo(
    runs: int = typer.Option(100, min=1, help="Flow runs in each round."),
    rounds: int = typer.Option(1, min=1, help="Number of rounds."),
    change_image: bool = typer.Option(
        False, "--change-image", help="Add a round with another image."
    ),
    block: BlockKind | None = typer.Option(
        None,
        help="Prefect 2: ecs-task runs the same load with the plain ECSTask.",
    ),
    worker: WorkerKind | None = typer.Option(
        None,
        help="Prefect 3: ecs runs the same load with the plain ECSWorker.",
    ),
    json: bool = typer.Option(False, "--json", help="Print the summary as JSON on stdout."),
    keep: bool = typer.Option(
        False, "--keep", help="Keep everything running, and print the exports for other shells."
    ),
) -> None:
    """Run a hundred flow runs on this machine, and count the calls.

    The flow runs are real. It starts an embedded ECS, a Prefect server, and an agent or a worker.
    """
    from prefect_ecs_pinned.operations.demo import DemoSettings, run_demo

    if block and worker:
        raise typer.BadParameter("use either --block or --worker")
    chosen = block or worker
    kind = chosen.value if chosen else None
    settings = DemoSettings(
        runs=runs, rounds=rounds, change_image=change_image, kind=kind, keep=keep
    )
    with console.reporting():
        summary = run_demo(settings, as_json=json)
    if not summary.succeeded:
        raise typer.Exit(1)
