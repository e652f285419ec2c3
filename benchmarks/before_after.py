"""The picture of before and after, drawn from what ``make bench`` measured.

Usage: python -m benchmarks.before_after [build/bench/bench.json [docs/images/before-after.svg]]

Each dot is a flow run. The figures that were drawn are kept inside the picture (``metadata``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

#: Each pair of panels: its title, and the measurements before and after with the class's name.
PAIRS = (
    ("Prefect 3", ("ecsworker-200", "ECSWorker"), ("worker-200", "PinnedECSWorker")),
    (
        "Prefect 2 (the definition of ECSTask was registered before)",
        ("plain-200", "ECSTask"),
        ("pinned-200", "PinnedECSTask"),
    ),
)

#: Figures of a measurement that are drawn.
FIGURES = ("runs", "crashed", "registrations", "calls_per_run", "span_seconds", "peak_kb")

#: Users' units of the picture. It is shown at half of its width on a telephone.
_WIDTH, _PANEL, _GAP, _MARGIN = 700, 320, 20, 20
_STEP, _COLUMNS, _TOP, _PAIR = 15, 20, 52, 386

_OK, _BAD, _INK, _SOFT = "#2a9d6f", "#d1453b", "#1f2a33", "#5b6871"


def chosen(measured: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The figures that are drawn, of the measurements that are drawn."""
    names = [name for _, before, after in PAIRS for name, _ in (before, after)]
    return {name: {figure: measured[name][figure] for figure in FIGURES} for name in names}


def drawing(about: str, figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The picture, as SVG.

    Args:
        about: When and with what it was measured; one line.
        figures: What `chosen` returns.
    """
    height = _TOP + len(PAIRS) * _PAIR + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
        f' font-family="system-ui, sans-serif" fill="{_INK}">',
        "<title>200 flow runs started at the same time, before and after</title>",
        f"<metadata>{json.dumps({'about': about, 'figures': figures})}</metadata>",
        f'<rect width="{_WIDTH}" height="{height}" rx="12" fill="#f7f9fa"/>',
        _text(_MARGIN, 36, "200 flow runs, started at the same time", 24, bold=True),
    ]
    for row, (title, before, after) in enumerate(PAIRS):
        top = _TOP + row * _PAIR
        lines.append(_text(_MARGIN, top + 30, title, 18, _SOFT))
        for column, (name, called) in enumerate((before, after)):
            left = _MARGIN + column * (_PANEL + _GAP)
            lines.extend(_panel(left, top + 42, called, figures[name]))
    lines += [_text(_MARGIN, height - 14, about, 13, _SOFT), "</svg>"]
    return "\n".join(lines) + "\n"


def _panel(left: int, top: int, called: str, figures: Mapping[str, Any]) -> Iterator[str]:
    runs, crashed = figures["runs"], figures["crashed"]
    yield f'<rect x="{left}" y="{top}" width="{_PANEL}" height="326" rx="8" fill="#fff"/>'
    yield _text(left + 16, top + 30, called, 20, bold=True)
    for number in range(runs):
        x = left + 8 + _STEP // 2 + number % _COLUMNS * _STEP
        y = top + 54 + number // _COLUMNS * _STEP
        if number < runs - crashed:
            yield f'<circle cx="{x}" cy="{y}" r="6" fill="{_OK}"/>'
        else:
            yield f'<path d="M{x - 4} {y - 4}l8 8m0-8l-8 8" stroke="{_BAD}" stroke-width="3"/>'
    colour = _BAD if crashed else _OK
    yield _text(left + 16, top + 234, f"{crashed} of {runs} crashed", 24, colour, bold=True)
    number = figures["registrations"]
    said = (
        f"{number:,} registration call{'' if number == 1 else 's'}",
        f"{figures['calls_per_run']:.1f} API calls a run",
        f"{figures['peak_kb'] / 1024:,.0f} MB of memory",
    )
    for line, text in enumerate(said):
        yield _text(left + 16, top + 262 + 24 * line, text, 18)


def _text(x: int, y: int, text: str, size: int, fill: str = "", bold: bool = False) -> str:
    style = (f' fill="{fill}"' if fill else "") + (' font-weight="600"' if bold else "")
    return f'<text x="{x}" y="{y}" font-size="{size}"{style}>{text}</text>'


def main(source: str = "build/bench/bench.json", path: str = "docs/images/before-after.svg") -> int:
    """Draw the figures of a file."""
    bench = json.loads(Path(source).read_text())
    about = f"make bench, {bench['about']['at'][:10]}: an embedded ECS with AWS's documented quotas"
    Path(path).write_text(drawing(about, chosen(bench["measured"])))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
