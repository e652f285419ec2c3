"""What AWS answers instead of what was asked for, understood."""

from __future__ import annotations

import botocore.session
import pytest
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from prefect_ecs_pinned.aws.calls.faults import (
    PASSING,
    Fault,
    Kind,
    classify,
    in_band,
    presentable,
)
from tests.aws.client_errors import client_error
from tests.aws.refusals import REFUSALS


def name(row) -> str:
    return f"{row.operation}-{row.code}-{row.message[:30]}"


@pytest.mark.parametrize("row", REFUSALS, ids=name)
def test_every_refusal_is_understood(row):
    """Kind, action, code and AWS's own words."""
    fault = classify(row.exception(), row.operation)
    assert (fault.kind, fault.operation, fault.code) == (row.kind, row.operation, row.code)
    assert fault.message == row.message
    assert (fault.kind in PASSING) == (row.error is None)


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("ecs", "RunTask"),
        ("ecs", "RegisterTaskDefinition"),
        ("ecs", "DescribeTaskDefinition"),
        ("ecs", "ListTaskDefinitions"),
        ("ecs", "DescribeTasks"),
        ("ecs", "StopTask"),
        ("ecs", "ListTasks"),
        ("logs", "FilterLogEvents"),
        ("logs", "GetLogEvents"),
    ],
)
def test_the_table_has_every_error_that_botocore_models(service, operation):
    """A new one is noticed here."""
    model = botocore.session.get_session().get_service_model(service)
    modelled = {shape.name for shape in model.operation_model(operation).error_shapes}
    assert modelled - {row.code for row in REFUSALS if row.operation == operation} == set()


def test_a_namespace_in_front_of_a_code_makes_no_difference():
    """Some protocols send one."""
    response = {"Error": {"Code": "com.amazonaws.ecs#ClientException", "Message": "TaskDefinition "
                "not found."}}  # fmt: skip
    assert classify(client_error(response, "RunTask"), "RunTask").kind is Kind.NO_DEFINITION


ENDPOINT = {"endpoint_url": "https://ecs.us-east-1.amazonaws.com"}


@pytest.mark.parametrize(
    ("exception", "kind"),
    [
        (boto.EndpointConnectionError(**ENDPOINT, error="no route"), Kind.UNREACHABLE),
        (boto.ConnectTimeoutError(**ENDPOINT, error="x"), Kind.UNREACHABLE),
        (boto.ProxyConnectionError(proxy_url="http://proxy:3128", error="x"), Kind.UNREACHABLE),
        (boto.CredentialRetrievalError(provider="sso", error_msg="x"), Kind.UNREACHABLE),
        (boto.MetadataRetrievalError(error_msg="x"), Kind.UNREACHABLE),
        (boto.ReadTimeoutError(**ENDPOINT, error="x"), Kind.OUTCOME_UNKNOWN),
        (boto.ConnectionClosedError(**ENDPOINT, error="x"), Kind.OUTCOME_UNKNOWN),
        (boto.HTTPClientError(error="x"), Kind.OUTCOME_UNKNOWN),
        (boto.ResponseStreamingError(error="x"), Kind.OUTCOME_UNKNOWN),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), Kind.OUTCOME_UNKNOWN),
        (ResponseParserError("cut short"), Kind.OUTCOME_UNKNOWN),
        (boto.NoCredentialsError(), Kind.EXPIRED),
        (boto.UnauthorizedSSOTokenError(), Kind.EXPIRED),
        (boto.NoRegionError(), Kind.REFUSED),
        (boto.PartialCredentialsError(provider="env", cred_var="x"), Kind.REFUSED),
        (boto.ProfileNotFound(profile="x"), Kind.REFUSED),
        (boto.SSLError(**ENDPOINT, error=OSError("certificate verify failed")), Kind.REFUSED),
        (
            boto.SSLError(**ENDPOINT, error=OSError("EOF occurred in violation")),
            Kind.OUTCOME_UNKNOWN,
        ),
        (RuntimeError("can't start new thread"), Kind.UNREACHABLE),
        (AttributeError("'str' object has no attribute 'get'"), Kind.OUTCOME_UNKNOWN),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_no_answer_at_all(exception, kind):
    """Whether the request was sent is what counts: only then may it have been carried out."""
    fault = classify(exception, "RunTask")
    assert (fault.kind, fault.code) == (kind, type(exception).__name__)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("AccessDenied", Kind.EXPIRED), ("Throttling", Kind.UNREACHABLE)],
)
def test_a_refusal_of_the_call_that_fetches_the_credentials(code, kind):
    """AssumeRole was refused: RunTask was never sent, and ecs:RunTask is not what is missing."""
    error = client_error({"Error": {"Code": code, "Message": "no"}}, "AssumeRole")
    fault = classify(error, "RunTask")
    assert (fault.kind, fault.message) == (kind, "AssumeRole: no")


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("RESOURCE:CPU", Kind.CAPACITY),
        ("RESOURCE:MEMORY", Kind.CAPACITY),
        ("RESOURCE:ENI", Kind.CAPACITY),
        ("RESOURCE:GPU", Kind.CAPACITY),
        ("RESOURCE:PORTS", Kind.CAPACITY),
        ("AGENT", Kind.CAPACITY),
        ("Capacity is unavailable at this time. Please try again later", Kind.CAPACITY),
        ("You've reached the limit on the number of vCPUs you can run", Kind.VCPU_QUOTA),
        ("You’ve reached the limit on the number of vCPUs you can run", Kind.VCPU_QUOTA),
        ("LOCATION", Kind.NO_PLACE),
        ("ATTRIBUTE", Kind.NO_PLACE),
    ],
)
def test_refusals_inside_a_200(reason, kind):
    """RunTask's failures."""
    fault = in_band({"tasks": [], "failures": [{"reason": reason, "detail": "more"}]})
    assert (fault.kind, fault.message) == (kind, f"{reason} (more)")


def test_a_200_without_task_or_reason():
    """With ``failures`` it is a refusal of an unknown kind; without, the answer is not ECS's."""
    assert in_band({"tasks": [], "failures": []}).kind is Kind.UNKNOWN
    assert in_band({"message": "<html>"}).kind is Kind.OUTCOME_UNKNOWN


@pytest.mark.parametrize("value", ["hunter2", "two\nlines, of: hunter2", {"hunter2": 1}, 7])
def test_botocores_own_check_shows_no_value(value):
    """It quotes values of variables, which may be secrets."""
    client = botocore.session.get_session().create_client(
        "ecs", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    environment = [{"name": "KEY", "value": value}, {"name": ["hunter2"], "value": "x"}]
    overrides = {"containerOverrides": [{"name": "prefect", "environment": environment}]}
    parameters = {"taskDefinition": "f", "overrides": overrides, "count": "hunter2"}
    with pytest.raises(boto.ParamValidationError, match="hunter2") as original:
        client.run_task(**parameters)  # type: ignore[attr-defined]
    fault = classify(original.value, "RunTask")
    for text in (str(fault), repr(fault), str(presentable(original.value))):
        assert "hunter2" not in text
        assert "***" in text
        assert "overrides.containerOverrides[0].environment" in text or "count" in text
    assert "valid types: <class" in str(fault)


def test_ec2s_encoded_message_is_left_out():
    """A kilobyte that only sts:DecodeAuthorizationMessage can read."""
    message = "You are not authorized to perform this operation. Encoded authorization failure "
    response = {"Error": {"Code": "UnauthorizedOperation", "Message": message + "message: aGV5"}}
    fault = classify(client_error(response, "DescribeVpcs"), "DescribeVpcs")
    assert fault.message == "You are not authorized to perform this operation."


def test_the_tasks_that_a_conflict_names():
    """ECS puts them beside the error."""
    arn = "arn:aws:ecs:us-east-1:123456789012:task/default/0"
    response = {"Error": {"Code": "ConflictException", "Message": "x"}, "resourceIds": [arn]}
    fault = classify(client_error(response, "RunTask"), "RunTask")
    assert (fault.kind, fault.resource_ids) == (Kind.CONFLICT, (arn,))


def test_a_fault_reads_like_a_sentence():
    """For logs."""
    text = str(Fault(Kind.THROTTLED, "RunTask", "ThrottlingException", "Rate exceeded"))
    assert text == "RunTask: ThrottlingException: Rate exceeded"
