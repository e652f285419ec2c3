"""Parts of a rendered job template, brought into the shapes of ECS's API; they are data here.

Where a variable is not set, Prefect's rendering leaves a member out, or null, or empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.utilities.processutils import command_from_string

from prefect_ecs_pinned.errors import ConfigurationError

#: Levels of a document that are copied. No member of ECS's requests lies so deep; the check of the
#: request refuses what does.
_MOST_LEVELS = 32

#: Of a task's size, which is a 32-bit number.
_SIZE_BITS = 32


def without_empty(value: Any, levels: int = _MOST_LEVELS) -> Any:
    """A copy without members that are null or empty: placeholders that nothing was set for.

    0 and false are values, and so is a variable's empty text.
    """
    if isinstance(value, Mapping) and levels:
        return {
            key: without_empty(item, levels - 1)
            for key, item in value.items()
            if item is not None and (item != "" or key == "value") and not _is_bare(item)
        }
    if isinstance(value, list | tuple) and levels:
        return [without_empty(item, levels - 1) for item in value]
    return value


def _is_bare(item: Any) -> bool:
    return isinstance(item, list | tuple | Mapping) and not item


def without_null(value: Any, levels: int = _MOST_LEVELS) -> Any:
    """A copy without members that are null."""
    if isinstance(value, Mapping) and levels:
        return {k: without_null(item, levels - 1) for k, item in value.items() if item is not None}
    if isinstance(value, list | tuple) and levels:
        return [without_null(item, levels - 1) for item in value]
    return value


def words_of(command: str) -> list[str]:
    """The words of a command, as a shell takes them apart.

    Raises:
        ConfigurationError: A quotation is not closed.
    """
    try:
        return command_from_string(command)
    except ValueError:
        why = "a quotation of the command is not closed"
    raise ConfigurationError("cannot run the job", why, "correct the command")


# -- shapes that RunTask does not have, and that have one meaning ----------------------------------


def in_shape(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request with tags and variables as lists, commands as words, and sizes as text.

    What has another shape stays as it is.

    Raises:
        ConfigurationError: A quotation of a command is not closed.
    """
    result = dict(request)
    if isinstance(tags := result.get("tags"), Mapping):
        result["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
    if isinstance(given := result.get("overrides"), Mapping):
        overrides = result["overrides"] = dict(given)
        for size in ("cpu", "memory"):
            number = overrides.get(size)
            if type(number) is int and number.bit_length() < _SIZE_BITS:
                overrides[size] = str(number)
        if isinstance(containers := overrides.get("containerOverrides"), list):
            overrides["containerOverrides"] = [_container_override(c) for c in containers if c]
    return result


def _container_override(given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    override = dict(given)
    if isinstance(command := override.get("command"), str):
        override["command"] = words_of(command)
    if isinstance(variables := override.get("environment"), Mapping):
        override["environment"] = [{"name": name, "value": v} for name, v in variables.items()]
    return override
