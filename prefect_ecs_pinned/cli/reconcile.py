"""`pinned-ecs reconcile`: end flow runs whose task is gone, stop tasks whose flow run has ended."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

import typer

from prefect_ecs_pinned.cli import console, options
from prefect_ecs_pinned.errors import PinnedECSError

if TYPE_CHECKING:
    from prefect_ecs_pinned.operations.reconcile import Finding, Outcome, Survey
    from prefect_ecs_pinned.operations.sources import Holder

#: What is done -> how it is reported, before and afterwards.
_WORDS = {"crash": "crashed", "cancel": "cancelled", "stop": "stopped"}


def reconcile(
    block: str | None = options.BLOCK_OR_ALL,
    pool: str | None = options.POOL,
    never_launched_after: str = typer.Option(
        "25h",
        metavar="AGE",
        help="How long a run without a task may wait for its launch: 25h, 45m. Must be longer "
        "than launch_timeout_seconds, and than runs wait for capacity.",
    ),
    api_url: list[str] = typer.Option(
        [],
        "--api-url",
        metavar="URL",
        help="Another URL of this Prefect API that its tasks use. Repeatable.",
    ),
    yes: bool = options.YES,
    json: bool = options.JSON,
) -> None:
    """End flow runs without a task, and tasks without a flow run.

    Pending, Running or Cancelling flow runs become Crashed or Cancelled, with the reason, if their
    task has stopped, vanished or never existed. A task is stopped if its flow run has been final
    for more than 60 s. Only tasks in the accounts and Regions of saved blocks or pools are checked.
    After a failed look-up, nothing there is changed. With BLOCK or --pool, only flow runs of the
    deployments on it are checked.

    If the Prefect server may be a copy of another, it does nothing, prints the reason, and exits
    with exit code 1. For example, a task was created after its flow run had ended there.
    """
    from prefect_ecs_pinned.operations.prune import duration
    from prefect_ecs_pinned.operations.reconcile import Limits

    holder = options.holder_or_all(block, pool)
    limits = Limits(never_launched=duration(never_launched_after))
    found, outcomes = console.run(_reconcile(holder, limits, api_url, yes))
    if json:
        console.print_json(_as_data(found, outcomes))
    else:
        _show(found, outcomes)
    _sum_up(found, outcomes, yes)
    if found.todo and not yes:
        words = ["--pool", pool] if pool else [block] if block else []
        if never_launched_after != "25h":
            words += ["--never-launched-after", never_launched_after]
        words += [word for url in api_url for word in ("--api-url", url)]
        console.suggest(f"pinned-ecs reconcile {shlex.join([*words, '--yes'])}")
    _fail(found, outcomes)


async def _reconcile(
    holder: Holder | None, limits: Any, api_urls: list[str], yes: bool
) -> tuple[Survey, tuple[Outcome, ...]]:
    from prefect_ecs_pinned.operations.reconcile import carry_out, survey

    found = await survey(holder, limits, api_urls=api_urls)
    return found, await carry_out(found) if yes else ()


def _show(found: Survey, outcomes: tuple[Outcome, ...]) -> None:
    """A line for each flow run or task on which there is, or was, something to be done."""
    fates = {id(outcome.finding): _fate(outcome) for outcome in outcomes}
    rows = []
    for finding in found.todo:
        fate, why = fates.get(id(finding), (finding.action.value, finding.reason))
        rows.append((finding.flow_run_id, finding.flow_run, finding.state, fate, _one_line(why)))
    if rows:
        console.print_table(("flow run", "name", "state", "fate", "why"), rows)


def _fate(outcome: Outcome) -> tuple[str, str]:
    if outcome.done:
        return _WORDS[outcome.finding.action.value], outcome.finding.reason
    return ("failed", outcome.failure) if outcome.failure else ("left", outcome.spared)


def _one_line(text: str) -> str:
    return text.replace("\nhint: ", " (hint: ") + (")" if "\nhint: " in text else "")


def _as_data(found: Survey, outcomes: tuple[Outcome, ...]) -> dict[str, Any]:
    fates = {id(outcome.finding): outcome for outcome in outcomes}
    return {
        "flow_runs": [_finding(f, fates.get(id(f))) for f in found.findings],
        "problems": [_error(problem) for problem in found.problems],
        "doubts": [_error(doubt) for doubt in found.doubts],
    }


def _error(error: PinnedECSError) -> dict[str, str]:
    return {"what": error.what, "why": error.why, "hint": error.hint}


def _finding(finding: Finding, outcome: Outcome | None) -> dict[str, Any]:
    return {
        "flow_run_id": finding.flow_run_id,
        "flow_run": finding.flow_run,
        "state": finding.state,
        "since": finding.since,
        "task": finding.task,
        "action": finding.action,
        "reason": finding.reason,
        "done": bool(outcome is not None and outcome.done),
        "spared": outcome.spared if outcome is not None else "",
        "failure": outcome.failure if outcome is not None else "",
    }


def _sum_up(found: Survey, outcomes: tuple[Outcome, ...], yes: bool) -> None:
    if not yes:
        counts = Counter(finding.action.value for finding in found.findings)
        would = ", ".join(f"{counts[a]} to {a}" for a in _WORDS if counts[a]) or "nothing to do"
        console.say(f"{would}, {counts['leave']} unchanged.")
        _say_why_left(found)
        console.say_dry_run()
        return
    counts = Counter(_fate(outcome)[0] for outcome in outcomes)
    did = ", ".join(f"{counts[a]} {a}" for a in _WORDS.values() if counts[a]) or "nothing to do"
    left = len(found.findings) - sum(outcome.done for outcome in outcomes)
    console.say(f"{did}, {left} unchanged.")
    _say_why_left(found)


def _say_why_left(found: Survey) -> None:
    """How many were left alone for what; a healthy task is not counted."""
    reasons = Counter(
        finding.reason.partition(" (")[0]
        for finding in found.findings
        if finding.action.value == "leave" and finding.reason != "its task is live"
    )
    for reason, count in sorted(reasons.items()):
        console.say(f"  {count} left: {reason}", "dim")


def _fail(found: Survey, outcomes: tuple[Outcome, ...]) -> None:
    failures = [outcome.failure for outcome in outcomes if outcome.failure]
    if failures:
        raise PinnedECSError(
            f"cannot reconcile {len(failures)} of {len(outcomes)}",
            "; ".join(sorted(set(failures))),
            "repeat the command",
        )
    if found.doubts:
        first = found.doubts[0]
        raise PinnedECSError(first.what, f"{first.why}{_more(found.doubts)}", first.hint)
    if found.problems:
        first, more = found.problems[0], _more(found.problems)
        raise PinnedECSError(
            "cannot judge every flow run", f"{first.what}: {first.why}{more}", first.hint
        )


def _more(errors: tuple[PinnedECSError, ...]) -> str:
    return f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
