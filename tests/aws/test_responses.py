"""Trimmed answers of DescribeTasks mean the same as whole ones."""

from __future__ import annotations

import gc
import threading
from typing import Any

import botocore.session
import orjson
import pytest
from botocore.parsers import create_parser

from prefect_ecs_pinned.aws.calls.garbage import no_collections
from prefect_ecs_pinned.aws.calls.responses import BEFORE_TASKS_ARE_READ, trim_tasks
from prefect_ecs_pinned.aws.watching.descriptions import by_arn
from prefect_ecs_pinned.core.task_state import snapshot
from prefect_ecs_pinned.local.model import EmbeddedECS
from prefect_ecs_pinned.local.settings import Phases, Settings

#: Seconds after RunTask at which a task of `life` is described, and its status then.
MOMENTS = {
    0.5: "PROVISIONING",
    1.5: "PENDING",
    2.5: "ACTIVATING",
    3.5: "RUNNING",
    13.5: "DEACTIVATING",
    14.5: "STOPPING",
    15.5: "DEPROVISIONING",
    20.0: "STOPPED",
}

DEFINITION = {
    "family": "f",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "256",
    "memory": "512",
    "containerDefinitions": [
        {"name": "prefect", "image": "flows:1"},
        {"name": "sidecar", "image": "proxy:1"},
    ],
}


def described(seconds: float, exit_code: int = 3) -> dict[str, Any]:
    """DescribeTasks' answer for one task so long after its launch, as it comes over the wire."""
    now = [0.0]
    settings = Settings(
        phases=Phases(1, 1, 1, 1, 1, 1), task_seconds=10.0, exit_code=exit_code, quota_scale=None
    )
    ecs = EmbeddedECS(settings, now=lambda: now[0])
    ecs.call("RegisterTaskDefinition", DEFINITION)
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    request = {"taskDefinition": "f", "launchType": "FARGATE", "networkConfiguration": network}
    arn = ecs.call("RunTask", request)["tasks"][0]["taskArn"]
    now[0] = seconds
    return ecs.call("DescribeTasks", {"tasks": [arn, arn.replace("task/", "task/x")]})


def parsed(body: bytes) -> Any:
    """A body as botocore takes it apart."""
    model = botocore.session.get_session().get_service_model("ecs")
    shape = model.operation_model("DescribeTasks").output_shape
    assert shape is not None
    response = {"status_code": 200, "headers": {}, "body": body}
    return create_parser("json").parse(response, shape)


@pytest.mark.parametrize(("seconds", "status"), MOMENTS.items())
def test_a_trimmed_task_means_the_same(seconds, status):
    """In every status: the same snapshot, and a tenth of the bytes while it runs."""
    answer = described(seconds)
    whole = orjson.dumps(answer)
    response: dict[str, Any] = {"status_code": 200, "headers": {}, "body": whole}
    customized: dict[str, Any] = {}
    trim_tasks(response, customized, operation_model=None)
    assert parsed(response["body"])["tasks"] == []
    before, after = parsed(whole)["tasks"][0], customized["tasks"][0]
    assert after["lastStatus"] == status
    assert snapshot(after).status == snapshot(before).status
    assert snapshot(after).started == snapshot(before).started
    assert snapshot(after).final == snapshot(before).final
    if status != "RUNNING":
        assert snapshot(after) == snapshot(before)
        assert after["createdAt"] == before["createdAt"]
    else:
        assert len(orjson.dumps(after)) < len(whole) / 5
    assert parsed(response["body"])["failures"] == parsed(whole)["failures"]


def test_what_is_no_answer_is_left_alone():
    """botocore says what is wrong with it, as it always has."""
    for status, body in (
        (400, b'{"__type":"ThrottlingException","message":"Rate exceeded"}'),
        (200, b"<html>a proxy</html>"),
        (200, b'{"tasks":7}'),
        (200, b'["tasks"]'),
        (200, b'{"tasks":[1]}'),
        (200, b"{}"),
        (200, b""),
    ):
        response = {"status_code": status, "headers": {}, "body": body}
        customized: dict[str, Any] = {}
        trim_tasks(response, customized)
        assert (response["body"], customized) == (body, {})


@pytest.mark.parametrize(
    "odd",
    [
        "1",
        "null",
        '"x"',
        "[]",
        "{}",
        '{"taskArn":"odd","createdAt":"soon","startedAt":{}}',
        '{"taskArn":"odd","createdAt":1e300}',
        '{"taskArn":"odd","containers":5}',
        '{"taskArn":"odd","containers":[5,null,{"name":"prefect"}]}',
        '{"taskArn":5,"lastStatus":{}}',
    ],
)
def test_an_odd_entry_costs_no_other(odd):
    """botocore would refuse all hundred."""
    good = (
        '{"taskArn":"good","lastStatus":"STOPPED","containers":[{"name":"prefect","exitCode":3}]}'
    )
    body = f'{{"tasks":[{odd},{good}],"failures":[]}}'.encode()
    response: dict[str, Any] = {"status_code": 200, "headers": {}, "body": body}
    customized: dict[str, Any] = {}
    trim_tasks(response, customized)
    assert parsed(response["body"])["tasks"] == []
    assert by_arn(customized)["good"]["containers"] == [{"name": "prefect", "exitCode": 3}]
    for task in by_arn(customized).values():
        if isinstance(task.get("taskArn"), str):  # else it is nobody's (`watching.descriptions`)
            snapshot(task)


def test_a_botocore_that_takes_no_members_reads_all():
    """The answer is as it was."""
    body = orjson.dumps(described(3.5))
    response = {"status_code": 200, "headers": {}, "body": body}
    trim_tasks(response)
    assert response["body"] == body


@pytest.mark.skipif(
    tuple(map(int, botocore.__version__.split(".")[:2])) < (1, 36),
    reason="botocore before 1.36 may lack the event: all of an answer is read",
)
def test_the_installed_botocore_has_the_event():
    """Without it all of an answer would be read, at seven times the cost."""
    client = botocore.session.get_session().create_client(
        "ecs",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="y",
        endpoint_url="http://127.0.0.1:1",
    )
    named = []
    client.meta.events.register(BEFORE_TASKS_ARE_READ[0], lambda **given: named.append({*given}))

    def answer(**_: Any) -> Any:
        return _Answer(b'{"tasks":[],"failures":[]}')

    client.meta.events.register("before-send.ecs.DescribeTasks", answer)
    client.describe_tasks(tasks=["t"])  # type: ignore[attr-defined]
    assert len(named) == 1
    assert {"response_dict", "customized_response_dict"} <= named[0]


class _Answer:
    """Stands for botocore's AWSResponse."""

    status_code = 200

    def __init__(self, content: bytes) -> None:
        self.headers: dict[str, str] = {}
        self.content = content
        self.raw = None


def collections_while(work: Any) -> int:
    """How often Python looks for garbage during a piece of work."""
    seen = []
    gc.callbacks.append(lambda phase, _: seen.append(phase) if phase == "start" else None)
    gc.collect()
    before = len(seen)
    try:
        work()
    finally:
        gc.callbacks.pop()
    return len(seen) - before


def test_a_large_answer_starts_no_search_for_garbage():
    """Its thousands of objects are freed before Python counts them as old ones."""
    task = described(3.5)["tasks"][0]
    body = orjson.dumps({"tasks": [task] * 100, "failures": []})
    response = {"status_code": 200, "body": body}
    assert collections_while(lambda: orjson.loads(body)) >= 3
    assert collections_while(lambda: trim_tasks(response, {})) <= 1
    assert gc.isenabled()


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"tasks": [7]}', b'{"tasks": {"a": 1}}'])
def test_garbage_is_looked_for_after_an_odd_answer(body):
    """And botocore judges the answer, which is left as it was."""
    added: dict[str, Any] = {}
    response = {"status_code": 200, "body": body}
    trim_tasks(response, added)
    assert gc.isenabled()
    assert (response["body"], added) == (body, {})


def test_the_last_pause_ends_the_pause_of_the_collector():
    """Whichever began first: threads read answers at the same time."""
    first, second = no_collections(), no_collections()
    with first:
        second.__enter__()
        assert not gc.isenabled()
    assert not gc.isenabled()
    second.__exit__(None, None, None)
    assert gc.isenabled()


def test_a_collector_that_somebody_has_stopped_stays_so():
    """It is not this package's to start."""
    gc.disable()
    try:
        with no_collections():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_garbage_is_looked_for_after_answers_on_several_threads():
    """Whichever of them ends last, in a thousand answers."""
    body = orjson.dumps({"tasks": [described(3.5)["tasks"][0]]})
    together = threading.Barrier(8)

    def read() -> None:
        together.wait()
        for _ in range(125):
            trim_tasks({"status_code": 200, "body": body}, {})

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gc.isenabled()
