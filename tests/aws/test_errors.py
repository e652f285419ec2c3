"""What a person is shown: class, message and hint, for every refusal that AWS can make."""

from __future__ import annotations

import inspect

import pytest
from botocore import exceptions as boto

from prefect_ecs_pinned import errors
from prefect_ecs_pinned.aws.calls.causes import HINTS, Cause, accounts_of, cause_of
from prefect_ecs_pinned.aws.calls.faults import Fault, Kind, as_error, classify, in_band
from tests.aws.refusals import REFUSALS
from tests.aws.test_faults import ENDPOINT, name


@pytest.mark.parametrize("row", REFUSALS, ids=name)
def test_every_refusal_is_an_error(row):
    """The class that a caller may branch on, AWS's own words, and what to do."""
    error = as_error(classify(row.exception(), row.operation), "cannot do it")
    assert type(error) is (row.error or errors.Unavailable)
    assert str(error).startswith("cannot do it: ")
    assert row.code in error.why
    assert row.message in error.why
    assert row.hint in error.hint
    assert str(error).endswith(f"\nhint: {error.hint}\nsee: {error.page}")


@pytest.mark.parametrize(
    ("exception", "error", "hint"),
    [
        (boto.NoCredentialsError(), errors.CredentialsInvalid, "set AWS credentials"),
        (
            boto.PartialCredentialsError(provider="env", cred_var="x"),
            errors.AwsError,
            "give both the access key ID and the secret access key",
        ),
        (boto.NoRegionError(), errors.AwsError, "set region_name"),
        (boto.ProfileNotFound(profile="x"), errors.AwsError, "check profile_name"),
        (
            boto.EndpointConnectionError(**ENDPOINT, error="x"),
            errors.Unavailable,
            "check the network, the proxy, region_name, endpoint_url",
        ),
        (boto.ConnectTimeoutError(**ENDPOINT, error="x"), errors.Unavailable, "the proxy"),
        (
            boto.ProxyConnectionError(proxy_url="http://proxy:3128", error="x"),
            errors.Unavailable,
            "check the proxy",
        ),
        (
            boto.SSLError(
                **ENDPOINT, error=OSError("certificate verify failed: self-signed certificate")
            ),
            errors.AwsError,
            "check the CA bundle",
        ),
        (
            boto.SSLError(**ENDPOINT, error=OSError("wrong version number")),
            errors.Unavailable,
            "the endpoint uses HTTPS",
        ),
        (boto.ReadTimeoutError(**ENDPOINT, error="x"), errors.Unavailable, "try again later"),
        (
            boto.ParamValidationError(report="x"),
            errors.AwsError,
            "correct the task definition or task_customizations",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_botocore_itself_refuses_is_an_error(exception, error, hint):
    """With a hint as well."""
    raised = as_error(classify(exception, "RunTask"), "cannot do it")
    assert type(raised) is error
    assert hint in raised.hint


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("LOCATION", "no instance satisfies the placement constraints"),
        ("ATTRIBUTE", "no instance has the attributes"),
    ],
)
def test_lasting_refusals_inside_a_200_are_errors(reason, hint):
    """They are an AwsError with that reason."""
    error = as_error(in_band({"failures": [{"reason": reason}]}), "cannot launch f:1")
    assert (type(error), error.why) == (errors.AwsError, reason)
    assert hint in error.hint


def test_a_hint_of_ones_own_goes_first():
    """The one who asked may know more: of a refusal, and of a permission, each for its own."""
    fault = Fault(Kind.DENIED, "RegisterTaskDefinition", "AccessDeniedException", "no")
    assert as_error(fault, "cannot", "do this", allow="allow that").hint == "allow that"
    fault = Fault(Kind.REFUSED, "DescribeVpcs", "InvalidVpcID.NotFound", "no")
    assert as_error(fault, "cannot", "do this", allow="allow that").hint == "do this"


@pytest.mark.parametrize("cause", HINTS)
@pytest.mark.parametrize(("hint", "allow"), [("", ""), ("set subnets", "allow ec2:DescribeVpcs")])
def test_the_cause_decides_the_hint_and_not_the_call(cause, hint, allow):
    """Whatever a call would say of a refusal: of another cause it says what goes with that."""
    fault = SAMPLES[cause]
    assert cause_of(fault.kind, fault.code, fault.message, fault.called) is cause
    shown = as_error(fault, "cannot", hint, allow=allow).hint
    assert shown == as_error(fault, "cannot").hint
    assert shown
    assert "subnets" not in shown
    assert "ec2:" not in shown


#: A fault of each cause that has a hint.
SAMPLES = {
    Cause.NO_CREDENTIALS: classify(boto.NoCredentialsError(), "DescribeVpcs"),
    Cause.EXPIRED: Fault(Kind.EXPIRED, "DescribeVpcs", "ExpiredToken", "expired"),
    Cause.WRONG_SECRET: Fault(Kind.BAD_SIGNATURE, "RunTask", "SignatureDoesNotMatch", "no"),
    Cause.WRONG_CLOCK: Fault(
        Kind.BAD_SIGNATURE, "RunTask", "InvalidSignatureException", "Signature expired: 2026"
    ),
    Cause.NO_REGION: classify(boto.NoRegionError(), "DescribeVpcs"),
    Cause.WRONG_PROFILE: classify(boto.ProfileNotFound(profile="x"), "client"),
    Cause.WRONG_SETTINGS: Fault(Kind.REFUSED, "client ecs", "ValueError", "Invalid endpoint: x"),
    Cause.NO_TLS: classify(
        boto.SSLError(**ENDPOINT, error=OSError("wrong version number")), "RunTask"
    ),
    Cause.WRONG_ACCOUNT: Fault(
        Kind.REFUSED,
        "DescribeTasks",
        "InvalidParameterException",
        "Identifier is for 222222222222. Your accountId is 111111111111",
    ),
    Cause.UNREACHABLE: classify(boto.EndpointConnectionError(**ENDPOINT, error="x"), "RunTask"),
    Cause.THROTTLED: Fault(Kind.THROTTLED, "RunTask", "ThrottlingException", "Rate exceeded"),
    Cause.NO_ANSWER: classify(boto.ReadTimeoutError(**ENDPOINT, error="x"), "RunTask"),
}


@pytest.mark.parametrize(
    ("message", "accounts"),
    [
        (
            "User: arn:aws:sts::111111111111:assumed-role/etl/x is not authorized to perform: "
            "ecs:DescribeTasks on resource: arn:aws:ecs:eu-west-1:222222222222:task/etl/1",
            ("111111111111", "222222222222"),
        ),
        (
            "User: arn:aws:iam::111111111111:user/x is not authorized to perform: iam:PassRole on "
            "resource: arn:aws:iam::222222222222:role/y",
            ("111111111111", "222222222222"),
        ),
        (
            "User: arn:aws:iam::111111111111:user/x is not authorized to perform: iam:PassRole on "
            "resource: arn:aws:iam::111111111111:role/y",
            None,
        ),
        ("Identifier is for 222222222222. Your accountId is 222222222222", None),
        ("Rate exceeded", None),
    ],
)
def test_two_accounts_are_distinguished_from_one(message, accounts):
    """Denied is denied within the account; across accounts, other credentials are needed."""
    assert accounts_of(message) == accounts


def test_the_tree_is_drawn_as_it_is():
    """The docstring shows every class, and no other."""
    classes = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.PinnedECSError)
    }
    drawn = (errors.__doc__ or "").split("::", 1)[1]
    words = {line.split("── ")[-1].split()[0] for line in drawn.splitlines() if line.strip()}
    assert words == classes
    assert all(vars(errors)[name].__doc__ for name in classes)


@pytest.mark.parametrize("name", [n for n, v in vars(errors).items() if inspect.isclass(v)])
def test_every_error_is_what_why_and_hint(name):
    """As text, and as attributes; a part that is not given is not shown."""
    error = vars(errors)[name]
    if not issubclass(error, errors.PinnedECSError):
        return
    more = {"OverridesTooLarge": {"size": 9000, "largest": ["A"]}}.get(name, {})
    one = error("what", "why", "hint", **more)
    assert (one.what, one.why, one.hint) == ("what", "why", "hint")
    see = f"see: {errors.DOCS}errors/{name}/"
    assert str(one) == f"what: why\nhint: hint\n{see}"
    assert str(error("what", "", "", **more)) == f"what\n{see}"
    assert (one.text, one.page) == ("what: why", see.removeprefix("see: "))


def test_a_class_that_is_not_listed_has_the_page_of_its_base():
    class Own(errors.LaunchTimeout):
        pass

    assert Own("what").page.endswith("/errors/LaunchTimeout/")
