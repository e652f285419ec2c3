"""`pinned-ecs prune`: deregister old revisions that nobody needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from prefect_ecs_pinned.cli import console, options
from prefect_ecs_pinned.errors import PinnedECSError

if TYPE_CHECKING:
    from prefect_ecs_pinned.operations.prune import Pruned, Rules, Survey
    from prefect_ecs_pinned.operations.sources import Holder


def prune(
    block: str | None = options.BLOCK,
    pool: str | None = options.POOL,
    keep: int = typer.Option(..., min=1, help="Number of newest revisions that are always kept."),
    min_age: str = typer.Option(
        "30d", help="Keep revisions younger than this: 30d, 12h, 45m or 10s."
    ),
    delete: bool = typer.Option(
        False, "--delete", help="Also delete deregistered revisions, permanently."
    ),
    keep_referenced: list[str] = typer.Option(
        [],
        "--keep-referenced",
        metavar="REVISION",
        help="Keep a revision that is used elsewhere: an ARN, family:revision, or a family for "
        "all its revisions. Repeatable.",
    ),
    yes: bool = options.YES,
    json: bool = options.JSON,
) -> None:
    """Deregister old revisions of the family of a block or a pool.

    It keeps every revision that a block, pool or deployment of this Prefect server, a live task or
    an ECS service uses. It also keeps every revision younger than --min-age, because other Prefect
    servers may share the family. It can't check EventBridge rules and schedules, Step Functions,
    other Prefect servers, other accounts and scripts. To keep the revisions that these use, name
    them with --keep-referenced, or give them the tag pinned-ecs:keep. It stays below AWS's quota of
    20 calls and 1 a second more. You can interrupt and repeat it.
    """
    from prefect_ecs_pinned.operations.prune import UNSEEN, Reference, Rules, duration

    referenced = tuple(map(Reference.parse, keep_referenced))
    rules = Rules(keep, duration(min_age), delete, referenced)
    results = console.run(_prune(options.holder(block, pool), rules, yes))
    if json:
        console.print_json(
            [{"survey": survey, "pruned": pruned, "unseen": UNSEEN} for survey, pruned in results]
        )
    else:
        for survey, pruned in results:
            _show(survey, pruned)
    for survey, pruned in results:
        _sum_up(survey, pruned)
    _say_unseen()
    if not yes:
        console.say_dry_run()
    if not yes and any(survey.doomed for survey, _ in results):
        more = "" if min_age == "30d" else f" --min-age {min_age}"
        more += " --delete" if delete else ""
        more += "".join(f" --keep-referenced {reference.text}" for reference in referenced)
        which = options.words(block, pool)
        console.suggest(f"pinned-ecs prune {which} --keep {keep}{more} --yes")
    if failed := {arn: why for _, p in results if p is not None for arn, why in p.failures.items()}:
        raise PinnedECSError(
            f"cannot delete {len(failed)} of the revisions",
            "; ".join(f"{arn}: {why}" for arn, why in sorted(failed.items())),
            "repeat the command later",
        )


async def _prune(holder: Holder, rules: Rules, yes: bool) -> list[tuple[Survey, Pruned | None]]:
    from prefect_ecs_pinned.operations.prune import prunings

    results: list[tuple[Survey, Pruned | None]] = []
    with _progress() as progress:
        for pruning in await prunings(holder, rules):
            survey = await pruning.survey(progress)
            pruned = await pruning.carry_out(survey, progress) if yes else None
            results.append((survey, pruned))
    return results


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr for each thing that is being done."""
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    err = console.err()
    shown = console.reporting() if err.is_terminal else nullcontext()
    with shown, Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        known: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in known:
                known[what] = bars.add_task(what, total=total)
            bars.update(known[what], completed=done, total=total)

        yield progress


def _show(survey: Survey, pruned: Pruned | None) -> None:
    """A line for each revision: the ARN, and what becomes of it."""
    rows = []
    for verdict in survey.verdicts:
        if pruned is not None:
            fate, why = pruned.fate(verdict)
        elif verdict.kept:
            fate, why = "keep", verdict.kept
        else:
            fate, why = "deregister" if verdict.active else "delete", ""
        rows.append((verdict.arn, fate, why))
    console.print_table(("revision", "fate", "why"), rows)


def _say_unseen() -> None:
    """What may use a revision anyway, and what to do about it."""
    from prefect_ecs_pinned.operations.prune import KEEP_TAG, UNSEEN

    console.say(f"Not checked: {'; '.join(UNSEEN)}.", "dim")
    console.say(
        f"To keep a revision that one of them uses: --keep-referenced, or the tag {KEEP_TAG}.",
        "dim",
    )


def _sum_up(survey: Survey, pruned: Pruned | None) -> None:
    kept = len(survey.verdicts) - len(survey.doomed)
    where = f"{survey.family} in {survey.region}"
    if pruned is None:
        fate = "deregister or delete" if any(not v.active for v in survey.doomed) else "deregister"
        console.say(f"{where}: {len(survey.doomed)} to {fate}, {kept} to keep.")
        return
    deleted = f", {len(pruned.deleted)} deleted" if pruned.deleted else ""
    console.say(
        f"{where}: {len(pruned.deregistered)} deregistered{deleted}, "
        f"{kept + len(pruned.spared)} kept."
    )
