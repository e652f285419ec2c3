"""Shared clients: made once, renewed once, let go without a trace."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from types import SimpleNamespace
from typing import Any

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError, ParamValidationError

from prefect_ecs_pinned.aws.clients import Access, Clients, share_models
from prefect_ecs_pinned.aws.faults import Fault, Kind
from prefect_ecs_pinned.aws.threads import Threads
from prefect_ecs_pinned.local import LocalECS, Settings


class FakeClient:
    def __init__(self, session: FakeSession) -> None:
        self.session = session
        self.closed = False
        self.meta = SimpleNamespace(events=SimpleNamespace(register=lambda *_: None))

    def describe_tasks(self, **_: Any) -> dict[str, Any]:
        return self.session.world.answer(self.session.number)

    def close(self) -> None:
        self.closed = True


class FakeSession:
    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.clients: list[FakeClient] = []

    def client(self, service: str, **_: Any) -> FakeClient:
        self.clients.append(FakeClient(self))
        return self.clients[-1]


class World:
    """Sessions, numbered; those up to ``expired`` have expired."""

    def __init__(self) -> None:
        self.sessions: list[FakeSession] = []
        self.expired = -1
        self.clients = Clients(
            Access("key", "us-east-1", self.session), Threads(8, "c"), Threads(8, "l"), 48
        )

    def session(self) -> FakeSession:
        self.sessions.append(FakeSession(self, len(self.sessions)))
        return self.sessions[-1]

    def answer(self, number: int) -> dict[str, Any]:
        if number <= self.expired:
            response = {"Error": {"Code": "ExpiredTokenException", "Message": "expired"}}
            raise ClientError(response, "DescribeTasks")
        return {"tasks": []}

    async def describe(self) -> Any:
        return await self.clients.call("ecs", "DescribeTasks")


@pytest.fixture
async def world():
    world = World()
    yield world
    world.clients.close()


async def test_one_session_and_one_client_for_all(world):
    """A hundred calls at once."""
    await asyncio.gather(*(world.describe() for _ in range(100)))
    assert [len(session.clients) for session in world.sessions] == [1]


async def test_expired_credentials_are_renewed_once_for_all_who_hit_it(world):
    """A hundred calls find them expired: one new session, and all calls succeed."""
    await world.describe()
    world.expired = 0
    await asyncio.gather(*(world.describe() for _ in range(100)))
    assert len(world.sessions) == 2


async def test_the_old_clients_are_closed(world):
    """With their connections."""
    await world.describe()
    world.expired = 0
    await world.describe()
    assert [c.closed for session in world.sessions for c in session.clients] == [True, False]


async def test_credentials_that_stay_expired_are_told(world):
    """After one renewal, not after a hundred."""
    world.expired = 10**6
    with pytest.raises(Fault) as fault:
        await world.describe()
    assert fault.value.kind is Kind.EXPIRED
    assert len(world.sessions) == 2


async def test_two_thousand_renewals_leave_one_session(world):
    """All others are free to go."""
    sessions = []
    for number in range(2000):
        await world.describe()
        sessions.append(weakref.ref(world.sessions[-1]))
        world.sessions = []
        world.expired = number
        world.session = _numbered(world, number + 1)
        world.clients._sessions._access = Access("key", "us-east-1", world.session)
    gc.collect()
    assert sum(session() is not None for session in sessions) <= 1


def _numbered(world, number):
    def session():
        world.sessions.append(FakeSession(world, number))
        return world.sessions[-1]

    return session


async def test_a_session_that_cannot_be_made_is_tried_again(world):
    """A profile that is not there yet."""
    make = world.session

    def fail():
        raise OSError("no such file")

    world.clients._sessions._access = Access("key", "", fail)
    with pytest.raises(Fault, match="no such file"):
        await world.describe()
    world.clients._sessions._access = Access("key", "", make)
    assert await world.describe() == {"tasks": []}


async def test_launches_have_threads_of_their_own(world):
    """They never keep a stop or a look waiting."""
    names = []

    def where(client):
        names.append(threading.current_thread().name)

    await world.clients.do("ecs", "RunTask", where, "launching")
    await world.clients.do("ecs", "StopTask", where)
    assert names == ["pinned-ecs-l", "pinned-ecs-c"]


# -- with boto3 ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ecs():
    with LocalECS(Settings(quota_scale=None, latencies={"*": 0.0})) as ecs:
        yield ecs


def real(ecs: LocalECS) -> Clients:
    def session() -> Any:
        return boto3.Session(aws_access_key_id="AKIASECRET", aws_secret_access_key="hunter2")

    access = Access("key", "", session, lambda: {"endpoint_url": ecs.endpoint_url})
    return Clients(access, Threads(4, "c"), Threads(4, "l"), 48)


async def test_renewing_boto3_sessions_leaks_no_files(ecs, monkeypatch):
    """Thirty of them, each with an open connection."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    clients = real(ecs)
    files = []
    for _ in range(30):
        await clients.call("ecs", "ListClusters")
        clients._sessions.replace()
        await asyncio.sleep(0)
        files.append(psutil.Process().num_fds())
    clients.close()
    assert files[-1] <= files[2] + 3


async def test_sessions_share_the_service_models(ecs):
    """They are 25 MB."""
    one, other = boto3.Session(), boto3.Session()
    for session in (one, other):
        share_models(session)
    loaders = [session._session.get_component("data_loader") for session in (one, other)]
    assert loaders[0] is loaders[1]


async def test_botocore_logs_nothing_of_ours(ecs, caplog, monkeypatch):
    """At DEBUG it would show requests, answers, signatures and keys."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    caplog.set_level(logging.DEBUG)
    clients = real(ecs)
    with pytest.raises(Fault):
        await clients.call("ecs", "RunTask", taskDefinition="value-of-a-variable")
    clients.close()
    everything = "\n".join(record.getMessage() for record in caplog.records)
    for secret in ("value-of-a-variable", "AKIASECRET", "hunter2", "Signature"):
        assert secret not in everything


def test_others_keep_their_botocore_logs(ecs, caplog):
    """Whoever uses boto3 in the same process."""
    caplog.set_level(logging.DEBUG, "botocore")
    ecs.client("ecs").list_clusters()
    assert any("Making request" in record.getMessage() for record in caplog.records)


async def test_the_original_error_is_chained_without_values(ecs, monkeypatch):
    """botocore's own check quotes them."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    clients = real(ecs)
    with pytest.raises(Fault) as fault:
        await clients.call("ecs", "RunTask", taskDefinition=["hunter2"])
    clients.close()
    assert isinstance(fault.value.__cause__, ParamValidationError)
    seen: BaseException | None = fault.value
    while seen is not None:
        assert "hunter2" not in f"{seen} {seen!r}"
        seen = seen.__cause__ or seen.__context__
