"""What every command writes: data on stdout, messages on stderr, one message and a hint on failure.

Consoles are made when something is printed, so that they follow ``NO_COLOR``, ``FORCE_COLOR`` and
redirections of the moment (https://no-color.org). Data that is not for a terminal is neither
wrapped nor coloured.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from typing import Any, Literal, TypeVar

from rich.console import Console
from rich.text import Text

from prefect_ecs_pinned.activity import waiting_for
from prefect_ecs_pinned.errors import PinnedECSError

T = TypeVar("T")

#: Exit codes of every command. Wrong usage is a failure like any other: 2 is kept for what
#: `plan --exit-code` has to say.
OK, FAILED, WOULD_CHANGE, INTERRUPTED = 0, 1, 2, 130

#: Columns of what is not a terminal: wide enough never to wrap.
_UNBOUNDED = 10_000


def out() -> Console:
    """Where data goes."""
    return _console(stderr=False)


def err() -> Console:
    """Where messages go: progress, warnings, what to do next."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _UNBOUNDED
    # rich keeps bold and dim with NO_COLOR; without a colour system it writes no escape at all.
    colours: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
    return Console(
        stderr=stderr,
        width=width,
        color_system=colours,
        highlight=False,
        markup=False,
        emoji=False,
    )


#: When something was printed last (`time.monotonic`); infinity while a command reports its
#: progress by itself. Written by the command's thread, read by that of `waiting`.
_spoke_at = 0.0


def spoke() -> None:
    """Something has been printed just now."""
    global _spoke_at
    _spoke_at = max(_spoke_at, time.monotonic())


def silent_seconds() -> float:
    """Seconds since something was printed; negative for a command that reports by itself."""
    return time.monotonic() - _spoke_at


@contextmanager
def reporting() -> Iterator[None]:
    """The command shows its progress by itself until the block ends."""
    global _spoke_at
    _spoke_at = float("inf")
    try:
        yield
    finally:
        _spoke_at = time.monotonic()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Carry out an operation."""
    with waiting_for("Prefect and AWS"):
        return asyncio.run(work)


def print_json(data: Any) -> None:
    """Print data as JSON; dataclasses by their fields, enums by value, times in ISO 8601."""
    print(json.dumps(data, indent=2, default=_plain), flush=True)
    spoke()


def print_line(text: str, style: str = "") -> None:
    """Print one line of data."""
    out().print(Text(text, style=style), soft_wrap=True)
    spoke()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows of data under their headings, in aligned columns.

    A table that a terminal is too narrow for is folded: one cell a line, with its heading. Cells
    are never cut.
    """
    lines = [["" if cell is None else str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if sum(widths) + 2 * len(widths) - 2 > out().width:
        for line in lines[1:]:
            _print_folded(columns, line)
        return
    for number, line in enumerate(lines):
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        print_line("  ".join(cells).rstrip(), "" if number else "bold")


def _print_folded(columns: Sequence[str], cells: Sequence[str]) -> None:
    for number, (heading, cell) in enumerate(zip(columns, cells, strict=True)):
        if cell:
            print_line(f"{'  ' if number else ''}{heading}: {cell}", "" if number else "bold")


def say(text: str, style: str = "") -> None:
    """Say something about what is in progress."""
    err().print(Text(text, style=style), soft_wrap=True)
    spoke()


def say_dry_run() -> None:
    """Say that nothing was changed, in the words of every command that can change something."""
    say("Dry run: nothing was changed. Apply the changes with --yes.")


def warn(text: str) -> None:
    """Say what may surprise."""
    say(f"warning: {text}", "yellow")


def suggest(command: str) -> None:
    """Say which command comes next."""
    say(f"next: {command}", "dim")


def fail(error: BaseException, link: bool = True) -> None:
    """Say what could not be done; of an error of this package also what helps, and its page.

    Args:
        error: What was raised.
        link: Whether to name the page; a wrong option is explained by ``--help``.
    """
    if not isinstance(error, PinnedECSError):
        say(f"error: {type(error).__name__}: {error}", "red")
        return
    say(f"error: {error.text}", "red")
    if error.hint:
        say(f"hint: {error.hint}")
    if link:
        say(f"see: {error.page}", "dim")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.repr}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)
