"""What tests of commands stand on: a Prefect API, an embedded ECS, saved blocks, deployments."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import certifi
import pytest
import uvicorn
from prefect import get_client
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.plugins import load_prefect_collections
from prefect.server.api.server import create_app
from prefect.settings import (
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    temporary_settings,
)
from prefect.testing.utilities import prefect_test_harness
from prefect_aws import AwsCredentials

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.aws import control_plane
from prefect_ecs_pinned.cli import main, waiting
from prefect_ecs_pinned.local import LocalECS, Settings
from tests.databases import empty_tables, filled_database

ACCOUNT = "123456789012"
_LAST_LINE = "-----END CERTIFICATE-----\n"
EXECUTION_ROLE = f"arn:aws:iam::{ACCOUNT}:role/ecsTaskExecutionRole"
FAMILY_ARN = f"arn:aws:ecs:us-east-1:{ACCOUNT}:task-definition/"


@pytest.fixture(scope="session")
def prefect_harness(
    migrated_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """One Prefect API for the whole session, served over HTTP by a thread.

    Without a server every client would start the API anew, migrations and all. Nothing here
    speaks TLS, so clients need not read all of the world's certificate authorities, 30 ms each.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with prefect_test_harness(), socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # see `LocalECS`
            with filled_database(migrated_database):
                config = uvicorn.Config(create_app(ephemeral=True), log_level="error")
                serve = contextvars.copy_context().run  # with the settings of the harness
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
            server = uvicorn.Server(config)
            thread = threading.Thread(
                target=serve, args=(server.run, [listener]), daemon=True, name="prefect-api"
            )
            thread.start()
            authority = tmp_path_factory.mktemp("tls") / "one-authority.pem"
            authority.write_text(certifi.contents().partition(_LAST_LINE)[0] + _LAST_LINE)
            settings: dict[Any, Any] = {
                PREFECT_API_URL: url,
                PREFECT_API_SSL_CERT_FILE: str(authority),
                PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,  # each client would ask for a token
            }
            with temporary_settings(settings), _said_once():
                yield
            server.should_exit = True
            thread.join(30)


@contextmanager
def _said_once() -> Iterator[None]:
    """What Prefect does again with each save and load of a block is done once for each API.

    Registering a block's type and schemas takes ten requests; looking for installed collections
    reads the metadata of every package.
    """
    registered: set[tuple[type[Block], str | None]] = set()
    register = getattr(Block.register_type_and_schema, "aio", None)
    if register is None:  # tests/cli and tests/operations have a session fixture each
        yield
        return
    collections = load_prefect_collections()

    async def once(cls: type[Block], client: PrefectClient | None = None) -> None:
        known = (cls, PREFECT_API_URL.value())
        if known not in registered:
            await register(cls, client=client)
            registered.add(known)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Block, "register_type_and_schema", classmethod(once))
        patch.setattr("prefect.plugins.load_prefect_collections", lambda: collections)
        yield


@pytest.fixture
def prefect(prefect_harness: None) -> Iterator[None]:
    """The Prefect API, without blocks and deployments; afterwards again."""
    yield
    empty_tables("deployment", "block_document")
    control_plane.forget_all()


@pytest.fixture
def ecs() -> Iterator[LocalECS]:
    """An embedded ECS without latency and quotas; tasks run until they are stopped."""
    settings = Settings(latencies={}, quota_scale=None, task_seconds=3600)
    with LocalECS(settings, access_key="local") as ecs, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ecs, "client", cache(ecs.client))  # one takes 40 ms of CPU to make
        yield ecs


@pytest.fixture
def save(prefect: None, ecs: LocalECS) -> Callable[..., str]:
    """``save("NAME", field=value, …)`` saves a block; gives ``pinned-ecs-task/NAME``."""

    def save(name: str = "default", **fields: Any) -> str:
        fields.setdefault("image", "flows:1")
        block = PinnedECSTask(aws_credentials=credentials(ecs.endpoint_url), **fields)
        block.save(name, overwrite=True)
        return f"pinned-ecs-task/{name}"

    return save


@pytest.fixture
def deploy(prefect: None) -> Callable[..., None]:
    """``deploy("flow/name", "BLOCK", {path: value})`` makes a deployment with overrides."""

    def deploy(name: str, block: str, overrides: Mapping[str, Any] | None = None) -> None:
        flow, deployment = name.split("/")
        block_name = block.rsplit("/", 1)[-1]
        asyncio.run(_deploy(flow, deployment, block_name, dict(overrides or {})))

    return deploy


async def _deploy(flow: str, name: str, block: str, overrides: dict[str, Any]) -> None:
    """What `Deployment.apply` asks of the API, without what it asks in between."""
    async with get_client() as client:
        infrastructure = await client.read_block_document_by_name(block, "pinned-ecs-task")
        await client.create_deployment(
            flow_id=await client.create_flow_from_name(flow),
            name=name,
            work_queue_name="default",
            infrastructure_document_id=infrastructure.id,
            infra_overrides=overrides,
            path="/",
            entrypoint="flow.py:flow",
            parameter_openapi_schema={},
        )


def credentials(endpoint_url: str, key: str = "local") -> AwsCredentials:
    """Credentials for an embedded ECS."""
    return AwsCredentials(
        aws_access_key_id=key,
        aws_secret_access_key="local",
        region_name="us-east-1",
        aws_client_parameters={"endpoint_url": endpoint_url},
    )


@dataclass(frozen=True)
class Said:
    """What a command has said: the exit code, stdout and stderr apart."""

    code: int
    out: str
    err: str


@pytest.fixture
def pinned_ecs(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Said]:
    """``pinned_ecs("plan", "BLOCK")`` runs the command line in this process."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(waiting, "SILENCE_SECONDS", 3600.0)  # however busy the machine is

    def pinned_ecs(*arguments: str) -> Said:
        capfd.readouterr()
        code = main(arguments)
        said = capfd.readouterr()
        return Said(code, said.out, said.err)

    return pinned_ecs
