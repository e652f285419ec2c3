"""What has worked before: the same credentials, the same thing, and nothing that is like it."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.calls.worked import Worked

ARN = "arn:aws:ecs:us-east-1:123456789012"
PASS_ROLE = "User: x is not authorized to perform: iam:PassRole on resource: arn:aws:iam::1:role/x"


def launch(**changes: Any) -> dict[str, Any]:
    """A RunTask request."""
    return {
        "cluster": "etl",
        "taskDefinition": f"{ARN}:task-definition/etl:7",
        "launchType": "FARGATE",
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["a"]}},
        "overrides": {
            "taskRoleArn": "role/one",
            "cpu": "256",
            "containerOverrides": [{"name": "prefect", "command": ["a"]}],
        },
        "tags": [{"key": "flow", "value": "one"}],
        "startedBy": "one",
        "clientToken": "one",
    } | changes


def worked_after(operation: str, before: dict[str, Any], request: dict[str, Any], fault: Fault):
    worked = Worked()
    worked.note(operation, before)
    worked.stamp(fault, request)
    return fault.worked


def denied(operation: str = "RunTask", message: str = "not authorized") -> Fault:
    return Fault(Kind.DENIED, operation, "AccessDeniedException", message)


def overrides(**changes: Any) -> dict[str, Any]:
    return {"overrides": launch()["overrides"] | changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"clientToken": "two"},
        {"startedBy": "two"},
        {"cluster": f"{ARN}:cluster/etl"},
        {"tags": [{"key": "flow", "value": "two"}]},
        overrides(containerOverrides=[{"name": "prefect", "environment": []}]),
        overrides(cpu="512", memory="1024", ephemeralStorage={"sizeInGiB": 30}),
    ],
)
def test_runs_of_one_kind_vouch_for_each_other(changes):
    """They differ in what no permission depends on."""
    assert worked_after("RunTask", launch(), launch(**changes), denied())
    assert worked_after("RunTask", launch(), launch(**changes), denied(message=PASS_ROLE))


@pytest.mark.parametrize(
    "changes",
    [
        {"cluster": "other"},
        {"taskDefinition": "other:7"},
        {"launchType": "EC2"},
        {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}]},
        {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["b"]}}},
        {"tags": [{"key": "team", "value": "one"}]},
        {"tags": []},
        {"enableExecuteCommand": True},
        {"group": "other"},
        overrides(taskRoleArn="role/two"),
        overrides(executionRoleArn="role/two"),
    ],
)
def test_a_run_of_another_kind_is_refused_for_good(changes):
    """However many others are launched: nobody has ever seen it work."""
    assert not worked_after("RunTask", launch(), launch(**changes), denied())


def test_a_role_of_the_revision_that_may_not_be_passed_is_known_by_the_revision():
    """The request does not name it; the family's next revision may have another."""
    newer = launch(taskDefinition=f"{ARN}:task-definition/etl:8")
    assert not worked_after("RunTask", launch(), newer, denied(message=PASS_ROLE))
    assert worked_after("RunTask", launch(), newer, denied())


@pytest.mark.parametrize(
    ("operation", "same", "other"),
    [
        ("DescribeTasks", {"cluster": "etl", "tasks": ["a"]}, {"cluster": "b", "tasks": ["a"]}),
        ("StopTask", {"cluster": "etl", "task": "a"}, {"cluster": "b", "task": "a"}),
        ("DescribeTaskDefinition", {"taskDefinition": "etl:7"}, {"taskDefinition": "b"}),
        ("ListTaskDefinitions", {"familyPrefix": "etl"}, {"familyPrefix": "b"}),
        ("RegisterTaskDefinition", {"family": "etl"}, {"family": "b"}),
        ("RegisterTaskDefinition", {"family": "etl"}, {"family": "etl", "taskRoleArn": "r"}),
        ("RegisterTaskDefinition", {"family": "etl"}, {"family": "etl", "tags": [{"key": "a"}]}),
        ("FilterLogEvents", {"logGroupName": "etl"}, {"logGroupName": "b"}),
        ("DescribeVpcs", {"VpcIds": ["a"]}, {"VpcIds": ["b"]}),
        ("DescribeSubnets", {"Filters": [{"Values": ["a"]}]}, {"Filters": [{"Values": ["b"]}]}),
    ],
)
def test_other_actions_count_by_what_they_name(operation, same, other):
    """And never for another action."""
    assert worked_after(operation, same, dict(same), denied(operation))
    assert not worked_after(operation, same, other, denied(operation))
    assert not worked_after("ListClusters", same, same, denied(operation))


@pytest.mark.parametrize("kind", [Kind.EXPIRED, Kind.BAD_SIGNATURE])
def test_credentials_have_worked_when_anything_has(kind):
    """They are the same for all actions."""
    fault = Fault(kind, "RunTask", "x")
    Worked().stamp(fault, launch())
    assert not fault.worked
    assert worked_after("DescribeTasks", {"cluster": "b"}, launch(), fault)


@pytest.mark.parametrize("name", ["etl", f"{ARN}:cluster/etl"])
def test_a_cluster_has_worked_when_any_action_has_found_it(name):
    """A launch into it, then ClusterNotFound while its task is watched."""
    fault = Fault(Kind.NO_CLUSTER, "DescribeTasks", "ClusterNotFoundException")
    assert worked_after("RunTask", launch(), {"cluster": name}, fault)
    assert not worked_after("RunTask", launch(), {"cluster": "other"}, fault)
    assert not worked_after("RunTask", launch(), {}, fault)
    assert worked_after("RunTask", launch(cluster=None), {}, fault)


def test_other_faults_are_left_alone():
    """What they say has nothing to do with what worked."""
    for kind in set(Kind) - {Kind.EXPIRED, Kind.BAD_SIGNATURE, Kind.DENIED, Kind.NO_CLUSTER}:
        assert not worked_after("RunTask", launch(), launch(), Fault(kind, "RunTask"))


def test_what_is_remembered_is_bounded_and_holds_no_values():
    """Digests of the latest; not a variable's value among them."""
    worked = Worked()
    for number in range(5000):
        worked.note("DescribeTasks", {"cluster": f"c{number}"})
    assert len(worked._requests) == 4096
    worked.note("RunTask", launch(group="hunter2"))
    assert "hunter2" not in repr(worked._requests)


def test_a_description_does_not_vouch_for_one_with_tags():
    """They need a permission of their own, and a denial is to be taken at once."""
    plain = {"taskDefinition": "etl"}
    tagged = {**plain, "include": ["TAGS"]}
    operation = "DescribeTaskDefinition"
    assert not worked_after(operation, plain, tagged, denied(operation))
    assert worked_after(operation, tagged, tagged, denied(operation))
