"""HTTP around the embedded ECS: the AWS protocols, latency, quotas, faults, and counting.

ECS is answered by `model`, everything else by moto. Under ``/_local/`` stand numbers for tests
and for people: ``calls``, ``launches``, ``tasks``, ``revisions``; ``PUT /_local/faults`` switches
faults, ``PATCH /_local/settings`` changes settings, ``POST /_local/reset`` zeroes the counters.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import orjson

from prefect_ecs_pinned.local.errors import AwsRefusal
from prefect_ecs_pinned.local.faults import Fault, Faults
from prefect_ecs_pinned.local.model import EmbeddedECS
from prefect_ecs_pinned.local.moto_services import MotoServices
from prefect_ecs_pinned.local.settings import Settings

_ECS_TARGET = "AmazonEC2ContainerServiceV20141113."
_DEFAULT_REGION = "us-east-1"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class _ConnectionCut(Exception):
    """The answer is not to be sent."""


class App:
    """The ASGI application."""

    def __init__(self, ecs: EmbeddedECS, moto: MotoServices) -> None:
        self.ecs = ecs
        self.moto = moto
        self.faults = Faults(ecs.random)
        self.counts: dict[str, dict[str, int]] = defaultdict(
            lambda: {"calls": 0, "throttled": 0, "errors": 0}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await _read(receive)
        if scope["path"].startswith("/_local/"):
            status, answer = self._introspect(scope["method"], scope["path"][8:], body)
            await _send_json(send, status, answer)
            return
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        action, region = _action(headers, scope["path"], body), _region(headers)
        count = self.counts[action]
        count["calls"] += 1
        try:
            await self._aws(scope, send, headers, body, action, region)
        except _ConnectionCut:
            # uvicorn's cycle of this request: nothing in ASGI can close a connection.
            send.__self__.transport.abort()  # type: ignore[attr-defined]
        except AwsRefusal as refusal:
            throttle = refusal.code in ("ThrottlingException", "RequestLimitExceeded")
            count["throttled" if throttle else "errors"] += 1
            await self._send_refusal(send, refusal, headers)

    async def _aws(
        self,
        scope: Scope,
        send: Send,
        headers: Mapping[str, str],
        body: bytes,
        action: str,
        region: str,
    ) -> None:
        ours = headers.get("x-amz-target", "").startswith(_ECS_TARGET)
        request = orjson.loads(body or b"{}") if "x-amz-target" in headers else {}
        fault = self.faults.strike(action)
        await self._admit(action, request, region, ours, fault)
        if ours:
            answer = await self._ecs(action, request, region, fault)
            await _send_json(send, 200, answer)
            return
        await asyncio.sleep(self._latency(action))
        if action == "FilterLogEvents":
            self.moto.check_filter_log_events(request, region)
        await self._forward(scope, send, body, fault)

    async def _admit(
        self,
        action: str,
        request: Mapping[str, Any],
        region: str,
        ours: bool,
        fault: Fault | None,
    ) -> None:
        """Let a call in, or refuse it for its fault or its quota."""
        if fault is not None:
            if fault.kind == "reset":
                raise _ConnectionCut
            if fault.kind == "slow":
                await asyncio.sleep(fault.seconds)
            elif (refusal := fault.refusal()) is not None:
                await asyncio.sleep(self._latency("*"))
                raise refusal
        try:
            if ours:
                self.ecs.admit(action, request, region)
            elif not self.ecs.buckets.take(region, action):
                raise AwsRefusal("RequestLimitExceeded", "Request limit exceeded.", 503)
        except AwsRefusal:
            await asyncio.sleep(self._latency("*"))
            raise

    async def _ecs(
        self, action: str, request: Mapping[str, Any], region: str, fault: Fault | None
    ) -> dict[str, Any]:
        """Half of the latency passes before the action takes effect, half after."""
        half = self._latency(action) / 2
        if fault is not None and fault.kind == "in-band":
            await asyncio.sleep(2 * half)
            return {"tasks": [], "failures": [{"arn": "", "reason": fault.message}]}
        if action == "RegisterTaskDefinition":
            definitions = self.ecs.definitions(region)
            family = definitions.begin(request)
            try:
                await asyncio.sleep(half)
                answer = self.ecs.answer(action, request, region)
                await asyncio.sleep(half)
            finally:
                definitions.end(family)
        else:
            await asyncio.sleep(half)
            answer = self.ecs.answer(action, request, region)
            await asyncio.sleep(half)
        if fault is not None and fault.kind == "lost-reply":
            raise _ConnectionCut
        return answer

    async def _forward(self, scope: Scope, send: Send, body: bytes, fault: Fault | None) -> None:
        """Let moto answer."""
        done = False

        async def receive() -> dict[str, Any]:
            nonlocal done
            if done:
                return {"type": "http.disconnect"}
            done = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def swallow(message: dict[str, Any]) -> None:
            pass

        lost = fault is not None and fault.kind == "lost-reply"
        await self.moto.app(scope, receive, swallow if lost else send)  # type: ignore[arg-type]
        if lost:
            raise _ConnectionCut

    def _latency(self, action: str) -> float:
        latencies = self.ecs.settings.latencies
        return latencies.get(action, latencies.get("*", 0.0))

    async def _send_refusal(
        self, send: Send, refusal: AwsRefusal, headers: Mapping[str, str]
    ) -> None:
        if "x-amz-target" in headers:
            body = {"__type": refusal.code, "message": refusal.message, **refusal.members}
            await _send_json(send, refusal.status, body)
            return
        text = (
            f"<Response><Errors><Error><Code>{refusal.code}</Code><Message>{refusal.message}"
            "</Message></Error></Errors><RequestID>0</RequestID></Response>"
        )
        await _send(send, refusal.status, b"text/xml", text.encode())

    def _introspect(self, method: str, name: str, body: bytes) -> tuple[int, Any]:
        ecs = self.ecs
        readings: dict[str, Callable[[], Any]] = {
            "calls": lambda: self.counts,
            "launches": lambda: ecs.launches,
            "tasks": ecs.summary,
            "revisions": lambda: ecs.definitions().all(),
            "settings": lambda: dataclasses.asdict(ecs.settings),
        }
        if method == "GET" and name in readings:
            return 200, readings[name]()
        if method == "POST" and name == "reset":
            self.reset()
        elif method == "PUT" and name == "faults":
            self.faults.replace(orjson.loads(body))
        elif method == "PATCH" and name == "settings":
            self.change(**orjson.loads(body))
        else:
            return 404, {"message": f"no such thing: {method} /_local/{name}"}
        return 200, {}

    def reset(self) -> None:
        """Zero the counters."""
        self.counts.clear()
        self.ecs.launches.clear()

    def change(self, **changes: Any) -> None:
        """Change settings while the server runs."""
        known = {item.name for item in dataclasses.fields(Settings)}
        if unknown := sorted(changes.keys() - known):
            raise ValueError(f"no such settings: {', '.join(unknown)}")
        if isinstance(changes.get("phases"), dict):
            changes["phases"] = dataclasses.replace(self.ecs.settings.phases, **changes["phases"])
        for name, value in changes.items():
            setattr(self.ecs.settings, name, value)
        self.ecs.buckets.scale = self.ecs.settings.quota_scale


async def _read(receive: Receive) -> bytes:
    body = b""
    more = True
    while more:
        message = await receive()
        body += bytes(message.get("body", b""))
        more = bool(message.get("more_body"))
    return body


async def _send_json(send: Send, status: int, body: Any) -> None:
    await _send(send, status, b"application/x-amz-json-1.1", orjson.dumps(body))


async def _send(send: Send, status: int, kind: bytes, body: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _action(headers: Mapping[str, str], path: str, body: bytes) -> str:
    """The API action: of a JSON target, of a form, or of a path."""
    if target := headers.get("x-amz-target"):
        return target.rsplit(".", 1)[-1]
    form = parse_qs(body.decode("utf-8", "replace")).get("Action")
    return form[0] if form else path.rstrip("/").rsplit("/", 1)[-1] or "unknown"


def _region(headers: Mapping[str, str]) -> str:
    """The Region of the credential scope: Credential=KEY/DATE/REGION/SERVICE/aws4_request."""
    _, found, rest = headers.get("authorization", "").partition("Credential=")
    parts = rest.split("/")
    return parts[2] if found and len(parts) > 3 else _DEFAULT_REGION
