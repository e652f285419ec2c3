"""What AWS's error codes and messages mean: the tables behind `faults.classify`.

Final is what a table or botocore's model names as the caller's fault, and nothing else: an unknown
code may be temporary. A fragment of a message is matched only together with a code, and a
sample of the whole message is next to it.

Sources: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html,
the Errors sections of API_RunTask, API_RegisterTaskDefinition, API_DescribeTasks, API_StopTask;
"Common Errors" of
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html,
https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html,
https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/CommonErrors.html and
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from prefect_ecs_pinned.aws.calls.models import modelled_errors
from prefect_ecs_pinned.core import capacity
from prefect_ecs_pinned.core.kinds import Kind

#: Codes that mean "too many requests", of ECS, EC2, Logs and STS.
_THROTTLE_CODES = (
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "TooManyRequests",
    "SlowDown",
    "PriorRequestNotComplete",
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "ProvisionedThroughputExceededException",
)

#: Failures of AWS, whatever the status, and requests that were cut short. IDPCommunicationError,
#: of AssumeRoleWithWebIdentity: "This is often a transient error caused by network conditions."
_LOST_CODES = (
    "ServerException",
    "InternalFailure",
    "InternalError",
    "InternalServerError",
    "InternalServerException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "ServiceFailure",
    "Unavailable",
    "RequestTimeout",
    "RequestTimeoutException",
    "RequestAbortedException",
    "TransactionInProgressException",
    "IDPCommunicationError",
)

_EXPIRED_CODES = (
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "AuthFailure",  # EC2: "AWS was not able to validate the provided access credentials"
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "TokenRefreshRequired",
)

#: "The request signature we calculated does not match the signature you provided. Check your AWS
#: Secret Access Key ..." / "Signature expired: 20260101T000000Z is now earlier than ..."
_SIGNATURE_CODES = (
    "InvalidSignatureException",
    "InvalidSignature",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "RequestTimeTooSkewed",
)

_DENIED_CODES = (
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "NotAuthorized",
)

#: Client errors that are common to AWS's APIs (the pages above), except for those in other tables.
_COMMON_CLIENT_CODES = (
    "InvalidAction",
    "InvalidParameterCombination",
    "InvalidParameterValue",
    "InvalidQueryParameter",
    "MalformedHttpRequestException",
    "MalformedQueryString",
    "MissingAction",
    "MissingParameter",
    "OptInRequired",
    "RequestEntityTooLargeException",
    "SerializationException",
    "UnknownOperationException",
    "ValidationError",
    "ValidationException",
)

#: EC2's client errors that are common to its actions, and fit no pattern below ("Client error
#: codes" of the EC2 page above).
_EC2_CLIENT_CODES = (
    "Blocked",
    "DryRunOperation",
    "IdempotentParameterMismatch",
    "PendingVerification",
    "UnknownParameter",
    "UnsupportedOperation",
    "UnsupportedProtocol",
)

#: Such as "InvalidVpcID.NotFound" and "InvalidFilter", not "FilterLimitExceeded".
_EC2_PATTERN = re.compile(r"Invalid\w+(\.\w+)*|\w+(\.\w+)*\.(NotFound|Malformed)")

_CLIENT_ERRORS = ("ClientException", "InvalidParameterException")

#: (fragment of the message, kind) of a ClientException or an InvalidParameterException: ECS uses
#: either for the same. The first match counts. Those for lack of room: `core.capacity`.
_BY_MESSAGE: tuple[tuple[str, Kind], ...] = (
    # "Too many concurrent attempts to create a new revision of the specified family."
    ("Too many concurrent attempts", Kind.CONTENDED),
    # "Error retrieving subnet information for [subnet-0]: Rate exceeded (ErrorCode: Throttling)"
    ("Rate exceeded", Kind.HIDDEN_THROTTLE),
    # "Error retrieving security group information for [sg-0]: Request limit exceeded.
    #  (ErrorCode: RequestLimitExceeded)"
    ("Request limit exceeded", Kind.HIDDEN_THROTTLE),
    # "TaskDefinition is inactive"
    ("TaskDefinition is inactive", Kind.INACTIVE),
    # "TaskDefinition not found."
    ("TaskDefinition not found", Kind.NO_DEFINITION),
    # "Unable to describe task definition."
    ("Unable to describe task definition", Kind.NO_DEFINITION),
    # "The referenced cluster was inactive."
    ("cluster was inactive", Kind.NO_CLUSTER),
    # "Cluster not found."
    ("Cluster not found", Kind.NO_CLUSTER),
    # "The referenced task was not found."
    ("referenced task was not found", Kind.NO_TASK),
    # "Could not find task with arn ..." / "Cluster ... has no registered tasks"
    ("not find task", Kind.NO_TASK),
    ("no registered tasks", Kind.NO_TASK),
    # "Error retrieving subnet information for [subnet-0]: The subnet ID 'subnet-0' does not exist
    # (ErrorCode: InvalidSubnetID.NotFound)"
    ("ErrorCode: InvalidSubnetID.NotFound", Kind.NO_SUBNET),
    # "User: arn:... is not authorized to perform: iam:PassRole on resource: arn:..."
    ("is not authorized to perform", Kind.DENIED),
)

#: "Error retrieving subnet information for [subnet-0]: ... (ErrorCode: Throttling)": the code of
#: the call that ECS made on our behalf.
_INNER_CODE = re.compile(r"\(ErrorCode: ([\w.]+)\)")

_BY_CODE: Mapping[str, Kind] = {
    **dict.fromkeys(_COMMON_CLIENT_CODES, Kind.REFUSED),
    **dict.fromkeys(_LOST_CODES, Kind.OUTCOME_UNKNOWN),
    **dict.fromkeys(_EXPIRED_CODES, Kind.EXPIRED),
    **dict.fromkeys(_SIGNATURE_CODES, Kind.BAD_SIGNATURE),
    **dict.fromkeys(_DENIED_CODES, Kind.DENIED),
    "ClusterNotFoundException": Kind.NO_CLUSTER,
    "ConflictException": Kind.CONFLICT,
    "ResourceNotFoundException": Kind.NO_STREAM,
}

#: Codes that say that the clocks differ.
_SKEWED_CODES = ("RequestTimeTooSkewed", "RequestExpired")

#: "Signature expired: 20260101T000000Z is now earlier than 20260101T010000Z (...)" /
#: "Signature not yet current: 20260101T010000Z is still later than 20260101T000000Z (...)"
_SKEWED_MESSAGES = ("Signature expired", "Signature not yet current")

#: Service of the actions that are made of others than ECS.
SERVICES: Mapping[str, str] = {
    "DescribeVpcs": "ec2",
    "DescribeSubnets": "ec2",
    "DescribeSecurityGroups": "ec2",
    "FilterLogEvents": "logs",
    "GetLogEvents": "logs",
}


def plain(code: str) -> str:
    """A code without what some protocols put around it: ``com.amazonaws.ecs#Code:http://...``."""
    return code.rsplit("#", 1)[-1].partition(":")[0].removeprefix("Client.")


def is_of_aws(code: str) -> bool:
    """Whether an answer has a code at all. botocore puts the HTTP status in its place."""
    return bool(code) and not code.isdigit()


def is_skewed(code: str, message: str) -> bool:
    """Whether a signature is refused for its time alone: that passes when the clock is set."""
    code = plain(code)
    return code in _SKEWED_CODES or (
        code in _SIGNATURE_CODES and any(sample in message for sample in _SKEWED_MESSAGES)
    )


def kind_of(
    code: str, message: str, status: int = 400, operation: str = "", service: str = ""
) -> Kind:
    """What a refusal means.

    Args:
        code: AWS's error code; empty or a number in an answer that is not AWS's (a proxy's page).
        message: AWS's own words.
        status: The HTTP status.
        operation: The API action.
        service: boto3's name of its service; guessed when it is empty.
    """
    code = plain(code)
    if status == 429 or _is_throttle(code):
        return Kind.THROTTLED
    if status == 408 or status >= 500 or not is_of_aws(code):
        # The sender of the answer is unknown: nothing shows that AWS has not taken the request.
        return Kind.OUTCOME_UNKNOWN
    if code in _CLIENT_ERRORS and (kind := _by_message(message)) is not None:
        return kind
    if code in _BY_CODE:
        return _BY_CODE[code]
    return _of_model(code, operation, service or SERVICES.get(operation, "ecs"))


def _is_throttle(code: str) -> bool:
    return code in _THROTTLE_CODES or "throttl" in code.lower()


def _by_message(message: str) -> Kind | None:
    inner = _INNER_CODE.search(message)
    if inner and (_is_throttle(inner[1]) or _BY_CODE.get(inner[1]) is Kind.OUTCOME_UNKNOWN):
        return Kind.HIDDEN_THROTTLE
    found = next((kind for fragment, kind in _BY_MESSAGE if fragment in message), None)
    return found or capacity.kind_of(message)


def _of_model(code: str, operation: str, service: str) -> Kind:
    """By what the operation's model names; EC2, which models none, by its patterns."""
    if (is_ours := modelled_errors(service, operation).get(code)) is not None:
        return Kind.REFUSED if is_ours else Kind.OUTCOME_UNKNOWN
    if service == "ec2" and (code in _EC2_CLIENT_CODES or _EC2_PATTERN.fullmatch(code)):
        return Kind.REFUSED
    if code.startswith("RequestTimeout"):
        return Kind.OUTCOME_UNKNOWN
    return Kind.UNKNOWN
