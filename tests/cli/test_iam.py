"""`iam`: a policy document on stdout. What it holds is tested in tests/operations."""

from __future__ import annotations

import json
import os

import pytest
from prefect_aws import AwsCredentials

from prefect_ecs_pinned import PinnedECSTask
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
    assert said.err == "For the block without overrides; --all includes its deployments.\n"
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


LINKED = "arn:aws:ecs:eu-west-1:123456789012:task-definition/etl:3"


@pytest.mark.parametrize(
    ("fields", "region", "placeholders"),
    [
        ({}, "eu-west-1", "ACCOUNT_ID"),
        ({}, "cn-north-1", "ACCOUNT_ID"),
        ({}, None, "ACCOUNT_ID, REGION"),
        (
            {"task_definition_arn": LINKED, "image": None, "registration": "never"},
            "eu-west-1",
            "ACCOUNT_ID, EXECUTION_ROLE",
        ),
    ],
)
@pytest.mark.parametrize("role", ["agent", "ci", "operator"])
def test_without_credentials_there_are_placeholders(
    pinned_ecs, prefect, monkeypatch, tmp_path, fields, region, placeholders, role
):
    """A policy on stdout; on stderr why, and what to replace: exactly what stands in the policy."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "missing"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    access = AwsCredentials(region_name=region)
    block = PinnedECSTask(aws_credentials=access, **{"image": "flows:1", **fields})
    block.save("etl", overwrite=True)
    said = pinned_ecs("iam", "etl", "--role", role)
    assert said.code == 0
    document = json.loads(said.out)
    assert document["Version"] == "2012-10-17"
    if not any(name in said.out for name in placeholders.split(", ")):
        assert "warning" not in said.err  # all of it is for any resource
        return
    warning, replace = said.err.splitlines()[:2]
    assert warning.startswith("warning: ")
    listed = replace.removeprefix("Replace the placeholders in the policy: ").rstrip(".")
    assert set(listed.split(", ")) <= set(placeholders.split(", "))
    assert all(name in said.out for name in listed.split(", "))
    assert all(name in listed for name in ("ACCOUNT_ID", "REGION") if name in said.out)
    assert ("add its task role" in said.err) == ("EXECUTION_ROLE" in said.out)
    if region == "cn-north-1":
        assert "arn:aws-cn:" in said.out
        assert "arn:aws:" not in said.out
