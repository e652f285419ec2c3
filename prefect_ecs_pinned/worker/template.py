"""Parts of a rendered job template, brought into the shapes of ECS's API; they are data here.

Where a variable is not set, Prefect's rendering leaves a member out, or null, or empty.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from prefect.utilities.processutils import command_from_string


def without_empty(value: Any) -> Any:
    """A copy without members that are null or empty: placeholders that nothing was set for.

    0 and false are values, and so is a variable's empty text.
    """
    if isinstance(value, Mapping):
        return {
            key: without_empty(item)
            for key, item in value.items()
            if item is not None and (item != "" or key == "value") and item not in ([], {})
        }
    if isinstance(value, list | tuple):
        return [without_empty(item) for item in value]
    return value


def container_override(override: dict[str, Any], dropped: Collection[str]) -> dict[str, Any]:
    """Overrides of a container in API_ContainerOverride's shape."""
    command, environment = override.get("command"), override.get("environment")
    if isinstance(command, str):
        override["command"] = command_from_string(command)
    if isinstance(environment, Mapping):
        environment = [{"name": name, "value": value} for name, value in environment.items()]
    if environment is not None:
        override["environment"] = [
            v for v in environment if v.get("value") is not None and v.get("name") not in dropped
        ]
    return override


def without_null(value: Any) -> Any:
    """A copy without members that are null."""
    if isinstance(value, Mapping):
        return {key: without_null(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [without_null(item) for item in value]
    return value
