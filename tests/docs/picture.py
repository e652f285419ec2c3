"""Run a command and make a picture of what it prints.

Usage: python -m tests.docs.picture PICTURE.svg TITLE COMMAND ...
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

#: Columns of the picture.
WIDTH = 100


def main(path: str, title: str, *command: str) -> int:
    """Make the picture; the command's exit code."""
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text(f"$ {title}", style="bold"))
    for line in ran.stdout.rstrip().splitlines():
        style = "dim" if line.startswith("$ ") else ""
        console.print(Text(line.rstrip(), style=style), soft_wrap=False)
    console.save_svg(path, title=title)
    # No request to another host when the picture is shown.
    text = Path(path).read_text()
    while "@font-face" in text:
        start = text.index("@font-face")
        text = text[:start] + text[text.index("}", start) + 1 :]
    Path(path).write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
