"""HTTP around the embedded ECS: the AWS protocols, latency, quotas, faults, and counting.

ECS is answered by `model`, everything else by moto, and ``/_local/`` by `introspection`. Requests
that come here have passed `access.Gate`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from prefect_ecs_pinned.local.access import LOCAL_PREFIX, Caller
from prefect_ecs_pinned.local.errors import AwsRefusal
from prefect_ecs_pinned.local.faults import Fault, Faults
from prefect_ecs_pinned.local.introspection import Introspection
from prefect_ecs_pinned.local.model import EmbeddedECS
from prefect_ecs_pinned.local.moto_services import MotoServices
from prefect_ecs_pinned.local.settings import ACCOUNT_ID
from prefect_ecs_pinned.local.wire import (
    ECS_TARGET,
    Receive,
    Scope,
    Send,
    action_of,
    check_query,
    parse,
    read_body,
    send_json,
    send_refusal,
    send_xml,
)

#: Headers by which browsers are told that other origins may read: moto sends them, nobody here
#: is to have them.
_CORS = b"access-control-"


_log = logging.getLogger(__name__)


class _ConnectionCut(Exception):
    """The answer is not to be sent."""


class App:
    """The ASGI application, behind `access.Gate`."""

    def __init__(self, ecs: EmbeddedECS, moto: MotoServices) -> None:
        self.ecs = ecs
        self.moto = moto
        self.faults = Faults(ecs.random)
        self.local = Introspection(ecs, self.faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
        request: dict[str, Any] = {}
        if target:
            request = parse(target, body)
        else:
            check_query(caller.service, action, body)
        fault = self.faults.strike(action)
        await self._admit(action, request, caller.region, ours, fault)
        if ours:
            answer = await self._ecs(action, request, caller.region, fault)
            await send_json(send, 200, answer)
            return
        await asyncio.sleep(self._latency(action))
        if action == "GetCallerIdentity" and caller.service == "sts":
            await _send_identity(send, caller)
            return
        if action == "FilterLogEvents":
            self.moto.check_filter_log_events(request, caller.region)
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
        """Let moto answer, without the permission for other origins that it gives."""
        done = False

        async def receive() -> dict[str, Any]:
            nonlocal done
            if done:
                return {"type": "http.disconnect"}
            done = True
            return {"type": "http.request", "body": body, "more_body": False}

        lost = fault is not None and fault.kind == "lost-reply"
        started = False

        async def answer(message: dict[str, Any]) -> None:
            nonlocal started
            if lost:
                return
            started = True
            if "headers" in message:
                kept = [h for h in message["headers"] if not bytes(h[0]).lower().startswith(_CORS)]
                message = {**message, "headers": kept}
            await send(message)

        try:
            await self.moto.app(scope, receive, answer)  # type: ignore[arg-type]
        except Exception:  # what moto does not know, it raises
            _log.exception("moto cannot answer %s %s", scope["method"], scope["path"])
            if not started:
                raise AwsRefusal("InternalFailure", "moto cannot answer this.", 500) from None
        if lost:
            raise _ConnectionCut

    def _latency(self, action: str) -> float:
        latencies = self.ecs.settings.latencies
        return latencies.get(action, latencies.get("*", 0.0))


async def _send_identity(send: Send, caller: Caller) -> None:
    """API_GetCallerIdentity."""
    text = (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<GetCallerIdentityResult><Arn>{caller.arn}</Arn><UserId>{caller.user_id}</UserId>"
        f"<Account>{ACCOUNT_ID}</Account></GetCallerIdentityResult>"
        "<ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )
    await send_xml(send, 200, text)
