"""Which quota a strategy draws on, and whether it runs on Fargate."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ecs_pinned.core.placement import check_strategy, placed, runs_on_fargate
from prefect_ecs_pinned.core.request import launch_type_of
from prefect_ecs_pinned.errors import ConfigurationError


def strategy(**weights: int | None) -> list[dict[str, Any]]:
    """Providers with weights; None for one that states none."""
    return [
        {"capacityProvider": name, **({} if weight is None else {"weight": weight})}
        for name, weight in weights.items()
    ]


@pytest.mark.parametrize(
    ("items", "quota"),
    [
        (strategy(FARGATE=1), "FARGATE"),
        (strategy(FARGATE_SPOT=1), "FARGATE_SPOT"),
        (strategy(FARGATE_SPOT=None), "FARGATE_SPOT"),
        (strategy(FARGATE_SPOT=4, FARGATE=1), "FARGATE"),
        (strategy(FARGATE_SPOT=1, FARGATE=0), "FARGATE_SPOT"),
        (strategy(FARGATE_SPOT=1, FARGATE=None), "FARGATE_SPOT"),
        (strategy(FARGATE_SPOT=0, FARGATE=1), "FARGATE"),
        ([*strategy(FARGATE_SPOT=1), {"capacityProvider": "FARGATE", "base": 2}], "FARGATE"),
        (strategy(own=1), "EC2"),
        (strategy(own=1, other=0), "EC2"),
    ],
)
def test_the_quota_is_that_of_the_providers_that_take_tasks(items, quota):
    """A weight of 0 takes none beside another; a base does."""
    assert launch_type_of({"capacityProviderStrategy": items}) == quota


@pytest.mark.parametrize("items", [strategy(FARGATE=1, own=1), strategy(own=1, FARGATE_SPOT=0)])
def test_a_strategy_that_mixes_fargate_with_instances_is_refused(items):
    """ECS refuses it. It is neither Fargate's nor not, so no other message is in its place."""
    with pytest.raises(ConfigurationError, match="mixes Fargate with providers of instances"):
        check_strategy(items)
    assert runs_on_fargate({"capacityProviderStrategy": items}, {}) is None


@given(
    st.lists(
        st.tuples(st.sampled_from(["FARGATE", "FARGATE_SPOT", "own", "other"]), st.integers(0, 3)),
        min_size=1,
        max_size=4,
        unique_by=lambda item: item[0],
    )
)
def test_what_is_accepted_is_on_fargate_by_its_quota(items):
    """Of a strategy that ECS takes, both say the same; as a request's or as the cluster's own."""
    given = strategy(**dict(items))
    try:
        check_strategy(given)
    except ConfigurationError:
        return
    on_fargate = launch_type_of({"capacityProviderStrategy": given}) != "EC2"
    assert runs_on_fargate({"capacityProviderStrategy": given}, {}) is on_fargate
    assert runs_on_fargate({}, {}, given) is on_fargate


@pytest.mark.parametrize("odd", ["FARGATE", ["FARGATE"], [None], [{"capacityProvider": ["x"]}], 1])
def test_a_strategy_of_another_shape_is_left_to_its_check(odd):
    """A patch may put anything there."""
    assert runs_on_fargate({"capacityProviderStrategy": odd}, {}) is False
    assert launch_type_of({"capacityProviderStrategy": odd}) in ("FARGATE", "EC2")


@pytest.mark.parametrize("launch_type", ["FARGATE", "FARGATE_SPOT", "EC2", "EXTERNAL"])
def test_a_launch_type_decides_whatever_the_definition_and_the_cluster_say(launch_type):
    request = placed(launch_type, None)
    for default in (None, [], strategy(own=1), strategy(FARGATE=1)):
        for required in ([], ["EC2"], ["FARGATE"]):
            found = runs_on_fargate(request, {"requiresCompatibilities": required}, default)
            assert found is launch_type.startswith("FARGATE")
