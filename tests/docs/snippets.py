"""Code blocks of the documentation: what they are, and what a comment above them says.

A comment in the line above a block says how it is run:

- ``<!-- not run: REASON -->``: it isn't.
- ``<!-- run instead: COMMAND -->``: another command is, one that does the same in less time.
- ``<!-- in the background -->``: it is left running to the end of the page; with
  ``, until: COMMAND`` the page goes on as soon as that command succeeds.
- ``<!-- until: COMMAND -->``: it is run once that command succeeds.

A block with ``title="NAME"`` is a file. Any other comment there makes the test fail.

A comment on a line of its own says whose the blocks below it are, to the next such comment:
``<!-- from here: Prefect 3 -->``. A page begins with Prefect 2's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

#: Languages that are run, or parsed.
RUN = ("bash", "sh", "python")
PARSED = ("yaml", "json")

#: Languages that are neither: output, pictures, and source that is checked elsewhere.
SHOWN = ("text", "mermaid", "diff", "hcl")

#: Mark of a comment that is not understood.
UNKNOWN = "unknown"

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)$")
_MARK = re.compile(
    r"<!-- *(not run|run instead|in the background|until)(?:(?:, until)?: *(.*?))? *-->"
)
_FROM_HERE = re.compile(r"<!-- from here: Prefect (?P<major>[23]) -->")
#: What `docs/hooks/imports.py` writes between.
_DRAWING = re.compile(r"<!-- drawing: .* -->")
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Snippet:
    """One code block.

    Attributes:
        page: The file that it stands in.
        line: Of its first fence, from 1.
        language: As its fence says.
        text: Its lines.
        title: Name of the file that it is; empty for none.
        mark: ``not run``, ``run instead``, ``in the background``, ``until``; `UNKNOWN` for a
            comment that says nothing of these; empty without a comment.
        argument: What stands behind the mark.
        major: Of Prefect.
    """

    page: Path
    line: int
    language: str
    text: str
    title: str = ""
    mark: str = ""
    argument: str = ""
    major: int = 2

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


def snippets(page: Path) -> Iterator[Snippet]:
    """All code blocks of a page, from the top down."""
    lines = page.read_text().splitlines()
    number, major = 0, 2
    while number < len(lines):
        if section := _FROM_HERE.fullmatch(lines[number].strip()):
            major = int(section["major"])
        elif fence := _FENCE.match(lines[number]):
            end = number + 1
            while lines[end].strip() != "```":
                end += 1
            yield replace(_snippet(page, lines, number, end, fence), major=major)
            number = end
        number += 1


def _snippet(page: Path, lines: list[str], start: int, end: int, fence: re.Match[str]) -> Snippet:
    indent, info = len(fence["indent"]), fence["info"].strip()
    above = next((line for line in reversed(lines[:start]) if line.strip()), "")
    commented = above.strip().startswith("<!--") and not any(
        other.fullmatch(above.strip()) for other in (_FROM_HERE, _DRAWING)
    )
    mark = _MARK.fullmatch(above.strip()) if commented else None
    title = _TITLE.search(info)
    return Snippet(
        page=page,
        line=start + 1,
        language=info.split()[0] if info else "",
        text="\n".join(line[indent:] for line in lines[start + 1 : end]) + "\n",
        title=title[1] if title else "",
        mark=mark[1] if mark else UNKNOWN if commented else "",
        argument=(mark[2] or "") if mark else "",
    )
