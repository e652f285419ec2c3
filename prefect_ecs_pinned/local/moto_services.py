"""The services that moto serves truthfully: EC2, Logs, IAM, STS, Secrets Manager, SSM, ECR.

What is untrue for our purpose is corrected here: FilterLogEvents refuses the whole call when a
stream that it names does not exist, or when it names more than a hundred.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from a2wsgi import WSGIMiddleware
from a2wsgi.asgi_typing import ASGIApp
from moto.backends import get_backend
from moto.core.utils import utcnow
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from prefect_ecs_pinned.local.errors import AwsRefusal
from prefect_ecs_pinned.local.settings import ACCOUNT_ID
from prefect_ecs_pinned.local.wire import Scope

#: Headers by which a browser lets pages of other origins read an answer: moto sends them.
_CORS = b"access-control-"

#: API_FilterLogEvents, "logStreamNames".
MOST_STREAMS = 100


class _Dispatcher(DomainDispatcherApplication):
    """moto's applications, one for each service and Region.

    They belong to the process, as moto's backends do: an application takes 10 ms to make, and to
    find the service of a host moto lists its own folder, for each request.
    """

    def __init__(self) -> None:
        super().__init__(create_backend_app)
        self._backend_for_host = lru_cache(maxsize=256)(super().get_backend_for_host)

    def get_backend_for_host(self, host: str | None) -> Any:
        """The name of the service, or None."""
        return self._backend_for_host(host)


class MotoServices:
    """moto's backends, by HTTP and by hand."""

    _open = 0
    _wsgi = _Dispatcher()

    def __init__(self) -> None:
        MotoServices._open += 1
        self._app = cast(ASGIApp, WSGIMiddleware(cast(Any, self._wsgi), workers=4))

    async def answer(
        self, scope: Scope, body: bytes
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and body of moto's answer; no header lets another origin read it."""
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if asked:
                return {"type": "http.disconnect"}
            asked = True
            return {"type": "http.request", "body": body, "more_body": False}

        start: dict[str, Any] = {}
        parts = []

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(bytes(message.get("body", b"")))

        await self._app(cast(Any, scope), cast(Any, receive), cast(Any, send))
        headers = [h for h in start["headers"] if not bytes(h[0]).lower().startswith(_CORS)]
        return start["status"], headers, b"".join(parts)

    def close(self) -> None:
        """The last to close releases everything: moto's backends belong to the process."""
        MotoServices._open -= 1
        if MotoServices._open == 0:
            moto_api_backend.reset()

    def subnets(self, region: str) -> set[str]:
        """IDs of the subnets that EC2 has in a Region."""
        backend = cast(Any, get_backend("ec2"))[ACCOUNT_ID][region]
        # By zone; other threads make and delete some.
        return {id_ for zone in list(backend.subnets.values()) for id_ in list(zone)}

    def assumed_role(self, key: str, token: str) -> str | None:
        """`access.Sessions`: the session that AssumeRole made, by its key and session token."""
        backend = cast(Any, get_backend("sts"))[ACCOUNT_ID]["aws"]
        role = backend.get_assumed_role_from_access_key(key)
        if role is None or not hmac.compare_digest(role.session_token.encode(), token.encode()):
            return None
        if role.expiration <= utcnow():
            raise AwsRefusal(
                "ExpiredTokenException",
                "The security token included in the request is expired",
                403,
            )
        return str(role.arn)

    def secret(self, arn: str) -> str | None:
        """The value of a secret of Secrets Manager or a parameter of SSM, by ARN."""
        service, region = arn.split(":")[2:4]
        if service == "secretsmanager":
            backend = cast(Any, get_backend("secretsmanager"))[ACCOUNT_ID][region]
            try:
                return str(backend.get_secret_value(arn, "", "")["SecretString"])
            except Exception:  # noqa: BLE001 - what moto does not know, it raises
                return None
        backend = cast(Any, get_backend("ssm"))[ACCOUNT_ID][region]
        name = arn.split(":parameter", 1)[-1]
        parameter = backend.get_parameter(name) or backend.get_parameter(name.lstrip("/"))
        return None if parameter is None else str(parameter.value)

    def check_filter_log_events(self, request: Mapping[str, Any], region: str) -> None:
        """Refuse what CloudWatch Logs refuses and moto does not."""
        names: Sequence[str] = request.get("logStreamNames") or []
        if len(names) > MOST_STREAMS:
            raise AwsRefusal(
                "InvalidParameterException",
                "1 validation error detected: logStreamNames can have at most 100 items.",
            )
        group = self._logs(region).groups.get(request.get("logGroupName"))
        if group is not None and any(name not in group.streams for name in names):
            raise AwsRefusal(
                "ResourceNotFoundException", "The specified log stream does not exist."
            )

    def put_lines(self, region: str, group: str, stream: str, lines: Sequence[str]) -> None:
        """What the awslogs driver does with the output of a container."""
        logs = self._logs(region)
        if group not in logs.groups:
            logs.create_log_group(group, {})
        if stream not in logs.groups[group].streams:
            logs.create_log_stream(group, stream)
        now = int(time.time() * 1000)
        logs.put_log_events(group, stream, [{"timestamp": now, "message": line} for line in lines])

    def _logs(self, region: str) -> Any:
        return cast(Any, get_backend("logs"))[ACCOUNT_ID][region]
