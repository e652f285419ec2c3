"""Answers that AWS never gives: proxies' pages, bodies cut short, JSON of another shape.

A server on this machine gives them to boto3's own clients. Whatever it is, a call ends in a
`Fault`, never in another exception, and never in an answer that says something was done.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefect_ecs_pinned.aws.calls.api import Ec2Api, EcsApi, LogsApi
from prefect_ecs_pinned.aws.calls.clients import Access, Clients
from prefect_ecs_pinned.aws.calls.faults import Fault, Kind, in_band
from prefect_ecs_pinned.aws.loop.threads import Threads

PAGE = b"<!DOCTYPE html><html><head><title>Proxy</title></head><body><h1>Forbidden</h1> by policy"


class Server(ThreadingHTTPServer):
    """Answers every request with the same bytes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.body, self.length = 200, b"", None
        self.headers: dict[str, str] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.status, self.body, self.length, self.headers = status, body, length, headers  # type: ignore[assignment]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name.replace("_", "-"), value)
        length = self.server.length
        self.send_header("Content-Length", str(len(self.server.body) if length is None else length))
        self.end_headers()
        self.wfile.write(self.server.body)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


class World:
    """The server, and the calls that go to it, on an event loop of its own."""

    def __init__(self) -> None:
        self.server = Server()
        url = f"http://127.0.0.1:{self.server.server_port}"
        self.loop = asyncio.new_event_loop()

        def session() -> Any:
            return boto3.Session("AKIA", "hunter2", region_name="us-east-1")

        access = Access("key", "", session, lambda: {"endpoint_url": url})
        self.threads = Threads(2, "c"), Threads(2, "l")
        self.access = access
        self.clients = self.fresh()

    def fresh(self) -> Clients:
        """Clients that know of nothing that has worked."""
        return Clients(self.access, *self.threads, 4)

    def ask(self, call: str) -> Any:
        """Make a call of the ports; the answer, or the fault."""
        return self.loop.run_until_complete(self._ask(call))

    async def _ask(self, call: str) -> Any:
        ecs, ec2, logs = EcsApi(self.clients), Ec2Api(self.clients), LogsApi(self.clients)
        request = {"taskDefinition": "f:1", "clientToken": "t"}
        made: Any = {
            "run_task": lambda: ecs.run_task(request),
            "stop_task": lambda: ecs.stop_task("c", "t", "r"),
            "describe_tasks": lambda: ecs.describe_tasks("c", ["t"]),
            "tasks_started_by": lambda: ecs.tasks_started_by("c", "s"),
            "describe_task_definition": lambda: ecs.describe_task_definition("f"),
            "list_task_definitions": lambda: ecs.list_task_definitions("f", 10),
            "register_task_definition": lambda: ecs.register_task_definition(
                {"family": "f", "containerDefinitions": []}, 0
            ),
            "describe_vpcs": lambda: ec2.describe_vpcs(None),
            "describe_subnets": lambda: ec2.describe_subnets("v"),
            "filter_log_events": lambda: logs.filter_log_events("g", ["s"], 0, None),
            "get_log_events": lambda: logs.get_log_events("g", "s", 0, None),
        }[call]
        try:
            answer = await made()
        except Fault as fault:
            return fault
        if call == "run_task" and not answer.get("tasks"):
            return in_band(answer)  # as `launching` reads it
        return answer


CALLS = (
    "run_task",
    "stop_task",
    "describe_tasks",
    "tasks_started_by",
    "describe_task_definition",
    "list_task_definitions",
    "register_task_definition",
    "describe_vpcs",
    "describe_subnets",
    "filter_log_events",
    "get_log_events",
)
every_call = pytest.mark.parametrize("call", CALLS)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    yield world
    world.clients.close()
    world.loop.run_until_complete(asyncio.sleep(0))
    world.loop.close()
    world.server.shutdown()
    world.server.server_close()


@every_call
@pytest.mark.parametrize("status", [302, 400, 403, 404, 407, 408, 413, 500, 502, 503, 504])
@pytest.mark.parametrize(
    "body", [PAGE, b"", b"Forbidden", b'{"message": "Forbidden"}', b"<a><b/></a>", b"\xff\xfe\0"]
)
def test_a_refusal_that_is_not_of_aws_is_repeated(world, call, status, body):
    """A 403 of a proxy says nothing of IAM; nobody knows whether AWS got the request."""
    world.server.answer(status, body)
    fault = world.ask(call)
    assert (fault.kind, fault.passing) == (Kind.OUTCOME_UNKNOWN, True)
    assert len(fault.message) <= 200
    assert "<" not in fault.message.partition("invalid XML")[0]


@every_call
@pytest.mark.parametrize("body", [PAGE, b"", b'{"message": "Too many"}'])
def test_too_many_requests_at_a_gateway(world, call, body):
    """Whoever counts them: it is a throttle, or as good as no answer."""
    world.server.answer(429, body)
    fault = world.ask(call)
    assert fault.kind in (Kind.THROTTLED, Kind.OUTCOME_UNKNOWN)
    assert fault.passing


@every_call
@pytest.mark.parametrize(
    "body",
    [PAGE, b"", b"{}", b"[]", b"null", b"7", b'"x"', b"<a/>", b"{", b'{"tasks"', b"\xff\xfe\0"],
)
def test_an_answer_that_is_not_of_aws_is_no_answer(world, call, body):
    """Status 200: a login page, an empty body. Nothing counts as done."""
    world.server.answer(200, body)
    answer = world.ask(call)
    if call in ("describe_vpcs", "describe_subnets") and body == b"<a/>":
        return  # as EC2 says that there are none
    assert isinstance(answer, Fault), answer
    assert (answer.kind, answer.passing) == (Kind.OUTCOME_UNKNOWN, True)


@every_call
def test_an_answer_that_is_cut_short_is_no_answer(world, call):
    """The connection ends in the middle."""
    world.server.answer(200, b'{"tasks": [{"taskArn": "arn', length=5000)
    assert world.ask(call).kind is Kind.OUTCOME_UNKNOWN


@every_call
@pytest.mark.parametrize("code", ["SomethingNewException", "WhoKnows"])
def test_a_code_that_no_table_knows(world, call, code):
    """Of AWS, in the protocol of each service: bounded by the caller."""
    world.server.answer(400, _refusal(call, code))
    fault = world.ask(call)
    assert (fault.kind, fault.code, fault.message) == (Kind.UNKNOWN, code, "words")


@every_call
def test_expired_credentials_that_have_never_worked(world, call):
    """Final; after an answer that was accepted, it passes."""
    world.clients = world.fresh()
    world.server.answer(400, _refusal(call, "ExpiredTokenException"))
    assert not world.ask(call).passing
    world.server.answer(400, _refusal(call, "ValidationException"))
    assert world.ask(call).kind is Kind.REFUSED
    world.server.answer(400, _refusal(call, "ExpiredTokenException"))
    assert world.ask(call).passing


def _refusal(call: str, code: str) -> bytes:
    if call in ("describe_vpcs", "describe_subnets"):
        error = f"<Error><Code>{code}</Code><Message>words</Message></Error>"
        return f"<Response><Errors>{error}</Errors><RequestID>r</RequestID></Response>".encode()
    return json.dumps({"__type": code, "message": "words"}).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["tasks", "failures", "taskArns", "task", "taskDefinition", "events", "__type",
             "message", "nextToken", "taskArn", "containers", "createdAt", "taskDefinitionArns",
             "timestamp", "revision", "code"]
        )
        | st.text(max_size=5),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(
    call=st.sampled_from([call for call in CALLS if call not in ("describe_vpcs",)]),
    status=st.sampled_from([200, 200, 200, 400, 403, 500]),
    body=JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60),
)
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_body_makes_anything_but_an_answer_or_a_fault(world, call, status, body):
    """Three hundred bodies of any shape: `Fault` is the only exception."""
    world.server.answer(status, body)
    answer = world.ask(call)
    if status != 200:
        assert isinstance(answer, Fault)
    if status == 500:
        assert answer.passing
