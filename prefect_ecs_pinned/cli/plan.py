"""`pinned-ecs plan`: what would run, and whether that needs a registration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from prefect_ecs_pinned.cli import console, options

if TYPE_CHECKING:
    from prefect_ecs_pinned.operations.plan import Difference, Step


def plan(
    block: str | None = options.BLOCK,
    pool: str | None = options.POOL,
    deployment: str | None = options.DEPLOYMENT,
    every: bool = options.ALL,
    override: list[str] | None = options.OVERRIDE,
    exit_code: bool = typer.Option(
        False, "--exit-code", help="Exit with 2 when a revision would be registered."
    ),
    json: bool = options.JSON,
) -> None:
    """Show what a block or a pool would register, and why.

    Shows a readable difference between the newest and the needed revision, and the values that each
    launch sends without a revision. Nothing is changed.
    """
    from prefect_ecs_pinned.operations.plan import REGISTER
    from prefect_ecs_pinned.operations.plan import plan as make_plan

    options.check_one_of(deployment, every)
    holder = options.holder(block, pool)
    steps = console.run(make_plan(holder, deployment, every, options.overrides(override)))
    if json:
        console.print_json(steps)
    else:
        for step in steps:
            _show(step)
    needed = sum(step.action == REGISTER for step in steps)
    for step in steps:
        warn_of_open_image(step.image_unset, step.image)
        warn_of_added_container(step.used_by, step.added)
        warn_of_difference(step.revision or "", step.differs)
        if step.refused:
            console.warn(
                f"{', '.join(step.refused)}: registration is never, so launches are refused until "
                "the revision is pinned"
            )
    if needed:
        console.say(f"{needed} to register, {len(steps) - needed} in place")
        which = options.words(block, pool) + options.which(deployment, every, override)
        console.suggest(f"pinned-ecs pin {which}")
    else:
        console.say("Nothing to register.")
    if exit_code and needed:
        raise typer.Exit(console.WOULD_CHANGE)


def warn_of_difference(revision: str, differs: tuple[str, ...]) -> None:
    """Say that ECS describes members of a revision otherwise than they were asked for."""
    if differs:
        console.warn(f"{revision}: ECS describes {', '.join(differs)} differently from the request")


def warn_of_open_image(names: tuple[str, ...], image: str) -> None:
    """Report that an unset image follows the Prefect version that loads it."""
    if names:
        console.warn(
            f"{', '.join(names)}: image is not set, and means {image} here; another Prefect "
            "version needs another revision. Set image."
        )


def warn_of_added_container(names: tuple[str, ...], added: str) -> None:
    """Say that a definition had no container of the name of the one that runs flows."""
    from prefect_ecs_pinned.operations.containers import HINT

    if added:
        console.warn(f"{', '.join(names)}: {added}: {HINT}")


def _show(step: Step) -> None:
    from prefect_ecs_pinned.operations.plan import REGISTER, as_text, short

    console.print_line(", ".join(step.used_by), "bold")
    where = f"{step.family} in {step.region}"
    if step.action == REGISTER:
        console.print_line(f"  register a revision of {where}", "yellow")
        if step.against is None:
            console.print_line("  the family has no revision yet; the first one would have")
        else:
            console.print_line(f"  new in it, compared with {short(step.against)}")
        for change in step.changes:
            _show_change(change)
        if step.against is not None and not step.changes:
            console.print_line("    nothing that ECS describes")
    else:
        console.print_line(f"  {step.action}: {step.revision}", "green")
    for name, settings in step.per_run.items():
        whose = f" of {name}" if len(step.per_run) > 1 else ""
        console.print_line(f"  sent with each launch{whose}, without a revision")
        for setting, value in settings.items():
            console.print_line(f"    {setting}: {as_text(value)}")


def _show_change(change: Difference) -> None:
    from prefect_ecs_pinned.operations.plan import as_text

    if change.before is None:
        console.print_line(f"    + {change.path}: {as_text(change.after)}", "green")
    elif change.after is None:
        console.print_line(f"    - {change.path}: {as_text(change.before)}", "red")
    else:
        before, after = as_text(change.before), as_text(change.after)
        console.print_line(f"    ~ {change.path}: {before} -> {after}", "yellow")
