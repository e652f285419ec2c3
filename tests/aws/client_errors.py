"""botocore's exception for an answer that refuses a call."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError


def client_error(response: Any, operation: str) -> ClientError:
    """As botocore raises it.

    Args:
        response: Has fewer members than its type in botocore's stubs, or others.
        operation: The API action.
    """
    return ClientError(response, operation)
