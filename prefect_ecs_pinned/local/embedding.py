"""Starting and stopping an embedded ECS: in a thread of this process, or as this process."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3

from prefect_ecs_pinned.local.access import AccessControl, check_access_key, new_access_key
from prefect_ecs_pinned.local.faults import Fault
from prefect_ecs_pinned.local.hosts import Hosts
from prefect_ecs_pinned.local.listening import http_server, listen, reachable
from prefect_ecs_pinned.local.model import EmbeddedECS
from prefect_ecs_pinned.local.moto_services import MotoServices
from prefect_ecs_pinned.local.reporting import TaskLines
from prefect_ecs_pinned.local.server import App
from prefect_ecs_pinned.local.settings import (
    ACCOUNT_ID,
    DEFAULT_REGION,
    SECRET_ACCESS_KEY,
    Settings,
    client_environment,
    unconfigured,
)

#: Seconds for the server to start, and to end.
_PATIENCE = 30.0


class LocalECS:
    """An embedded ECS in a daemon thread; a context manager.

    Args:
        settings: How it behaves.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        access_key: The access key that requests have to carry; None for a new random one.
        allow_hosts: Names in a Host header, or ``NAME:PORT``, next to its own address.

    Attributes:
        endpoint_url: For ``AWS_ENDPOINT_URL`` or boto3's ``endpoint_url``.
        access_key: The access key. It is a secret: who has it can execute commands.
        loopback: Whether it listens on a loopback address, so that only this machine reaches it.
        model: The ECS itself.

    Raises:
        OSError: It cannot listen there.
        ValueError: The access key or a name cannot be in a header.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        access_key: str | None = None,
        allow_hosts: Iterable[str] = (),
    ) -> None:
        self.settings = settings or Settings()
        self.access_key = new_access_key() if access_key is None else check_access_key(access_key)
        self._listener = listen(host, port)
        bound, port = self._listener.getsockname()[:2]
        try:
            hosts = Hosts(host, port, bound, allow_hosts)
        except ValueError:
            self._listener.close()
            raise
        self.loopback = hosts.loopback
        self.endpoint_url = f"http://{reachable(host)}:{port}"
        self._moto = MotoServices()
        self.model = EmbeddedECS(self.settings, subnets=self._moto.subnets)
        self._app = App(self.model, self._moto)
        self._server = http_server(AccessControl(self._app, self.access_key, hosts, self._moto))
        self._home: Path | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> LocalECS:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Listen, in a daemon thread."""
        ready = threading.Event()
        run = lambda: asyncio.run(self.serve(ready))  # noqa: E731
        self._thread = threading.Thread(target=run, name="local-ecs", daemon=True)
        self._thread.start()
        if not ready.wait(_PATIENCE):
            raise RuntimeError("the embedded ECS did not start")

    async def serve(self, ready: threading.Event | None = None) -> None:
        """Listen, on the running event loop, until `close` or a signal."""
        processes = None
        if self.settings.execute:
            from prefect_ecs_pinned.local.execution import Processes

            self._home = Path(tempfile.mkdtemp(prefix="local-ecs-"))
            processes = Processes(self.model, self._moto, self._home, self.environment)
            self.model.execution = processes
        if ready is not None:
            ready.set()  # the socket listens already: connections wait in its backlog
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            if processes is not None:
                await processes.close()
            self._moto.close()
            if self._home is not None:
                shutil.rmtree(self._home, ignore_errors=True)

    def close(self) -> None:
        """Stop listening and kill every process."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_PATIENCE)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that send every AWS client here."""
        return client_environment(self.endpoint_url, self.access_key)

    def key_of(self, user: str) -> str:
        """The access key of an IAM user: another principal than that of `access_key`."""
        return f"{self.access_key}_{user}"

    def role_credentials(self, role: str, session: str = "session") -> dict[str, str]:
        """Credentials of a role's session, as parameters of ``boto3.client``; by AssumeRole.

        Args:
            role: The role's name; it need not exist.
            session: Its name, of at least two characters.
        """
        arn = f"arn:aws:iam::{ACCOUNT_ID}:role/{role}"
        made = self.client("sts").assume_role(RoleArn=arn, RoleSessionName=session)["Credentials"]
        return {
            "aws_access_key_id": made["AccessKeyId"],
            "aws_secret_access_key": made["SecretAccessKey"],
            "aws_session_token": made["SessionToken"],
        }

    def client(
        self, service: str, region: str = DEFAULT_REGION, user: str = "", **parameters: Any
    ) -> Any:
        """An unmodified boto3 client of this AWS.

        Args:
            service: As boto3 names it.
            region: The Region.
            user: IAM user whose credentials it has; those of `access_key` by default.
            **parameters: Of ``boto3.client``.
        """
        make: Any = boto3.client
        credentials = {
            "aws_access_key_id": self.key_of(user) if user else self.access_key,
            "aws_secret_access_key": SECRET_ACCESS_KEY,
        }
        return make(
            service,
            endpoint_url=self.endpoint_url,
            region_name=region,
            **{**credentials, **parameters},
        )

    @property
    def calls(self) -> dict[str, dict[str, int]]:
        """Calls by action: ``calls``, and of these ``throttled`` and ``errors``."""
        return {action: dict(count) for action, count in self._app.local.counts.items()}

    def count(self, action: str) -> int:
        """Calls of one action that were answered with what was asked for."""
        count = self.calls.get(action, {"calls": 0, "throttled": 0, "errors": 0})
        return count["calls"] - count["throttled"] - count["errors"]

    @property
    def launches(self) -> list[dict[str, Any]]:
        """Tasks that were started: ``taskArn``, ``startedBy``, ``flow_run_id``, ``at`` and more."""
        return list(self.model.launches)

    def reset(self) -> None:
        """Zero the counters."""
        self._app.local.reset()

    def change(self, **settings: Any) -> None:
        """Change settings while it runs."""
        self._app.local.change(**settings)

    def faults(self, *rules: Fault) -> None:
        """Switch on these faults, and no others; what was counted of them begins again."""
        self._app.faults.switch(rules)

    def add_faults(self, *rules: Fault) -> None:
        """Switch on these faults next to those that are on."""
        self._app.faults.switch(rules, more=True)

    def rewrite(self, function: Callable[[dict[str, Any]], None] | None) -> None:
        """Change every revision, in place, when it is described; None for no longer.

        The setting ``rewrites`` does so for single members, by path.
        """
        self.model.rewrite = function

    def log(
        self, group: str, stream: str, lines: Sequence[str], region: str = DEFAULT_REGION
    ) -> None:
        """Write lines to a stream of CloudWatch Logs, as a container does."""
        self._app.local.log(group, stream, list(lines), region)


def serve(ecs: LocalECS, write: Callable[[str], None] | None = None) -> None:
    """Be an embedded ECS until SIGINT or SIGTERM, whatever this machine's AWS clients use.

    Args:
        ecs: The ECS.
        write: Called with a line for each task that starts or ends.
    """

    async def until_signal() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ecs.close)
        lines = TaskLines(ecs.model, write) if write is not None else None
        looking = asyncio.create_task(lines.run()) if lines is not None else None
        try:
            await ecs.serve()
        finally:
            if lines is not None and looking is not None:
                looking.cancel()
                lines.look()

    before = dict(os.environ)
    _set(unconfigured(before))
    try:
        asyncio.run(until_signal())
    finally:
        _set(before)


def _set(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


__all__: Sequence[str] = ["LocalECS", "serve"]
