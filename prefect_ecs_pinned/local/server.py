"""HTTP around the embedded ECS: the AWS protocols, latency, quotas, faults, and counting.

ECS is answered by `model`, everything else by moto, and ``/_local/`` by `introspection`. Requests
that come here have passed `access.AccessControl`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import orjson

from prefect_ecs_pinned.local import matching
from prefect_ecs_pinned.local.access import LOCAL_PREFIX, Caller
from prefect_ecs_pinned.local.errors import AwsRefusal, RawAnswer
from prefect_ecs_pinned.local.facts import Facts
from prefect_ecs_pinned.local.faults import Fault, Faults
from prefect_ecs_pinned.local.introspection import Introspection
from prefect_ecs_pinned.local.model import EmbeddedECS
from prefect_ecs_pinned.local.moto_services import MotoServices
from prefect_ecs_pinned.local.settings import ACCOUNT_ID, by_action
from prefect_ecs_pinned.local.wire import (
    ECS_TARGET,
    Receive,
    Scope,
    Send,
    action_of,
    check_query,
    form_of,
    parse,
    read_body,
    send_json,
    send_raw,
    send_refusal,
    send_xml,
)

_log = logging.getLogger(__name__)


class _ConnectionCut(Exception):
    """The answer is not to be sent."""


class App:
    """The ASGI application, behind `access.AccessControl`."""

    def __init__(self, ecs: EmbeddedECS, moto: MotoServices) -> None:
        self.ecs = ecs
        self.moto = moto
        self.faults = Faults(ecs.random, ecs.now)
        self.local = Introspection(ecs, self.faults, moto)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: answer a request."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        target = headers.get("x-amz-target", "")
        try:
            body = await read_body(receive)
        except AwsRefusal as refusal:
            await send_refusal(send, refusal, True, close=True)
            return
        if scope["path"].startswith(LOCAL_PREFIX):
            await self._introspect(scope, send, body)
            return
        action = action_of(target, scope["path"], body)
        count = self.local.counts[action]
        count["calls"] += 1
        try:
            await self._aws(scope, send, target, body, action)
        except _ConnectionCut:
            # uvicorn's cycle of this request: nothing in ASGI can close a connection.
            send.__self__.transport.abort()  # type: ignore[attr-defined]
        except RawAnswer as raw:
            count["errors"] += 1
            await send_raw(send, raw.status, raw.body)
        except AwsRefusal as refusal:
            throttle = refusal.code in ("ThrottlingException", "RequestLimitExceeded")
            count["throttled" if throttle else "errors"] += 1
            await send_refusal(send, refusal, bool(target))

    async def _introspect(self, scope: Scope, send: Send, body: bytes) -> None:
        name = scope["path"].removeprefix(LOCAL_PREFIX)
        try:
            answer = self.local.answer(scope["method"], name, body)
        except AwsRefusal as refusal:
            await send_refusal(send, refusal, True)
        else:
            await send_json(send, 200, answer)

    async def _aws(self, scope: Scope, send: Send, target: str, body: bytes, action: str) -> None:
        caller: Caller = scope["caller"]
        ours = target.startswith(f"{ECS_TARGET}.")
        if caller.service == "ecs" and not ours:  # moto has an ECS of its own, which runs nothing
            raise AwsRefusal("UnknownOperationException", "")
        request: dict[str, Any]
        if target:
            request = parse(target, body)
        else:
            check_query(caller.service, action, body)
            request = dict(form_of(body))
        fault = await self._strike(action, request, caller)
        await self._admit(action, request, caller.region, ours, fault)
        if ours:
            answer = await self._ecs(action, request, caller, fault)
            await send_json(send, 200, answer)
            return
        await asyncio.sleep(self._latency(action))
        if action == "GetCallerIdentity" and caller.service == "sts":
            await _send_identity(send, caller)
            return
        if action == "FilterLogEvents":
            self.moto.check_filter_log_events(request, caller.region)
        await self._forward(scope, send, body, fault)

    async def _strike(
        self, action: str, request: Mapping[str, Any], caller: Caller
    ) -> Fault | None:
        """The fault that hits a call, once those have passed that only delay it."""
        if not self.faults.rules:
            return None
        definition: Mapping[str, Any] = {}
        if action == "RegisterTaskDefinition":
            definition = request
        elif isinstance(name := request.get("taskDefinition"), str):
            definition = self.ecs.definitions(caller.region).find(name) or {}
        hit = self.faults.strike(Facts(action, request, definition, caller.arn))
        await asyncio.sleep(sum(fault.seconds for fault in hit if fault.kind == "slow"))
        return next((fault for fault in hit if fault.kind != "slow"), None)

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
            if (refusal := fault.refusal()) is not None:
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
        self, action: str, request: Mapping[str, Any], caller: Caller, fault: Fault | None
    ) -> dict[str, Any]:
        """The answer of ECS, or what a fault makes of it."""
        kind = "" if fault is None else fault.kind
        if fault is not None and kind == "in-band":
            await asyncio.sleep(self._latency(action))
            return fault.in_band()
        try:
            answer = await self._carry_out(action, request, caller)
        except AwsRefusal:
            if kind == "lost-reply":
                raise _ConnectionCut from None
            raise
        if kind == "lost-reply":
            raise _ConnectionCut
        return answer if fault is None else _rewritten(answer, fault)

    async def _carry_out(
        self, action: str, request: Mapping[str, Any], caller: Caller
    ) -> dict[str, Any]:
        """Half of the latency passes before the action takes effect, half after."""
        half, region = self._latency(action) / 2, caller.region
        family = None
        definitions = self.ecs.definitions(region)
        if action == "RegisterTaskDefinition":
            family = definitions.begin(request)
        try:
            await asyncio.sleep(half)
            answer = self.ecs.answer(action, request, region, caller.arn)
            await asyncio.sleep(half)
        finally:
            if family is not None:
                definitions.end(family)
        return answer

    async def _forward(self, scope: Scope, send: Send, body: bytes, fault: Fault | None) -> None:
        """Let moto answer, and send the answer, or what a fault makes of it."""
        try:
            status, headers, answer = await self.moto.answer(scope, body)
        except Exception:  # noqa: BLE001 - what moto does not know, it raises
            _log.exception("moto cannot answer %s %r", scope["method"], scope["path"])
            raise AwsRefusal("InternalFailure", "moto cannot answer this.", 500) from None
        if fault is not None and fault.kind == "lost-reply":
            raise _ConnectionCut
        if fault is not None and fault.kind == "rewrite" and answer.startswith(b"{"):
            await send_json(send, status, _rewritten(orjson.loads(answer), fault))
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _latency(self, action: str) -> float:
        return by_action(self.ecs.settings.latencies, action)


def _rewritten(answer: dict[str, Any], fault: Fault) -> dict[str, Any]:
    """A copy of an answer with the members that a fault has changed."""
    changed: dict[str, Any] = orjson.loads(orjson.dumps(answer))
    for path, value in fault.members.items():
        matching.rewrite(changed, path, value)
    return changed


async def _send_identity(send: Send, caller: Caller) -> None:
    """API_GetCallerIdentity."""
    text = (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<GetCallerIdentityResult><Arn>{caller.arn}</Arn><UserId>{caller.user_id}</UserId>"
        f"<Account>{ACCOUNT_ID}</Account></GetCallerIdentityResult>"
        "<ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )
    await send_xml(send, 200, text)
