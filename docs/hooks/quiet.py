"""MkDocs hook: `mkdocs build` prints warnings and errors only, and the way to the site.

It is the first in the list: the others import Prefect, which warns of its own code.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

if "build" in sys.argv:
    for handler in logging.getLogger("mkdocs").handlers:
        # Not the handler that counts warnings, for --strict.
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.WARNING)


def on_post_build(config: Any) -> None:
    """Say where it is."""
    print(Path(config.site_dir) / "index.html")
