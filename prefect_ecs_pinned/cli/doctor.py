"""`pinned-ecs doctor`: what would keep flow runs from running."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import typer

from prefect_ecs_pinned.cli import console, options

if TYPE_CHECKING:
    from prefect_ecs_pinned.operations.doctor import Finding

#: How many blocks and deployments are named in a line.
_NAMED = 3

#: Worst first.
_STYLES = {"FAIL": "red", "WARN": "yellow", "SKIP": "dim", "OK": "green"}


def doctor(
    block: str | None = options.BLOCK_OR_ALL,
    pool: str | None = options.POOL,
    json: bool = options.JSON,
) -> None:
    """Find problems that would stop flow runs.

    Checks the saved block or the work pool, the overrides or job variables of each deployment,
    queues, workers, and their resources in AWS. Prints OK, WARN, FAIL or SKIP for each check.
    Nothing is changed. Exits with 1 if a check fails.
    """
    from prefect_ecs_pinned.operations.doctor import doctor as examine

    findings = console.run(examine(options.holder_or_all(block, pool)))
    counts = Counter(finding.status.value for finding in findings)
    if json:
        console.print_json(findings)
    else:
        for finding in sorted(findings, key=lambda f: list(_STYLES).index(f.status.value)):
            _show(finding)
    console.say(", ".join(f"{counts[status]} {status}" for status in _STYLES if counts[status]))
    if counts["FAIL"]:
        raise typer.Exit(console.FAILED)


def _show(finding: Finding) -> None:
    """A line of data, and one for the hint."""
    status = finding.status.value
    names = ", ".join(finding.subjects[:_NAMED])
    if len(finding.subjects) > _NAMED:
        names += f" and {len(finding.subjects) - _NAMED} more"
    line = f"{status:<5} {finding.check}: {finding.detail}  [{names}]"
    console.print_line(line, _STYLES[status])
    if finding.hint and status != "OK":
        console.print_line(f"      hint: {finding.hint}")
