"""What is final and what is repeated: by status, code and message, for every action."""

from __future__ import annotations

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ecs_pinned.aws.calls.codes import _COMMON_CLIENT_CODES, _EC2_CLIENT_CODES
from prefect_ecs_pinned.aws.calls.faults import Fault, Kind, classify
from tests.aws.client_errors import client_error
from tests.aws.refusals import REFUSALS

ACTIONS = {
    "ecs": (
        "RunTask",
        "StopTask",
        "DescribeTasks",
        "ListTasks",
        "DescribeTaskDefinition",
        "ListTaskDefinitions",
        "RegisterTaskDefinition",
    ),
    "ec2": ("DescribeVpcs", "DescribeSubnets"),
    "logs": ("FilterLogEvents", "GetLogEvents"),
}
EVERY_ACTION = [(service, action) for service, actions in ACTIONS.items() for action in actions]
every_action = pytest.mark.parametrize(("service", "action"), EVERY_ACTION)


def fault(service: str, action: str, code: str, message: str = "no", status: int = 400) -> Fault:
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    error = client_error(response, action)
    read = classify(error, action, service)
    assert read.kind is classify(error, action).kind, "the service can be guessed"
    assert (read.operation, read.code) == (action, code)
    return read


@every_action
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "TooManyRequests", Kind.THROTTLED),
        (429, "429", Kind.THROTTLED),
        (429, "SomethingNew", Kind.THROTTLED),
        (429, "ClientException", Kind.THROTTLED),
        (400, "SomeNewThrottlingException", Kind.THROTTLED),
        (503, "RequestLimitExceeded", Kind.THROTTLED),
        (503, "SlowDown", Kind.THROTTLED),
        (408, "408", Kind.OUTCOME_UNKNOWN),
        (408, "RequestTimeout", Kind.OUTCOME_UNKNOWN),
        (408, "SomethingNew", Kind.OUTCOME_UNKNOWN),
        (400, "RequestTimeout", Kind.OUTCOME_UNKNOWN),
        (400, "RequestTimeoutException", Kind.OUTCOME_UNKNOWN),
        (400, "RequestTimeoutOfSomeKind", Kind.OUTCOME_UNKNOWN),
        (400, "RequestAbortedException", Kind.OUTCOME_UNKNOWN),
        (400, "ServerException", Kind.OUTCOME_UNKNOWN),
        (400, "InternalFailure", Kind.OUTCOME_UNKNOWN),
        (500, "SomethingNew", Kind.OUTCOME_UNKNOWN),
        (500, "AccessDeniedException", Kind.OUTCOME_UNKNOWN),
        (503, "InvalidParameterException", Kind.OUTCOME_UNKNOWN),
        (599, "599", Kind.OUTCOME_UNKNOWN),
        *((status, str(status), Kind.OUTCOME_UNKNOWN) for status in (302, 400, 403, 404, 407, 511)),
        *((status, "", Kind.OUTCOME_UNKNOWN) for status in (403, 502)),
    ],
)
def test_what_passes_by_itself(service, action, status, code, kind):
    """Whoever says so, and whatever it is about."""
    read = fault(service, action, code, status=status) if code else _without_code(action, status)
    assert read.kind is kind
    assert read.passing
    assert not read.unknown


def _without_code(action: str, status: int) -> Fault:
    response = {"ResponseMetadata": {"HTTPStatusCode": status}}
    read = classify(client_error(response, action), action)
    assert read.code == str(status)
    return read


@every_action
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("RequestTimeTooSkewed", "The difference between the request time and ours is too large."),
        ("RequestExpired", "Request has expired."),
        ("InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than x"),
        ("SignatureDoesNotMatch", "Signature not yet current: 20260101T010000Z is still later"),
    ],
)
def test_a_clock_that_is_wrong_passes_even_if_nothing_has_worked_yet(
    service, action, code, message
):
    """Somebody sets it; new credentials would not help."""
    assert fault(service, action, code, message, 403).passing


@every_action
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ExpiredToken", "The security token included in the request is expired"),
        ("ExpiredTokenException", "The security token included in the request is expired"),
        ("InvalidClientTokenId", "The security token included in the request is invalid."),
        ("UnrecognizedClientException", "The security token included in the request is invalid."),
        ("AuthFailure", "AWS was not able to validate the provided access credentials"),
        ("InvalidSignatureException", "The request signature we calculated does not match"),
        ("IncompleteSignature", "Authorization header requires 'Signature' parameter."),
        ("AccessDenied", "no"),
        ("AccessDeniedException", "User: x is not authorized to perform: ecs:RunTask"),
        ("UnauthorizedOperation", "You are not authorized to perform this operation."),
        ("NotAuthorized", "no"),
    ],
)
def test_credentials_and_permissions_pass_once_they_have_worked(service, action, code, message):
    """They are renewed, and IAM is eventually consistent; else they are wrong for good."""
    read = fault(service, action, code, message, 403)
    assert not read.passing
    read.worked = True
    assert read.passing


@every_action
@pytest.mark.parametrize("code", _COMMON_CLIENT_CODES)
def test_common_client_errors_are_final(service, action, code):
    """Those that AWS lists for all its APIs."""
    read = fault(service, action, code)
    read.worked = True
    assert not read.passing


def modelled(fault_of_ours: bool) -> list[tuple[str, str, str]]:
    """(service, action, code) of the errors in botocore's models."""
    loader = botocore.session.get_session().get_component("data_loader")
    rows = []
    for service, action in EVERY_ACTION:
        model = loader.load_service_model(service, "service-2")
        for error in model["operations"][action].get("errors", ()):
            passes = bool(model["shapes"][error["shape"]].get("fault"))
            if passes is not fault_of_ours:
                rows.append((service, action, error["shape"]))
    return rows


@pytest.mark.parametrize(("service", "action", "code"), modelled(fault_of_ours=True))
def test_an_actions_modelled_client_errors_are_never_repeated(service, action, code):
    """All that botocore knows; a namespace in front of a code makes no difference."""
    read = fault(service, action, code)
    assert not read.passing
    assert not read.unknown
    assert fault(service, action, f"com.amazonaws.x#{code}").kind is read.kind


@pytest.mark.parametrize(("service", "action", "code"), modelled(fault_of_ours=False))
def test_an_actions_modelled_server_errors_pass(service, action, code):
    """ServerException is not the caller's fault, whatever the status."""
    assert fault(service, action, code).kind is Kind.OUTCOME_UNKNOWN


@pytest.mark.parametrize("action", ACTIONS["ec2"])
@pytest.mark.parametrize(
    "code",
    [
        *_EC2_CLIENT_CODES,
        "InvalidVpcID.NotFound",
        "InvalidVpcID.Malformed",
        "InvalidSubnetID.NotFound",
        "InvalidParameterValue",
        "InvalidFilter",
        "Gateway.NotFound",
        "Some.New.NotFound",
        "InvalidSomethingNew",
    ],
)
def test_ec2_names_its_client_errors_by_pattern(action, code):
    """It models none."""
    assert fault("ec2", action, code).kind is Kind.REFUSED


@pytest.mark.parametrize("code", ["InvalidVpcID.NotFound", "InvalidSomethingNew"])
def test_ec2s_patterns_say_nothing_of_others(code):
    """ECS and Logs model their own."""
    assert fault("ecs", "RunTask", code).unknown
    assert fault("logs", "GetLogEvents", code).unknown


def test_an_error_of_another_action_is_unknown():
    """RunTask has no LimitExceededException: nobody knows what it would mean."""
    assert fault("ecs", "RunTask", "LimitExceededException").unknown
    assert fault("ecs", "RegisterTaskDefinition", "LimitExceededException").kind is Kind.REFUSED


KNOWN = {row.code for row in REFUSALS} | set(_COMMON_CLIENT_CODES) | set(_EC2_CLIENT_CODES)


@given(
    st.sampled_from(EVERY_ACTION),
    st.from_regex(r"\A[A-Z][a-z]{2,9}([A-Z][a-z]{2,9}){0,3}(Exception|Error)\Z"),
    st.sampled_from([400, 401, 402, 403, 404, 405, 409, 410, 413, 418, 422, 423, 424]),
    st.text(max_size=30),
)
def test_a_code_that_nobody_knows_is_not_final(where, code, status, message):
    """Whatever AWS thinks of next: it is repeated, and the caller counts the minutes."""
    service, action = where
    if code in KNOWN or "hrottl" in code or code.startswith(("Invalid", "RequestTimeout")):
        return
    read = fault(service, action, code, message, status)
    assert (read.kind, read.passing, read.unknown) == (Kind.UNKNOWN, True, True)


@pytest.mark.parametrize("code", ["ClientException", "InvalidParameterException"])
@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (
            "Error retrieving subnet information for [subnet-0]: Rate exceeded (ErrorCode: "
            "Throttling)",
            Kind.HIDDEN_THROTTLE,
        ),
        (
            "Error retrieving security group information for [sg-0]: Request limit exceeded. "
            "(ErrorCode: RequestLimitExceeded)",
            Kind.HIDDEN_THROTTLE,
        ),
        ("Something new: we are busy (ErrorCode: EC2ThrottledException)", Kind.HIDDEN_THROTTLE),
        ("Something new: we are down (ErrorCode: InternalError)", Kind.HIDDEN_THROTTLE),
        ("Something new: we are down (ErrorCode: Unavailable)", Kind.HIDDEN_THROTTLE),
        ("The subnet ID 'x' does not exist (ErrorCode: InvalidSubnetID.NotFound)", Kind.NO_SUBNET),
        ("Tasks provisioning capacity limit exceeded.", Kind.CAPACITY),
        ("Capacity is unavailable at this time. Please try again later", Kind.CAPACITY),
        ("You've reached the limit on the number of vCPUs you can run", Kind.VCPU_QUOTA),
        ("User: x is not authorized to perform: iam:PassRole on resource: y", Kind.DENIED),
        ("Cluster not found.", Kind.NO_CLUSTER),
        ("something that nobody has seen before", Kind.REFUSED),
    ],
)
def test_client_exceptions_are_distinguished_by_their_words(code, message, kind):
    """ECS uses one code for what passes and what does not. Code and words stay as they are."""
    read = fault("ecs", "RunTask", code, message)
    assert (read.kind, read.code, read.message) == (kind, code, message)


@pytest.mark.parametrize("code", ["SomethingNew", "AccessDenied", "InvalidIdentityToken"])
def test_whatever_refuses_credentials_that_have_never_worked_is_final(code):
    """AssumeRole refused: the call itself was never made."""
    response = {"Error": {"Code": code, "Message": "no"}}
    read = classify(client_error(response, "AssumeRole"), "RunTask")
    assert (read.kind, read.passing) == (Kind.EXPIRED, False)
    read.worked = True
    assert read.passing


@pytest.mark.parametrize(
    ("code", "status"), [("IDPCommunicationError", 400), ("403", 403), ("Throttling", 400)]
)
def test_whoever_has_the_credentials_may_be_out_of_reach(code, status):
    """That says nothing against them."""
    response = {
        "Error": {"Code": code, "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    read = classify(client_error(response, "AssumeRole"), "RunTask")
    assert (read.kind, read.passing) == (Kind.UNREACHABLE, True)


def test_no_cluster_is_for_those_who_have_seen_it():
    """A watch looks at ``worked``; a launch into a cluster that is not there fails at once."""
    read = fault("ecs", "DescribeTasks", "ClusterNotFoundException")
    read.worked = True
    assert not read.passing
