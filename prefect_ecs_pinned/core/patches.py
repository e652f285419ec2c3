"""JSON patches (RFC 6902), read without applying them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Placeholder for a value that is moved or copied from elsewhere.
UNKNOWN = object()


def patched(patches: Iterable[Mapping[str, Any]], member: str, value: Any) -> Any:
    """The value of a member of a document after its patches; None without one, or `UNKNOWN`.

    Args:
        patches: Operations, in their order.
        member: Of the document itself.
        value: What it is before.
    """
    path = f"/{member}"
    for patch in patches:
        operation, where = patch.get("op"), patch.get("path")
        if operation == "move" and patch.get("from") == path:
            value = None
        if operation == "test" or where not in ("", path):
            continue
        given = patch.get("value")
        if operation in ("move", "copy"):
            value = UNKNOWN
        elif operation == "remove":
            value = None
        elif where == path:
            value = given
        else:
            value = given.get(member) if isinstance(given, Mapping) else None
    return value
