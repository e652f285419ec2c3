"""Principals: by what ECS sets as `registeredBy`, and by what STS says of the caller."""

from __future__ import annotations

import pytest

from prefect_ecs_pinned.core.arn import (
    account_of,
    cluster_arn,
    parse_revision,
    region_of,
    same_principal,
)
from prefect_ecs_pinned.metrics import CLUSTER, REGION, of_cluster

SESSION = "arn:aws:sts::123456789012:assumed-role/agent/{}"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (SESSION.format("a"), SESSION.format("b"), True),
        (SESSION.format("a"), "arn:aws:sts::123456789012:assumed-role/ci/a", False),
        (SESSION.format("a"), "arn:aws:sts::210987654321:assumed-role/agent/a", False),
        (SESSION.format("a"), "arn:aws-cn:sts::123456789012:assumed-role/agent/a", False),
        (SESSION.format("a"), "arn:aws:iam::123456789012:role/team/agent", True),
        (SESSION.format("a"), "arn:aws:iam::123456789012:user/agent", False),
        ("arn:aws:iam::123456789012:user/x", "arn:aws:iam::123456789012:user/x", True),
        ("arn:aws:iam::123456789012:user/x", "arn:aws:iam::123456789012:user/y", False),
        ("arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:root", True),
        (
            "arn:aws:sts::123456789012:federated-user/x",
            "arn:aws:sts::123456789012:federated-user/y",
            False,
        ),
        ("", "", False),
        ("", SESSION.format("a"), False),
        (SESSION.format("a"), "", False),
    ],
)
def test_sessions_of_one_role_are_one_principal(one, other, same):
    """Users, roots and federated users are themselves only; nobody is nobody."""
    assert same_principal(one, other) == same


def test_the_account_of_an_arn():
    """And none of what is no ARN."""
    assert account_of("arn:aws:ecs:us-east-1:123456789012:task-definition/f:1") == "123456789012"
    assert account_of("f:1") == ""


@pytest.mark.parametrize(
    "text", ["", "etl", "arn:", "arn:foo", "arn:aws:ecs", "not:an:arn:of:any:kind"]
)
def test_what_only_looks_like_an_arn_has_no_parts(text):
    """A patch may name anything as a cluster: what is measured of it has no cluster then."""
    assert region_of(text) == account_of(text) == ""
    assert of_cluster(text, "eu-west-1") == {REGION: "eu-west-1"}
    assert cluster_arn("etl", text) == ""


def test_parts_of_an_arn():
    revision = "arn:aws:ecs:us-east-1:123456789012:task-definition/etl:7"
    cluster = "arn:aws:ecs:us-east-1:123456789012:cluster/etl"
    assert (region_of(revision), account_of(revision)) == ("us-east-1", "123456789012")
    assert cluster_arn("etl", revision) == cluster_arn(cluster, "") == cluster
    assert of_cluster(cluster) == {CLUSTER: cluster, REGION: "us-east-1"}


@pytest.mark.parametrize("number", ["", "x", "²", "٣", "9" * 5000])
def test_what_is_no_number_of_a_revision_is_refused_by_its_name(number):
    """Of all that Python calls digits, ECS has ten; and no number has thousands of them."""
    with pytest.raises(ValueError, match="is not a task-definition family"):
        parse_revision(f"etl:{number}")
