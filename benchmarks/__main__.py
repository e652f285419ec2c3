"""``python -m benchmarks [--only NAME …] [--out DIRECTORY]``: measure, print, write.

A name is one of a goal (a row of the table) or of a measurement. Without names everything is
measured, one after the other, in about an hour. The exit code is 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.goals import GOALS
from benchmarks.measurements import MEASUREMENTS, per_run


def main() -> int:
    names = [goal.name for goal in GOALS] + list(MEASUREMENTS)
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="for JSON and plot")
    arguments = parser.parse_args()
    chosen = arguments.only or names
    needed = {name for goal in GOALS if goal.name in chosen for name in goal.needs}
    needed |= set(chosen) & set(MEASUREMENTS)
    measured: dict[str, dict[str, Any]] = {}
    for name in [name for name in MEASUREMENTS if name in needed]:
        print(f"… {MEASUREMENTS[name].words}", flush=True)
        measured[name] = MEASUREMENTS[name].measure()
        if measured[name].get("reasons"):
            print(f"  crashed: {measured[name]['reasons']}", flush=True)
    per_run(measured)
    goals = [goal for goal in GOALS if measured.keys() >= set(goal.needs)]
    rows = list(report.rows(goals, measured))
    print("\n" + report.table([("", "goal", "measured", ""), *rows]))
    for lines in (report.costs, report.end_to_end, report.calls):
        if len(rest := list(lines(measured))) > 1:
            print("\n" + report.table(rest))
    _write(arguments.out, rows, measured)
    return int(any(row[-1] == "FAIL" for row in rows))


def _write(out: Path, rows: list[tuple[str, ...]], measured: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    about = {
        "at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "packages": {name: version(name) for name in ("prefect", "prefect-aws", "boto3")},
    }
    content = {"about": about, "goals": rows, "measured": measured}
    (out / "bench.json").write_text(json.dumps(content, indent=2) + "\n")
    (out / "bench.svg").write_text(report.plot(measured))
    print(f"\n{out}/bench.json, {out}/bench.svg")


if __name__ == "__main__":
    raise SystemExit(main())
