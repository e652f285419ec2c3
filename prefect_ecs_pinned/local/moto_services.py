"""The services that moto serves truthfully: EC2, Logs, IAM, STS, Secrets Manager, SSM, ECR.

What is untrue for our purpose is corrected here: FilterLogEvents refuses the whole call when a
stream that it names does not exist, or when it names more than a hundred.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from a2wsgi import WSGIMiddleware
from a2wsgi.asgi_typing import ASGIApp
from moto.backends import get_backend
from moto.core.utils import utcnow
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from prefect_ecs_pinned.local.errors import AwsRefusal
from prefect_ecs_pinned.local.settings import ACCOUNT_ID

#: API_FilterLogEvents, "logStreamNames".
MOST_STREAMS = 100

#: Seconds for which the list of subnets is remembered.
_SUBNETS_SECONDS = 1.0


class MotoServices:
    """moto's backends, by HTTP and by hand."""

    _open = 0

    def __init__(self) -> None:
        MotoServices._open += 1
        wsgi = DomainDispatcherApplication(create_backend_app)
        self.app = cast(ASGIApp, WSGIMiddleware(cast(Any, wsgi), workers=4))
        self._subnets: dict[str, tuple[float, set[str]]] = {}

    def close(self) -> None:
        """The last to close lets go of everything: moto's backends belong to the process."""
        MotoServices._open -= 1
        if MotoServices._open == 0:
            moto_api_backend.reset()

    def subnets(self, region: str) -> set[str]:
        """IDs of the subnets that EC2 knows in a Region."""
        at, known = self._subnets.get(region, (float("-inf"), set()))
        if time.monotonic() - at > _SUBNETS_SECONDS:
            backend = cast(Any, get_backend("ec2"))[ACCOUNT_ID][region]
            known = {subnet.id for subnet in backend.describe_subnets()}
            self._subnets[region] = (time.monotonic(), known)
        return known

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
            except Exception:
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
