"""`iam`: a policy document on stdout. What it holds is tested in tests/operations."""

from __future__ import annotations

import json

import pytest

from tests.operations.fixtures import EXECUTION_ROLE

FIELDS = {"subnets": ["subnet-1"], "execution_role_arn": EXECUTION_ROLE}


def actions(text: str) -> set[str]:
    return {a for statement in json.loads(text)["Statement"] for a in statement["Action"]}


def test_the_policy_is_the_only_thing_on_stdout(pinned_ecs, save):
    """Valid JSON, ready for `aws iam put-role-policy`; the same with --json."""
    block = save("etl", **FIELDS)
    said = pinned_ecs("iam", block)
    assert said.code == 0
    assert json.loads(said.out)["Version"] == "2012-10-17"
    assert said.err == "For the block without overrides; --all covers its deployments as well.\n"
    assert pinned_ecs("iam", block, "--json").out == said.out


def test_registration_never_drops_what_registering_needs(pinned_ecs, save):
    """Of the option, or of the block's own setting."""
    block = save("etl", **FIELDS)
    may = actions(pinned_ecs("iam", block).out)
    may_not = actions(pinned_ecs("iam", block, "--registration", "never").out)
    assert may - may_not == {"ecs:RegisterTaskDefinition"}
    save("etl", registration="never", **FIELDS)
    assert actions(pinned_ecs("iam", block).out) == may_not


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("agent", "ecs:RunTask", "ecs:DeregisterTaskDefinition"),
        ("ci", "ecs:RegisterTaskDefinition", "ecs:RunTask"),
        ("operator", "ecs:DeregisterTaskDefinition", "ecs:RunTask"),
    ],
)
def test_roles_differ(pinned_ecs, save, role, may, may_not):
    """An agent never deregisters; neither CI nor an operator launches."""
    found = actions(pinned_ecs("iam", save("etl", **FIELDS), "--role", role).out)
    assert may in found
    assert may_not not in found


def test_an_unknown_role_is_refused(pinned_ecs, save):
    """With the ones that there are."""
    said = pinned_ecs("iam", save("etl", **FIELDS), "--role", "root")
    assert (said.code, said.out) == (1, "")
    assert "'agent', 'ci', 'operator'" in said.err
