"""Names of overrides and job variables: Prefect ignores those that mean nothing to it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from prefect_ecs_pinned.core.shown import named
from prefect_ecs_pinned.errors import ConfigurationError


def unknown(paths: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """What is set and means nothing -> the known name that is nearest, or all of them.

    Args:
        paths: Names; a path below one is separated by dots.
        known: The names that have a meaning.
    """
    names = sorted(known)
    roots = sorted({path.partition(".")[0] for path in paths} - set(names))
    return {root: _nearest(root, names) for root in roots}


def check_names(paths: Iterable[str], known: Iterable[str], holder: str) -> None:
    """Refuse overrides that would be ignored.

    Args:
        paths: As of ``--override``.
        known: The fields of the block, or the variables of the pool.
        holder: How the block or the pool is called in messages.

    Raises:
        ConfigurationError: One would be.
    """
    for name, nearest in unknown(paths, known).items():
        raise ConfigurationError(
            f"cannot apply override {named(name)!r}", f"{holder} has nothing of this name", nearest
        )


def _nearest(name: str, names: list[str]) -> str:
    if near := get_close_matches(name, names, n=1):
        return f"write {near[0]}"
    return f"use one of: {', '.join(names)}"
