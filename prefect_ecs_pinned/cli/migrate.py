"""`pinned-ecs migrate`: a PinnedECSTask of a saved ECSTask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from prefect_ecs_pinned.cli import console, options

if TYPE_CHECKING:
    from prefect_ecs_pinned.operations.migrate import Migration


def migrate(
    block: str = typer.Argument(
        ..., metavar="ECS-TASK/NAME", help="A saved ECSTask: ecs-task/NAME.", show_default=False
    ),
    deployments: bool = typer.Option(
        False, "--deployments", help="Point the deployments that run on it at the new block."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only show what would be done."),
    json: bool = options.JSON,
) -> None:
    """Make a pinned block of a saved ECSTask.

    pinned-ecs-task/NAME is made from ecs-task/NAME, which stays, and what means something else
    there is listed. A pinned block of that name which exists is left as it is: running it twice
    changes nothing more.
    """
    from prefect_ecs_pinned.operations.migrate import migrate as move

    done = console.run(move(block, deployments, dry_run))
    if json:
        console.print_json(done)
    else:
        _show(done)
    _sum_up(done, block)


def _show(done: Migration) -> None:
    """What is made, what changes in meaning, and which deployments move."""
    would = "would be " if done.dry_run else ""
    console.print_line(f"{done.target}: {'exists' if done.exists else f'{would}made'}", "bold")
    console.print_table(
        ("setting", "before", "after", "meaning"),
        [(c.field, c.before, c.after, c.meaning) for c in done.changes],
    )
    for name in done.moved:
        console.print_line(f"deployment {name}: {would}moved", "green")
    for name in done.waiting:
        console.print_line(f"deployment {name}: stays on {done.source}")
    for name in done.by_worker:
        console.print_line(f"deployment {name}: follows its work pool")


def _sum_up(done: Migration, block: str) -> None:
    if done.exists:
        console.say(f"{done.target} exists, and is left as it is.")
    if done.by_worker:
        console.warn("work pools name their block themselves: edit them, or publish a new one")
    if done.dry_run:
        console.say("Nothing was changed.")
        console.suggest(f"pinned-ecs migrate {block}{' --deployments' if done.moved else ''}")
    elif done.waiting:
        console.suggest(f"pinned-ecs migrate {block} --deployments")
    else:
        console.suggest(f"pinned-ecs plan {done.target} --all")
