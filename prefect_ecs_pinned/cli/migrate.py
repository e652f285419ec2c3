"""`pinned-ecs migrate`: a PinnedECSTask of a saved ECSTask, or a pinned pool of an ECS pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from prefect_ecs_pinned.cli import console, options
from prefect_ecs_pinned.errors import ConfigurationError

if TYPE_CHECKING:
    from prefect_ecs_pinned.operations.migrate import Migration
    from prefect_ecs_pinned.operations.pools.move import Move


def migrate(
    block: str | None = typer.Argument(
        None,
        metavar="[ECS-TASK/NAME]",
        help="A saved ECSTask: ecs-task/NAME (Prefect 2).",
        show_default=False,
    ),
    pool: str | None = typer.Option(
        None, metavar="NAME", help="A work pool of type ecs (Prefect 3).", show_default=False
    ),
    deployments: bool = typer.Option(
        False, "--deployments", help="For a block: point the deployments on it at the new block."
    ),
    to: str | None = typer.Option(
        None,
        metavar="NAME",
        help="For a pool: name of the new pool. Default: NAME-pinned.",
        show_default=False,
    ),
    undo: bool = typer.Option(
        False, "--undo", help="For a pool: point the deployments back at the pool of type ecs."
    ),
    yes: bool = options.YES,
    dry_run: bool = typer.Option(False, "--dry-run", hidden=True, help="The default."),
    json: bool = options.JSON,
) -> None:
    """Create a pinned block or pool from an ECSTask or an ecs pool.

    The old block or pool stays, and settings with another meaning are listed. `ecs-task/NAME`
    becomes `pinned-ecs-task/NAME`. Pool NAME becomes a pool NAME-pinned, with its template and
    queues, and the deployments are pointed at it. An existing pinned block or pool is not changed,
    so you can repeat the command.
    """
    _check(pool, block=deployments, only_pool=bool(to or undo))
    if yes and dry_run:
        raise ConfigurationError(
            "cannot combine --yes and --dry-run", hint="a dry run is the default"
        )
    options.holder(block, pool)  # it is refused where it is the other major's
    if pool:
        from prefect_ecs_pinned.operations.pools.move import migrate as move_pool

        _report_pool(console.run(move_pool(pool, to, undo, yes)), pool, to, json)
        return
    from prefect_ecs_pinned.operations.migrate import migrate as move

    done = console.run(move(str(block), deployments, dry_run=not yes))
    if json:
        console.print_json(done)
    else:
        _show(done)
    _sum_up(done, str(block))


def _check(pool: str | None, block: bool, only_pool: bool) -> None:
    """Refuse options that go with the other.

    Raises:
        ConfigurationError: There are some.
    """
    if pool and block:
        raise ConfigurationError(
            "cannot use --deployments with --pool",
            "all deployments of a pool are moved",
            "leave it out",
        )
    if only_pool and not pool:
        raise ConfigurationError(
            "cannot use --to or --undo without --pool",
            "they are options for work pools",
            "for a block, use --deployments",
        )


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
        console.say(f"{done.target} exists, and is not changed.")
    if done.by_worker:
        console.warn("the work pool sets the block: edit the pool, or publish a new one")
    if done.dry_run:
        console.say_dry_run()
        more = " --deployments" if done.moved else ""
        console.suggest(f"pinned-ecs migrate {block}{more} --yes")
    elif done.waiting:
        console.suggest(f"pinned-ecs migrate {block} --deployments --yes")
    else:
        console.suggest(f"pinned-ecs plan {done.target} --all")


def _report_pool(done: Move, pool: str, to: str | None, json: bool) -> None:
    """What is made, what changes in meaning, which deployments move, and what comes next."""
    if json:
        console.print_json(done)
    else:
        _show_pool(done)
    words = f"--pool {pool}" + (f" --to {to}" if to else "")
    if done.unfinished:
        console.warn(
            f"{done.unfinished} flow runs stay in {done.source}, where they are scheduled or live: "
            "keep its worker until they have ended"
        )
    if done.moved and not done.undo:
        console.warn(
            f"prefect.yaml and scripts that name {done.source} move deployments back when they "
            f"deploy: name {done.target} there"
        )
    if not done.done:
        console.say_dry_run()
        undo = " --undo" if done.undo else ""
        console.suggest(f"pinned-ecs migrate {words}{undo} --yes")
    elif done.undo:
        console.suggest(f"prefect work-pool delete {done.source}  # once its runs have ended")
    else:
        console.suggest(f"prefect worker start --pool {done.target}")
        console.say(f"back again: pinned-ecs migrate {words} --undo", "dim")


def _show_pool(done: Move) -> None:
    would = "" if done.done else "would be "
    made = "exists, and its template is kept" if done.exists else f"{would}made"
    console.print_line(f"work pool {done.target}: {made}", "bold")
    for name in done.queues:
        console.print_line(f"queue {name}: {would}carried over")
    if done.changes:
        console.print_table(
            ("setting", "before", "after", "meaning"),
            [(c.field, c.before, c.after, c.meaning) for c in done.changes],
        )
    for name in done.moved:
        console.print_line(f"deployment {name}: {would}moved from {done.source}", "green")
    for name in done.there:
        console.print_line(f"deployment {name}: runs on {done.target} already")
