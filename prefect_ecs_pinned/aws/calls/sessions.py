"""Sessions and clients of boto3: made once, and again when AWS does not accept the credentials.

A session costs 100 ms of CPU and a client 30 ms, so they are made once per credentials and
Region, and shared. Sessions are not thread-safe: clients are made on one thread, which is there
for nothing else, so that nobody who needs one waits for a call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from prefect_ecs_pinned.aws.calls.addresses import check_addresses
from prefect_ecs_pinned.aws.calls.faults import CLIENT, SESSION, Fault, Kind, classify
from prefect_ecs_pinned.aws.calls.hiding import hide
from prefect_ecs_pinned.aws.calls.models import share_models
from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.calls.responses import BEFORE_TASKS_ARE_READ, trim_tasks
from prefect_ecs_pinned.aws.calls.retrying import AGENT, backoff
from prefect_ecs_pinned.aws.loop.once import Once
from prefect_ecs_pinned.aws.loop.threads import Threads

#: Repeating is decided by the verbs, which distinguish what is safe to repeat: botocore makes one
#: attempt. (Its default mode and count have changed between releases.)
_ONE_ATTEMPT: Any = {"mode": "standard", "total_max_attempts": 1}

#: Clients for other Regions than the access's that are kept: log groups may be in any.
MOST_REGIONS = 8


@dataclass(frozen=True)
class Access:
    """How to reach AWS: what shared state is keyed by.

    Attributes:
        key: Equal for equal credentials, Region and client parameters. A digest, no secret.
        region: The Region; empty when boto3 is to find it.
        session: Makes a new boto3 session, reading the credentials afresh.
        client_parameters: Makes the arguments of every client, such as ``endpoint_url``.
        hidden: Gives the texts of the credentials that no message may show.
    """

    key: str
    region: str
    session: Callable[[], Any] = field(repr=False)
    client_parameters: Callable[[], Mapping[str, Any]] = field(default=dict, repr=False)
    hidden: Callable[[], Collection[str]] = field(default=tuple, repr=False)

    def in_region(self, region: str) -> Access:
        """The same access to another Region."""
        parameters = self.client_parameters
        return replace(
            self,
            key=f"{self.key} {region}",
            region=region,
            client_parameters=lambda: {**parameters(), "region_name": region},
        )


class Session:
    """A boto3 session and its clients, as they are asked for; they are renewed together."""

    def __init__(self) -> None:
        self.boto3: Once[str, Any] = Once()
        self.clients: Once[str, Any] = Once(released=_close)
        self.elsewhere: Once[str, Any] = Once(MOST_REGIONS, released=_close)

    def close(self) -> None:
        """Close the clients. Calls that are under way end on the old connections."""
        self.boto3.clear()
        self.clients.clear()
        self.elsewhere.clear()


class Sessions:
    """The newest session; lives on the control loop.

    However many calls find that AWS does not accept the credentials, there is one new session. If
    that does not help either, the next one is made after a pause that grows (`backoff`).

    Args:
        access: The credentials and Region.
        clock: Time, of the pauses.
        connections: Size of the connection pool by a client's purpose.
        timeouts: Seconds to connect, and without a byte of an answer, unless
            `aws_client_parameters` says otherwise. botocore's own 60 s would hold a thread for as
            long.

    Attributes:
        newest: Used by calls that begin now.
    """

    def __init__(
        self,
        access: Access,
        clock: Clock,
        connections: Mapping[str, int],
        timeouts: tuple[float, float] = (AGENT.connect, AGENT.answer),
    ) -> None:
        self._access = access
        self._clock = clock
        self._connections = connections
        self._timeouts = timeouts
        self._threads = Threads(1, "client")
        self.newest = Session()
        #: Sessions since AWS last accepted the credentials; when there may be another one; and
        #: why the last one could not be made, or had no client.
        self._made = 0
        self._next_at = float("-inf")
        self._failure: Fault | None = None

    async def client(self, session: Session, service: str, purpose: str, region: str = "") -> Any:
        """A client of a session.

        Args:
            session: The newest one, or one that was.
            service: boto3's name.
            purpose: ``launching``, ``watching``, or empty.
            region: Another Region than the access's.

        Raises:
            Fault: It cannot be made.
        """
        if purpose == "launching":
            # Anyone who launches will watch and stop: that client is there when it is needed.
            await self.client(session, service, "watching")
        clients = session.elsewhere if region else session.clients
        return await clients.get(
            f"{service} {purpose}{region and f' {region}'}",
            lambda: self._make_client(session, service, purpose, region),
        )

    def renew(self, session: Session) -> bool:
        """Replace a session whose credentials AWS does not accept, unless it is too early.

        Returns:
            Whether there is another now: made here, or by another call that found the same.
        """
        if session is self.newest:
            if self._clock.now() < self._next_at:
                return False
            self.replace()
        return True

    def replace(self) -> None:
        """Begin a new session; the old one is closed."""
        before, self.newest = self.newest, Session()
        before.close()

    def accepted(self, session: Session) -> None:
        """AWS has accepted the credentials of a session: the next incident is another one."""
        if session is self.newest:
            self._made, self._next_at = 0, float("-inf")

    def close(self) -> None:
        """Release session, connections and thread."""
        self.replace()
        self._threads.close()

    async def _make_client(self, session: Session, service: str, purpose: str, region: str) -> Any:
        of_boto3 = await session.boto3.get("", self._make_session)
        try:
            client = await self._make(
                f"{CLIENT} {service}",
                lambda: _checked(of_boto3.client(service, **self._parameters(purpose, region))),
            )
        except Fault:
            session.boto3.forget("", of_boto3)  # it keeps what it has read of the configuration
            raise
        if purpose:  # commands read more of a task than launching and watching do
            for event in BEFORE_TASKS_ARE_READ:
                client.meta.events.register(event, trim_tasks)
        return client

    async def _make_session(self) -> Any:
        now = self._clock.now()
        if now < self._next_at and self._failure is not None:
            failure = self._failure
            raise Fault(failure.kind, failure.operation, failure.code, failure.message)
        self._made += 1
        self._next_at = now + (backoff(self._made - 2) if self._made > 1 else 0.0)
        session = await self._make(SESSION, self._access.session)
        share_models(session)
        return session

    async def _make(self, what: str, make: Callable[[], Any]) -> Any:
        try:
            made = await self._threads.run(make)
        except Exception as exception:  # noqa: BLE001 - of any credential provider: classified
            failure = exception
        else:
            self._failure = None
            return made
        self._failure = _failure_of(failure, what)
        self._failure.__cause__ = failure
        raise hide(self._failure, self._access.hidden())

    def _parameters(self, purpose: str, region: str) -> dict[str, Any]:
        parameters = dict(self._access.client_parameters())
        if region:
            parameters["region_name"] = region
        connect, read = self._timeouts
        ours = Config(connect_timeout=connect, read_timeout=read)
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


def _failure_of(exception: Exception, what: str) -> Fault:
    """Why there is no session or client. No call was made, so that is never the question."""
    fault = classify(exception, what)
    if fault.kind is Kind.OUTCOME_UNKNOWN:
        is_network = isinstance(exception, (BotoCoreError, ClientError, ResponseParserError))
        fault.kind = Kind.UNREACHABLE if is_network else Kind.REFUSED
    return fault


def _checked(client: Any) -> Any:
    try:
        check_addresses(client)
    except ValueError:
        _close(client)
        raise
    return client


def _close(client: Any) -> None:
    with contextlib.suppress(Exception):
        client.close()
