"""Over HTTP: unmodified boto3 clients, counting, faults."""

from __future__ import annotations

import json
import threading
import urllib.request

import botocore.exceptions
import pytest
from botocore.config import Config

from prefect_ecs_pinned.local import LocalECS, Settings
from prefect_ecs_pinned.local.faults import Fault

ONE_ATTEMPT = Config(retries={"total_max_attempts": 1}, read_timeout=5)
DEFINITION = {
    "family": "etl",
    "containerDefinitions": [{"name": "prefect", "image": "flows:1", "memory": 128}],
}


@pytest.fixture
def ecs():
    with LocalECS(Settings(latencies={})) as ecs:
        yield ecs


@pytest.fixture
def client(ecs):
    return ecs.client("ecs", config=ONE_ATTEMPT)


def test_calls_throttles_and_errors_are_counted_apart(ecs, client):
    """Twenty-one registrations and one unknown family."""
    for _ in range(20):
        client.register_task_definition(**DEFINITION)
    with pytest.raises(botocore.exceptions.ClientError, match="Rate exceeded"):
        client.register_task_definition(**DEFINITION)
    with pytest.raises(client.exceptions.ClientException, match="Unable to describe"):
        client.describe_task_definition(taskDefinition="nothing")
    expected = {
        "RegisterTaskDefinition": {"calls": 21, "throttled": 1, "errors": 0},
        "DescribeTaskDefinition": {"calls": 1, "throttled": 0, "errors": 1},
    }
    assert ecs.calls == expected
    key = {"Authorization": f"Bearer {ecs.access_key}"}
    request = urllib.request.Request(f"{ecs.endpoint_url}/_local/calls", headers=key)
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer) == expected


def test_registrations_that_overlap_are_refused():
    """Eight at the same instant: one revision."""
    with LocalECS(Settings(latencies={"RegisterTaskDefinition": 0.3})) as ecs:
        barrier, refusals = threading.Barrier(8), []

        def register():
            client = ecs.client("ecs", config=ONE_ATTEMPT)
            barrier.wait()
            try:
                client.register_task_definition(**DEFINITION)
            except client.exceptions.ClientException as refusal:
                refusals.append(str(refusal))

        threads = [threading.Thread(target=register) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ecs.model.definitions().all()) == 8 - len(refusals) < 8
        assert all("Too many concurrent attempts" in refusal for refusal in refusals)


def test_a_lost_reply_took_effect(ecs, client):
    """The connection is cut after the registration."""
    ecs.faults(Fault("lost-reply", "RegisterTaskDefinition", times=1))
    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        client.register_task_definition(**DEFINITION)
    assert len(ecs.model.definitions().all()) == 1


def test_a_reset_did_nothing(ecs, client):
    """The connection is cut before."""
    ecs.faults(Fault("reset", "RegisterTaskDefinition", times=1))
    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        client.register_task_definition(**DEFINITION)
    assert ecs.model.definitions().all() == []


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("throttle", "ThrottlingException"),
        ("server-error", "ServerException"),
        ("hidden-throttle", "InvalidParameterException"),
    ],
)
def test_faults_are_answered_as_aws_does(ecs, client, kind, code):
    """By error code."""
    ecs.faults(Fault(kind, "DescribeTaskDefinition"))
    with pytest.raises(botocore.exceptions.ClientError) as error:
        client.describe_task_definition(taskDefinition="etl")
    assert error.value.response["Error"]["Code"] == code


def test_a_conflict_names_its_task_to_boto3(ecs, client):
    """As a modelled member of the exception."""
    client.register_task_definition(**DEFINITION)
    request = {"taskDefinition": "etl", "launchType": "EC2", "clientToken": "t"}
    arn = client.run_task(**request)["tasks"][0]["taskArn"]
    with pytest.raises(client.exceptions.ConflictException) as conflict:
        client.run_task(**request, startedBy="other")
    assert conflict.value.response["resourceIds"] == [arn]


def test_moto_serves_the_rest(ecs):
    """EC2, Logs, Secrets Manager and STS answer."""
    assert ecs.client("ec2").describe_vpcs()["Vpcs"][0]["IsDefault"]
    assert ecs.client("sts").get_caller_identity()["Account"] == "123456789012"
    secret = ecs.client("secretsmanager").create_secret(Name="k", SecretString="v")
    assert secret["ARN"]
    assert ecs.calls["DescribeVpcs"]["calls"] == 1


def test_a_subnet_that_ec2_does_not_know_is_refused(ecs, client):
    """In ECS's disguise of EC2's error."""
    client.register_task_definition(**DEFINITION, networkMode="awsvpc")
    with pytest.raises(client.exceptions.InvalidParameterException, match="subnet-0"):
        client.run_task(
            taskDefinition="etl",
            launchType="EC2",
            networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-0"]}},
        )


def test_one_missing_stream_refuses_the_whole_filter_log_events(ecs):
    """As CloudWatch Logs does; and a hundred streams at most."""
    logs = ecs.client("logs", config=ONE_ATTEMPT)
    logs.create_log_group(logGroupName="test_server")
    logs.create_log_stream(logGroupName="test_server", logStreamName="a")
    logs.filter_log_events(logGroupName="test_server", logStreamNames=["a"])
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.filter_log_events(logGroupName="test_server", logStreamNames=["a", "b"])
    with pytest.raises(botocore.exceptions.ClientError, match="at most 100"):
        logs.filter_log_events(logGroupName="test_server", logStreamNames=["a"] * 101)


def test_settings_and_faults_change_over_http(ecs, client):
    """For programs in other languages, and other processes."""
    request = urllib.request.Request(
        f"{ecs.endpoint_url}/_local/faults",
        json.dumps([{"kind": "throttle", "action": "ListClusters"}]).encode(),
        {"Authorization": f"Bearer {ecs.access_key}"},
        method="PUT",
    )
    urllib.request.urlopen(request).close()
    with pytest.raises(botocore.exceptions.ClientError, match="Rate exceeded"):
        client.list_clusters()
