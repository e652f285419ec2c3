"""What of a task definition ECS would take: members, types and limits, before it is asked.

Members and types are botocore's own model of RegisterTaskDefinition, limits are those that AWS
documents. Lists of what AWS offers (drivers, sizes, modes) are left to ECS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ParamValidationError
from botocore.validate import ParamValidator

from prefect_ecs_pinned.aws.calls.api import CORRECT_REQUEST
from prefect_ecs_pinned.aws.calls.faults import presentable
from prefect_ecs_pinned.aws.calls.models import input_shape
from prefect_ecs_pinned.core.definition import DefinitionSpec, added_to, build
from prefect_ecs_pinned.core.fingerprint import labelled
from prefect_ecs_pinned.core.members_together import check_members
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.core.shown import named
from prefect_ecs_pinned.core.tags import check_tags
from prefect_ecs_pinned.errors import ConfigurationError

#: "Containers per task definition" (Amazon ECS service quotas), not adjustable.
CONTAINERS_LIMIT = 10

#: Bytes, "Task definition size limit" (Amazon ECS service quotas), not adjustable.
DEFINITION_LIMIT = 64 * 1024

#: Of Smithy's integer. Of its long, what JSON numbers hold exactly (RFC 8785).
_MOST = {"integer": 2**31 - 1, "long": 2**53 - 1}

_WHAT = "cannot use the task definition"

_DIGITS = re.compile(r"-?[0-9]{1,18}")

#: A member of this package in the way Python, Terraform or a file of a tool spells it.
_WORDS = re.compile(r"[_-]+([A-Za-z0-9])")

_KINDS = {"structure": "an object", "map": "an object", "list": "a list", "string": "text"}


def make(spec: DefinitionSpec) -> Desired:
    """The definition of a configuration, of which is known that ECS can take it.

    Raises:
        ConfigurationError: It cannot.
    """
    definition = build(spec)
    check_definition(definition)
    desired = Desired(definition, spec.container_name, added_to(spec))
    label = labelled(definition, desired.fingerprint, spec.container_name)
    size = len(_json(label).encode())
    if size > DEFINITION_LIMIT:
        raise ConfigurationError(
            _WHAT,
            f"it is {size} bytes long, and ECS accepts {DEFINITION_LIMIT}",
            "move large values into secrets or files",
        )
    return desired


def read_definition(definition: Any) -> dict[str, Any]:
    """A definition that somebody has written, in the types of RegisterTaskDefinition.

    Members that are null are left out. Text is taken for a number where a number belongs, and a
    number for text where a task's size belongs: ECS gives both the same meaning.

    Args:
        definition: Of any shape; not changed.

    Raises:
        ConfigurationError: A member is unknown or of another type; the message has its path.
    """
    if isinstance(definition, Mapping) and "containerDefinitions" not in definition:
        _refuse_wrapped(definition)
    shape = input_shape("ecs", "RegisterTaskDefinition")
    result: dict[str, Any] = _read(definition, shape, "")
    return result


def read_request(request: Any) -> dict[str, Any]:
    """A RunTask request that somebody has written, in the types of RunTask.

    Refused is, too, what botocore lets pass and ECS does not read: truths and numbers out of range
    where a whole number belongs, and text that is not one.

    Args:
        request: Of any shape; not changed.

    Raises:
        ConfigurationError: A member is unknown or of another type; the message has its path.
    """
    try:
        result: dict[str, Any] = _read(request, input_shape("ecs", "RunTask"), "")
    except ConfigurationError as error:
        why = error.why
    else:
        return result
    raise ConfigurationError("cannot launch", why, CORRECT_REQUEST)


def check_definition(definition: Mapping[str, Any]) -> None:
    """Refuse a definition that botocore, or a documented limit of ECS, would not let pass.

    Raises:
        ConfigurationError: It would not.
    """
    read_definition(definition)  # ranges and text, which botocore does not look at
    report = ParamValidator().validate(definition, input_shape("ecs", "RegisterTaskDefinition"))
    if report.has_errors():
        wrong = presentable(ParamValidationError(report=report.generate_report()))
        why = str(wrong).replace(":\n", ": ").replace("\n", "; ")
        raise ConfigurationError(_WHAT, why, "see API_RegisterTaskDefinition")
    containers = definition["containerDefinitions"]
    if len(containers) > CONTAINERS_LIMIT:
        raise ConfigurationError(
            _WHAT,
            f"it has {len(containers)} containers, and ECS accepts {CONTAINERS_LIMIT}",
            "remove some",
        )
    check_tags(definition.get("tags") or (), _WHAT, "tags of the definition")
    check_members(definition)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _refuse_wrapped(definition: Mapping[Any, Any]) -> None:
    for member in ("taskDefinition", "task_definition"):
        if isinstance(definition.get(member), Mapping):
            raise ConfigurationError(
                _WHAT,
                f"it is wrapped: the definition is inside {member!r}",
                f"give only the value of {member!r}; move tags into that value, as 'tags'",
            )


def _read(value: Any, shape: Any, path: str) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return _structure(value, shape, path)
    if kind == "map":
        return _map(value, shape, path)
    if kind == "list":
        if not isinstance(value, list | tuple):
            raise _other_type(value, "a list", path)
        return [_read(v, shape.member, f"{path}[{i}]") for i, v in enumerate(value)]
    if kind in _MOST:
        return _integer(value, _MOST[kind], path)
    if kind == "boolean":
        if not isinstance(value, bool):
            raise _other_type(value, "true or false", path)
        return value
    if kind == "string":
        return _text(value, path)
    return value  # a type that the model did not have


def _structure(value: Any, shape: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _other_type(value, "an object", path)
    result = {}
    for name, content in value.items():
        if not isinstance(name, str) or name not in shape.members:
            raise _unknown(name, shape.members, path)
        if content is not None:
            result[name] = _read(content, shape.members[name], _below(path, name))
    return result


def _map(value: Any, shape: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _other_type(value, "an object", path)
    return {
        _text(name, f"a name in {path}"): _read(content, shape.value, _below(path, name))
        for name, content in value.items()
    }


def _integer(value: Any, most: int, path: str) -> int:
    is_digits = isinstance(value, str) and _DIGITS.fullmatch(value.strip())
    if is_digits or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _other_type(value, "a whole number", path)
    if not -most - 1 < value <= most:
        raise ConfigurationError(_WHAT, f"{path} is out of range", f"give at most {most}")
    return value


def _text(value: Any, path: str) -> str:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if path in ("cpu", "memory") and is_number and abs(value) <= _MOST["integer"]:
        return str(value)  # of the task: ECS has text there, and everybody else a number
    if not isinstance(value, str):
        hint = "write it in quotes" if isinstance(value, bool | int | float) else ""
        raise _other_type(value, "text", path, hint)
    try:
        value.encode()
    except UnicodeEncodeError:
        why = f"{path} contains half of a character (a lone surrogate)"
    else:
        return value
    raise ConfigurationError(_WHAT, why, "correct the text")  # not chained: that one quotes it


def _below(path: str, name: Any) -> str:
    return f"{path}.{named(name)}" if path else named(name)


def _other_type(value: Any, wanted: str, path: str, hint: str = "") -> ConfigurationError:
    where = path or "it"
    return ConfigurationError(
        _WHAT,
        f"{where} is {_kind(value)}, and has to be {wanted}",
        hint or f"give {where if path else 'the definition'} as {wanted}",
    )


def _kind(value: Any) -> str:
    kinds: Sequence[tuple[Any, str]] = (
        (bool, "true or false"),
        (int | float, "a number"),
        (str, "text"),
        (Mapping, "an object"),
        (list | tuple, "a list"),
    )
    if value is None:
        return "null"
    return next((word for kind, word in kinds if isinstance(value, kind)), type(value).__name__)


def _unknown(name: Any, members: Mapping[str, Any], path: str) -> ConfigurationError:
    """In botocore's words, which has the same to say of what this lets pass."""
    if not isinstance(name, str):
        return ConfigurationError(
            _WHAT, f"the name of a member in {path or 'it'} is not text", "write it in quotes"
        )
    hint = "see API_RegisterTaskDefinition, or update botocore if the member is new"
    camel = _WORDS.sub(lambda found: found[1].upper(), name)
    by_lower = {member.lower(): member for member in members}
    if meant := by_lower.get(camel.lower()):
        hint = f"write {meant!r}"
    return ConfigurationError(
        _WHAT, f'Unknown parameter in {path or "input"}: "{named(name)}"', hint
    )
