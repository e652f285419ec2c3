"""The variables of a pool's template: their names, and the values that they accept.

Prefect's server checks job variables by the same schema when a deployment is saved. Values of
``--override`` are words of a command line, which it has not seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from prefect.utilities.schema_tools import validate
from prefect.utilities.templating import find_placeholders

from prefect_ecs_pinned.core.shown import named
from prefect_ecs_pinned.errors import ConfigurationError


def names_of(template: Mapping[str, Any]) -> set[str]:
    """What a template has a place for: its variables, and the names in its job configuration."""
    used = find_placeholders(template.get("job_configuration") or {})
    return {*_properties(template), *(placeholder.name for placeholder in used)}


def typed(template: Mapping[str, Any], path: str, value: Any) -> Any:
    """The value of an override, as the schema has it: a word is read as JSON unless it is text.

    Args:
        template: The pool's.
        path: The variable, and names below it, separated by dots.
        value: A word of the command line; anything else is kept.
    """
    if not isinstance(value, str):
        return value
    name, *inner = path.split(".")
    schema = _properties(template).get(name)
    for part in inner:
        schema = _below(schema, part)
    if not isinstance(schema, Mapping) or "string" in _types(schema):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def check_value(template: Mapping[str, Any], name: str, value: Any) -> None:
    """Refuse the value of a variable that Prefect's server would refuse in a deployment.

    Raises:
        ConfigurationError: It does not fit the schema; the value is not quoted.
    """
    schema = _properties(template).get(name)
    if not isinstance(schema, Mapping) or "$ref" in json.dumps(schema):
        return  # a block, which is referred to
    if validate({name: value}, {"type": "object", "properties": {name: dict(schema)}}):
        raise ConfigurationError(
            f"cannot apply override {named(name)!r}",
            f"the work pool needs {' or '.join(sorted(_accepted(schema)))}",
            "correct the value; objects and lists are written in JSON",
        )


def _properties(template: Mapping[str, Any]) -> Mapping[str, Any]:
    return (template.get("variables") or {}).get("properties") or {}


def _below(schema: Any, name: str) -> Any:
    for one in _alternatives(schema):
        if name in (one.get("properties") or {}):
            return one["properties"][name]
        if isinstance(one.get("additionalProperties"), Mapping):
            return one["additionalProperties"]
    return {}


def _alternatives(schema: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, Mapping):
        yield schema
        for key in ("anyOf", "oneOf", "allOf"):
            for one in schema.get(key) or ():
                yield from _alternatives(one)


def _types(schema: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    for one in _alternatives(schema):
        kinds = one.get("type") or ()
        found |= {kinds} if isinstance(kinds, str) else set(kinds)
    return found


def _accepted(schema: Mapping[str, Any]) -> set[str]:
    listed = {str(each) for one in _alternatives(schema) for each in one.get("enum") or ()}
    bounds = {
        f"a value with {key} {one[key]}"
        for one in _alternatives(schema)
        for key in ("minimum", "maximum", "minItems", "maxItems", "pattern")
        if key in one
    }
    return listed or {f"the type {kind}" for kind in _types(schema)} | bounds
