"""A request to start from: what of it stays, and what a run lays over it."""

from __future__ import annotations

import pytest

from prefect_ecs_pinned.errors import ConfigurationError
from tests.runs.test_check import add, request_of

SIDECAR = {"name": "proxy", "environment": [{"name": "MODE", "value": "quiet"}]}


def job(**members):
    return {"job_request": members}


def overrides(*containers, **members):
    return {"overrides": {"containerOverrides": list(containers), **members}}


def container(request, name="prefect"):
    listed = request["overrides"]["containerOverrides"]
    return next(c for c in listed if c["name"] == name)


def test_members_that_a_run_does_not_set_stay():
    """Of the request, of its overrides, and of containers beside the flow's."""
    start = job(
        group="nightly",
        propagateTags="TASK_DEFINITION",
        **overrides(SIDECAR, {"memoryReservation": 64, "name": "prefect"}, taskRoleArn="role"),
    )
    proxy = {"containerDefinitions": [{"name": "proxy", "image": "proxy:1"}]}
    request = request_of(**start, command=["true"], task_definition=proxy)
    assert (request["group"], request["propagateTags"]) == ("nightly", "TASK_DEFINITION")
    assert request["overrides"]["taskRoleArn"] == "role"
    assert container(request, "proxy") == SIDECAR
    own = container(request)
    assert (own["memoryReservation"], own["command"]) == (64, ["true"])
    assert [c["name"] for c in request["overrides"]["containerOverrides"]] == ["proxy", "prefect"]


def test_an_override_without_a_name_is_the_flows():
    """The first one, as `ECSWorker` reads it."""
    request = request_of(**job(**overrides({"cpu": 128})), container_name="main")
    assert [c["name"] for c in request["overrides"]["containerOverrides"]] == ["main"]
    assert container(request, "main")["cpu"] == 128


def test_variables_and_tags_are_joined_by_name():
    """What the run says wins, and comes last."""
    variables = [{"name": "A", "value": "start"}, {"name": "B", "value": "start"}]
    request = request_of(
        **job(
            tags=[{"key": "team", "value": "etl"}, {"key": "kept", "value": "x"}],
            **overrides({"name": "prefect", "environment": variables}),
        ),
        env={"A": "run"},
        labels={"team": "ml"},
    )
    assert container(request)["environment"] == [
        {"name": "B", "value": "start"},
        {"name": "A", "value": "run"},
    ]
    assert request["tags"] == [{"key": "kept", "value": "x"}, {"key": "team", "value": "ml"}]


def test_sizes_of_the_start_win_over_those_of_the_definition():
    """The definition's are sent where the start has none."""
    request = request_of(
        **job(**overrides(cpu="256")), task_definition={"cpu": 512, "memory": 1024}
    )
    assert (request["overrides"]["cpu"], request["overrides"]["memory"]) == ("256", "1024")
    assert request_of(**job(**overrides(cpu="256")), cpu=1024)["overrides"]["cpu"] == "1024"


def test_a_variable_of_the_start_does_not_override_a_secret():
    """As one of the run's own does not; ECS would refuse it."""
    variables = [{"name": "TOKEN", "value": "clear"}]
    secrets = {"TOKEN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:t"}
    fields = job(**overrides({"name": "prefect", "environment": variables}))
    with pytest.raises(ConfigurationError, match="a secret provides TOKEN"):
        request_of(**fields, secrets=secrets, execution_role_arn="role")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"subnets": ["s-9"], "assignPublicIp": "DISABLED"}),
        (
            {"subnets": ["s-1"], "security_groups": ["g-1"]},
            {"subnets": ["s-1"], "assignPublicIp": "DISABLED", "securityGroups": ["g-1"]},
        ),
        ({"network_configuration": {"subnets": ["s-2"]}}, {"subnets": ["s-2"]}),
        (
            {"network_configuration": {"securityGroups": ["g-2"]}},
            {"securityGroups": ["g-2"], "subnets": ["subnet-1"], "assignPublicIp": "ENABLED"},
        ),
    ],
)
def test_a_network_of_the_start(fields, expected):
    """`network_configuration` takes its place; fields win over both, member by member."""
    network = {"awsvpcConfiguration": {"subnets": ["s-9"], "assignPublicIp": "DISABLED"}}
    request = request_of(**job(networkConfiguration=network), **fields)
    assert request["networkConfiguration"]["awsvpcConfiguration"] == expected


def test_customizations_come_last_and_startedby_may_be_the_starts():
    """They are applied to what the start and the run make together."""
    request = request_of(
        **job(group="a", startedBy="me"),
        flow_run_id="0" * 32,
        task_customizations=[add("/group", "b")],
    )
    assert (request["group"], request["startedBy"]) == ("b", "me")


@pytest.mark.parametrize("member", ["clientToken", "count"])
def test_members_of_launching_are_refused(member):
    with pytest.raises(ConfigurationError, match=member):
        request_of(**job(**{member: 2}))
