"""VPC -> subnets: one look-up per VPC, shared by all who ask."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from prefect_ecs_pinned.aws.faults import Fault, Kind
from prefect_ecs_pinned.aws.network import Network
from prefect_ecs_pinned.aws.ports import Clock
from prefect_ecs_pinned.errors import AccessDenied, ConfigurationError, Unavailable
from tests.aws.virtual import VirtualClock


class FakeNetwork:
    """`ports.NetworkApi`: VPCs and their subnets; None is the default VPC."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.calls: Counter[str] = Counter()
        self.vpcs: dict[str | None, str] = {None: "vpc-default", "vpc-1": "vpc-1"}
        self.of_vpc: dict[str, list[str]] = {"vpc-default": ["a", "b"], "vpc-1": ["c"]}
        self.fault: Callable[[str], Fault | None] = lambda _: None

    async def _call(self, action: str) -> None:
        self.calls[action] += 1
        await self.clock.wait(0.1)
        if (fault := self.fault(action)) is not None:
            raise fault

    async def describe_vpcs(self, vpc_id: str | None) -> Sequence[Mapping[str, Any]]:
        await self._call("DescribeVpcs")
        return [{"VpcId": self.vpcs[vpc_id]}] if vpc_id in self.vpcs else []

    async def describe_subnets(self, vpc_id: str) -> Sequence[Mapping[str, Any]]:
        await self._call("DescribeSubnets")
        return [{"SubnetId": subnet} for subnet in self.of_vpc.get(vpc_id, [])]


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def api(clock):
    return FakeNetwork(clock)


@pytest.fixture
def network(api, clock):
    return Network(api, clock)


async def test_a_hundred_askers_share_one_look_up(api, clock, network):
    """And whoever asks later makes no call at all."""
    answers = await clock.run(asyncio.gather(*(network.subnets(None) for _ in range(100))))
    assert answers == [["a", "b"]] * 100
    assert await clock.run(network.subnets(None)) == ["a", "b"]
    assert api.calls == {"DescribeVpcs": 1, "DescribeSubnets": 1}


async def test_each_vpc_is_looked_up_by_itself(api, clock, network):
    """Two VPCs, two calls each."""
    answers = await clock.run(asyncio.gather(network.subnets(None), network.subnets("vpc-1")))
    assert answers == [["a", "b"], ["c"]]
    assert api.calls == {"DescribeVpcs": 2, "DescribeSubnets": 2}


async def test_a_cancelled_asker_takes_nobody_along(api, clock, network):
    """The look-up that it began goes on for the others."""
    first = asyncio.create_task(network.subnets(None))
    second = asyncio.create_task(network.subnets(None))
    await clock.pass_time(0.05)
    first.cancel()
    assert await clock.run(second) == ["a", "b"]
    assert first.cancelled()
    assert api.calls["DescribeVpcs"] == 1


@pytest.mark.parametrize("kind", [Kind.THROTTLED, Kind.OUTCOME_UNKNOWN])
@pytest.mark.parametrize("action", ["DescribeVpcs", "DescribeSubnets"])
async def test_a_passing_fault_is_waited_out(api, clock, network, kind, action):
    """RequestLimitExceeded, a timeout: the look-up is repeated, and nobody hears of it."""
    api.fault = lambda a: Fault(kind, a) if a == action and api.calls[a] <= 3 else None
    assert await clock.run(network.subnets(None)) == ["a", "b"]
    assert api.calls[action] == 4


async def test_patience_has_an_end(api, clock, network):
    """Two minutes of throttling."""
    api.fault = lambda action: Fault(Kind.THROTTLED, action, "RequestLimitExceeded", "Slow down.")
    with pytest.raises(Unavailable, match="cannot look up the subnets of the default VPC"):
        await clock.run(network.subnets(None))
    assert 60 < clock.now() <= 121


@pytest.mark.parametrize(
    ("vpc_id", "words"),
    [
        (None, "Failed to find the default VPC.*\nhint: Pass explicit `subnets` or a `vpc_id`"),
        ("vpc-9", "Failed to find VPC with ID vpc-9.*\nhint: Check that the VPC exists"),
    ],
)
async def test_no_such_vpc(api, clock, network, vpc_id, words):
    """No subnets are asked for."""
    api.vpcs.clear()
    with pytest.raises(ConfigurationError, match=words):
        await clock.run(network.subnets(vpc_id))
    assert api.calls == {"DescribeVpcs": 1}


async def test_a_vpc_without_subnets(api, clock, network):
    """Everybody who shared the look-up hears of it."""
    api.of_vpc["vpc-1"] = []
    results = await clock.run(
        asyncio.gather(*(network.subnets("vpc-1") for _ in range(3)), return_exceptions=True)
    )
    assert all("Failed to find subnets for VPC with ID vpc-1" in str(error) for error in results)
    assert api.calls["DescribeSubnets"] == 1


async def test_a_failure_is_not_remembered(api, clock, network):
    """Somebody adds subnets, or a permission: the next run sees them."""
    subnets, api.of_vpc["vpc-1"] = api.of_vpc["vpc-1"], []
    with pytest.raises(ConfigurationError):
        await clock.run(network.subnets("vpc-1"))
    api.of_vpc["vpc-1"] = subnets
    api.fault = lambda action: Fault(Kind.DENIED, action, "UnauthorizedOperation", "You may not.")
    with pytest.raises(AccessDenied, match="allow ec2:DescribeVpcs and ec2:DescribeSubnets"):
        await clock.run(network.subnets("vpc-1"))
    api.fault = lambda action: None
    assert await clock.run(network.subnets("vpc-1")) == ["c"]
