"""All refusals and failures of AWS, classified in one place.

``classify`` reads an exception, ``in_band`` a refusal inside a 200. Both give a `Fault`.
The verbs branch on its ``kind``; its ``passing`` is true if the call is worth repeating. The tables
of codes and messages are in `codes`, those of hints in `hints`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from prefect_ecs_pinned import errors
from prefect_ecs_pinned.aws.calls.causes import Cause, cause_of, hint_for
from prefect_ecs_pinned.aws.calls.codes import SERVICES, is_of_aws, is_skewed, kind_of
from prefect_ecs_pinned.aws.calls.hints import hint_of
from prefect_ecs_pinned.aws.calls.raised import kind_of_exception, presentable, without_markup
from prefect_ecs_pinned.core import capacity
from prefect_ecs_pinned.core.kinds import PASSING, PASSING_ONCE_WORKED, UNKNOWN_SECONDS, Kind

__all__ = [
    "PASSING",
    "UNKNOWN_SECONDS",
    "Fault",
    "Kind",
    "as_error",
    "classify",
    "in_band",
    "presentable",
]

#: Kinds of an exception that says that a task was not placed.
_UNPLACED = frozenset({Kind.CAPACITY, Kind.VCPU_QUOTA, Kind.NO_INSTANCES, Kind.NO_PLACE})


#: What is made before any call; the ``operation`` of a fault when that fails.
SESSION, CLIENT = "session", "client"


class Fault(Exception):
    """An answer that is not what was asked for.

    Attributes:
        kind: What it means.
        operation: The API action, such as ``RunTask``; or `SESSION`, or `CLIENT` and a service.
        code: AWS's error code, or the name of botocore's exception.
        message: AWS's own words.
        resource_ids: ``resourceIds`` of a ConflictException.
        reasons: Why a task was not placed: every ``reason`` of RunTask's ``failures``, or the
            message of an exception that shows it.
        worked: Whether the credentials (EXPIRED, BAD_SIGNATURE), this request (DENIED) or the
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
        if self.kind in PASSING or self.unknown or is_skewed(self.code, self.message):
            return True
        return self.worked and self.kind in PASSING_ONCE_WORKED

    @property
    def called(self) -> bool:
        """Whether there was a session and a client to call AWS with."""
        return self.operation.partition(" ")[0] not in (SESSION, CLIENT)

    @property
    def unknown(self) -> bool:
        """Whether AWS's code is in no table."""
        return self.kind is Kind.UNKNOWN

    def __str__(self) -> str:
        return f"{self.operation}: {self.code}: {self.message}" if self.code else self.message


def classify(exception: BaseException, operation: str, service: str = "") -> Fault:
    """Read an exception of a boto3 call.

    Args:
        exception: Whatever was raised.
        operation: The API action that was to be called.
        service: boto3's name of its service; guessed when it is empty.
    """
    if isinstance(exception, ClientError):
        if exception.operation_name in (operation, "Unknown"):
            return _classify_answer(exception.response, operation, service)
        return _classify_source(exception, operation)
    name, text = type(exception).__name__, str(presentable(exception))
    return Fault(kind_of_exception(exception), operation, name, text)


def _classify_answer(response: Mapping[str, Any], operation: str, service: str = "") -> Fault:
    error = response.get("Error")
    error = error if isinstance(error, Mapping) else {}
    code, message = str(error.get("Code") or ""), str(error.get("Message") or "")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    resources = response.get("resourceIds") or error.get("resourceIds") or ()
    # EC2 appends a blob of a kilobyte, which only sts:DecodeAuthorizationMessage can read.
    message = message.partition(" Encoded authorization failure message")[0]
    if not is_of_aws(code):
        code, message = code or str(status), without_markup(message)
    kind = kind_of(code, message, status, operation, service)
    return Fault(kind, operation, code, message, resources)


def _classify_source(exception: ClientError, operation: str) -> Fault:
    """Read a refusal of the call that was to fetch the credentials, such as AssumeRole.

    The call that needed them was not made.
    """
    inner = _classify_answer(exception.response, exception.operation_name, "sts")
    kind = Kind.UNREACHABLE if inner.kind in PASSING else Kind.EXPIRED
    if inner.kind is Kind.BAD_SIGNATURE:
        kind = inner.kind
    message = f"{exception.operation_name}: {inner.message}"
    return Fault(kind, operation, inner.code, message)


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
    if any(capacity.kind_of(reason) is Kind.VCPU_QUOTA for reason in known):
        return Kind.VCPU_QUOTA
    return Kind.NO_PLACE if capacity.is_unplaceable(reasons) else Kind.CAPACITY


#: "User: arn:... is not authorized to perform: iam:PassRole on resource: arn:... because no
#: identity-based policy allows the iam:PassRole action"
_DENIED_ACTION = re.compile(r"not authorized to perform: ([\w-]+:\w+)(?: on resource: (\S+))?")

#: Causes for which botocore's exceptions have more than one kind (`hints`).
_SEVERAL_HINTS = (
    Cause.NO_CREDENTIALS,
    Cause.NO_REGION,
    Cause.UNREACHABLE,
    Cause.WRONG_SETTINGS,
)

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
    Kind.NO_TASK: (
        errors.TaskNotFound,
        "it stopped more than an hour ago, or is in another cluster",
    ),
}


def as_error(fault: Fault, what: str, hint: str = "", allow: str = "") -> errors.PinnedECSError:
    """The error that a user is shown for a fault. Chain the original: ``raise ... from fault``.

    The hint goes with the cause (`causes`): with no credentials, it is about credentials,
    whatever the call.

    Args:
        fault: What AWS answered.
        what: What could not be done.
        hint: What to do when AWS *refuses* this call; never shown for another cause.
        allow: What to do when a permission is missing; by default what AWS names.
    """
    why = f"{fault.code}: {fault.message}" if fault.code not in fault.message else fault.message
    cause = cause_of(fault.kind, fault.code, fault.message, fault.called)
    of_cause = hint_of(fault.code, fault.message) if cause in _SEVERAL_HINTS else ""
    of_cause = of_cause or hint_for(cause, fault.message)
    if fault.kind is Kind.DENIED:
        return errors.AccessDenied(what, why, of_cause or allow or _denied(fault), fault.code)
    if fault.kind in (Kind.EXPIRED, Kind.BAD_SIGNATURE):
        return errors.CredentialsInvalid(what, why, of_cause, fault.code)
    if fault.kind in PASSING:
        return errors.Unavailable(what, why, of_cause or "try again later")
    hint = of_cause or hint or hint_of(fault.code, fault.message)
    if fault.kind in _ERROR_BY_KIND:
        error, default = _ERROR_BY_KIND[fault.kind]
        return error(what, why, hint or default, fault.code)
    return errors.AwsError(what, why, hint or _CORRECT_IT, fault.code)


def _denied(fault: Fault) -> str:
    """Allow the permission that is missing: as AWS names it, or the call's own."""
    if found := _DENIED_ACTION.search(fault.message):
        action, resource = found.groups()
        return f"allow {action} " + (f"on {resource}" if resource else "to the credentials")
    service = SERVICES.get(fault.operation, "ecs")
    return f"allow {service}:{fault.operation} to the credentials"
