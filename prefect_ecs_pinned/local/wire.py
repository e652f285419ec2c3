"""AWS's protocols on the wire: what a request asks for, and how answers and errors are written.

A body that cannot be read is answered as AWS does: SerializationException, 400. What can be
read is held against botocore's model of the service: wrong types are such bodies too.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import orjson
from botocore.loaders import create_loader
from botocore.model import ServiceModel

from prefect_ecs_pinned.local.errors import AwsRefusal, invalid

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

#: Bytes of the largest body: PutLogEvents, the largest request here, takes 1,048,576.
MOST_BYTES = 2 * 1024 * 1024

#: Levels of JSON in a body: no member of AWS's requests lies deeper than a dozen.
MOST_NESTED = 64

ECS_TARGET = "AmazonEC2ContainerServiceV20141113"

#: Services with requests in JSON: prefix of X-Amz-Target -> name of botocore's model.
_MODELS = {
    ECS_TARGET: "ecs",
    "Logs_20140328": "logs",
    "secretsmanager": "secretsmanager",
    "AmazonSSM": "ssm",
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
}


#: Services with requests in forms.
_QUERY_SERVICES = ("ec2", "iam", "sts")


def serialization(message: str) -> AwsRefusal:
    """AWS's answer to a body that it cannot read (CommonErrors, MalformedHttpRequestException)."""
    return AwsRefusal("SerializationException", message)


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request.

    Raises:
        AwsRefusal: It is larger than `MOST_BYTES`.
    """
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        parts.append(bytes(message.get("body", b"")))
        size += len(parts[-1])
        if size > MOST_BYTES:
            raise serialization(f"The request is larger than {MOST_BYTES} bytes.")
        more = bool(message.get("more_body"))
    return b"".join(parts)


def action_of(target: str, path: str, body: bytes) -> str:
    """The API action: of a JSON target, of a form, or of a path."""
    if target:
        return target.rsplit(".", 1)[-1]
    form = parse_qs(body.decode("utf-8", "replace")).get("Action")
    return form[0] if form else path.rstrip("/").rsplit("/", 1)[-1] or "unknown"


def check_query(service: str, action: str, body: bytes) -> None:
    """Check a request in AWS's query protocol.

    Raises:
        AwsRefusal: The form cannot be read (MalformedQueryString), or the service has no such
            action (InvalidAction).
    """
    try:
        body.decode()
    except UnicodeDecodeError:
        raise AwsRefusal("MalformedQueryString", "The form is not UTF-8.") from None
    if service in _QUERY_SERVICES and action not in _model(service).operation_names:
        raise AwsRefusal("InvalidAction", "The action is not valid for this web service.")


def form_of(body: bytes) -> dict[str, str]:
    """The fields of a form."""
    return {name: items[0] for name, items in parse_qs(body.decode("utf-8", "replace")).items()}


def parse(target: str, body: bytes) -> dict[str, Any]:
    """The parameters of a request in JSON, without nulls.

    Args:
        target: ``PREFIX.ACTION`` of X-Amz-Target.
        body: JSON in UTF-8.

    Raises:
        AwsRefusal: The service has no such operation (UnknownOperationException), the body cannot
            be read (SerializationException), or a required member is missing
            (InvalidParameterException).
    """
    prefix, _, action = target.rpartition(".")
    model = _model(_MODELS[prefix]) if prefix in _MODELS else None
    if model is not None and action not in model.operation_names:
        raise AwsRefusal("UnknownOperationException", "")
    request = read_json(body)
    if not isinstance(request, dict):
        raise serialization("Start of structure or map expected.")
    if model is None:
        return request
    shape = model.operation_model(action).input_shape
    checked: dict[str, Any] = request if shape is None else _structure(shape, request, "")
    return checked


def read_json(body: bytes) -> Any:
    """JSON of a bounded depth.

    Raises:
        AwsRefusal: SerializationException.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise serialization(f"The body is not JSON: {error.msg}") from None
    _check_depth(document, MOST_NESTED)
    return document


def _check_depth(value: Any, left: int) -> None:
    if not left:
        raise serialization(f"The body has more than {MOST_NESTED} levels.")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        _check_depth(item, left - 1)


@functools.cache
def _model(service: str) -> Any:
    """botocore's model of a service, whatever is configured for clients of AWS."""
    loader = create_loader(os.environ.get("AWS_DATA_PATH"))
    return ServiceModel(loader.load_service_model(service, "service-2"), service)


#: Shapes of botocore's models that are no containers: what JSON may give for them.
_SCALARS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "character": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float, str),
}


def _checked(shape: Any, value: Any, path: str) -> Any:
    """A value of a shape, without its nulls.

    Raises:
        AwsRefusal: SerializationException; the message names the member.
    """
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, value, path)
    if kind == "list" and isinstance(value, list):
        return [_checked(shape.member, item, f"{path}[{n}]") for n, item in enumerate(value)]
    if kind == "map" and isinstance(value, dict):
        return {key: _checked(shape.value, item, f"{path}.{key}") for key, item in value.items()}
    wanted = _SCALARS.get(kind, ())
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise serialization(f"{_JSON_NAMES[type(value)]} can not be converted to {kind}: {path}")
    return value


def _structure(shape: Any, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise serialization(f"Start of structure or map expected: {path}")
    present = {name: item for name, item in value.items() if item is not None}
    for name in shape.required_members:
        if name not in present:
            raise invalid(
                f"1 validation error detected: Value null at '{path}.{name}'".replace("'.", "'")
                + " failed to satisfy constraint: Member must not be null"
            )
    return {
        name: _checked(shape.members[name], item, f"{path}.{name}".lstrip("."))
        if name in shape.members
        else item
        for name, item in present.items()
    }


_JSON_NAMES = {
    str: "STRING_VALUE",
    int: "NUMBER_VALUE",
    float: "DECIMAL_VALUE",
    bool: "BOOLEAN_VALUE",
    dict: "START_OBJECT",
    list: "START_ARRAY",
    type(None): "NULL_VALUE",
}


async def send_json(send: Send, status: int, body: Any, close: bool = False) -> None:
    """Answer in AWS's JSON protocol."""
    await _send(send, status, b"application/x-amz-json-1.1", orjson.dumps(body), close)


async def send_xml(send: Send, status: int, text: str, close: bool = False) -> None:
    """Answer in AWS's query protocol."""
    await _send(send, status, b"text/xml", text.encode(), close)


async def send_raw(send: Send, status: int, body: str) -> None:
    """Answer as something does that is not AWS."""
    await _send(send, status, b"text/html", body.encode(), False)


async def send_refusal(send: Send, refusal: AwsRefusal, is_json: bool, close: bool = False) -> None:
    """Answer with an error, in the protocol of the request."""
    if is_json:
        body = {"__type": refusal.code, "message": refusal.message, **refusal.members}
        await send_json(send, refusal.status, body, close)
        return
    # botocore reads EC2's form of an error from every service with answers in XML.
    text = (
        f"<Response><Errors><Error><Code>{escape(refusal.code)}</Code><Message>"
        f"{escape(refusal.message)}</Message></Error></Errors><RequestID>0</RequestID></Response>"
    )
    await send_xml(send, refusal.status, text, close)


async def _send(send: Send, status: int, kind: bytes, body: bytes, close: bool) -> None:
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"x-pinned-ecs-local", b"1"),  # `doctor` recognises by it that this is not AWS
    ]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
