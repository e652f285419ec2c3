"""A cluster's default strategy: asked for where it decides, once, and for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.launching.clusters import REMEMBERED_SECONDS, Clusters
from prefect_ecs_pinned.errors import Unavailable
from tests.aws.virtual import VirtualClock

SPOT = [{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}]


class FakeClusters:
    """`ports.ClusterApi`."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.calls = 0
        self.clusters: dict[str, Mapping[str, Any]] = {}
        self.faults: list[Fault] = []

    async def describe_cluster(self, cluster: str) -> Mapping[str, Any] | None:
        self.calls += 1
        await self.clock.wait(0.1)
        if self.faults:
            raise self.faults.pop()
        return self.clusters.get(cluster)


@pytest.fixture
def api(clock):
    api = FakeClusters(clock)
    api.clusters = {"etl": {"defaultCapacityProviderStrategy": SPOT}, "bare": {}}
    return api


@pytest.fixture
def clusters(api, clock):
    return Clusters(api, clock)


@pytest.mark.parametrize(("cluster", "strategy"), [("etl", SPOT), ("bare", []), ("none", None)])
async def test_a_hundred_askers_share_one_look(api, clock, clusters, cluster, strategy):
    """A cluster that has no default is distinguished from one that is not there."""
    asked = (clusters.default_strategy(cluster) for _ in range(100))
    assert await clock.run(asyncio.gather(*asked)) == [strategy] * 100
    assert api.calls == 1


async def test_it_is_looked_up_again_after_a_time(api, clock, clusters):
    """The default of a cluster can be changed."""
    assert await clock.run(clusters.default_strategy("etl")) == SPOT
    api.clusters["etl"] = {"defaultCapacityProviderStrategy": []}
    assert await clock.run(clusters.default_strategy("etl")) == SPOT
    await clock.pass_time(REMEMBERED_SECONDS)
    assert await clock.run(clusters.default_strategy("etl")) == []
    assert api.calls == 2


async def test_a_denial_is_said_once(api, clock, clusters, caplog):
    """Nothing is known then, and what is denied is not tried for every run."""
    api.faults = [Fault(Kind.DENIED, "DescribeClusters", "AccessDeniedException", "no")]
    for _ in range(3):
        assert await clock.run(clusters.default_strategy("etl")) is None
    assert api.calls == 1
    [warning] = [r.getMessage() for r in caplog.records]
    assert "ecs:DescribeClusters, or set assign_public_ip" in warning


async def test_what_passes_is_waited_out(api, clock, clusters):
    """A throttle is no answer; nor is what lasts for minutes remembered."""
    throttle = Fault(Kind.THROTTLED, "DescribeClusters", "ThrottlingException", "Rate exceeded")
    api.faults = [throttle] * 3
    assert await clock.run(clusters.default_strategy("etl")) == SPOT
    api.faults = [throttle] * 1000
    with pytest.raises(Unavailable, match="Rate exceeded"):
        await clock.run(clusters.default_strategy("other"))
    api.faults = []
    assert await clock.run(clusters.default_strategy("other")) is None


@pytest.mark.parametrize("odd", [None, "FARGATE", ["FARGATE"], {}, [None]])
async def test_an_odd_answer_has_no_strategy(api, clock, clusters, odd):
    """Members of another type are not taken for one."""
    api.clusters["etl"] = {"defaultCapacityProviderStrategy": odd}
    assert await clock.run(clusters.default_strategy("etl")) == []
