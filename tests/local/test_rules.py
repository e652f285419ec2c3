"""Rules: which calls they are for, when they hit, and what comes of it."""

from __future__ import annotations

import json
import random
import urllib.request
from typing import Any

import botocore.exceptions
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from prefect_ecs_pinned.local import LocalECS, Settings, matching
from prefect_ecs_pinned.local.facts import Facts
from prefect_ecs_pinned.local.faults import Fault, Faults

ONE_ATTEMPT = Config(retries={"total_max_attempts": 1}, read_timeout=10)
GPU = [{"type": "GPU", "value": "1"}]
REQUEST = {
    "taskDefinition": "etl:3",
    "cluster": "arn:aws:ecs:us-east-1:123456789012:cluster/batch",
    "launchType": "FARGATE",
    "startedBy": "run-1",
    "enableExecuteCommand": True,
    "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-a", "subnet-b"]}},
    "overrides": {
        "cpu": "2 vCPU",
        "memory": "4096",
        "containerOverrides": [
            {"name": "side"},
            {"name": "prefect", "environment": [{"name": "KIND", "value": "large"}]},
        ],
    },
}
DEFINITION = {
    "family": "etl",
    "cpu": "256",
    "memory": "512",
    "runtimePlatform": {"cpuArchitecture": "ARM64"},
    "containerDefinitions": [{"name": "prefect", "image": "flows:1"}],
}
FACTS = Facts("RunTask", REQUEST, DEFINITION, "arn:aws:iam::123456789012:user/ci")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def switched(*rules: Fault, clock: Clock | None = None) -> Faults:
    faults = Faults(random.Random(0), clock or Clock())
    faults.switch(rules)
    return faults


def hits(faults: Faults, calls: int, facts: Facts = FACTS) -> list[int]:
    """Which of so many calls are hit, from 1."""
    return [number for number in range(1, calls + 1) if faults.strike(facts)]


# -- which calls -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("for_it", "not_for_it"),
    [
        ({"action": "RunTask"}, {"action": "StopTask"}),
        ({"action": "StopTask, RunTask"}, {"action": "StopTask,ListTasks"}),
        ({"cluster": "batch"}, {"cluster": "default"}),
        ({"family": "etl"}, {"family": "et"}),
        ({"subnet": "subnet-b"}, {"subnet": "subnet-c"}),
        ({"caller": "*:user/ci"}, {"caller": "*:user/c"}),
        ({"min_cpu": 2048}, {"min_cpu": 2049}),
        ({"min_memory": 4096}, {"min_memory": 4097}),
        ({"gpu": False}, {"gpu": True}),
        ({"match": {"launchType": "FARGATE"}}, {"match": {"launchType": "EC2"}}),
        ({"match": {"launchType": ["EC2", "FARGATE"]}}, {"match": {"launchType": ["EC2"]}}),
        ({"match": {"overrides.cpu": {"min": 2048}}}, {"match": {"overrides.cpu": {"min": 2049}}}),
        ({"match": {"overrides.cpu": {"max": "2 vCPU"}}}, {"match": {"overrides.cpu": {"max": 9}}}),
        (
            {"match": {"startedBy": {"contains": "un-"}}},
            {"match": {"startedBy": {"contains": "x"}}},
        ),
        (
            {"match": {"startedBy": {"matches": r"run-\d"}}},
            {"match": {"startedBy": {"matches": "run"}}},
        ),
        ({"match": {"tags": {"exists": False}}}, {"match": {"tags": {"exists": True}}}),
        ({"match": {"enableExecuteCommand": True}}, {"match": {"enableExecuteCommand": False}}),
        (
            {"match": {"networkConfiguration.awsvpcConfiguration.subnets[]": "subnet-b"}},
            {"match": {"networkConfiguration.awsvpcConfiguration.subnets[0]": "subnet-b"}},
        ),
        (
            {"match": {"overrides.containerOverrides[].environment[name=KIND].value": "large"}},
            {"match": {"overrides.containerOverrides[0].environment[name=KIND].value": "large"}},
        ),
        (
            {"match": {"definition.runtimePlatform.cpuArchitecture": "ARM64"}},
            {"match": {"definition.runtimePlatform.cpuArchitecture": "X86_64"}},
        ),
        (
            {"match": {"launchType": "FARGATE", "startedBy": "run-1"}},
            {"match": {"launchType": "FARGATE", "startedBy": "run-2"}},
        ),
    ],
)
def test_a_rule_is_for_the_calls_that_it_names(for_it, not_for_it):
    """And for no others."""
    assert hits(switched(Fault("throttle", **for_it)), 1) == [1]
    assert hits(switched(Fault("throttle", **not_for_it)), 1) == []


@pytest.mark.parametrize(
    ("request_", "definition", "gpu"),
    [
        ({}, {"containerDefinitions": [{"name": "a", "resourceRequirements": GPU}]}, True),
        ({}, {"containerDefinitions": [{"name": "a"}]}, False),
        (
            {"overrides": {"containerOverrides": [{"name": "a", "resourceRequirements": GPU}]}},
            {"containerDefinitions": [{"name": "a"}]},
            True,
        ),
        (
            {"overrides": {"containerOverrides": [{"name": "b", "resourceRequirements": GPU}]}},
            {"containerDefinitions": [{"name": "a"}]},
            False,
        ),
    ],
)
def test_a_gpu_is_needed_by_the_revision_or_the_request(request_, definition, gpu):
    assert Facts("RunTask", request_, definition).gpu is gpu


@pytest.mark.parametrize(
    ("request_", "definition", "size"),
    [
        ({"overrides": {"cpu": "1 vCPU", "memory": "3 GB"}}, DEFINITION, (1024, 3072)),
        ({"overrides": {"cpu": ".5 vcpu"}}, DEFINITION, (256, 512)),  # no size: the revision's
        ({}, DEFINITION, (256, 512)),
        ({}, {"cpu": "1vCPU", "memory": "2GB"}, (1024, 2048)),
        (
            {},
            {
                "containerDefinitions": [
                    {"name": "a", "cpu": 100, "memory": 200},
                    {"name": "b", "memory": 400, "memoryReservation": 300},
                ]
            },
            (100, 500),
        ),
        (
            {"overrides": {"containerOverrides": [{"name": "a", "cpu": 700, "memory": 800}]}},
            {"containerDefinitions": [{"name": "a", "cpu": 100, "memory": 200}, {"name": "b"}]},
            (700, 800),
        ),
        ({}, {}, (256, 0)),
    ],
)
def test_the_size_of_a_task(request_, definition, size):
    """Of the request, else of the revision, else of the containers together."""
    facts = Facts("RunTask", request_, definition)
    if request_.get("overrides", {}).get("cpu") == ".5 vcpu":
        assert facts.memory == size[1]
    else:
        assert (facts.cpu, facts.memory) == size


# -- when ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "hit"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"times": 1}, [1]),
        ({"times": 3}, [1, 2, 3]),
        ({"times": 0}, []),
        ({"skip": 5}, [6, 7, 8]),
        ({"every": 4}, [4, 8]),
        ({"every": 3, "skip": 1}, [4, 7]),
        ({"every": 2, "times": 2}, [2, 4]),
        ({"probability": 0.0}, []),
    ],
)
def test_how_often_a_rule_hits(when, hit):
    """Counted over the calls that it is for; others do not count."""
    rule = Fault("throttle", "RunTask", **when)
    faults = switched(rule)
    for number in range(1, 9):
        assert not faults.strike(Facts("StopTask"))
        assert bool(faults.strike(FACTS)) is (number in hit)
    assert rule.hits == len(hit)


def test_a_rule_for_a_time():
    """From three seconds after it was switched on, for five."""
    clock = Clock()
    faults = switched(Fault("throttle", start=3.0, duration=5.0), clock=clock)
    hit = []
    for second in range(10):
        clock.now = 100.0 + second
        hit += [second] * bool(faults.strike(FACTS))
    assert hit == [3, 4, 5, 6, 7]
    faults.switch(faults.rules)  # switched on anew
    clock.now += 3
    assert faults.strike(FACTS)


def test_slow_rules_come_on_top():
    """All of them up to the first rule of another kind; later rules wait for their turn."""
    rules = [
        Fault("slow", seconds=1),
        Fault("slow", "StopTask", seconds=9),
        Fault("slow", seconds=2),
        Fault("throttle"),
        Fault("slow", seconds=4),
    ]
    hit = switched(*rules).strike(FACTS)
    assert [rule.kind for rule in hit] == ["slow", "slow", "throttle"]
    assert sum(rule.seconds for rule in hit if rule.kind == "slow") == 3
    assert [rule.hits for rule in rules] == [1, 0, 1, 1, 0]


@pytest.mark.parametrize(
    "members",
    [
        {"kind": "sunshine"},
        {"kind": "error", "times": "1"},
        {"kind": "error", "times": True},
        {"kind": "error", "every": 0},
        {"kind": "error", "match": {"a": {"over": 3}}},
        {"kind": "error", "match": {"a": {"matches": "("}}},
        {"kind": "error", "match": {"a": {"min": "big"}}},
        {"kind": "error", "match": {"": 1}},
        {"kind": "error", "match": {"a[": 1}},
        {"kind": "error", "match": {"a[x]": 1}},
        {"kind": "error", "match": {"a..b": 1}},
        {"kind": "error", "match": []},
        {"kind": "error", "hits": 3},
        {"kind": "rewrite", "members": {"a.": 1}},
        {"kind": "in-band", "failures": "RESOURCE:CPU"},
    ],
    ids=str,
)
def test_a_rule_that_is_none_is_refused(members):
    """Before it is switched on."""
    with pytest.raises((ValueError, TypeError)):
        Fault(**members)


# -- paths -----------------------------------------------------------------------------------------

NAMES = st.text("abc", min_size=1, max_size=2)
LEAVES = st.integers() | st.text("xyz", max_size=3)
DOCUMENTS = st.dictionaries(
    NAMES,
    st.recursive(
        LEAVES, lambda inner: st.dictionaries(NAMES, inner) | st.lists(inner), max_leaves=8
    ),
)


def leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every leaf of a document, by its path."""
    if isinstance(value, dict):
        return [x for k, v in value.items() for x in leaves(v, f"{path}.{k}".lstrip("."))]
    if isinstance(value, list) and not path.endswith("]"):  # no path leads into lists of lists
        return [x for n, v in enumerate(value) for x in leaves(v, f"{path}[{n}]")]
    return [] if isinstance(value, list) else [(path, value)]


@given(DOCUMENTS)
def test_every_leaf_is_found_and_can_be_changed(document):
    """Alone: all others stay."""
    found = leaves(document)
    for path, value in found:
        assert matching.values(document, path) == [value]
        changed = json.loads(json.dumps(document))
        matching.rewrite(changed, path, "new")
        assert leaves(changed) == [(p, "new" if p == path else v) for p, v in found]


def test_a_member_is_made_where_it_is_missing():
    """Mappings on the way too; elements of lists are not."""
    document = {"containers": [{"name": "a"}, {"name": "b", "health": {"retries": 3}}]}
    matching.rewrite(document, "containers[].health.interval", 31)
    matching.rewrite(document, "containers[name=b].health.retries", None)
    matching.rewrite(document, "platform.family", "LINUX")
    matching.rewrite(document, "none[].x", 1)
    matching.rewrite(document, "absent.x", None)
    assert document == {
        "containers": [
            {"name": "a", "health": {"interval": 31}},
            {"name": "b", "health": {"interval": 31}},
        ],
        "platform": {"family": "LINUX"},
    }
    matching.rewrite(document, "containers[0]", None)
    assert [c["name"] for c in document["containers"]] == ["b"]  # type: ignore[index]


# -- over HTTP -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ecs():
    with LocalECS(Settings(latencies={}, quota_scale=None)) as ecs:
        ecs.client("ecs").register_task_definition(
            family="etl",
            containerDefinitions=[{"name": "prefect", "image": "flows:1", "memory": 128}],
        )
        yield ecs


@pytest.fixture
def client(ecs):
    yield ecs.client("ecs", config=ONE_ATTEMPT)
    ecs.faults()
    ecs.reset()


def run(client, **members):
    return client.run_task(taskDefinition="etl", launchType="EC2", **members)


def test_several_failures_in_one_answer(ecs, client):
    """In the order given; reasons alone, or whole."""
    whole = {"arn": "arn:x", "reason": "RESOURCE:MEMORY", "detail": "d"}
    ecs.faults(Fault("in-band", "RunTask", failures=["ATTRIBUTE", whole], times=1))
    answer = run(client)
    assert answer["tasks"] == []
    assert answer["failures"] == [{"arn": "", "reason": "ATTRIBUTE"}, whole]
    assert ecs.launches == []
    assert run(client)["tasks"]


def test_any_code_message_and_status(ecs, client):
    """For those requests only that are matched."""
    rule = Fault(
        "error", "RunTask", code="Odd", message="?", status=418, match={"startedBy": "odd"}
    )
    ecs.faults(rule)
    assert run(client, startedBy="even")["tasks"]
    with pytest.raises(botocore.exceptions.ClientError) as error:
        run(client, startedBy="odd")
    response = error.value.response
    assert (response["Error"]["Code"], response["Error"]["Message"]) == ("Odd", "?")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 418
    assert rule.hits == 1


@pytest.mark.parametrize(
    ("service", "call", "parameters"),
    [
        ("ecs", "list_clusters", {}),
        ("ec2", "describe_vpcs", {}),
        ("sts", "get_caller_identity", {}),
        ("logs", "describe_log_groups", {}),
    ],
)
def test_a_rule_is_for_every_service(ecs, client, service, call, parameters):
    """In the protocol of each."""
    ecs.faults(Fault("error", code="SomethingNew", message="m", status=409))
    other = ecs.client(service, config=ONE_ATTEMPT)
    with pytest.raises(botocore.exceptions.ClientError, match=r"\(SomethingNew\).*: m$"):
        getattr(other, call)(**parameters)


def test_an_answer_that_is_not_awss(ecs, client):
    """A proxy's page with a 403: there is no error code in it."""
    ecs.faults(Fault("raw", status=403, message="<html>Blocked by the proxy</html>", times=1))
    with pytest.raises(botocore.exceptions.ClientError) as error:
        client.list_clusters()
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert error.value.response["Error"]["Code"] == "403"
    assert client.list_clusters()["clusterArns"]


def test_a_member_of_an_answer_is_changed_after_the_work_is_done(ecs, client):
    """The task is there; the answer does not say so. moto's answers can be changed as well."""
    ecs.faults(Fault("rewrite", "RunTask", members={"tasks": []}, times=1))
    assert run(client)["tasks"] == []
    assert len(ecs.launches) == 1
    logs = ecs.client("logs")
    ecs.log("group", "stream", ["one", "two"])
    ecs.faults(Fault("rewrite", "FilterLogEvents", members={"events[0].message": None}, times=1))
    request = {"logGroupName": "group", "logStreamNames": ["stream"]}
    first, second = logs.filter_log_events(**request)["events"]
    assert "message" not in first
    assert second["message"] == "two"
    assert [e["message"] for e in logs.filter_log_events(**request)["events"]] == ["one", "two"]


def test_a_lost_reply_may_be_a_refusal(ecs, client):
    """Nobody knows which."""
    ecs.faults(Fault("lost-reply", "RunTask", times=1))
    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        client.run_task(taskDefinition="nothing", launchType="EC2")


@pytest.mark.parametrize("action", ["ListTasks", "StopTask", "DescribeTasks"])
def test_an_action_is_denied_to_one_principal(ecs, client, action):
    """And allowed to all others."""
    arn = run(client)["tasks"][0]["taskArn"]
    ecs.faults(Fault("error", action, code="AccessDeniedException", caller="*:user/agent"))
    agent = ecs.client("ecs", user="agent", config=ONE_ATTEMPT)
    calls = {
        "ListTasks": lambda c: c.list_tasks(),
        "StopTask": lambda c: c.stop_task(task=arn),
        "DescribeTasks": lambda c: c.describe_tasks(tasks=[arn]),
    }
    for name, call in calls.items():
        call(client)
        if name == action:
            with pytest.raises(agent.exceptions.AccessDeniedException):
                call(agent)
        else:
            call(agent)


def test_rules_are_switched_added_and_read_over_http(ecs, client):
    """With how often each has hit."""

    def ask(method: str, rules: Any = None) -> Any:
        data = None if rules is None else json.dumps(rules).encode()
        key = {"Authorization": f"Bearer {ecs.access_key}"}
        url = f"{ecs.endpoint_url}/_local/faults"
        with urllib.request.urlopen(urllib.request.Request(url, data, key, method=method)) as a:
            return json.load(a)

    ask("PUT", [{"kind": "throttle", "action": "ListClusters", "every": 2}])
    ask("POST", [{"kind": "in-band", "action": "RunTask", "gpu": False, "failures": ["A", "B"]}])
    client.list_clusters()
    with pytest.raises(botocore.exceptions.ClientError, match="Rate exceeded"):
        client.list_clusters()
    assert len(run(client)["failures"]) == 2
    first, second = ask("GET")
    assert (first["action"], first["hits"], second["hits"]) == ("ListClusters", 1, 1)
    ask("PUT", [])
    assert ask("GET") == []


def test_lines_are_logged_over_http(ecs, client):
    """For a loud stream, say: ten thousand lines in one call."""
    body = {"group": "loud", "stream": "s", "lines": ["x" * 20] * 10_000}
    key = {"Authorization": f"Bearer {ecs.access_key}"}
    url = f"{ecs.endpoint_url}/_local/logs"
    request = urllib.request.Request(url, json.dumps(body).encode(), key, method="POST")
    urllib.request.urlopen(request).close()
    events = ecs.client("logs").filter_log_events(logGroupName="loud")["events"]
    assert len(events) == 10_000
