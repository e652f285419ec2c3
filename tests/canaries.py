"""Documents in which every text is a canary, and the search for canaries in what is shown.

A canary is a text that occurs nowhere else, so that a part of it is enough to know it by: cut
short, wrapped into two lines, escaped or in Base64 it is found as well.
"""

from __future__ import annotations

import base64
import itertools
import random
import re
import traceback
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import botocore.session
import prefect_aws
from pydantic.v1 import SecretStr

#: Neither in words of English nor in digests.
_ALPHABET = "QXZJKVWY2357"
_LENGTH = 18

#: As much of a canary is never there by chance; in hex it takes more, for logs hold addresses.
_WINDOW = 6
_HEX_WINDOW = 14


def canary(path: str) -> str:
    """The canary of a place."""
    return "".join(random.Random(path).choices(_ALPHABET, k=_LENGTH))


class Filled:
    """A request of which every text is a canary.

    Args:
        operation: Of ECS, such as ``RunTask``: what botocore knows of its request.
        valid: Write what AWS lists where it lists something, and not a canary.

    Attributes:
        document: The request.
        canaries: Path -> canary; items of lists as ``[]``, keys of maps as ``{}``.
    """

    def __init__(self, operation: str, valid: bool = False) -> None:
        model = botocore.session.get_session().get_service_model("ecs")
        self._valid = valid
        self.canaries: dict[str, str] = {}
        self.document: dict[str, Any] = self._fill(model.operation_model(operation).input_shape, "")

    def _fill(self, shape: Any, path: str) -> Any:
        if shape.type_name == "structure":
            below = f"{path}." if path else ""
            return {name: self._fill(s, f"{below}{name}") for name, s in shape.members.items()}
        if shape.type_name == "list":
            return [self._fill(shape.member, f"{path}[]")]
        if shape.type_name == "map":
            return {"of-the-map": self._fill(shape.value, f"{path}{{}}")}
        if shape.type_name == "boolean":
            return True
        if shape.type_name != "string":
            return 17
        if self._valid and getattr(shape, "enum", None):
            return shape.enum[0]
        self.canaries[path] = canary(path)
        return self.canaries[path]


def members(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each part of a document, structures and lists included."""
    if path:
        yield path
    items: Any = ()
    if isinstance(document, Mapping):
        items = document.items()
    elif isinstance(document, list):
        items = enumerate(document)
    for key, item in items:
        yield from members(item, (*path, key))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a document with another part in one place."""
    if not path:
        return value
    copy = dict(document) if isinstance(document, Mapping) else list(document)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


def found(text: str, wanted: Mapping[str, str]) -> set[str]:
    """The places whose canaries, or parts of them, occur in a text."""
    # Rich may wrap a line anywhere, and draw frames.
    text = re.sub(r"[\s│┃|]+", "", text)
    windows = _windows(text, _WINDOW) | _windows(text, _HEX_WINDOW)
    return {path for path, value in wanted.items() if _parts(value) & windows}


def _windows(text: str, size: int) -> set[str]:
    return {text[i : i + size] for i in range(len(text) - size + 1)}


def _parts(value: str) -> set[str]:
    forms = [value, value[::-1]]
    for shift in range(3):  # what stands before it moves the bits
        encoded = base64.b64encode(b"." * shift + value.encode()).decode()
        forms.append(encoded[4:-4])
    parts = _windows(value.encode().hex(), _HEX_WINDOW)
    return parts.union(*(_windows(form, _WINDOW) for form in forms))


def assert_hidden(text: str, hidden: Mapping[str, str]) -> None:
    """Fail with what stands around a canary."""
    seen = found(text, hidden)
    assert not seen, {
        path: text[max(0, text.find(hidden[path]) - 200) :][:300] for path in sorted(seen)
    }


def everything_of(error: BaseException | None) -> str:
    """All that an exception could show: text, repr, attributes, and of its chain, hidden or not."""
    if error is None:
        return ""
    parts = []
    todo, seen = [error], set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        parts += [str(one), repr(one), repr(one.args), repr(vars(one))]
        parts += traceback.format_exception_only(type(one), one)
        parts += getattr(one, "__notes__", [])
        if callable(errors := getattr(one, "errors", None)):  # of pydantic
            parts.append(repr(errors()))
            todo += [inner for raw in getattr(one, "raw_errors", ()) for inner in _inner(raw)]
        todo += [cause for cause in (one.__cause__, one.__context__) if cause is not None]
    return "\n".join([*parts, *traceback.format_exception(error)])


def _inner(raw: Any) -> Iterator[BaseException]:
    if isinstance(raw, list | tuple):
        for item in raw:
            yield from _inner(item)
    elif isinstance(getattr(raw, "exc", None), BaseException):
        yield raw.exc


# -- fields of a block ---------------------------------------------------------------------------

#: Of `fields`: canaries that may not be shown.
HIDDEN = {
    name: canary(name)
    for name in (
        "secret key",
        "session token",
        "config",
        "env",
        "env url",
        "labels",
        "command",
        "log option",
        "customization",
        "tag",
        "api key",
    )
}

_SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:key"

_numbers = itertools.count()


def fields(
    credentials: prefect_aws.AwsCredentials, definition: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Valid values for the fields of a block that take text, a canary in each."""
    parameters = credentials.aws_client_parameters
    changed = {
        "aws_secret_access_key": SecretStr(canary("secret key")),
        "aws_session_token": canary("session token"),
        "aws_client_parameters": parameters.copy(
            update={"config": {"user_agent_extra": canary("config")}}
        ),
    }
    return {
        "aws_credentials": credentials.copy(update=changed),
        "name": canary("name"),
        "family": canary("family").lower(),
        "image": canary("image"),
        "execution_role_arn": f"arn:aws:iam::123456789012:role/{canary('execution_role_arn')}",
        "task_role_arn": f"arn:aws:iam::123456789012:role/{canary('task_role_arn')}",
        "cluster": "default",
        "env": {"VARIABLE": canary("env"), "URL": f"https://u:{canary('env url')}@host/x"},
        "labels": {"team": canary("labels")},
        "command": ["sh", "-c", f"export A={canary('command')}"],
        "configure_cloudwatch_logs": definition is None,
        "cloudwatch_logs_options": {} if definition else {"awslogs-x": canary("log option")},
        "secrets": {"KEY": _SECRET},
        "launch_type": "EC2",
        "task_definition": definition,
        "task_customizations": [
            {"op": "add", "path": "/referenceId", "value": canary("customization")},
            {"op": "add", "path": "/tags/-", "value": {"key": "x", "value": canary("tag")}},
        ],
        "task_watch_poll_interval": 0.05,
        "launch_timeout_seconds": 2,
    }


def full_fields(
    credentials: prefect_aws.AwsCredentials, may_be_shown: Collection[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Fields of a block with a whole definition, and the canaries that may not be shown.

    Args:
        credentials: To reach ECS with.
        may_be_shown: Members of a definition, as `Filled` names them.
    """
    filled = Filled("RegisterTaskDefinition", valid=True)
    family = f"{canary('family').lower()}-{next(_numbers)}"  # each test registers anew
    definition = {**filled.document, "family": family}
    definition["containerDefinitions"][0]["name"] = "prefect"
    for size in ("cpu", "memory"):
        definition.pop(size)
    hidden = {path: c for path, c in filled.canaries.items() if path not in may_be_shown}
    others = {name: value for name, value in HIDDEN.items() if name != "log option"}
    return {**fields(credentials, definition), "family": family}, {**hidden, **others}
