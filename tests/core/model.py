"""RegisterTaskDefinition as botocore's model has it: its members, and definitions made of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

import botocore.session
from hypothesis import strategies as st

Definition = dict[str, Any]
Path = tuple[str, ...]


@lru_cache(maxsize=1)
def request_shape() -> Any:
    model = botocore.session.get_session().get_service_model("ecs")
    return model.operation_model("RegisterTaskDefinition").input_shape


def inner(shape: Any) -> Any:
    """The items of a list, or the shape itself."""
    return shape.member if shape.type_name == "list" else shape


def leaves(shape: Any = None, path: Path = ()) -> Iterator[Path]:
    """Every member that is no structure, and no list of structures; recursively."""
    for name, member in (shape or request_shape()).members.items():
        if inner(member).type_name == "structure":
            yield from leaves(inner(member), (*path, name))
        else:
            yield (*path, name)


def shape_of(path: Path) -> Any:
    shape = request_shape()
    for name in path:
        shape = inner(shape).members[name]
    return shape


words = st.text("abcXYZ019_", min_size=1, max_size=8)


def values(shape: Any) -> st.SearchStrategy[Any]:
    """Values of a shape that no default has."""
    kind = shape.type_name
    if kind == "structure":
        return structures(shape)
    if kind == "list":
        return st.lists(values(shape.member), min_size=1, max_size=2, unique_by=repr)
    if kind == "map":
        return st.dictionaries(words, words, min_size=1, max_size=2)
    if kind == "boolean":
        return st.just(True)
    if kind in ("integer", "long"):
        return st.integers(1000, 2000)
    if shape.enum:
        return st.sampled_from(shape.enum)
    return words


@cache
def structures(shape: Any) -> st.SearchStrategy[Definition]:
    return st.fixed_dictionaries(
        {}, optional={name: values(member) for name, member in shape.members.items()}
    )


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    """A definition of any of the members that there are, with the Prefect container."""
    definition = draw(structures(request_shape()))
    others = definition.get("containerDefinitions") or []
    first = {**(others[0] if others else {}), "name": "prefect", "image": "flows:1"}
    named = [{**other, "name": f"other-{n}"} for n, other in enumerate(others[1:])]
    definition["containerDefinitions"] = [first, *named]
    for number, item in enumerate(definition.get("volumes") or []):
        item["name"] = f"{item.get('name', '')}-{number}"
    for container in definition["containerDefinitions"]:
        for variables in ("environment", "secrets"):
            for number, item in enumerate(container.get(variables) or []):
                item["name"] = f"{item.get('name', '')}-{number}"
    definition.pop("tags", None)  # they stand beside what is described
    return {**definition, "family": "f"}


def changed(definition: Definition, path: Path) -> Definition:
    """The definition with another value of a member; it is added if it is not there."""
    result = copy.deepcopy(definition)
    where: Any = result
    shape = request_shape()
    for name in path[:-1]:
        shape = inner(shape).members[name]
        if shape.type_name == "list":
            items = where.setdefault(name, [])
            if not items:
                items.append({})
            where = items[0]
        else:
            where = where.setdefault(name, {})
    before = where.get(path[-1], True if path[-1] == "essential" else None)
    if path in (("cpu",), ("memory",)):  # a number, as text
        where[path[-1]] = "8192" if before == "4096" else "4096"
    else:
        where[path[-1]] = _another(before, shape_of(path))
    return result


def _another(value: Any, shape: Any) -> Any:
    kind = shape.type_name
    if kind == "list":
        return [*(value or []), _another(None, shape.member)]
    if kind == "map":
        return {**(value or {}), "another": "x"}
    if kind == "boolean":
        return not value
    if kind in ("integer", "long"):
        return (value or 1000) + 5000  # no port of another kind
    return f"{value or ''}x"
