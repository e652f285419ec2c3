"""Everything that AWS can answer instead of what was asked for, understood in one place.

``understand`` reads an exception, ``in_band`` a refusal inside a 200. Both give a `Fault`,
whose ``kind`` is what the verbs branch on. A fragment of a message is matched only together
with a code, and a sample of the whole message stands beside it.

Sources: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html,
the Errors sections of API_RunTask, API_RegisterTaskDefinition, API_DescribeTasks, API_StopTask,
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from botocore import exceptions as botocore_exceptions
from botocore.parsers import ResponseParserError

from prefect_ecs_pinned import errors
from prefect_ecs_pinned.aws.hints import hint_of
from prefect_ecs_pinned.core import capacity
from prefect_ecs_pinned.core.kinds import PASSING, PASSING_ONCE_WORKED, UNKNOWN_SECONDS, Kind

__all__ = [
    "PASSING",
    "UNKNOWN_SECONDS",
    "Fault",
    "Kind",
    "as_error",
    "in_band",
    "presentable",
    "understand",
]


#: Kinds of an exception that says that a task was not placed.
_UNPLACED = frozenset({Kind.CAPACITY, Kind.VCPU_QUOTA, Kind.NO_INSTANCES, Kind.NO_PLACE})


class Fault(Exception):
    """An answer that is not what was asked for.

    Attributes:
        kind: What it means.
        operation: The API action, such as ``RunTask``.
        code: AWS's error code, or the name of botocore's exception.
        message: AWS's own words.
        resource_ids: ``resourceIds`` of a ConflictException.
        reasons: Why a task was not placed: every ``reason`` of RunTask's ``failures``, or the
            message of an exception that says so.
        worked: Whether the credentials (EXPIRED, BAD_SIGNATURE), this very request (DENIED) or the
            cluster (NO_CLUSTER) have worked before in this process. Set by `clients.Clients`.
    """

    def __init__(
        self,
        kind: Kind,
        operation: str,
        code: str = "",
        message: str = "",
        resource_ids: Sequence[str] = (),
        worked: bool = False,
        reasons: Sequence[str] = (),
    ) -> None:
        super().__init__(kind, operation, code, message)
        self.kind = kind
        self.operation = operation
        self.code = code
        self.message = message
        self.resource_ids = tuple(resource_ids)
        self.worked = worked
        self.reasons = tuple(reasons) or ((message,) if kind in _UNPLACED else ())

    @property
    def passing(self) -> bool:
        """Whether the call is worth repeating.

        An `unknown` fault only for `UNKNOWN_SECONDS`: the caller counts them. NO_CLUSTER never;
        who watches tasks that ECS has shown looks at ``worked``.
        """
        if self.kind in PASSING or self.unknown or _is_skewed(self.code, self.message):
            return True
        return self.worked and self.kind in PASSING_ONCE_WORKED

    @property
    def unknown(self) -> bool:
        """Whether no table knows AWS's code."""
        return self.kind is Kind.UNKNOWN

    def __str__(self) -> str:
        return f"{self.operation}: {self.code}: {self.message}" if self.code else self.message


#: Codes that mean "too many requests", of ECS, EC2, Logs and STS.
_THROTTLE_CODES = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "SlowDown",
        "PriorRequestNotComplete",
        "BandwidthLimitExceeded",
    }
)

_EXPIRED_CODES = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "AuthFailure",  # EC2: "AWS was not able to validate the provided access credentials"
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "TokenRefreshRequired",
    }
)

#: "The request signature we calculated does not match the signature you provided. Check your AWS
#: Secret Access Key ..." / "Signature expired: 20260101T000000Z is now earlier than ..."
_SIGNATURE_CODES = frozenset(
    {
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "RequestTimeTooSkewed",
    }
)

#: Codes that say that the clocks differ. "Request has expired."
_SKEWED_CODES = frozenset({"RequestTimeTooSkewed", "RequestExpired"})

#: "Signature expired: 20260101T000000Z is now earlier than 20260101T010000Z (...)" /
#: "Signature not yet current: 20260101T010000Z is still later than 20260101T000000Z (...)"
_SKEWED_MESSAGES = ("Signature expired", "Signature not yet current")


def _is_skewed(code: str, message: str) -> bool:
    """Whether a signature is refused for its time alone: that passes when the clock is set."""
    code = code.rsplit("#", 1)[-1]
    return code in _SKEWED_CODES or (
        code in _SIGNATURE_CODES and message.startswith(_SKEWED_MESSAGES)
    )


_DENIED_CODES = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "UnauthorizedOperation",
        "NotAuthorized",
    }
)

#: (codes, fragment of the message, kind), the first match counts.
_BY_MESSAGE: tuple[tuple[tuple[str, ...], str, Kind], ...] = (
    # "Too many concurrent attempts to create a new revision of the specified family."
    (("ClientException",), "Too many concurrent attempts", Kind.CONTENDED),
    # "Error retrieving subnet information for [subnet-0]: Rate exceeded (ErrorCode: Throttling)"
    (
        ("InvalidParameterException", "ClientException"),
        "ErrorCode: Throttling",
        Kind.HIDDEN_THROTTLE,
    ),
    # "Error retrieving security group information for [sg-0]: Request limit exceeded.
    #  (ErrorCode: RequestLimitExceeded)"
    (
        ("InvalidParameterException", "ClientException"),
        "ErrorCode: RequestLimitExceeded",
        Kind.HIDDEN_THROTTLE,
    ),
    # "TaskDefinition is inactive"
    (("InvalidParameterException", "ClientException"), "TaskDefinition is inactive", Kind.INACTIVE),
    # "TaskDefinition not found."
    (
        ("ClientException", "InvalidParameterException"),
        "TaskDefinition not found",
        Kind.NO_DEFINITION,
    ),
    # "Unable to describe task definition."
    (("ClientException",), "Unable to describe task definition", Kind.NO_DEFINITION),
    # "The referenced cluster was inactive." / "Cluster not found."
    (("ClientException",), "cluster was inactive", Kind.NO_CLUSTER),
    # "The referenced task was not found."
    (("InvalidParameterException",), "referenced task was not found", Kind.NO_TASK),
    # "Could not find task with arn ..." / "Cluster ... has no registered tasks"
    (("InvalidParameterException", "ClientException"), "not find task", Kind.NO_TASK),
    (("InvalidParameterException", "ClientException"), "no registered tasks", Kind.NO_TASK),
    # "Capacity is unavailable at this time. Please try again later or in a different availability
    #  zone"
    (("ClientException", "InvalidParameterException"), "Capacity is unavailable", Kind.CAPACITY),
    # "You've reached the limit on the number of vCPUs you can run concurrently"
    (
        ("ClientException", "InvalidParameterException"),
        "limit on the number of",
        Kind.VCPU_QUOTA,
    ),
    # "Tasks provisioning capacity limit exceeded.": a capacity provider of EC2 holds at most 500
    (
        ("ClientException", "InvalidParameterException"),
        "provisioning capacity limit",
        Kind.CAPACITY,
    ),
    # "Error retrieving subnet information for [subnet-0]: The subnet ID 'subnet-0' does not exist
    #  (ErrorCode: InvalidSubnetID.NotFound)"
    (
        ("InvalidParameterException", "ClientException"),
        "ErrorCode: InvalidSubnetID.NotFound",
        Kind.NO_SUBNET,
    ),
    # "No Container Instances were found in your cluster." (or "... in your capacity provider.")
    (
        ("InvalidParameterException", "ClientException"),
        "No Container Instances",
        Kind.NO_INSTANCES,
    ),
)

_BY_CODE: Mapping[str, Kind] = {
    **dict.fromkeys(_THROTTLE_CODES, Kind.THROTTLED),
    **dict.fromkeys(_EXPIRED_CODES, Kind.EXPIRED),
    **dict.fromkeys(_SIGNATURE_CODES, Kind.BAD_SIGNATURE),
    **dict.fromkeys(_DENIED_CODES, Kind.DENIED),
    "ClusterNotFoundException": Kind.NO_CLUSTER,
    "ConflictException": Kind.CONFLICT,
    "ResourceNotFoundException": Kind.NO_STREAM,
    "ServerException": Kind.OUTCOME_UNKNOWN,
}

#: botocore exceptions that leave open whether AWS took the request. An answer that cannot be
#: read (cut short, or a proxy's page) is as good as none.
_LOST = (
    botocore_exceptions.HTTPClientError,
    botocore_exceptions.ResponseStreamingError,
    botocore_exceptions.IncompleteReadError,
    ResponseParserError,
)

#: botocore exceptions from before a request was sent, which go away by themselves: no name
#: server, no route, no connection; no answer of instance metadata.
_NOT_SENT = (
    botocore_exceptions.EndpointConnectionError,
    botocore_exceptions.ConnectTimeoutError,
    botocore_exceptions.ProxyConnectionError,
    botocore_exceptions.CredentialRetrievalError,
    botocore_exceptions.MetadataRetrievalError,
)

_NO_CREDENTIALS = (
    botocore_exceptions.NoCredentialsError,
    botocore_exceptions.UnauthorizedSSOTokenError,
    botocore_exceptions.SSOTokenLoadError,
    botocore_exceptions.TokenRetrievalError,
)


def understand(exception: BaseException, operation: str) -> Fault:
    """Read an exception of a boto3 call."""
    if isinstance(exception, botocore_exceptions.ClientError):
        if exception.operation_name in (operation, "Unknown"):
            return _understand_answer(exception.response, operation)
        return _understand_source(exception, operation)
    name, text = type(exception).__name__, str(presentable(exception))
    if isinstance(exception, _LOST):
        return Fault(Kind.OUTCOME_UNKNOWN, operation, name, text)
    if isinstance(exception, _NOT_SENT):
        return Fault(Kind.UNREACHABLE, operation, name, text)
    if isinstance(exception, _NO_CREDENTIALS):
        return Fault(Kind.EXPIRED, operation, name, text)
    return Fault(Kind.REFUSED, operation, name, text)


def presentable(exception: BaseException) -> BaseException:
    """An exception without values of the request, which may be secrets.

    botocore's own check of parameters quotes them: "Invalid type for parameter
    overrides.containerOverrides[0].environment[0].value, value: hunter2, type: ..."
    """
    if not isinstance(exception, botocore_exceptions.ParamValidationError):
        return exception
    report = str(exception.kwargs.get("report", ""))
    before, quoted, after = report.partition(", value: ")
    # Values may hold anything, line breaks too: only what follows the last of them is kept.
    kind = re.search(r"(?s:.*)(, (?:type: <class|valid m).*)", after)
    hidden = before + (f", value: ***{kind[1] if kind else ''}" if quoted else "")
    return botocore_exceptions.ParamValidationError(report=hidden)


def _understand_answer(response: Mapping[str, Any], operation: str) -> Fault:
    error = response.get("Error", {})
    code, message = error.get("Code", ""), error.get("Message", "")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    resources = response.get("resourceIds") or error.get("resourceIds") or ()
    # EC2 appends a blob of a kilobyte, which only sts:DecodeAuthorizationMessage can read.
    message = message.partition(" Encoded authorization failure message")[0]
    return Fault(_kind(code, message, status), operation, code, message, resources)


def _understand_source(exception: botocore_exceptions.ClientError, operation: str) -> Fault:
    """Read a refusal of the call that was to fetch the credentials, such as AssumeRole.

    The call that needed them was not made.
    """
    inner = _understand_answer(exception.response, exception.operation_name)
    kind = Kind.UNREACHABLE if inner.kind in PASSING else Kind.EXPIRED
    message = f"{exception.operation_name}: {inner.message}"
    return Fault(kind, operation, inner.code, message)


def _kind(code: str, message: str, status: int) -> Kind:
    # "ClientException" and "InvalidParameterException" may come with a namespace in front.
    code = code.rsplit("#", 1)[-1]
    for codes, fragment, kind in _BY_MESSAGE:
        if code in codes and fragment in message:
            return kind
    if code in _BY_CODE:
        return _BY_CODE[code]
    return Kind.OUTCOME_UNKNOWN if status >= 500 else Kind.REFUSED


def in_band(response: Mapping[str, Any], operation: str = "RunTask") -> Fault:
    """Read the refusal inside a 200 that has no task: all of RunTask's ``failures``.

    Each is what one container instance, or the service, has to say; their order means nothing.
    """
    failures = response.get("failures")
    if not isinstance(failures, list) or not all(isinstance(f, Mapping) for f in failures):
        return Fault(Kind.OUTCOME_UNKNOWN, operation, "", "an answer that cannot be read")
    said = Counter((str(f.get("reason") or ""), str(f.get("detail") or "")) for f in failures)
    parts = [
        (f"{reason} ({detail})" if detail else reason) + (f" x {times}" if times > 1 else "")
        for (reason, detail), times in said.items()
        if reason
    ]
    reasons = tuple(dict.fromkeys(reason for reason, _ in said if reason))
    message = "; ".join(parts) or "no task and no reason given"
    code = reasons[0] if reasons else ""
    return Fault(_in_band_kind(reasons), operation, code, message, reasons=reasons)


def _in_band_kind(reasons: Sequence[str]) -> Kind:
    known = [reason for reason in reasons if capacity.is_refusal(reason)]
    if not known:
        return Kind.UNKNOWN
    # "You've reached the limit on the number of vCPUs you can run concurrently", or with a
    # typographic apostrophe.
    if any("limit on the number of" in reason for reason in known):
        return Kind.VCPU_QUOTA
    return Kind.NO_PLACE if capacity.is_unplaceable(reasons) else Kind.CAPACITY


#: "User: arn:... is not authorized to perform: iam:PassRole on resource: arn:... because no
#: identity-based policy allows the iam:PassRole action"
_DENIED_ACTION = re.compile(r"not authorized to perform: ([\w-]+:\w+)(?: on resource: (\S+))?")

#: Where nothing better is known.
_CORRECT_IT = "correct what AWS names, then run again"

_ERROR_BY_KIND: Mapping[Kind, tuple[type[errors.AwsError], str]] = {
    Kind.NO_CLUSTER: (
        errors.ClusterNotFound,
        "check cluster, and that it is in this account and Region",
    ),
    Kind.NO_DEFINITION: (
        errors.TaskDefinitionNotFound,
        "check task_definition_arn, and that it is in this account and Region",
    ),
    Kind.INACTIVE: (
        errors.TaskDefinitionInactive,
        "link an ACTIVE revision, or leave task_definition_arn empty",
    ),
    Kind.NO_INSTANCES: (
        errors.AwsError,
        "confirm that EC2 container instances are registered in the cluster, or set launch_type "
        "to FARGATE",
    ),
    Kind.EXPIRED: (
        errors.CredentialsInvalid,
        "renew the AWS credentials where the agent runs, or in the block",
    ),
    Kind.BAD_SIGNATURE: (
        errors.CredentialsInvalid,
        "check the secret access key, and the clock of the machine where the agent runs",
    ),
    Kind.NO_TASK: (errors.TaskNotFound, "it stopped over an hour ago, or is in another cluster"),
}


def as_error(fault: Fault, what: str, hint: str = "") -> errors.PinnedECSError:
    """The error that a user is shown for a fault. Chain the original: ``raise ... from fault``.

    Args:
        fault: What AWS answered.
        what: What could not be done.
        hint: Overrides the hint that goes with the fault.
    """
    why = f"{fault.code}: {fault.message}" if fault.code not in fault.message else fault.message
    hint = hint or hint_of(fault.code, fault.message)
    if fault.kind is Kind.DENIED:
        return errors.AccessDenied(what, why, hint or f"allow {_denied(fault)}", fault.code)
    if fault.kind in _ERROR_BY_KIND:
        error, default = _ERROR_BY_KIND[fault.kind]
        return error(what, why, hint or default, fault.code)
    if fault.kind in PASSING:
        return errors.Unavailable(what, why, hint or "try again later")
    return errors.AwsError(what, why, hint or _CORRECT_IT, fault.code)


def _denied(fault: Fault) -> str:
    """The permission that is missing, and for what: as AWS names it, or the call's own."""
    if found := _DENIED_ACTION.search(fault.message):
        action, resource = found.groups()
        return f"{action} on {resource}" if resource else f"{action} to the credentials"
    service = _SERVICES.get(fault.operation, "ecs")
    return f"{service}:{fault.operation} to the credentials"


#: IAM's prefix of actions that are not ECS's.
_SERVICES = {
    "DescribeVpcs": "ec2",
    "DescribeSubnets": "ec2",
    "FilterLogEvents": "logs",
    "GetLogEvents": "logs",
}
