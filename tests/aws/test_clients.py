"""Shared clients: made once, renewed once, let go without a trace."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ParamValidationError, ProfileNotFound

from prefect_ecs_pinned.aws.calls.api import EcsApi, LogsApi
from prefect_ecs_pinned.aws.calls.clients import Access, Clients, share_models
from prefect_ecs_pinned.aws.calls.codes import SERVICES
from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.calls.models import CALLED, ENDPOINTS, check_botocore
from prefect_ecs_pinned.aws.calls.sessions import MOST_REGIONS
from prefect_ecs_pinned.aws.loop.threads import Threads
from prefect_ecs_pinned.core.request import submission_ids, with_submission_id
from prefect_ecs_pinned.local import LocalECS, Phases, Settings
from tests.aws.client_errors import client_error


class FakeClient:
    def __init__(self, session: FakeSession) -> None:
        self.session = session
        self.closed = False
        self.meta = SimpleNamespace(
            events=SimpleNamespace(register=lambda *_: None),
            endpoint_url="http://127.0.0.1:9",
            config=SimpleNamespace(proxies=None),
        )

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
            raise client_error(response, "DescribeTasks")
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


async def test_credentials_that_stay_expired_are_an_error(world):
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


class SteppedClock:
    """A `ports.Clock` that a test sets; nobody waits by it here."""

    time = 0.0

    def now(self) -> float:
        return self.time

    async def wait(self, seconds: float) -> None:
        raise AssertionError("nothing waits")


def assume_role_denied() -> Any:
    message = "User: x is not authorized to perform: sts:AssumeRole"
    response = {
        "Error": {"Code": "AccessDenied", "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": 403},
    }
    raise client_error(response, "AssumeRole")


@pytest.mark.parametrize("callers", [1, 2, 50, 500])
async def test_credentials_that_cannot_be_had_make_two_sessions_at_most(callers):
    """However many ask at once: the first, and one to make sure. All get the failure."""
    made = []

    def session() -> Any:
        made.append(1)
        assume_role_denied()

    clients = Clients(Access("k", "", session), Threads(8, "c"), Threads(8, "l"), 8)
    faults = await asyncio.gather(
        *(clients.call("ecs", "DescribeTasks", "watching") for _ in range(callers)),
        return_exceptions=True,
    )
    clients.close()
    assert len(made) <= 2
    assert [(f.kind, f.passing) for f in faults] == [(Kind.EXPIRED, False)] * callers  # type: ignore[union-attr]


@pytest.mark.parametrize("where", ["made", "used"])
async def test_one_session_per_pause_while_credentials_fail(where):
    """A call every 50 ms for five minutes: each fails at once, and few make a session."""
    clock, world, made = SteppedClock(), World(), []

    def session() -> Any:
        made.append(clock.time)
        if where == "made":
            assume_role_denied()
        return FakeSession(world, 0)

    world.expired = 10**6
    clients = Clients(Access("k", "", session), Threads(2, "c"), Threads(2, "l"), 8, clock=clock)
    for _ in range(6000):
        clock.time += 0.05
        with pytest.raises(Fault) as fault:
            await clients.call("ecs", "DescribeTasks")
        assert fault.value.kind is Kind.EXPIRED
    pauses = [after - before for before, after in pairwise(made[1:])]
    assert all(pause >= 0.2 for pause in pauses)
    assert len(made) <= 45
    assert min(pauses[-5:]) >= 9.9  # half of the longest pause, by jitter
    world.expired = -1
    clock.time += 21.0
    if where == "used":
        assert await clients.call("ecs", "DescribeTasks") == {"tasks": []}
    clients.close()


async def test_after_credentials_have_worked_again_the_next_incident_is_mended_at_once(world):
    """The pauses belong to one incident."""
    await world.describe()
    for number in range(20):
        world.expired = number
        assert await world.describe() == {"tasks": []}
    assert len(world.sessions) == 21


@pytest.mark.parametrize(
    ("code", "message", "sessions"),
    [
        ("InvalidSignatureException", "The request signature we calculated does not match", 2),
        ("UnrecognizedClientException", "The security token included is invalid", 2),
        ("InvalidSignatureException", "Signature expired: 2026 is now earlier than 2027", 1),
        ("RequestTimeTooSkewed", "The difference is too large", 1),
        ("RequestExpired", "Request has expired", 1),
        ("AccessDeniedException", "no", 1),
        ("SomethingNew", "no", 1),
    ],
)
async def test_what_other_credentials_may_help_against(world, code, message, sessions):
    """A key and a secret that do not fit may have been read while somebody wrote them."""

    def refuse(client: Any) -> Any:
        raise client_error({"Error": {"Code": code, "Message": message}}, "DescribeTasks")

    with pytest.raises(Fault):
        await world.clients.do("ecs", "DescribeTasks", refuse)
    assert len(world.sessions) == sessions


async def test_a_fault_says_whether_the_same_has_worked_before(world):
    """Of credentials whatever worked, of a permission the very thing."""

    def refuse(code: str):
        def work(client: Any) -> Any:
            response = {"Error": {"Code": code, "Message": "no"}}
            raise client_error(response, "DescribeTasks")

        return work

    async def fault(code: str, **about: Any) -> Fault:
        with pytest.raises(Fault) as raised:
            await world.clients.do("ecs", "DescribeTasks", refuse(code), about=about)
        return raised.value

    assert not (await fault("ExpiredToken")).worked
    await world.clients.call("ecs", "DescribeTasks", cluster="etl")
    assert (await fault("ExpiredToken")).passing
    assert (await fault("AccessDeniedException", cluster="etl")).passing
    assert not (await fault("AccessDeniedException", cluster="other")).passing
    assert (await fault("ClusterNotFoundException", cluster="etl")).worked


async def test_a_refusal_shows_that_the_credentials_work(world):
    """AWS knows who asks; a throttle or a page of a proxy shows nothing."""

    def answer(code: str, status: int):
        def work(client: Any) -> Any:
            metadata = {"HTTPStatusCode": status}
            response = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": metadata}
            raise client_error(response, "DescribeTasks")

        return work

    for code, status, known in (
        ("ThrottlingException", 400, False),
        ("403", 403, False),
        ("InternalFailure", 500, False),
        ("SomethingNew", 400, False),
        ("InvalidSignatureException", 403, False),
        ("InvalidParameterException", 400, True),
    ):
        with pytest.raises(Fault):
            await world.clients.do("ecs", "DescribeTasks", answer(code, status))
        with pytest.raises(Fault) as fault:
            await world.clients.do("ecs", "DescribeTasks", answer("ExpiredToken", 400))
        assert fault.value.worked is known


@pytest.mark.parametrize("failure", [OSError("being written"), ProfileNotFound(profile="p")])
async def test_a_configuration_that_has_worked_before_passes(world, failure):
    """The file is being written while credentials are renewed; at first it is just wrong."""

    def fail() -> Any:
        raise failure

    make = world.clients._sessions._access
    world.clients._sessions._access = Access("key", "", fail)
    with pytest.raises(Fault) as fault:
        await world.describe()
    assert (fault.value.kind, fault.value.passing) == (Kind.REFUSED, False)
    world.clients._sessions._access = make
    await world.describe()
    world.expired = 0
    world.clients._sessions._access = Access("key", "", fail)
    with pytest.raises(Fault) as fault:
        await world.describe()
    assert (fault.value.kind, fault.value.passing) == (Kind.UNREACHABLE, True)


async def test_launches_have_threads_of_their_own(world):
    """They never keep a stop or a look waiting; nor does any other call."""
    names = []

    def where(client):
        names.append(threading.current_thread().name)

    watching = Threads(1, "w")
    access = Access("key", "", world.session)
    clients = Clients(access, Threads(1, "c"), Threads(1, "l"), 8, watching)
    await clients.do("ecs", "RunTask", where, "launching")
    await clients.do("ecs", "StopTask", where, "watching")
    await clients.do("logs", "GetLogEvents", where)
    clients.close()
    assert names == ["pinned-ecs-l", "pinned-ecs-w", "pinned-ecs-c"]


async def test_a_stop_waits_for_no_other_call_and_for_no_client(world):
    """Every other thread reads logs that do not come, more calls queue, and clients are made."""
    hold, held = threading.Event(), threading.Barrier(5)

    def read(client: Any) -> None:
        held.wait(10)
        hold.wait(10)

    access = Access("key", "", world.session)
    clients = Clients(access, Threads(2, "c"), Threads(2, "l"), 8, Threads(2, "w"))
    busy = [
        asyncio.create_task(clients.do(service, "X", read, purpose))
        for service, purpose in [("logs", ""), ("ecs", "")] * 5 + [("ecs", "launching")] * 5
    ]
    await asyncio.to_thread(held.wait, 10)
    assert await clients.call("ecs", "DescribeTasks", "watching") == {"tasks": []}
    new = asyncio.create_task(clients.call("ec2", "DescribeTasks", ""))  # its client is new
    assert await clients.call("ecs", "DescribeTasks", "watching") == {"tasks": []}
    hold.set()
    held.abort()
    await asyncio.gather(*busy, new, return_exceptions=True)
    clients.close()


@pytest.mark.parametrize("status", ["PENDING", "RUNNING", "STOPPED"])
async def test_a_look_for_a_task_waits_for_no_log_and_no_launch(world, status):
    """All other threads are busy; what it brings has the overrides that prove whose the task is."""
    arn = "arn:aws:ecs:us-east-1:123456789012:task/default/1"
    task = {"taskArn": arn, "lastStatus": status, "overrides": {"containerOverrides": []}}
    hold, held = threading.Event(), threading.Barrier(7)

    def read(client: Any) -> None:
        held.wait(10)
        hold.wait(10)

    access = Access("key", "", world.session)
    pools = [Threads(2, name) for name in ("c", "l", "w", "k")]
    clients = Clients(access, pools[0], pools[1], 8, pools[2], pools[3])
    api = EcsApi(clients)
    purposes = [("logs", ""), ("ecs", "launching"), ("ecs", "watching")] * 5
    busy = [asyncio.create_task(clients.do(of, "X", read, purpose)) for of, purpose in purposes]
    await asyncio.to_thread(held.wait, 10)
    client = await clients._sessions.client(clients._sessions.newest, "ecs", "")
    client.list_tasks = lambda **_: {"taskArns": [arn]}
    client.describe_tasks = lambda tasks, **_: {"tasks": [task] * len(tasks), "failures": []}
    assert await asyncio.wait_for(api.find_task("default", arn), 10) == task
    assert await asyncio.wait_for(api.tasks_started_by("default", "run"), 10) == [task, task]
    assert await asyncio.wait_for(api.tasks_of_family("default", "f"), 10) == [task, task]
    hold.set()
    held.abort()
    await asyncio.gather(*busy, return_exceptions=True)
    clients.close()


async def test_who_launches_can_stop(world):
    """The client for that is there before a task is."""
    await world.clients.do("ecs", "RunTask", lambda _: None, "launching")
    known = world.clients._sessions.newest.clients
    assert known.peek("ecs watching") is not None


# -- with boto3 ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ecs():
    settings = Settings(quota_scale=None, latencies={"*": 0.0})
    with LocalECS(settings, access_key="AKIASECRET") as ecs:
        yield ecs


def real(ecs: LocalECS) -> Clients:
    def session() -> Any:
        return boto3.Session(aws_access_key_id="AKIASECRET", aws_secret_access_key="hunter2")

    access = Access("key", "", session, lambda: {"endpoint_url": ecs.endpoint_url})
    return Clients(access, Threads(4, "c"), Threads(4, "l"), 48)


async def test_a_look_reads_the_overrides_of_a_task_that_runs(ecs, monkeypatch):
    """A watch does not, which needs them for nothing."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    ecs.change(phases=Phases(0, 0, 0, 0, 0, 0), task_seconds=1000.0)
    container = {"name": "prefect", "image": "flows:1", "memory": 512}
    definition = {"family": "f", "containerDefinitions": [container]}
    ecs.model.call("RegisterTaskDefinition", definition)
    request = with_submission_id({"taskDefinition": "f", "launchType": "EC2"}, "a" * 24)
    request["startedBy"] = "run"
    (task,) = ecs.model.call("RunTask", request)["tasks"]
    clients, arn = real(ecs), task["taskArn"]
    api = EcsApi(clients)
    found = await api.find_task("default", arn)
    assert found is not None
    (listed,) = await api.tasks_started_by("default", "run")
    (watched,) = (await api.describe_tasks("default", [arn]))["tasks"]
    clients.close()
    assert {t["lastStatus"] for t in (found, listed, watched)} == {"RUNNING"}
    assert submission_ids(found) == submission_ids(listed) == {"a" * 24}
    assert "overrides" not in watched


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


@pytest.mark.parametrize("version", ["1.33.13", "1.27.53", "0.99.0"])
def test_an_old_botocore_is_refused_with_what_to_do(version):
    """boto3 comes with prefect-aws, which takes older ones."""
    with pytest.raises(ImportError, match=r"1\.34 or newer.*pip install --upgrade boto3"):
        check_botocore(version)
    for new in ("1.34.0", "1.100.2", "2.0.0"):
        check_botocore(new)


def test_models_are_cut_to_what_is_called():
    """EC2's has 700 operations; a client of it has those that this package calls."""
    assert {name for name, service in SERVICES.items() if service == "ec2"} == CALLED["ec2"]
    session = boto3.Session(region_name="us-east-1")
    share_models(session)
    ec2 = session.client("ec2", aws_access_key_id="AKIA", aws_secret_access_key="secret")
    model = ec2.meta.service_model
    assert set(model.operation_names) == CALLED["ec2"]
    whole = boto3.Session(region_name="us-east-1").client("ec2").meta.service_model
    for name in CALLED["ec2"]:
        for shape in ("input_shape", "output_shape"):
            mine, theirs = (getattr(m.operation_model(name), shape) for m in (model, whole))
            assert _spelled_out(mine) == _spelled_out(theirs)
    assert len(model.shape_names) < 150 < 3000 < len(whole.shape_names)
    assert gc.isenabled()


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov", "aws-iso"])
def test_endpoints_are_cut_to_the_services_that_are_called(partition):
    """Each has the endpoint and signing Region that it has with the whole list."""
    mine: Any = boto3.Session()
    theirs: Any = boto3.Session()
    share_models(mine)
    named = {"ecr" if name == "api.ecr" else name for name in ENDPOINTS}
    assert named == set(mine.get_available_services()) & named
    cut, whole = (s._session.get_component("endpoint_resolver") for s in (mine, theirs))
    regions = theirs.get_available_regions("ecs", partition)
    assert regions == mine.get_available_regions("ecs", partition)
    for service in ENDPOINTS:
        for region in regions:
            found = whole.construct_endpoint(service, region, partition)
            assert cut.construct_endpoint(service, region, partition) == found
    for use_fips in (False, True):
        config = Config(use_fips_endpoint=use_fips)
        given: Any = {"aws_access_key_id": "A", "aws_secret_access_key": "b", "config": config}
        for service in named:
            made = [s.client(service, regions[0], **given) for s in (mine, theirs)]
            one, other = (client.meta for client in made)
            assert one.endpoint_url == other.endpoint_url
    assert len(repr(cut._endpoint_data)) < len(repr(whole._endpoint_data)) / 5


def _spelled_out(shape: Any) -> Any:
    """A shape and all that it refers to."""
    if shape.type_name == "structure":
        return {name: _spelled_out(member) for name, member in shape.members.items()}
    if shape.type_name == "list":
        return [_spelled_out(shape.member)]
    return shape.type_name, shape.serialization, shape.metadata


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


async def test_a_client_of_another_region_is_made_once_and_few_are_kept(world, monkeypatch):
    """Log groups may be in any Region; the access's own clients stay."""
    asked: list[str] = []
    make = FakeSession.client

    def client(session: FakeSession, service: str, **parameters: Any) -> FakeClient:
        asked.append(parameters.get("region_name", ""))
        return make(session, service)

    monkeypatch.setattr(FakeSession, "client", client)
    for _ in range(2):
        for region in ("", "eu-west-1", "eu-west-1"):
            await world.clients.call("ecs", "DescribeTasks", region=region)
    assert asked == ["", "eu-west-1"]
    for number in range(20):
        await world.clients.call("ecs", "DescribeTasks", region=f"r-{number}")
    await world.describe()
    assert asked.count("") == 1
    assert sum(not client.closed for client in world.sessions[0].clients) == 1 + MOST_REGIONS


async def test_a_log_group_is_read_in_its_region(world):
    """By a client of it; what can be no Region reaches no client."""
    asked: list[Any] = []

    class Recording:
        async def call(self, *call: Any, **params: Any) -> dict[str, Any]:
            asked.append((*call, params["region"]))
            return {"events": []}

        async def do(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("a read is a call by its name")

    logs = LogsApi(Recording())
    await logs.get_log_events("g", "s", 0, None)
    await logs.in_region("eu-west-1").get_log_events("g", "s", 0, None)
    await logs.in_region("eu-west-1").filter_log_events("g", ["s"], 0, None)
    for wrong in ("eu west", "../x", "-", "EU", "x" * 64, "a.b"):
        with pytest.raises(Fault, match="not a Region"):
            await logs.in_region(wrong).get_log_events("g", "s", 0, None)
    assert asked == [
        ("logs", "GetLogEvents", ""),
        ("logs", "GetLogEvents", "eu-west-1"),
        ("logs", "FilterLogEvents", "eu-west-1"),
    ]


@pytest.mark.parametrize("missing", [1, 100])
async def test_a_task_that_is_listed_and_not_described_is_not_overlooked(missing):
    """Whoever looks for it looks again: ListTasks and DescribeTasks are eventually consistent."""
    arns = [f"arn:aws:ecs:us-east-1:123456789012:task/default/{n:032x}" for n in range(150)]

    class Answers:
        async def call(self, service: str, operation: str, purpose: str = "", **request: Any):
            if operation == "ListTasks":
                return {"taskArns": arns if request["desiredStatus"] == "RUNNING" else []}
            described = [{"taskArn": name} for name in request["tasks"] if name in known]
            return {"tasks": described, "failures": []}

    api, known = EcsApi(cast(Any, Answers())), set(arns[missing:])
    with pytest.raises(Fault, match="does not describe yet") as raised:
        await api.tasks_started_by("default", "run")
    assert raised.value.passing
    known = set(arns)
    assert len(await api.tasks_of_family("default", "family")) == 150
