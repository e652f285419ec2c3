"""Members of a document by path, and conditions on them: how rules name parts of a request.

A path is names with dots between them. A name may be followed by ``[]``, every element of the
list, by ``[2]``, that element, or by ``[name=TOKEN]``, the elements whose member has that value::

    overrides.cpu
    networkConfiguration.awsvpcConfiguration.subnets[]
    overrides.containerOverrides[].resourceRequirements[].type
    containerDefinitions[name=prefect].healthCheck.interval
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_SEGMENT = re.compile(r"(?P<name>[^.\[\]]+)(?:\[(?P<which>[^\[\]]*)\])?")
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?|\.\d{1,6}) ?(vcpu|gb)?")

#: Conditions next to a plain value and a list of them.
CONDITIONS = ("min", "max", "contains", "matches", "exists")


@dataclass(frozen=True)
class _Segment:
    name: str
    which: str | None

    def of(self, document: Any) -> Iterator[Any]:
        """What the segment leads to in a mapping."""
        if not isinstance(document, Mapping) or self.name not in document:
            return
        value = document[self.name]
        if self.which is None:
            yield value
        elif isinstance(value, list):
            yield from (item for number, item in enumerate(value) if self.takes(number, item))

    def takes(self, number: int, item: Any) -> bool:
        """Whether the segment leads to that element of a list."""
        if not self.which:
            return True
        if self.which.isdecimal():
            return number == int(self.which)
        name, _, wanted = self.which.partition("=")
        return isinstance(item, Mapping) and str(item.get(name)) == wanted


def parse(path: str) -> list[_Segment]:
    """The segments of a path.

    Raises:
        ValueError: It is invalid.
    """
    segments, at = [], 0
    while match := _SEGMENT.match(path, at):
        which = match["which"]
        if which and not which.isdecimal() and "=" not in which:
            break
        segments.append(_Segment(match["name"], which))
        at = match.end()
        if at == len(path):
            return segments
        if path[at] != ".":
            break
        at += 1
    raise ValueError(f"{path!r} is not a path: see the module matching")


def values(document: Any, path: str) -> list[Any]:
    """All that is at a path."""
    found = [document]
    for segment in parse(path):
        found = [value for holder in found for value in segment.of(holder)]
    return found


def rewrite(document: Any, path: str, value: Any) -> None:
    """Set what is at a path; None removes it.

    Mappings on the way are made where they are missing, elements of lists are not.
    """
    *way, last = parse(path)
    holders = [document]
    for segment in way:
        for holder in holders:
            if isinstance(holder, dict) and segment.which is None and value is not None:
                holder.setdefault(segment.name, {})
        holders = [inner for holder in holders for inner in segment.of(holder)]
    for holder in holders:
        if isinstance(holder, dict):
            _set(holder, last, value)


def _set(holder: dict[str, Any], segment: _Segment, value: Any) -> None:
    if segment.which is None:
        if value is None:
            holder.pop(segment.name, None)
        else:
            holder[segment.name] = value
        return
    kept = holder.get(segment.name)
    if isinstance(kept, list):
        new = [value if segment.takes(n, item) else item for n, item in enumerate(kept)]
        holder[segment.name] = [item for item in new if item is not None]


def check(condition: Any) -> None:
    """Check a condition.

    Raises:
        ValueError: It is invalid.
    """
    if not isinstance(condition, Mapping):
        return
    if unknown := sorted(condition.keys() - set(CONDITIONS)):
        raise ValueError(f"no such conditions: {unknown}; there are {', '.join(CONDITIONS)}")
    for name in ("min", "max"):
        if name in condition and size(condition[name]) is None:
            raise ValueError(f"{name} is a number, or a size such as '1 vCPU' or '2 GB'")
    try:
        re.compile(str(condition.get("matches", "")))
    except re.error as error:
        raise ValueError(f"matches is a regular expression: {error}") from None


def holds(condition: Any, found: list[Any]) -> bool:
    """Whether one of the values fulfils a condition.

    Args:
        condition: A value, a list of values of which one is enough, or a mapping with one or
            more of these: ``min`` and ``max`` a number or a size, ``contains`` a text,
            ``matches`` a regular expression for the whole text, ``exists`` whether there is a
            value at all. Values are compared as text.
        found: What is at the path.
    """
    if isinstance(condition, Mapping):
        rest = {name: value for name, value in condition.items() if name != "exists"}
        if "exists" in condition and bool(found) is not bool(condition["exists"]):
            return False
        return not rest or any(_fulfils(rest, value) for value in found)
    wanted = condition if isinstance(condition, list | tuple) else [condition]
    return any(_text(value) == _text(one) for value in found for one in wanted)


def _fulfils(conditions: Mapping[str, Any], value: Any) -> bool:
    text, number = _text(value), size(value)
    tests = {
        "min": lambda wanted: number is not None and number >= (size(wanted) or 0),
        "max": lambda wanted: number is not None and number <= (size(wanted) or 0),
        "contains": lambda wanted: str(wanted) in text,
        "matches": lambda wanted: re.fullmatch(str(wanted), text) is not None,
    }
    return all(tests[name](wanted) for name, wanted in conditions.items())


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def size(value: Any) -> float | None:
    """A number, or a size of ECS's in CPU units or MiB; None for anything else."""
    match = _SIZE.fullmatch(str(value).lower())
    if match is None or isinstance(value, bool):
        return None
    return float(match[1]) * (1024 if match[2] else 1)
