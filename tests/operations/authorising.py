"""A front that allows only what a policy allows: IAM's part of an AWS account.

It stands before an embedded ECS, works out which permissions each call needs, as the Service
Authorization Reference has it, and answers AccessDeniedException when one is missing. The
access key identifies the caller.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs

import httpx
import uvicorn

from prefect_ecs_pinned.local import LocalECS

ACCOUNT = "123456789012"
TO_ECS = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}

#: IAM action, resource, context.
Permission = tuple[str, str, Mapping[str, str]]


class AuthorisingFront:
    """Answers for an embedded ECS, and denies what a policy does not allow; a context manager.

    Attributes:
        endpoint_url: Where it listens.
        policies: Access key -> policy document; a key that is not there may do everything.
        denied: Access key -> IAM actions that it was denied.
        allowed: Access key -> IAM actions that it was allowed.
    """

    def __init__(self, ecs: LocalECS) -> None:
        self._ecs = ecs
        self.policies: dict[str, Mapping[str, Any]] = {}
        self.denied: dict[str, set[str]] = defaultdict(set)
        self.allowed: dict[str, set[str]] = defaultdict(set)
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # see `LocalECS`
        self.endpoint_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            self._answer, interface="asgi3", lifespan="off", log_level="error", access_log=False,
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)

    def __enter__(self) -> AuthorisingFront:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)

    def _serve(self, listener: socket.socket) -> None:
        async def serve() -> None:
            limits = httpx.Limits(max_connections=None)
            async with httpx.AsyncClient(
                base_url=self._ecs.endpoint_url, limits=limits, timeout=60
            ) as self._upstream:
                self._ready.set()
                await self._server.serve(sockets=[listener])

        asyncio.run(serve())

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        status, answer = self._refusal(headers, body)
        if answer is None:
            path = scope["path"] + ("?" + scope["query_string"].decode()).rstrip("?")
            headers = {n: v for n, v in headers.items() if n not in ("host", "content-length")}
            headers["authorization"] = self._authorised(headers.get("authorization", ""))
            reply = await self._upstream.request(
                scope["method"], path, content=body, headers=headers
            )
            status, answer = reply.status_code, reply.content
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    def _authorised(self, header: str) -> str:
        """The caller's key as that of an IAM user of the embedded ECS."""
        key = header.partition("Credential=")[2].partition("/")[0]
        return header.replace(f"={key}/", f"={self._ecs.key_of(key)}/", 1)

    def _refusal(self, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes | None]:
        credential = headers.get("authorization", "").partition("Credential=")[2].split("/")
        policy = self.policies.get(credential[0])
        if policy is None:
            return 200, None
        key, _, region, service = credential[:4]
        target = headers.get("x-amz-target", "")
        if target:
            action, request = target.rsplit(".", 1)[-1], json.loads(body or b"{}")
        else:
            request = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            action = request.get("Action", "")
        if action == "GetCallerIdentity":  # "No permissions are required" (API_GetCallerIdentity)
            return 200, None
        for name, resource, context in self._needed(service, action, request, region):
            if not allows(policy, name, resource, context):
                self.denied[key].add(name)
                text = (
                    f"User: arn:aws:iam::{ACCOUNT}:user/{key} is not authorized to perform: "
                    f"{name} on resource: {resource}"
                )
                return _denial(bool(target), service, text)
            self.allowed[key].add(name)
        return 200, None

    def _needed(
        self, service: str, action: str, request: Mapping[str, Any], region: str
    ) -> Iterator[Permission]:
        """The permissions of a call."""
        own = getattr(self, f"_needed_{service}_{action}", None)
        if own is not None:
            yield from own(request, region)
        elif service == "iam" and "RoleName" in request:
            yield f"iam:{action}", f"arn:aws:iam::{ACCOUNT}:role/{request['RoleName']}", {}
        elif service == "iam":
            yield f"iam:{action}", request["PolicyArn"], {}
        else:
            yield f"{service}:{action}", "*", {}

    def _needed_ecs_RunTask(self, request: Any, region: str) -> Iterator[Permission]:  # noqa: N802
        cluster = _name(request.get("cluster") or "default")
        on_cluster = {"ecs:cluster": _arn(region, f"cluster/{cluster}")}
        definition = self._ecs.model.definitions(region).find(request["taskDefinition"]) or {}
        name = _name(definition.get("taskDefinitionArn") or request["taskDefinition"])
        yield "ecs:RunTask", _arn(region, f"task-definition/{name}"), on_cluster
        overrides = request.get("overrides") or {}
        yield from _passed({**_roles(definition), **_roles(overrides)})
        if request.get("tags"):
            created = {"ecs:CreateAction": "RunTask"}
            yield "ecs:TagResource", _arn(region, f"task/{cluster}/0123abcd"), created

    def _needed_ecs_DescribeTaskDefinition(  # noqa: N802
        self, request: Any, region: str
    ) -> Iterator[Permission]:
        yield "ecs:DescribeTaskDefinition", "*", {}
        if "TAGS" in request.get("include", []):  # jenkinsci/amazon-ecs-plugin#306
            definition = self._ecs.model.definitions(region).find(request["taskDefinition"]) or {}
            name = _name(definition.get("taskDefinitionArn") or request["taskDefinition"])
            yield "ecs:ListTagsForResource", _arn(region, f"task-definition/{name}"), {}

    def _needed_ecs_RegisterTaskDefinition(  # noqa: N802
        self, request: Any, region: str
    ) -> Iterator[Permission]:
        yield "ecs:RegisterTaskDefinition", "*", {}
        yield from _passed(_roles(request))
        if request.get("tags"):
            created = {"ecs:CreateAction": "RegisterTaskDefinition"}
            yield "ecs:TagResource", _arn(region, f"task-definition/{request['family']}:9"), created

    def _needed_ecs_DescribeTasks(self, request: Any, region: str) -> Iterator[Permission]:  # noqa: N802
        cluster = _name(request.get("cluster") or "default")
        for task in request["tasks"]:
            yield "ecs:DescribeTasks", _arn(region, f"task/{cluster}/{_name(task)}"), {}

    def _needed_ecs_StopTask(self, request: Any, region: str) -> Iterator[Permission]:  # noqa: N802
        cluster = _name(request.get("cluster") or "default")
        yield "ecs:StopTask", _arn(region, f"task/{cluster}/{_name(request['task'])}"), {}

    def _needed_ecs_DescribeServices(self, request: Any, region: str) -> Iterator[Permission]:  # noqa: N802
        for service in request["services"]:
            yield "ecs:DescribeServices", service, {}

    def _needed_ecs_DescribeClusters(self, request: Any, region: str) -> Iterator[Permission]:  # noqa: N802
        for cluster in request.get("clusters") or ["default"]:
            yield "ecs:DescribeClusters", _arn(region, f"cluster/{_name(cluster)}"), {}

    def _needed_ecs_DeleteTaskDefinitions(  # noqa: N802
        self, request: Any, region: str
    ) -> Iterator[Permission]:
        for revision in request["taskDefinitions"]:
            yield "ecs:DeleteTaskDefinitions", revision, {}

    def _needed_logs_FilterLogEvents(self, request: Any, region: str) -> Iterator[Permission]:  # noqa: N802
        group = f"arn:aws:logs:{region}:{ACCOUNT}:log-group:{request['logGroupName']}"
        yield "logs:FilterLogEvents", f"{group}:*", {}

    def _needed_logs_GetLogEvents(self, request: Any, region: str) -> Iterator[Permission]:  # noqa: N802
        group = f"arn:aws:logs:{region}:{ACCOUNT}:log-group:{request['logGroupName']}"
        yield "logs:GetLogEvents", f"{group}:log-stream:{request['logStreamName']}", {}

    def _needed_logs_DescribeLogGroups(self, request: Any, region: str) -> Iterator[Permission]:  # noqa: N802
        yield (
            "logs:DescribeLogGroups",
            f"arn:aws:logs:{region}:{ACCOUNT}:log-group::log-stream:",
            {},
        )

    def _needed_secretsmanager_DescribeSecret(  # noqa: N802
        self, request: Any, region: str
    ) -> Iterator[Permission]:
        yield "secretsmanager:DescribeSecret", request["SecretId"], {}

    def _needed_ecr_DescribeImages(self, request: Any, region: str) -> Iterator[Permission]:  # noqa: N802
        account = request.get("registryId", ACCOUNT)
        name = request["repositoryName"]
        yield "ecr:DescribeImages", f"arn:aws:ecr:{region}:{account}:repository/{name}", {}


def allows(
    policy: Mapping[str, Any], action: str, resource: str, context: Mapping[str, str]
) -> bool:
    """Whether a policy allows an action; it knows Allow, StringEquals and ArnEquals."""
    return any(
        action in _list(statement["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in _list(statement["Resource"]))
        and all(
            context.get(name) in _list(values)
            for operator in statement.get("Condition", {}).values()
            for name, values in operator.items()
        )
        for statement in policy["Statement"]
        if statement["Effect"] == "Allow"
    )


def without(policy: Mapping[str, Any], action: str, sid: str | None = None) -> dict[str, Any]:
    """A policy with one action less: everywhere, or in one statement."""
    return {
        **policy,
        "Statement": [
            {**s, "Action": [a for a in s["Action"] if a != action or sid not in (None, s["Sid"])]}
            for s in policy["Statement"]
        ],
    }


def _denial(is_json: bool, service: str, text: str) -> tuple[int, bytes]:
    if is_json:
        body = {"__type": "AccessDeniedException", "message": text}
        return 400, json.dumps(body).encode()
    code = "UnauthorizedOperation" if service == "ec2" else "AccessDenied"
    error = f"<Error><Code>{code}</Code><Message>{text}</Message></Error>"
    if service == "ec2":
        return 403, f"<Response><Errors>{error}</Errors></Response>".encode()
    return 403, f"<ErrorResponse>{error}</ErrorResponse>".encode()


def _passed(roles: Mapping[str, str]) -> Iterator[Permission]:
    for role in roles.values():
        yield "iam:PassRole", role, TO_ECS


def _roles(structure: Mapping[str, Any]) -> dict[str, str]:
    return {n: structure[n] for n in ("executionRoleArn", "taskRoleArn") if structure.get(n)}


def _arn(region: str, resource: str) -> str:
    return f"arn:aws:ecs:{region}:{ACCOUNT}:{resource}"


def _name(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
