"""Tables and the plot of what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.goals import Goal, Measured

#: Name -> colour of the two classes in the plot.
_COLOURS = {"pinned": "#2457a8", "plain": "#c0392b"}
_CALLED = {"pinned": "PinnedECSTask", "plain": "ECSTask"}

#: Panels of the plot: figure -> title.
_PANELS = {
    "calls_per_run": "API calls per run",
    "cpu_ms_per_run": "CPU per run, ms",
    "memory_kb_per_run": "memory per run, KB",
    "threads": "threads",
}

_PANEL_WIDTH, _HEIGHT, _MARGIN = 230, 260, 46


def rows(goals: Sequence[Goal], measured: Measured) -> Iterator[tuple[str, str, str, str]]:
    """Lines of the table of goals: what, goal, figure, PASS or FAIL."""
    for goal in goals:
        for number, check in enumerate(goal.checks(measured)):
            what = "" if number else goal.words
            yield what, check.goal, check.figure, "PASS" if check.met else "FAIL"


def costs(measured: Measured) -> Iterator[tuple[str, ...]]:
    """Lines of the table of costs, one a measurement that runs something."""
    yield (
        "measurement", "runs", "crashed", "calls/run", "throttled", "registered",
        "span / floor s", "CPU s", "peak MB", "CPU ms/run", "KB/run", "threads",
    )  # fmt: skip
    for name, figures in measured.items():
        if "calls_per_run" in figures:
            yield (
                name,
                f"{figures['runs']:,}",
                f"{figures['crashed']}",
                f"{figures['calls_per_run']:.3f}",
                f"{figures['throttled']}",
                f"{figures['registrations']}",
                f"{figures['span_seconds']:.1f} / {max(0.0, figures['floor_seconds']):.1f}",
                f"{figures['cpu_seconds']:.2f}",
                f"{figures['peak_kb'] / 1024:.0f}",
                f"{figures['cpu_ms_per_run']:.2f}" if "cpu_ms_per_run" in figures else "",
                f"{figures['memory_kb_per_run']:.1f}" if "memory_kb_per_run" in figures else "",
                f"{figures['threads']}",
            )


def end_to_end(measured: Measured) -> Iterator[tuple[str, ...]]:
    """Lines of the table of runs that were queued on a real server."""
    yield (
        "measurement", "runs", "lost", "first s", "last s", "CPU s", "peak MB", "threads",
        "server CPU s", "ECS CPU s", "locked", "others' cores",
    )  # fmt: skip
    for name, figures in measured.items():
        if "end_seconds" in figures:
            yield (
                name,
                f"{figures['runs']:,}",
                f"{figures['lost']}",
                f"{figures['first_seconds']:.1f}",
                f"{figures['end_seconds']:.1f}",
                f"{figures['cpu_seconds']:.1f}",
                f"{figures['peak_kb'] / 1024:.0f}",
                f"{figures['threads']}",
                f"{figures['server_cpu_seconds']:.1f}",
                f"{figures['ecs_cpu_seconds']:.1f}",
                f"{figures['locked']}",
                f"{figures['others_cores']:.2f}",
            )


def calls(measured: Measured) -> Iterator[tuple[str, str]]:
    """Lines of the table of calls by action."""
    yield "measurement", "calls"
    for name, figures in measured.items():
        if "calls" not in figures:
            continue
        counted = ", ".join(f"{action} {n}" for action, n in figures.get("calls", {}).items())
        yield name, f"{counted} (throttled {figures['throttled']}, refused {figures['refused']})"


def table(lines: Sequence[Sequence[str]]) -> str:
    """Lines as Markdown, columns aligned; the first is the head."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def plot(measured: Measured) -> str:
    """Cost against N for both classes, as SVG; both axes are logarithmic."""
    panels = []
    for number, (figure, title) in enumerate(_PANELS.items()):
        lines = {kind: _points(measured, kind, figure) for kind in _CALLED}
        panels.append(_panel(number * _PANEL_WIDTH, title, lines))
    width = _PANEL_WIDTH * len(_PANELS)
    legend = "".join(
        f'<text x="{_MARGIN + 130 * n}" y="{_HEIGHT - 6}" fill="{_COLOURS[kind]}">{called}</text>'
        for n, (kind, called) in enumerate(_CALLED.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT}" '
        f'font-family="sans-serif" font-size="11"><rect width="{width}" height="{_HEIGHT}" '
        f'fill="white"/>{"".join(panels)}{legend}</svg>\n'
    )


def _points(measured: Measured, kind: str, figure: str) -> list[tuple[float, float]]:
    """(N, figure) of one class, by N."""
    found: list[tuple[float, float]] = []
    for runs in (50, 200, 1000):
        figures: Mapping[str, Any] | None = measured.get(f"{kind}-{runs}")
        if figures is not None and figures.get(figure, 0) > 0:
            found.append((runs, figures[figure]))
    return found


def _panel(left: int, title: str, lines: Mapping[str, list[tuple[float, float]]]) -> str:
    values = [value for points in lines.values() for _, value in points] or [1.0]
    low = 10 ** math.floor(math.log10(min(values)))
    high = 10 ** math.ceil(math.log10(max(values) * 1.01))
    x0, x1, y0, y1 = left + _MARGIN, left + _PANEL_WIDTH - 16, _HEIGHT - 52, 30

    def x(runs: float) -> float:
        return x0 + (x1 - x0) * math.log(runs / 40) / math.log(1200 / 40)

    def y(value: float) -> float:
        return y0 + (y1 - y0) * math.log(value / low) / math.log(high / low)

    parts = [
        f'<text x="{x0}" y="18" font-weight="bold">{title}</text>',
        f'<path d="M{x0} {y1}V{y0}H{x1}" fill="none" stroke="#888"/>',
    ]
    parts += [
        f'<text x="{x(runs):.0f}" y="{y0 + 15}" text-anchor="middle">{runs:,}</text>'
        for runs in (50, 200, 1000)
    ]
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        at = y(10.0**power)
        parts.append(
            f'<text x="{x0 - 5}" y="{at + 4:.0f}" text-anchor="end">{10.0**power:g}</text>'
        )
        parts.append(f'<path d="M{x0} {at:.0f}H{x1}" stroke="#ddd"/>')
    for kind, points in lines.items():
        where = [(x(runs), y(value)) for runs, value in points]
        path = " ".join(f"{px:.0f},{py:.0f}" for px, py in where)
        colour = _COLOURS[kind]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{px:.0f}" cy="{py:.0f}" r="3" fill="{colour}"/>' for px, py in where
        ]
    return "".join(parts)
