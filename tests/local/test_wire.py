"""Bodies that cannot be read are answered as AWS answers them; no body makes a 500."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import botocore.session
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefect_ecs_pinned.local import AwsRefusal, EmbeddedECS, LocalECS, Settings
from prefect_ecs_pinned.local.wire import MOST_BYTES, MOST_NESTED, parse
from tests.local.wire import ECS, exchange, run_task, signature

MODEL = botocore.session.get_session().get_service_model("ecs")


@pytest.fixture(scope="module")
def ecs():
    with LocalECS(Settings(latencies={}, quota_scale=None)) as ecs:
        yield ecs


NO_JSON = [
    b"",
    b" ",
    b"{",
    b"}",
    b"{}{}",
    b"{'a': 1}",
    b'{"a": NaN}',
    b'{"a": 1,}',
    b"\xff\xfe{\x00}\x00",
    b'{"cluster": "\xe4"}',
    b'{"cluster": "\\ud800"}',
    b"\x00",
    b"taskDefinition=etl",
    b"<RunTask/>",
    b"[" * 100_000,
]
NO_OBJECT = [b"[]", b"null", b"1", b'"{}"', b"true", b'[{"cluster": "c"}]']
TOO_DEEP = b'{"overrides":' * (MOST_NESTED + 1) + b"1" + b"}" * (MOST_NESTED + 1)
OTHER_TYPES = [
    {"cluster": 1},
    {"cluster": {}},
    {"cluster": ["c"]},
    {"cluster": True},
    {"count": "1"},
    {"count": 1.5},
    {"count": True},
    {"count": 10**30},
    {"enableECSManagedTags": "true"},
    {"enableECSManagedTags": 1},
    {"tags": {}},
    {"tags": "a"},
    {"tags": ["a"]},
    {"tags": [None]},
    {"overrides": []},
    {"overrides": {"containerOverrides": {"name": "prefect"}}},
    {"overrides": {"containerOverrides": [{"environment": [{"name": 1}]}]}},
]


@pytest.mark.parametrize("body", [*NO_JSON, *NO_OBJECT, TOO_DEEP], ids=lambda b: repr(b[:20]))
@pytest.mark.parametrize(
    ("service", "target"),
    [
        ("ecs", f"{ECS}.RunTask"),
        ("logs", "Logs_20140328.GetLogEvents"),
        ("secretsmanager", "secretsmanager.GetSecretValue"),
        ("ssm", "AmazonSSM.GetParameter"),
        ("ecr", "AmazonEC2ContainerRegistry_V20150921.DescribeImages"),
        ("dynamodb", "DynamoDB_20120810.ListTables"),
    ],
)
def test_a_body_that_cannot_be_read(ecs, service, target, body):
    """ECS and moto's services alike: SerializationException, 400."""
    headers = run_task(ecs, X_Amz_Target=target, Authorization=signature(ecs.access_key, service))
    answer = exchange(ecs, headers, body)
    assert (answer.status, answer.code) == (400, "SerializationException")


@pytest.mark.parametrize("members", OTHER_TYPES, ids=str)
def test_a_member_of_another_type(ecs, members):
    """It cannot be converted, and the answer names it."""
    body = json.dumps({"taskDefinition": "etl", **members}).encode()
    answer = exchange(ecs, run_task(ecs), body)
    assert (answer.status, answer.code) == (400, "SerializationException")
    assert next(iter(members)) in answer.json["message"] or 10**30 in members.values()


def test_a_body_that_is_too_large(ecs):
    """It is not read to its end."""
    body = b" " * (MOST_BYTES + 1)
    answer = exchange(ecs, run_task(ecs), body)
    assert (answer.status, answer.code) == (400, "SerializationException")


@pytest.mark.parametrize(
    "target", ["", "x", "RunTask", f"{ECS}.", f"{ECS}.Nothing", f"x{ECS}.RunTask"]
)
def test_a_target_that_there_is_not(ecs, target):
    """AWS's UnknownOperationException; moto's own ECS is never asked."""
    answer = exchange(ecs, run_task(ecs, X_Amz_Target=target))
    assert answer.status == 400
    assert b"UnknownOperationException" in answer.body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"Action=Nothing", b"InvalidAction"),
        (b"", b"InvalidAction"),
        (b"\xff", b"MalformedQueryString"),
    ],
)
def test_a_form_that_cannot_be_read(ecs, body, code):
    """EC2, IAM and STS speak in forms."""
    for service in ("ec2", "iam", "sts"):
        headers = run_task(ecs, X_Amz_Target=None, Authorization=signature(ecs.access_key, service))
        answer = exchange(ecs, headers, body)
        assert answer.status == 400
        assert code in answer.body


def test_a_null_is_as_good_as_nothing(ecs):
    """At any depth."""
    body = {
        "family": "etl",
        "tags": None,
        "containerDefinitions": [{"name": "a", "image": "b", "memory": 128, "cpu": None}],
    }
    assert parse(f"{ECS}.RegisterTaskDefinition", json.dumps(body).encode()) == {
        "family": "etl",
        "containerDefinitions": [{"name": "a", "image": "b", "memory": 128}],
    }


def test_a_required_member_is_missed(ecs):
    """By its path."""
    for body, path in (
        ({}, "'taskDefinition'"),
        ({"taskDefinition": "a", "volumeConfigurations": [{}]}, "volumeConfigurations[0].name"),
    ):
        with pytest.raises(AwsRefusal, match="InvalidParameterException") as refusal:
            parse(f"{ECS}.RunTask", json.dumps(body).encode())
        assert path in refusal.value.message


@pytest.mark.parametrize(
    ("method", "name", "body"),
    [
        ("PUT", "faults", b"{}"),
        ("PUT", "faults", b"["),
        ("PUT", "faults", b"[1]"),
        ("PUT", "faults", b'[{"kind": "sunshine"}]'),
        ("PUT", "faults", b'[{"kind": "slow", "colour": 1}]'),
        ("PUT", "faults", b"[{}]"),
        ("PATCH", "settings", b"[]"),
        ("PATCH", "settings", b"\xff"),
        ("PATCH", "settings", b'{"colour": 1}'),
        ("PATCH", "settings", b'{"latencies": 3}'),
        ("PATCH", "settings", b'{"latencies": {"RunTask": "x"}}'),
        ("PATCH", "settings", b'{"phases": {"sleeping": 1}}'),
        ("PATCH", "settings", b'{"vcpu_quota": "6"}'),
        ("PATCH", "settings", b'{"execute": 1}'),
    ],
)
def test_the_local_api_says_what_is_wrong(ecs, method, name, body):
    """400, and nothing is changed."""
    before = exchange(ecs, run_task(ecs), b"", "GET", "/_local/settings").json
    answer = exchange(ecs, run_task(ecs), body, method, f"/_local/{name}")
    assert answer.status == 400
    assert answer.code in ("SerializationException", "ValidationException")
    assert exchange(ecs, run_task(ecs), b"", "GET", "/_local/settings").json == before


# -- generated -------------------------------------------------------------------------------------

ACTIONS = EmbeddedECS().actions
CONTAINER = {"name": "prefect", "image": "b", "memory": 128}
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}

#: Members of a good request, so that generated ones get further than its first check.
BASES: Mapping[str, Mapping[str, Any]] = {
    "RegisterTaskDefinition": {"family": "etl", "containerDefinitions": [CONTAINER]},
    "RunTask": {"taskDefinition": "etl"},
    "CreateService": {"serviceName": "s", "taskDefinition": "etl"},
    "TagResource": {"resourceArn": ":task-definition/etl:1"},
}
WORDS = ("etl", "etl:1", "default", "prefect", "FARGATE", "EC2", "awsvpc", "256", "512", "1 GB", "")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def of_shape(shape: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a shape of botocore's."""
    kind = shape.type_name
    if kind == "structure" and depth < 4:
        members = {name: of_shape(member, depth + 1) for name, member in shape.members.items()}
        required = {name: members.pop(name) for name in shape.required_members}
        return st.fixed_dictionaries(required, optional=members)
    if kind == "list":
        return st.lists(of_shape(shape.member, depth + 1), max_size=2)
    if kind == "map":
        return st.dictionaries(st.text(max_size=3), of_shape(shape.value, depth + 1), max_size=2)
    if kind in ("integer", "long"):
        return st.integers(0, 20) | st.integers(-(2**31), 2**31)
    if kind == "boolean":
        return st.booleans()
    if kind == "string":
        return st.sampled_from([*shape.enum, *WORDS]) | st.text(max_size=5)
    return ANYTHING


REQUESTS = {action: of_shape(MODEL.operation_model(action).input_shape) for action in ACTIONS}


@st.composite
def calls(draw: Any) -> tuple[str, dict[str, Any]]:
    """An action and its parameters: of the right types, but for a member now and then."""
    action = draw(st.sampled_from([*ACTIONS, "RunTask", "RegisterTaskDefinition"]))
    drawn = draw(REQUESTS[action])
    kept = draw(st.sets(st.sampled_from(sorted(drawn)), max_size=3)) if drawn else set()
    request = {**drawn, **BASES.get(action, {}), **{name: drawn[name] for name in kept}}
    if draw(st.integers(0, 9)) == 0:
        request[draw(st.sampled_from(sorted(request) or ["x"]))] = draw(ANYTHING)
    return action, request


def answered(ecs: EmbeddedECS, action: str, request: Mapping[str, Any]) -> str:
    """ "200", or the code of AWS's refusal."""
    try:
        json.dumps(ecs.call(action, parse(f"{ECS}.{action}", json.dumps(request).encode())))
    except AwsRefusal as refusal:
        return refusal.code if 400 <= refusal.status < 500 else "500"
    return "200"


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls())
def test_no_document_makes_the_model_fail(call):
    """Five hundred of them, over all actions: an answer or a refusal of AWS's, nothing else."""
    ecs = EmbeddedECS(Settings(quota_scale=None))
    answered(ecs, "RegisterTaskDefinition", BASES["RegisterTaskDefinition"])
    assert answered(ecs, *call) != "500"
