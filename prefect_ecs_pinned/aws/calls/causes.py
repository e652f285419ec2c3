"""Why AWS was useless, and what a person can do about it: the cause decides, not the call.

A call may add what to do when it is *refused* (``set subnets, or correct vpc_id``) and which
permission it needs. Neither is shown when there are no credentials or no network: it would mislead
the reader. `faults.as_error` is the only reader of this table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from prefect_ecs_pinned.aws.calls.codes import is_skewed, plain
from prefect_ecs_pinned.core.kinds import Kind


class Cause(Enum):
    """What kept AWS from doing what was asked for; the value is its name in the documentation."""

    NO_CREDENTIALS = "no credentials"
    EXPIRED = "expired or unknown credentials"
    WRONG_SECRET = "wrong secret key"  # noqa: S105 - the name of a cause
    WRONG_CLOCK = "wrong clock"
    NO_REGION = "no Region"
    WRONG_PROFILE = "unknown profile"
    WRONG_SETTINGS = "unusable settings"
    WRONG_ACCOUNT = "wrong account"
    DENIED = "permission missing"
    UNREACHABLE = "unreachable"
    NO_TLS = "no secure connection"
    THROTTLED = "throttled"
    NO_ANSWER = "no usable answer"
    REFUSED = "anything else that AWS refuses"


#: Cause -> what to do about it, whichever call it was. Causes without an entry leave it to the
#: call (`faults.as_error`).
HINTS: Mapping[Cause, str] = {
    Cause.NO_CREDENTIALS: "set AWS credentials: in the block or work pool, or where this runs "
    "(environment variables, a profile or a role)",
    Cause.EXPIRED: "renew the AWS credentials: in the block or work pool, or where this runs",
    Cause.WRONG_SECRET: "check the secret access key: in the block or work pool, or where this "
    "runs",
    Cause.WRONG_CLOCK: "set the clock of this machine: AWS refuses requests whose time is off by "
    "more than 5 minutes",
    Cause.NO_REGION: "set region_name in the AWS credentials of the block or work pool, or "
    "AWS_DEFAULT_REGION (boto3 does not read AWS_REGION)",
    Cause.WRONG_PROFILE: "check profile_name in the AWS credentials of the block or work pool, and "
    "AWS_PROFILE",
    Cause.WRONG_SETTINGS: "correct the AWS credentials and aws_client_parameters of the block or "
    "work pool, or the AWS variables and files of this machine",
    Cause.WRONG_ACCOUNT: "use credentials of the account that is named, or correct the ARN",
    Cause.UNREACHABLE: "check the network, the proxy, region_name, endpoint_url and "
    "AWS_ENDPOINT_URL",
    Cause.NO_TLS: "check the CA bundle (AWS_CA_BUNDLE, or verify in aws_client_parameters), the "
    "proxy, and that the endpoint uses HTTPS",
    Cause.THROTTLED: "try again later: AWS limits the calls of this account and Region",
    Cause.NO_ANSWER: "try again later; if this continues, check the proxy, endpoint_url and "
    "AWS_ENDPOINT_URL",
}

#: botocore's exceptions, by name, that say more than their kind.
_BY_NAME: Mapping[str, Cause] = {
    "NoCredentialsError": Cause.NO_CREDENTIALS,
    "PartialCredentialsError": Cause.NO_CREDENTIALS,
    "NoRegionError": Cause.NO_REGION,
    "InvalidRegionError": Cause.NO_REGION,
    "ProfileNotFound": Cause.WRONG_PROFILE,
    "SSLError": Cause.NO_TLS,
}

_BY_KIND: Mapping[Kind, Cause] = {
    Kind.EXPIRED: Cause.EXPIRED,
    Kind.BAD_SIGNATURE: Cause.WRONG_SECRET,
    Kind.DENIED: Cause.DENIED,
    Kind.UNREACHABLE: Cause.UNREACHABLE,
    Kind.THROTTLED: Cause.THROTTLED,
    Kind.HIDDEN_THROTTLE: Cause.THROTTLED,
    Kind.CONTENDED: Cause.THROTTLED,
    Kind.OUTCOME_UNKNOWN: Cause.NO_ANSWER,
}

#: "Identifier is for 222222222222. Your accountId is 111111111111" (InvalidParameterException)
_TWO_ACCOUNTS = re.compile(r"Identifier is for (\d{12})\. Your accountId is (\d{12})")

#: "User: arn:aws:iam::111111111111:user/etl is not authorized to perform: ecs:DescribeTasks on
#: resource: arn:aws:ecs:eu-west-1:222222222222:task/..."
_DENIED_ACROSS = re.compile(
    r"User: arn:[\w-]+:(?:iam|sts)::(\d{12}):.* on resource: arn:[\w-]+:[\w-]+:[\w-]*:(\d{12}):",
    re.DOTALL,
)

#: "Cross-account pass role is not allowed."
_ROLE_ACROSS = "Cross-account pass role"


def cause_of(kind: Kind, code: str, message: str, called: bool = True) -> Cause:
    """The cause of a fault.

    Args:
        kind: What it means.
        code: AWS's error code, or the name of botocore's exception.
        message: AWS's own words.
        called: Whether there was a client to call AWS with.
    """
    if code in _BY_NAME:
        return _BY_NAME[code]
    if is_skewed(plain(code), message):
        return Cause.WRONG_CLOCK
    if accounts_of(message) or _ROLE_ACROSS in message:
        return Cause.WRONG_ACCOUNT
    return _BY_KIND.get(kind, Cause.REFUSED if called else Cause.WRONG_SETTINGS)


def accounts_of(message: str) -> tuple[str, str] | None:
    """The account of the credentials and the one that is named; None unless they differ."""
    if found := _TWO_ACCOUNTS.search(message):
        named, own = found.groups()
    elif found := _DENIED_ACROSS.search(message):
        own, named = found.groups()
    else:
        return None
    return (own, named) if own != named else None


def hint_for(cause: Cause, message: str) -> str:
    """What to do about a cause; empty where it depends on the call."""
    if cause is Cause.WRONG_ACCOUNT and (accounts := accounts_of(message)):
        own, named = accounts
        return f"the credentials are of account {own}: use those of {named}, or correct the ARN"
    return HINTS.get(cause, "")
