"""The fingerprint: 64 hexadecimal digits for everything that only a new revision can change.

It covers everything that a launch can neither set nor remove. Left out are the *values*
(never the presence) of the task's ``cpu`` and ``memory`` and, off Fargate, of the Prefect
container's: they are sent with every launch that has them stated (API_TaskOverride,
API_ContainerOverride). The family is left out too: it is the other half of a pin's key.

The version in front is raised when the same configuration would fingerprint differently, so
that old and new packages never take each other's label for their own. Raise it for a change
of the canonical form, of what is left out, or of the digest; not for a new ECS member.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785

from prefect_ecs_pinned.core.canonical import FINGERPRINT_LABEL, canonical

#: Raise with the rules in the module's docstring; a test holds literal digests.
VERSION = "v1"

#: The container that runs the flow, by the name that `ECSTask` gave it; a run may name another.
PREFECT_CONTAINER = "prefect"

#: Placeholder for "a size is stated" where its value does not count.
_STATED = True


def fingerprint(definition: Mapping[str, Any], container: str = PREFECT_CONTAINER) -> str:
    """The fingerprint of a definition, sent or described: ``v1:`` and a SHA-256 in hex.

    Digest of RFC 8785 JSON, so that it does not depend on Python, platform or key order.

    Args:
        definition: A definition.
        container: Name of its Prefect container.

    Raises:
        ValueError: A value has no JSON form (rfc8785.CanonicalizationError).
    """
    return digest(without_sizes(canonical(definition), container))


def without_sizes(form: Mapping[str, Any], container: str = PREFECT_CONTAINER) -> dict[str, Any]:
    """A canonical form as the fingerprint sees it: no family, sizes by presence only."""
    result = {name: value for name, value in form.items() if name != "family"}
    _only_presence(result)
    if "FARGATE" not in result.get("requiresCompatibilities", []):
        result["containerDefinitions"] = [
            _only_presence(dict(c)) if c.get("name") == container else c
            for c in result.get("containerDefinitions", [])
        ]
    return result


def label(definition: Mapping[str, Any]) -> str | None:
    """The fingerprint that a described revision has as its label, if it has one.

    It is on the container that runs flows, whatever its name: that named `prefect` first.
    """
    containers = definition.get("containerDefinitions") or []
    for container in (prefect_container(definition) or {}, *containers):
        value = (container.get("dockerLabels") or {}).get(FINGERPRINT_LABEL)
        if isinstance(value, str):
            return value
    return None


def labelled(
    definition: Mapping[str, Any], value: str, container: str = PREFECT_CONTAINER
) -> dict[str, Any]:
    """A copy of a definition that has ``value`` as its only label, ready to be registered.

    A definition that was pasted may have another one on another container, which would be read.
    """
    containers = []
    for c in definition.get("containerDefinitions", []):
        labels = c.get("dockerLabels") or {}
        others = {name: text for name, text in labels.items() if name != FINGERPRINT_LABEL}
        if c.get("name") == container:
            c = {**c, "dockerLabels": {**others, FINGERPRINT_LABEL: value}}
        elif len(others) < len(labels):
            c = {**c, "dockerLabels": others}
        containers.append(c)
    return {**definition, "containerDefinitions": containers}


def prefect_container(
    definition: Mapping[str, Any], name: str = PREFECT_CONTAINER
) -> dict[str, Any] | None:
    """The Prefect container of a definition, of whatever shape, by its name; None without one."""
    containers = definition.get("containerDefinitions") if isinstance(definition, Mapping) else ()
    listed: list[Any] = list(containers) if isinstance(containers, list | tuple) else []
    return next((c for c in listed if isinstance(c, dict) and c.get("name") == name), None)


def _only_presence(structure: dict[str, Any]) -> dict[str, Any]:
    for size in ("cpu", "memory"):
        if size in structure:
            structure[size] = _STATED
    return structure


def digest(value: Any) -> str:
    """The versioned digest of a value's RFC 8785 JSON."""
    return f"{VERSION}:{hashlib.sha256(rfc8785.dumps(value)).hexdigest()}"
