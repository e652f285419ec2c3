"""MkDocs hook: a page loads nothing from other hosts.

The theme does so twice. It draws diagrams with Mermaid, from a content delivery network. Here the
site has its own copy: it comes out of a distribution on PyPI, and is the one that npm has; of any
other digest the build fails. Pages without a diagram do not load it, since it is large. And the
link to the repository asks GitHub for its stars and releases; here it is only a link.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.utils import get_relative_url

#: Where it is found: a distribution of the group ``docs``, and the file in it.
DISTRIBUTION = "mermaidx"
FILE = "mermaidx/assets/mermaid.js"

#: ``dist/mermaid.min.js`` of https://registry.npmjs.org/mermaid/-/mermaid-11.16.0.tgz
SHA_256 = "74d7c46dabca328c2294733910a8aa1ed0c37451776e8d5295da38a2b758fb9b"

#: Where it is in the site.
URL = "javascripts/mermaid.min.js"

#: How a page has a diagram, as `mkdocs.yml` has superfences write it.
_DIAGRAM = '<pre class="mermaid">'

#: What makes the theme's script ask GitHub (`partials/source.html` of mkdocs-material).
_ASKS = ' data-md-component="source"'


def script() -> bytes:
    """Mermaid.

    Raises:
        PluginError: It is not installed, or is not the known one.
    """
    try:
        path = Path(str(distribution(DISTRIBUTION).locate_file(FILE)))
        content = path.read_bytes()
    except (PackageNotFoundError, OSError) as error:
        raise PluginError(
            f"{DISTRIBUTION} is missing: pip install --group docs ({error})"
        ) from error
    if hashlib.sha256(content).hexdigest() != SHA_256:
        raise PluginError(f"{FILE} of {DISTRIBUTION} is not the Mermaid of docs/hooks/own_host.py")
    return content


def on_files(files: Files, config: Any) -> Files:
    """Add it to the site."""
    files.append(File.generated(config, URL, content=script()))
    return files


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Load Mermaid where there is a diagram, before the theme's script looks for it."""
    output = output.replace(_ASKS, "")
    if _DIAGRAM not in output:
        return output
    source = get_relative_url(URL, page.url)
    return output.replace("</head>", f'<script src="{source}"></script></head>', 1)
