"""The canonical form of a task definition: one spelling for everything that means the same.

ECS describes a definition back in other words than it was given: it fills in defaults,
reorders unordered lists, normalises sizes and adds members of its own. The tables in
`core.members` say, member by member, what ECS fills in and which lists have no order; ``canonical``
undoes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from prefect_ecs_pinned.core.members import CONTAINER, TASK_DEFINITION, Member, Table
from prefect_ecs_pinned.core.shown import named

__all__ = [
    "CONTAINER",
    "DESCRIBED_ONLY",
    "FINGERPRINT_LABEL",
    "TASK_DEFINITION",
    "Member",
    "Table",
    "canonical",
    "size_number",
    "task_size",
    "without_evidence",
]

#: Docker label on the Prefect container that carries the fingerprint inside the revision.
FINGERPRINT_LABEL = "prefect-ecs-pinned.fingerprint"

#: CPU units or MiB; Python reads no number of thousands of digits.
_SIZE = re.compile(r"[0-9]{1,18}")

#: What ECS adds when it describes a revision (API_TaskDefinition); no input of a registration.
DESCRIBED_ONLY = frozenset(
    {
        "taskDefinitionArn",
        "revision",
        "status",
        "requiresAttributes",
        "compatibilities",
        "registeredAt",
        "registeredBy",
        "deregisteredAt",
        "deleteRequestedAt",
    }
)


def canonical(definition: Mapping[str, Any], known_only: bool = False) -> dict[str, Any]:
    """The canonical form of a definition that is to be registered, or that ECS described.

    A described definition (one with a ``taskDefinitionArn``) keeps only members that
    are in the tables, so what AWS may add to its answers tomorrow makes no difference. In a
    definition that is to be registered, an unknown member counts unless it is empty.

    Args:
        definition: In the shape of RegisterTaskDefinition's request or of
            DescribeTaskDefinition's ``taskDefinition``. Not changed.
        known_only: Leave out what the tables do not know, whatever the definition is.

    Returns:
        A new definition, without our own label, without ECS's defaults, sizes as digits,
        unordered lists sorted, ``command`` and ``entryPoint`` as they were.
    """
    known_only = known_only or "taskDefinitionArn" in definition
    bare = {key: value for key, value in definition.items() if key not in DESCRIBED_ONLY}
    shared_ports = definition.get("networkMode") in ("awsvpc", "host")
    bare["containerDefinitions"] = [
        _without_filled_in(container, shared_ports)
        for container in definition.get("containerDefinitions") or []
    ]
    result = _canonical_structure(bare, TASK_DEFINITION, known_only)
    for size in ("cpu", "memory"):
        if size in result:
            result[size] = task_size(result[size])
    return result


def without_evidence(form: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Take a canonical form apart by what is known of how ECS describes its members back.

    Returns:
        The form without members that the tables do not know or have no evidence for, its
        unordered lists sorted again; and what the members without evidence hold: dotted path, fit
        to be shown (containers and other named items by name) -> values, in the order of the form.
    """
    apart: dict[str, list[Any]] = {}
    return _proven(form, TASK_DEFINITION, "", apart), apart


def task_size(value: Any) -> str:
    """A task-level size in ECS's own digits: CPU units, or MiB of memory.

    ``1 vCPU`` is ``1024`` CPU units, ``2GB`` is ``2048`` MiB (API_RegisterTaskDefinition, "cpu"
    and "memory"). What cannot be read is returned as text, for ECS to judge.
    """
    text = str(value).strip()
    lowered = text.lower().replace(" ", "")
    for unit in ("vcpu", "gb"):
        if lowered.endswith(unit):
            try:
                return str(int(float(lowered.removesuffix(unit)) * 1024))
            except (ValueError, OverflowError):
                return text
    return lowered if lowered.isascii() and lowered.isdigit() else text


def size_number(value: Any) -> int | None:
    """A task-level size as a number; None for any other text, and for more digits than AWS has."""
    digits = task_size(value)
    return int(digits) if _SIZE.fullmatch(digits) else None


def _canonical_structure(
    value: Mapping[str, Any], table: Table, known_only: bool
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, content in value.items():
        member = table.get(name)
        if member is None:
            if not known_only and not _is_empty(content) and content is not False and content != 0:
                result[name] = content
            continue
        content = _canonical_member(content, member, known_only)
        if content != member.default and _counts(content, member):
            result[name] = content
    return result


def _canonical_member(content: Any, member: Member, known_only: bool) -> Any:
    if isinstance(content, Mapping):
        if member.of is not None:
            return _canonical_structure(content, member.of, known_only)
        return dict(content)
    if isinstance(content, list | tuple):
        items = list(content)
        if (table := member.of) is not None:
            items = [
                _canonical_structure(i, table, known_only) if isinstance(i, Mapping) else i
                for i in items
            ]
        return sorted(items, key=_sort_key) if member.unordered else items
    return content


def _proven(
    structure: Mapping[str, Any], table: Table, path: str, apart: dict[str, list[Any]]
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, content in structure.items():
        member = table.get(name)
        if member is None:
            continue
        here = f"{path}.{name}" if path else name
        if member.of is not None:
            content = _proven_content(content, member, here, apart)
            if _counts(content, member):
                result[name] = content
        elif member.known_from:
            result[name] = content
        else:
            apart.setdefault(here, []).append(content)
    return result


def _proven_content(content: Any, member: Member, path: str, apart: dict[str, list[Any]]) -> Any:
    table = member.of
    assert table is not None
    if isinstance(content, Mapping):
        return _proven(content, table, path, apart)
    if not isinstance(content, list):
        return content
    items = []
    for item in content:
        if isinstance(item, Mapping):
            name = item.get("name")
            item = _proven(item, table, f"{path}.{named(name)}" if name else path, apart)
        items.append(item)
    return sorted(items, key=_sort_key) if member.unordered else items


def _sort_key(item: Any) -> tuple[str, str]:
    """Order by content, whatever it is: names first, since they identify an item."""
    name = str(item.get("name", "")) if isinstance(item, Mapping) else ""
    return name, json.dumps(item, sort_keys=True, default=str)


def _counts(content: Any, member: Member) -> bool:
    return not _is_empty(content) or (member.kept_empty and isinstance(content, Mapping))


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, list | tuple | Mapping | str) and not value)


def _without_filled_in(container: Mapping[str, Any], shared_ports: bool) -> dict[str, Any]:
    """A container without our own label, and without the host ports that ECS fills in.

    It has to go before lists are sorted: ports 80 and 8080 would come in another order with a
    host port than without.
    """
    result = dict(container)
    if labels := container.get("dockerLabels"):
        result["dockerLabels"] = {k: v for k, v in labels.items() if k != FINGERPRINT_LABEL}
    if mappings := container.get("portMappings"):
        result["portMappings"] = [_without_host_port(m, shared_ports) for m in mappings]
    return result


def _without_host_port(mapping: Mapping[str, Any], shared_ports: bool) -> dict[str, Any]:
    filled_in = (0, mapping.get("containerPort")) if shared_ports else (0,)
    drop = mapping.get("hostPort") in filled_in
    return {name: value for name, value in mapping.items() if not (drop and name == "hostPort")}
