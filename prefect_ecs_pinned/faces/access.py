"""From Prefect's `AwsCredentials` to the access that shared state is keyed by."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import prefect_aws

from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.core.shown import hidden_texts


def access_of(credentials: prefect_aws.AwsCredentials) -> Access:
    """How to reach AWS with these credentials.

    ``aws_client_parameters`` is honoured: endpoint, proxies, timeouts, verify. The key covers
    the values of all fields, and of the environment variables that boto3 also reads.
    """
    secret = credentials.aws_secret_access_key
    parts = (
        credentials.aws_access_key_id,
        secret.get_secret_value() if secret else None,
        credentials.aws_session_token,
        credentials.profile_name,
        credentials.region_name,
        json.dumps(dict(credentials.aws_client_parameters), sort_keys=True, default=str),
        _role(credentials),
        [(name, os.environ[name]) for name in sorted(os.environ) if name.startswith("AWS_")],
    )

    def client_parameters() -> Mapping[str, Any]:
        parameters: Mapping[str, Any] = credentials.aws_client_parameters.get_params_override()
        return parameters

    return Access(
        key=hashlib.sha256(repr(parts).encode()).hexdigest(),
        region=credentials.region_name or "",
        session=credentials.get_boto3_session,
        client_parameters=client_parameters,
        hidden=lambda: hidden_of(credentials),
    )


def _role(credentials: prefect_aws.AwsCredentials) -> str:
    """The role that is assumed, from prefect-aws 0.7 on: the session lasts for an hour."""
    arn = getattr(credentials, "assume_role_arn", None)
    return json.dumps([arn, dict(credentials.assume_role_kwargs)], default=str) if arn else ""


def hidden_of(credentials: prefect_aws.AwsCredentials) -> frozenset[str]:
    """The texts of credentials that no message may show.

    User and password of a URL are hidden anyway (`core.shown.without`).
    """
    secret = credentials.aws_secret_access_key
    role = getattr(credentials, "assume_role_kwargs", None)
    parts = [
        credentials.aws_access_key_id,
        secret.get_secret_value() if secret else None,
        credentials.aws_session_token,
        credentials.aws_client_parameters.config,
        *(getattr(role, name, None) for name in ("ExternalId", "TokenCode")),
    ]
    return hidden_texts(parts, None)
