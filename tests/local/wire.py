"""Requests as bytes: what no HTTP client would send, a browser and an attacker do."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_ecs_pinned.local import LocalECS

ECS = "AmazonEC2ContainerServiceV20141113"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """AWS's error code."""
        return str(self.json["__type"])


def signature(key: str, service: str = "ecs", region: str = "us-east-1") -> str:
    """An Authorization header as every SDK of AWS makes it."""
    return (
        f"AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/{service}/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
    )


def run_task(ecs: LocalECS, **changes: str | None) -> list[tuple[str, str]]:
    """The headers of a good RunTask, changed: None leaves one out."""
    headers: dict[str, str | None] = {
        "Host": ecs.endpoint_url.removeprefix("http://"),
        "Authorization": signature(ecs.access_key),
        "X-Amz-Target": f"{ECS}.RunTask",
        "Content-Type": "application/x-amz-json-1.1",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return [(name, value) for name, value in headers.items() if value is not None]


def exchange(
    ecs: LocalECS,
    headers: Sequence[tuple[str, str]],
    body: bytes = b'{"taskDefinition": "etl"}',
    method: str = "POST",
    target: str = "/",
    version: str = "1.1",
) -> Answer:
    """Send a request as it is, and read the answer."""
    lines = [f"{method} {target} HTTP/{version}", *(f"{n}: {v}" for n, v in headers)]
    if not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers):
        lines.append(f"Content-Length: {len(body)}")
    lines.append("Connection: close")
    host, _, port = ecs.endpoint_url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), 10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        received = b""
        while data := connection.recv(65536):
            received += data
    head, _, rest = received.partition(b"\r\n\r\n")
    first, *others = head.decode("latin-1").split("\r\n")
    split = (line.partition(":") for line in others)
    return Answer(int(first.split()[1]), {n.lower(): v.strip() for n, _, v in split}, rest)
