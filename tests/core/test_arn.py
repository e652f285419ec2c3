"""Principals: by what ECS sets as `registeredBy`, and by what STS says of the caller."""

from __future__ import annotations

import pytest

from prefect_ecs_pinned.core.arn import account_of, same_principal

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
