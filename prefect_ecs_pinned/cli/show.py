"""`pinned-ecs show`: the revisions in use, and what is live."""

from __future__ import annotations

from datetime import datetime

from prefect_ecs_pinned.cli import console, options
from prefect_ecs_pinned.majors import prefect_major


def show(
    block: str | None = options.BLOCK_OR_ALL,
    pool: str | None = options.POOL,
    json: bool = options.JSON,
) -> None:
    """Show which revisions are in use.

    For each family: the revisions that blocks, pools and deployments run from, when and by whom
    each was registered, the number of revisions, and the live tasks.
    """
    from prefect_ecs_pinned.operations.plan import short
    from prefect_ecs_pinned.operations.show import show as look

    families = console.run(look(options.holder_or_all(block, pool)))
    if json:
        console.print_json(families)
        return
    if not families:
        _say_nothing_is_there()
    for family in families:
        newest = f", newest {short(family.newest)}" if family.newest else ""
        active = "1 revision" if family.active == 1 else f"{family.active} revisions"
        console.print_line(f"{family.family} in {family.region}: {active}{newest}", "bold")
        for used in family.in_use:
            console.print_line(f"  {', '.join(used.used_by)}")
            rows = [
                ("revision", used.revision or "none: the next launch registers it"),
                ("fingerprint", used.fingerprint),
                ("image", used.image),
            ]
            if used.registered_at is not None:
                rows.append(("registered", f"{_time(used.registered_at)} by {used.registered_by}"))
            for name, value in rows:
                console.print_line(f"    {name:<12} {value}")
        total = sum(family.live.values())
        console.print_line(f"  live tasks: {total}")
        for arn, number in sorted(family.live.items()):
            console.print_line(f"    {short(arn):<24} {number}")
    if any(used.revision is None for family in families for used in family.in_use):
        console.suggest(f"pinned-ecs plan {options.words(block, pool) or 'BLOCK'} --all")


def _say_nothing_is_there() -> None:
    from prefect_ecs_pinned.operations.saved import prefect_server

    if prefect_major() == 2:
        console.say(f"There are no blocks of type pinned-ecs-task on {prefect_server()}.")
        console.suggest("pinned-ecs migrate ecs-task/NAME")
    else:
        console.say(f"There are no work pools of type pinned-ecs on {prefect_server()}.")
        console.suggest("prefect work-pool create NAME --type pinned-ecs")


def _time(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="seconds")
