"""The calls that are made: what is sent, and answers that nobody can read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from prefect_ecs_pinned.aws.calls import api as module
from prefect_ecs_pinned.aws.calls.api import EcsApi, registrable_members
from prefect_ecs_pinned.aws.calls.faults import Fault, Kind, classify
from tests.aws.client_errors import client_error

DEFINITION = {"family": "f", "containerDefinitions": []}


class FakeClient:
    """boto3's client of ECS: it notes calls, and answers what a test says."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:
        def method(**params: Any) -> Any:
            self.calls.append((name, params))
            return self.answers[name](**params)

        return method

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


class FakeClients:
    """`clients.Clients` without threads."""

    def __init__(self, client: FakeClient) -> None:
        self.client = client

    async def do(
        self, service: str, operation: str, work: Any, purpose: str = "", about: Any = None
    ) -> Any:
        try:
            return work(self.client)
        except ClientError as error:
            raise classify(error, operation) from error

    async def call(self, service: str, operation: str, purpose: str = "", **params: Any) -> Any:
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in operation).lstrip("_")
        return await self.do(service, operation, lambda c: getattr(c, name)(**params))


@pytest.fixture
def client():
    client = FakeClient()
    client.answers["register_task_definition"] = lambda **_: {"taskDefinition": {"revision": 9}}
    return client


@pytest.fixture
def api(client):
    return EcsApi(FakeClients(client))


def newest(revision: int) -> Callable[..., Any]:
    return lambda **_: {"taskDefinition": {"revision": revision}}


def none(**_: Any) -> Any:
    message = "Unable to describe task definition."
    error = {"Error": {"Code": "ClientException", "Message": message}}
    raise client_error(error, "DescribeTaskDefinition")


def throttled(**_: Any) -> Any:
    error = {"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}
    raise client_error(error, "DescribeTaskDefinition")


async def test_a_fresh_look_is_not_repeated(api, client):
    """One DescribeTaskDefinition and one RegisterTaskDefinition."""
    client.answers["describe_task_definition"] = newest(8)
    await api.describe_task_definition("f")
    assert await api.register_task_definition(DEFINITION, 8) == {"revision": 9}
    assert client.names() == ["describe_task_definition", "register_task_definition"]


@pytest.mark.parametrize(("found", "expected"), [(newest(8), 8), (none, 0)])
async def test_an_old_look_is_repeated_immediately(api, client, found, expected):
    """On a busy machine another process may have registered in between; it has not."""
    client.answers["describe_task_definition"] = found
    assert await api.register_task_definition(DEFINITION, expected) == {"revision": 9}
    assert client.names() == ["describe_task_definition", "register_task_definition"]


async def test_a_machine_that_is_too_busy_looks_three_times(api, client, monkeypatch):
    """And then registers, come what may: twins are harmless."""
    monkeypatch.setattr(module, "_FRESH_SECONDS", -1.0)
    client.answers["describe_task_definition"] = newest(8)
    assert await api.register_task_definition(DEFINITION, 8) == {"revision": 9}
    assert client.names() == ["describe_task_definition"] * 3 + ["register_task_definition"]


@pytest.mark.parametrize(("found", "expected"), [(newest(9), 8), (newest(1), 0), (none, 8)])
async def test_somebody_was_faster(api, client, monkeypatch, found, expected):
    """Nothing is registered: the one who asked looks at what there is now."""
    monkeypatch.setattr(module, "_FRESH_SECONDS", -1.0)
    client.answers["describe_task_definition"] = found
    assert await api.register_task_definition(DEFINITION, expected) is None
    assert client.names() == ["describe_task_definition"]


async def test_a_throttled_look_registers_nothing(api, client, monkeypatch):
    """It says nothing about the family."""
    monkeypatch.setattr(module, "_FRESH_SECONDS", -1.0)
    client.answers["describe_task_definition"] = throttled
    with pytest.raises(Fault) as fault:
        await api.register_task_definition(DEFINITION, 0)
    assert (fault.value.kind, fault.value.operation) == (Kind.THROTTLED, "DescribeTaskDefinition")
    assert client.names() == ["describe_task_definition"]


@pytest.mark.parametrize(
    ("tags", "sent", "answered"),
    [
        (False, {}, {}),
        (True, {"include": ["TAGS"]}, {"tags": [{"key": "team", "value": "data"}]}),
        (True, {"include": ["TAGS"]}, {}),
    ],
)
async def test_tags_are_asked_for_and_put_beside_the_other_members(
    api, client, tags, sent, answered
):
    """ECS answers with them outside of the definition, or leaves them out."""
    client.answers["describe_task_definition"] = lambda **_: {
        "taskDefinition": {"revision": 9},
        **answered,
    }
    found = await api.describe_task_definition("etl", tags)
    assert client.calls == [("describe_task_definition", {"taskDefinition": "etl", **sent})]
    assert found == {"revision": 9, **({"tags": answered.get("tags", [])} if tags else {})}


async def test_the_caller_is_who_sts_says(api, client):
    """An answer without an ARN is none."""
    client.answers["get_caller_identity"] = lambda: {"Arn": "arn:aws:iam::1:root"}
    assert await api.caller_arn() == "arn:aws:iam::1:root"
    client.answers["get_caller_identity"] = dict
    with pytest.raises(Fault):
        await api.caller_arn()


async def test_tasks_are_looked_for_among_the_living_and_the_stopped(api, client):
    """`startedBy` as the only filter; then all of them are described by one call."""
    lists = {"RUNNING": ["living"], "STOPPED": ["stopped"]}
    client.answers["list_tasks"] = lambda **p: {"taskArns": lists[p["desiredStatus"]]}
    client.answers["describe_tasks"] = lambda **p: {"tasks": [{"taskArn": t} for t in p["tasks"]]}
    found = await api.tasks_started_by("default", "run")
    assert [task["taskArn"] for task in found] == ["living", "stopped"]
    assert [sorted(params) for name, params in client.calls if name == "list_tasks"] == [
        ["cluster", "desiredStatus", "maxResults", "startedBy"]
    ] * 2
    assert client.names().count("describe_tasks") == 1


async def test_no_task_costs_no_look(api, client):
    """DescribeTasks refuses an empty list."""
    client.answers["list_tasks"] = lambda **_: {"taskArns": []}
    assert await api.tasks_started_by("default", "run") == []
    assert "describe_tasks" not in client.names()


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("describe_task_definition", lambda api: api.describe_task_definition("f")),
        ("register_task_definition", lambda api: api.register_task_definition(DEFINITION, 0)),
        ("list_task_definitions", lambda api: api.list_task_definitions("f", 100)),
        ("describe_tasks", lambda api: api.describe_tasks("default", ["a"])),
        ("list_tasks", lambda api: api.tasks_started_by("default", "run")),
    ],
)
async def test_an_answer_of_somebody_else_is_no_answer(api, client, monkeypatch, method, call):
    """A proxy's page with status 200: nobody knows what AWS did."""
    monkeypatch.setattr(module, "_FRESH_SECONDS", float("inf"))
    client.answers[method] = lambda **_: {"message": "<html>"}
    with pytest.raises(Fault) as fault:
        await call(api)
    assert fault.value.kind is Kind.OUTCOME_UNKNOWN


def test_what_can_be_registered_is_what_botocore_accepts():
    """Members that ECS only describes are not in it."""
    assert {"family", "containerDefinitions", "tags"} <= registrable_members()
    assert not {"taskDefinitionArn", "registeredAt", "status"} & registrable_members()
