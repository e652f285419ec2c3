"""VPC -> subnets: one look-up per VPC, shared by all who ask."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind, classify
from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.launching.network import Network, missing_subnets
from prefect_ecs_pinned.errors import (
    AccessDenied,
    ConfigurationError,
    PinnedECSError,
    Unavailable,
)
from tests.aws.client_errors import client_error


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
    """RequestLimitExceeded, a timeout: the look-up is repeated, and no caller gets the error."""
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
    """Each caller that shared the look-up gets the error."""
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


@pytest.mark.parametrize("odd", [[{}], [None], ["x"], [{"VpcId": None}], [{"VpcId": 7}], None, 7])
@pytest.mark.parametrize("action", ["DescribeVpcs", "DescribeSubnets"])
async def test_an_odd_answer_is_asked_for_again_and_poisons_nothing(api, clock, action, odd):
    """Once or five times in a row: no run gets the error, and nothing of it is remembered."""
    odds = Odd(api, action, odd)
    network = Network(odds, clock)
    for times in (1, 5):
        odds.left = times
        assert await clock.run(network.subnets(None)) == ["a", "b"]
        assert odds.left == 0
        network._known.clear()


@pytest.mark.parametrize("action", ["DescribeVpcs", "DescribeSubnets"])
async def test_nothing_but_odd_answers_end_as_unavailable(api, clock, action):
    """And the next who asks gets a good one."""
    odds = Odd(api, action, [{}])
    odds.left = 10**6
    network = Network(odds, clock)
    results = await clock.run(
        asyncio.gather(*(network.subnets(None) for _ in range(20)), return_exceptions=True)
    )
    assert {type(result) for result in results} == {Unavailable}
    odds.left = 0
    assert await clock.run(network.subnets(None)) == ["a", "b"]


class Odd:
    """`ports.NetworkApi`: odd answers to an action, as often as ``left`` says."""

    def __init__(self, api: FakeNetwork, action: str, odd: Any) -> None:
        self.api, self.action, self.odd, self.left = api, action, odd, 0

    async def describe_vpcs(self, vpc_id: str | None) -> Any:
        return await self._or_odd("DescribeVpcs", self.api.describe_vpcs(vpc_id))

    async def describe_subnets(self, vpc_id: str) -> Any:
        return await self._or_odd("DescribeSubnets", self.api.describe_subnets(vpc_id))

    async def _or_odd(self, action: str, answer: Any) -> Any:
        good = await answer
        if action != self.action or not self.left:
            return good
        self.left -= 1
        return self.odd


# -- subnets that are gone -------------------------------------------------------------------------


async def test_a_subnet_that_is_gone_is_looked_for_once_per_incident(api, clock, network):
    """Two hundred launches report it, at once and one after the other."""
    assert await clock.run(network.subnets("vpc-1")) == ["c"]
    api.of_vpc["vpc-1"] = ["d"]
    reports = [network.replaced("vpc-1", ["c"]) for _ in range(200)]
    assert await clock.run(asyncio.gather(*reports)) == [["d"]] * 200
    for _ in range(20):
        await clock.pass_time(1.0)
        assert await clock.run(network.replaced("vpc-1", ["c"])) == ["d"]
    assert network.remembered("vpc-1") == ["d"]
    assert api.calls == {"DescribeVpcs": 2, "DescribeSubnets": 2}


async def test_a_default_vpc_that_was_made_anew_is_found(api, clock, network):
    """With other subnets."""
    await clock.run(network.subnets(None))
    api.vpcs[None] = "vpc-1"
    assert await clock.run(network.replaced(None, {"a"})) == ["c"]


async def test_a_subnet_that_ec2_still_lists_is_left_out(api, clock, network):
    """ECS has seen it go before."""
    await clock.run(network.subnets(None))
    assert await clock.run(network.replaced(None, ["a"])) == ["b"]
    assert await clock.run(network.subnets(None)) == ["b"]
    assert api.calls["DescribeSubnets"] == 2


async def test_the_only_subnet_is_kept_and_looked_for_every_few_seconds(api, clock, network):
    """EC2 lists it, ECS does not know it: a hundred reports in ten seconds, three look-ups."""
    await clock.run(network.subnets("vpc-1"))
    for _ in range(100):
        assert await clock.run(network.replaced("vpc-1", ["c"])) == ["c"]
        await clock.pass_time(0.1)
    assert api.calls["DescribeSubnets"] <= 1 + 3
    api.of_vpc["vpc-1"] = ["d"]
    await clock.pass_time(5.0)
    assert await clock.run(network.replaced("vpc-1", ["c"])) == ["d"]


async def test_two_subnets_go_one_after_the_other(api, clock, network):
    """The second one within the seconds in which the look-up is trusted."""
    api.of_vpc["vpc-1"] = ["a", "b", "c"]
    await clock.run(network.subnets("vpc-1"))
    assert await clock.run(network.replaced("vpc-1", ["a"])) == ["b", "c"]
    assert await clock.run(network.replaced("vpc-1", ["b"])) == ["c"]
    assert await clock.run(network.replaced("vpc-1", ["a", "b"])) == ["c"]


async def test_a_failed_look_up_fails_for_all_and_is_forgotten(api, clock, network):
    """The VPC itself is gone; then it is there again."""
    await clock.run(network.subnets("vpc-1"))
    api.of_vpc["vpc-1"] = []
    reports = [network.replaced("vpc-1", ["c"]) for _ in range(20)]
    failures = await clock.run(asyncio.gather(*reports, return_exceptions=True))
    assert {type(failure) for failure in failures} == {ConfigurationError}
    api.of_vpc["vpc-1"] = ["d"]
    assert await clock.run(network.replaced("vpc-1", ["c"])) == ["d"]


async def test_what_is_remembered_of_vpcs_is_bounded(api, clock, network):
    """A thousand VPCs that come and go."""
    for number in range(1000):
        name = f"vpc-{number}"
        api.vpcs[name], api.of_vpc[name] = name, ["a", "b"]
        await clock.run(network.subnets(name))
        await clock.run(network.replaced(name, ["a"]))
    assert (len(network._known), len(network._replaced_at)) == (256, 256)


@pytest.mark.parametrize("code", ["InvalidParameterException", "ClientException"])
@pytest.mark.parametrize(
    ("message", "missing"),
    [
        (
            "Error retrieving subnet information for [subnet-0a, subnet-0b]: The subnet ID "
            "'subnet-0b' does not exist (ErrorCode: InvalidSubnetID.NotFound)",
            ("subnet-0b",),
        ),
        (
            "The subnet IDs 'subnet-0a, subnet-0b' do not exist (ErrorCode: "
            "InvalidSubnetID.NotFound)",
            ("subnet-0a", "subnet-0b"),
        ),
        (
            "Error retrieving subnet information for [subnet-0a]: gone (ErrorCode: "
            "InvalidSubnetID.NotFound)",
            ("subnet-0a",),
        ),
        ("The security group 'sg-0' does not exist (ErrorCode: InvalidGroup.NotFound)", ()),
        ("Error retrieving subnet information for [subnet-0]: (ErrorCode: Throttling)", ()),
        ("TaskDefinition is inactive", ()),
    ],
)
def test_the_subnets_that_run_task_names(code, message, missing):
    """By their ids; for any other refusal there are none."""
    response = {"Error": {"Code": code, "Message": message}}
    fault = classify(client_error(response, "RunTask"), "RunTask")
    assert missing_subnets(fault) == missing


@pytest.mark.parametrize("kind", [Kind.UNKNOWN, Kind.THROTTLED, Kind.UNREACHABLE])
async def test_a_command_waits_for_ten_seconds(api, clock, kind):
    """An agent for two minutes."""
    api.fault = lambda action: Fault(kind, action, "SomeException", "no")
    for patience, least, most in ((10.0, 4, 15), (120.0, 80, 130)):
        began = clock.now()
        with pytest.raises(PinnedECSError):
            await clock.run(Network(api, clock, patience).subnets("vpc-1"))
        assert least < clock.now() - began < most
