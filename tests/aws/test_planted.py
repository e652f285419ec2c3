"""Copies that somebody has changed, label and all: in the embedded ECS, and in moto's.

For each member of RegisterTaskDefinition a newer copy with that member changed is planted, beside
our own revision and alone. Calls are made by boto3 itself, on the test's own thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from prefect_ecs_pinned.aws.calls.api import EcsApi
from prefect_ecs_pinned.aws.calls.faults import classify
from prefect_ecs_pinned.aws.calls.pacing import Pace, Pacer
from prefect_ecs_pinned.aws.loop.control_loop import LoopClock
from prefect_ecs_pinned.aws.pinning.resolving import Pin, Pinning
from prefect_ecs_pinned.core.compare import Desired, Digests
from prefect_ecs_pinned.core.fingerprint import labelled
from prefect_ecs_pinned.local import LocalECS, Settings
from tests.aws.fakes import FakeDefinitions
from tests.core.model import changed, leaves
from tests.core.pairs import SEEN, UNSEEN

KEYS = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}

#: Another name makes another container, or another family.
NOT_CHANGED = {("family",), ("tags", "key"), ("tags", "value")}

#: Members that moto may leave out of what it describes: a copy is equal then. The embedded ECS
#: describes all, and refuses no case.
NOT_IN_MOTO = {
    ("enableFaultInjection",),
    ("trustedExecutionConfiguration", "isolationMode"),
    ("trustedExecutionConfiguration", "attestationPolicy"),
}

#: Cases in each emulator with the oldest botocore: its model only grows.
LEAST = 100


class Direct:
    """`clients.Clients` without threads; its caller has registered nothing unless that is said."""

    def __init__(self, caller: str = FakeDefinitions.OWN.format("x"), **settings: Any) -> None:
        self.caller = caller
        self.is_moto = "endpoint_url" not in settings
        self.ecs = boto3.client("ecs", **{**KEYS, **settings})

    async def do(
        self, service: str, operation: str, work: Any, purpose: str = "", about: Any = None
    ) -> Any:
        try:
            return work(self.ecs)
        except ClientError as error:
            raise classify(error, operation) from error

    async def call(self, service: str, operation: str, purpose: str = "", **params: Any) -> Any:
        if operation == "GetCallerIdentity":
            return {"Arn": self.caller}
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in operation).lstrip("_")
        return await self.do(service, operation, lambda c: getattr(c, name)(**params))


@pytest.fixture(scope="module", params=["embedded", "moto"])
def clients(request: pytest.FixtureRequest) -> Iterator[Direct]:
    if request.param == "moto":
        with mock_aws():
            yield Direct()
        return
    with LocalECS(Settings(quota_scale=None, latencies={"*": 0.0})) as ecs:
        yield Direct(endpoint_url=ecs.endpoint_url, aws_access_key_id=ecs.access_key)


async def test_an_unforeseen_rewriting_makes_no_storm():
    """ECS describes each member without evidence otherwise, in turn; five processes of one role."""
    settings = Settings(quota_scale=None, latencies={"*": 0.0})
    with LocalECS(settings) as ecs:
        keys = {"endpoint_url": ecs.endpoint_url, "aws_access_key_id": ecs.access_key}
        sts = boto3.client("sts", **{**KEYS, **keys})  # type: ignore[call-overload]
        clients = Direct(caller=sts.get_caller_identity()["Arn"], **keys)
        for pair in UNSEEN:
            for whole in pair.covers:
                path = tuple(whole.split("."))
                family = "-".join(path)
                wanted = Desired({**base(path, family)})
                ecs.rewrite(lambda described, path=path: described.update(changed(described, path)))  # type: ignore[misc]
                pins = [await pin(clients, wanted) for _ in range(5)]
                assert [one.how for one in pins] == ["registered"] + 4 * ["found"]
                assert len({one.arn for one in pins}) == 1
                assert all(one.differs for one in pins)
        assert ecs.calls["RegisterTaskDefinition"]["calls"] == sum(len(p.covers) for p in UNSEEN)


async def pin(clients: Direct, wanted: Desired) -> Pin:
    """What a new process runs from."""
    clock = LoopClock()
    reads = Pacer(Pace(rate=1e6, burst=1e6), clock, probing=False)
    return await Pinning(EcsApi(clients), reads, clock).resolve(wanted)


def base(path: tuple[str, ...], family: str) -> dict[str, Any]:
    """A definition for EC2 that states the member if it is a container's, a volume's or a proxy's.

    Not its sizes: whether they are stated counts, and their values are sent with a launch.
    """
    container = {"name": "prefect", "image": "flows:1", "memoryReservation": 512}
    more: dict[str, Any] = {}
    pair = next(pair for pair in (*SEEN, *UNSEEN) if ".".join(path) in pair.covers)
    if pair.of_container:
        container = {**pair.sent, **container}
        container.pop("cpu", None)
        container.pop("memory", None)
    elif len(path) > 1:
        more = {path[0]: pair.sent[path[0]]}
    return {"family": family, "containerDefinitions": [container], **more}


LEAVES = [path for path in leaves() if path not in NOT_CHANGED]


def test_every_member_is_planted():
    """None is skipped: a case that can't be planted fails, unless it is listed."""
    assert len(LEAVES) >= LEAST


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
async def test_a_planted_copy_is_never_run(clients, path):
    """Beside ours, ours is found; alone, one is registered, and found from then on."""
    for beside in (True, False):
        family = f"{'-'.join(path)}-{'beside' if beside else 'alone'}"
        wanted = Desired(base(path, family))
        own = (await pin(clients, wanted)).arn if beside else None
        forged = changed(labelled(wanted.definition, wanted.fingerprint), path)
        answer = clients.ecs.register_task_definition(**forged)
        evil = answer["taskDefinition"]["taskDefinitionArn"]
        if own is not None:
            ours = clients.ecs.describe_task_definition(taskDefinition=own)["taskDefinition"]
            if Digests.of(ours) == Digests.of(answer["taskDefinition"]):
                assert clients.is_moto
                assert path in NOT_IN_MOTO
                return
        first, second = await pin(clients, wanted), await pin(clients, wanted)
        assert evil not in (first.arn, second.arn)
        assert first.arn == second.arn
        assert (first.how, first.arn == own) == (
            ("found", True) if beside else ("registered", False)
        )


UDP = {"protocol": "udp"}
FILES = [{"value": f"arn:aws:s3:::files/{n}.env", "type": "s3"} for n in range(2)]

#: What is asked for, and a copy in which no member has a value that is new.
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "values in other items": (
        {"portMappings": [{"containerPortRange": "80-90"}, {"containerPortRange": "1-9", **UDP}]},
        {"portMappings": [{"containerPortRange": "80-90", **UDP}, {"containerPortRange": "1-9"}]},
    ),
    "another kind of volume": (
        {"volumes": [{"name": "data"}]},
        {"volumes": [{"name": "data", "dockerVolumeConfiguration": {"scope": "task"}}]},
    ),
    "items in another order": (
        {"environmentFiles": [FILES[0], FILES[1]]},
        {"environmentFiles": [FILES[1], FILES[0]]},
    ),
    "one item twice": (
        {"environment": [{"name": "A", "value": "1"}]},
        {"environment": [{"name": "A", "value": "1"}, {"name": "A", "value": "1"}]},
    ),
    "a value that is empty": (
        {"dockerLabels": {}},
        {"dockerLabels": {"team": ""}},
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_planted_copy_of_another_shape_is_never_run(clients, shape):
    """Nor adopted if it has no label."""
    asked, copied = SHAPES[shape]
    for labelled_ in (True, False):
        wanted = Desired(shaped(asked, f"{shape.replace(' ', '-')}-{labelled_}"))
        forged = shaped(copied, wanted.family)
        if labelled_:
            forged = labelled(forged, wanted.fingerprint)
        clients.ecs.register_task_definition(**forged)
        assert [(await pin(clients, wanted)).how for _ in range(2)] == ["registered", "found"]


def shaped(members: dict[str, Any], family: str) -> dict[str, Any]:
    """A definition with members of its own, or of its container."""
    container = {"name": "prefect", "image": "flows:1", "memoryReservation": 512}
    if "volumes" in members:
        return {"family": family, "containerDefinitions": [container], **members}
    return {"family": family, "containerDefinitions": [{**container, **members}]}
