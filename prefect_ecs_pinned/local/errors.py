"""What the embedded ECS answers when it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AwsRefusal(Exception):
    """An AWS error: code, message, HTTP status, and modelled members such as ``resourceIds``."""

    def __init__(
        self,
        code: str,
        message: str,
        status: int = 400,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members = dict(members or {})


class RawAnswer(Exception):
    """An answer that is not one of AWS's: a proxy's page, with its status."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body


def throttled() -> AwsRefusal:
    """ECS's answer over quota (not a modelled exception)."""
    return AwsRefusal("ThrottlingException", "Rate exceeded")


def client(message: str) -> AwsRefusal:
    """A ``ClientException``."""
    return AwsRefusal("ClientException", message)


def invalid(message: str) -> AwsRefusal:
    """An ``InvalidParameterException``."""
    return AwsRefusal("InvalidParameterException", message)


def no_cluster() -> AwsRefusal:
    """What ECS answers where there is no such cluster."""
    return AwsRefusal("ClusterNotFoundException", "Cluster not found.")
