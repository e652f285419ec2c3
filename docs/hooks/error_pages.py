"""MkDocs hook: what the pages of errors take from the code.

The tree of the classes, AWS's words with their hints, and for each class its link and its
attributes. Causes and cures are written by hand, in ``docs/errors/``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from prefect_ecs_pinned import errors
from prefect_ecs_pinned.core import task_hints

FOLDER = "errors/"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what is generated."""
    path = page.file.src_uri
    return filled(markdown, path) if path.startswith(FOLDER) else markdown


def filled(markdown: str, path: str) -> str:
    """The text of a page, with what is generated.

    Args:
        markdown: As it is written.
        path: Of the page, from ``docs`` on.
    """
    markdown = markdown.replace("```text\n", "```{ .text .wrap }\n")  # messages, written by hand
    for mark, write in (("error tree", tree), ("task hints", hints)):
        markdown = markdown.replace(f"<!-- generated: {mark} -->", "\n".join(write()))
    name = path.removeprefix(FOLDER).removesuffix(".md")
    if name not in classes():
        return markdown
    return "\n".join([markdown, *_in_python(classes()[name])])


def classes() -> dict[str, type[errors.PinnedECSError]]:
    """Name -> class, of every error."""
    return {
        name: found
        for name, found in vars(errors).items()
        if inspect.isclass(found) and issubclass(found, errors.PinnedECSError)
    }


def tree() -> Iterator[str]:
    """The tree, and a line for each class."""
    drawn = inspect.cleandoc(errors.__doc__ or "").partition("::\n")[2]
    yield "## All classes\n"
    names = re.sub(r" {3,}[a-zA-Z`].*$", "", inspect.cleandoc(drawn), flags=re.M)
    yield f"```text\n{names}\n```\n"
    yield "| class | meaning |\n|---|---|"
    for name, error in classes().items():
        yield f"| [`{name}`]({name}.md) | {_summary(error)} |"


def hints() -> Iterator[str]:
    """AWS's words about a task that ended, and what helps."""
    yield "| AWS's words | hint |\n|---|---|"
    for fragment, hint in task_hints.BY_REASON:
        yield f"| `{fragment.strip()}` | {hint} |"
    yield "\n## By exit code\n"
    yield "| code | hint |\n|---|---|"
    for code, hint in task_hints.BY_CODE.items():
        yield f"| {code} | {hint} |"


def _in_python(error: type[errors.PinnedECSError]) -> Iterator[str]:
    bases = " and ".join(
        f"[`{base.__name__}`]({base.__name__}.md)"
        if base.__name__ in classes()
        else f"`{base.__name__}`"
        for base in error.__bases__
    )
    yield "\n## In Python\n"
    yield f"`prefect_ecs_pinned.errors.{error.__name__}` is a kind of {bases}.\n"
    attributes = re.findall(r"^ {4}(\w+): (.+(?:\n {5,}.+)*)", _attributes(error), re.M)
    attributes += [("page", "URL of this page.")]
    for name, meaning in attributes:
        yield f"- `{name}`: {_plain(meaning)}"


def _attributes(error: type[errors.PinnedECSError]) -> str:
    """Lines of its own docstring and of those of its bases."""
    own = [each for each in error.__mro__ if each.__name__ in classes()]
    return "\n".join(
        re.split(r"^(?:Args|Attributes):$", inspect.cleandoc(each.__doc__ or ""), flags=re.M)[-1]
        for each in reversed(own)
    )


def _summary(error: type[errors.PinnedECSError]) -> str:
    return _plain(inspect.cleandoc(error.__doc__ or "").partition("\n\n")[0])


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("``", "`"))
