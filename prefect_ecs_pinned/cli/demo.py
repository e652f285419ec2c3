"""`pinned-ecs demo`: the main job, end to end, on this machine."""

from __future__ import annotations

from enum import Enum

import typer


class BlockKind(str, Enum):
    """Which block takes the load."""

    pinned = "pinned-ecs-task"
    plain = "ecs-task"


def demo(
    runs: int = typer.Option(100, min=1, help="Flow runs in each round."),
    rounds: int = typer.Option(1, min=1, help="How often the loop is run."),
    change_image: bool = typer.Option(
        False, "--change-image", help="Add a round with another image in the block."
    ),
    block: BlockKind = typer.Option(
        BlockKind.pinned, help="ecs-task puts the same load through the plain ECSTask."
    ),
    json: bool = typer.Option(False, "--json", help="Print the summary as JSON on stdout."),
    keep: bool = typer.Option(
        False, "--keep", help="Leave everything up, and print the exports to look around."
    ),
) -> None:
    """Run a hundred real flow runs: embedded ECS, Prefect server, agent and block, all real."""
    from prefect_ecs_pinned.operations.demo import DemoSettings, run_demo

    settings = DemoSettings(
        runs=runs, rounds=rounds, change_image=change_image, block=block.value, keep=keep
    )
    summary = run_demo(settings, as_json=json)
    if not summary.succeeded:
        raise typer.Exit(1)
