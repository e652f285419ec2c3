"""One boto3 session and a few clients for all runs of a process.

A session costs 100 ms of CPU and a client 30 ms, so they are made once per credentials and
Region, and once again when the credentials have expired or were rotated. AWS's service models,
25 MB and most of that time, are read once in a process: sessions share one loader.

botocore logs requests, answers and signatures at DEBUG, with the values of environment variables
in them. Records of that level from our own threads are dropped; other users of boto3 in the
process keep theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.config import Config

from prefect_ecs_pinned.aws.answers import BEFORE_TASKS_ARE_READ, trim_tasks
from prefect_ecs_pinned.aws.faults import Fault, Kind, presentable, understand
from prefect_ecs_pinned.aws.threads import THREAD_NAMES, Threads

#: Repeating is decided by the verbs, who know what is safe to repeat: botocore makes one
#: attempt. (Its default mode and count have changed between releases.)
_ONE_ATTEMPT: Any = {"mode": "standard", "total_max_attempts": 1}

#: Longest time in seconds to connect, and without a byte of an answer, unless
#: `aws_client_parameters` says otherwise. botocore's own 60 s would hold a thread for as long.
_CONNECT_SECONDS = 10
_READ_SECONDS = 30


#: botocore's loggers that show what is sent and what is answered.
_TALKATIVE = ("auth", "endpoint", "hooks", "httpsession", "parsers", "regions", "utils")


def _may_be_shown(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG or not (record.threadName or "").startswith(THREAD_NAMES)


for _name in _TALKATIVE:
    logging.getLogger(f"botocore.{_name}").addFilter(_may_be_shown)


@dataclass(frozen=True)
class Access:
    """How to reach AWS: what shared state is keyed by.

    Attributes:
        key: Equal for equal credentials, Region and client parameters. A digest, no secret.
        region: The Region; empty when boto3 is to find it.
        session: Makes a new boto3 session, reading the credentials afresh.
        client_parameters: Makes the arguments of every client, such as ``endpoint_url``.
    """

    key: str
    region: str
    session: Callable[[], Any] = field(repr=False)
    client_parameters: Callable[[], Mapping[str, Any]] = field(default=dict, repr=False)


class Clients:
    """Makes calls with shared clients, on daemon threads; lives on the control loop.

    Args:
        access: The credentials and Region.
        threads: Where most calls are made.
        launching: Where RunTask is made: launches never keep a stop or a watch waiting.
        connections: Size of the connection pool of the launching client.
    """

    def __init__(
        self, access: Access, threads: Threads, launching: Threads, connections: int
    ) -> None:
        self._access = access
        self._threads = {"launching": launching}
        self._others = threads
        self._connections = {"launching": connections}
        self._generation = 0
        #: Sessions are not thread-safe: clients are made one after the other.
        self._making = asyncio.Lock()
        self._session: Any = None
        self._clients: dict[str, asyncio.Task[Any]] = {}

    async def region(self) -> str:
        """The Region that calls go to.

        Raises:
            Fault: No Region or credentials can be found.
        """
        return str((await self._client("ecs", "")).meta.region_name)

    async def call(self, service: str, operation: str, purpose: str = "", **params: Any) -> Any:
        """Make one call; renew the credentials and repeat it once if they have expired.

        Args:
            service: boto3's name, such as ``ecs``.
            operation: The API action, such as ``RunTask``.
            purpose: A client and threads of their own for ``launching`` and ``watching``.
            params: The request.

        Raises:
            Fault: AWS answered something else, or nothing.
        """
        name = _method_name(operation)
        return await self.do(
            service, operation, lambda client: getattr(client, name)(**params), purpose
        )

    async def do(
        self, service: str, operation: str, work: Callable[[Any], Any], purpose: str = ""
    ) -> Any:
        """Do something with a client, on a thread; see `call`."""
        generation = self._generation
        try:
            return await self._attempt(service, operation, work, purpose)
        except Fault as fault:
            if fault.kind is not Kind.EXPIRED:
                raise
            self._renew(generation)
        return await self._attempt(service, operation, work, purpose)

    def close(self) -> None:
        """Let go of session, connections and threads."""
        self._drop_session()
        self._others.close()
        for threads in self._threads.values():
            threads.close()

    def _drop_session(self) -> None:
        self._generation += 1
        self._session = None
        clients, self._clients = self._clients, {}
        for making in clients.values():
            making.add_done_callback(_close_client)

    async def _attempt(
        self, service: str, operation: str, work: Callable[[Any], Any], purpose: str
    ) -> Any:
        client = await self._client(service, purpose)
        try:
            return await self._threads.get(purpose, self._others).run(lambda: work(client))
        except Exception as exception:
            failure = exception
        # Not within the except clause: the original would go along as the error's context.
        if isinstance(failure, Fault):
            raise failure
        raise understand(failure, operation) from presentable(failure)

    def _renew(self, generation: int) -> None:
        """Drop session and clients, once however many calls found them expired.

        Calls that are under way end on the old connections.
        """
        if generation == self._generation:
            self._drop_session()

    async def _client(self, service: str, purpose: str) -> Any:
        name = f"{service} {purpose}"
        if name not in self._clients:
            self._clients[name] = asyncio.create_task(self._make_client(service, purpose))
        making = self._clients[name]
        try:
            return making.result() if making.done() else await asyncio.shield(making)
        except Fault:
            self._clients.pop(name, None)  # tried again by the next call
            raise

    async def _make_client(self, service: str, purpose: str) -> Any:
        parameters = self._parameters(purpose)
        async with self._making:
            try:
                if self._session is None:
                    session = await self._others.run(self._access.session)
                    share_models(session)
                    self._session = session
                make = self._session.client
                client = await self._others.run(lambda: make(service, **parameters))
                if purpose:  # commands read more of a task than launching and watching do
                    for event in BEFORE_TASKS_ARE_READ:
                        client.meta.events.register(event, trim_tasks)
                return client
            except Exception as exception:
                self._session = None
                raise understand(exception, f"client {service}") from exception

    def _parameters(self, purpose: str) -> dict[str, Any]:
        parameters = dict(self._access.client_parameters())
        ours = Config(connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS)
        theirs = parameters.get("config")
        config = ours.merge(theirs) if theirs is not None else ours
        limits = Config(
            retries=_ONE_ATTEMPT,
            parameter_validation=purpose != "launching",  # `api.check_run_task` is for that
            max_pool_connections=max(
                getattr(config, "max_pool_connections", 10), self._connections.get(purpose, 10)
            ),
        )
        return {**parameters, "config": config.merge(limits)}


#: botocore's loader of the first session, which has read the service models.
_models: list[Any] = []


def share_models(session: Any) -> None:
    """Let a boto3 session use the service models that the first one has read."""
    core = getattr(session, "_session", None)
    if core is None:
        return  # not boto3's own class
    if not _models:
        _models.append(core.get_component("data_loader"))
    core.register_component("data_loader", _models[0])


def _close_client(making: asyncio.Task[Any]) -> None:
    if not making.cancelled() and making.exception() is None:
        with contextlib.suppress(Exception):
            making.result().close()


def _method_name(operation: str) -> str:
    """``DescribeTasks`` -> ``describe_tasks``."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in operation).lstrip("_")
