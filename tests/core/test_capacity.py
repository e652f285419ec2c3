"""What a refusal for lack of room says, and about whom."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ecs_pinned.core.breakers import Breakers
from prefect_ecs_pinned.core.capacity import Demand, Scope, Shortage, demand_of, shortage

VCPU = "You’ve reached the limit on the number of vCPUs you can run concurrently"
UNAVAILABLE = "Capacity is unavailable at this time. Please try again later"
PROVISIONING = "Tasks provisioning capacity limit exceeded."


def demand(**members) -> Demand:
    given = {"bucket": "EC2", "provider": "EC2", "revision": "f:1", "cpu": 1024.0, "memory": 2048.0}
    return Demand(**{**given, **members})


def of(reasons, refused: Demand) -> Shortage:
    """The shortage that there is."""
    found = shortage(reasons, refused)
    assert found is not None
    return found


#: reason, refused, what it covers, what it does not cover
ROWS = [
    (VCPU, {}, [{"cpu": 2048.0}, {"cluster": "b"}, {"revision": "g:1"}, {"memory": 1.0}],
     [{"cpu": 512.0}, {"bucket": "FARGATE_SPOT"}]),
    ("RESOURCE:CPU", {}, [{"cpu": 2048.0, "memory": 1.0}, {"revision": "g:1"}],
     [{"cpu": 512.0}, {"cluster": "b"}, {"provider": "asg"}, {"placement": "x"}]),
    ("RESOURCE:MEMORY", {}, [{"memory": 4096.0, "cpu": 1.0}],
     [{"memory": 1024.0, "cpu": 8192.0}, {"cluster": "b"}]),
    ("RESOURCE:GPU", {"gpu": 1}, [{"gpu": 2}, {"gpu": 1, "cpu": 1.0}], [{"gpu": 0}]),
    ("RESOURCE:PORTS", {"ports": frozenset({(80, "tcp")})},
     [{"ports": frozenset({(80, "tcp"), (81, "tcp")})}],
     [{"ports": frozenset()}, {"ports": frozenset({(81, "tcp")})}]),
    ("RESOURCE:PORTS_TCP", {"ports": frozenset({(80, "tcp")})}, [], [{"ports": frozenset()}]),
    ("RESOURCE:ENI", {"eni": 1}, [{"eni": 1, "cpu": 1.0}], [{"eni": 0}]),
    ("RESOURCE:NEW", {}, [], [{"cpu": 2048.0}, {"revision": "g:1"}]),
    ("AGENT", {}, [], [{"cpu": 2048.0}, {"revision": "g:1"}, {"cluster": "b"}, {"eni": 1}]),
    (UNAVAILABLE, {"subnets": frozenset("ab")},
     [{"subnets": frozenset("ab"), "cpu": 1024.0, "memory": 4096.0, "cluster": "b"}],
     [{"subnets": frozenset("ab"), "cpu": 512.0, "memory": 4096.0},
      {"subnets": frozenset("ab"), "cpu": 2048.0, "memory": 1024.0},
      {"subnets": frozenset("a")},
      {"subnets": frozenset("ab"), "platform": "ARM64"}]),
    (PROVISIONING, {"provider": "asg"}, [{"provider": "asg", "cpu": 1.0, "revision": "g:1"}],
     [{"provider": "other"}, {"provider": "asg", "cluster": "b"}]),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "refused", "covered", "not_covered"), ROWS)
def test_whom_a_refusal_covers(reason, refused, covered, not_covered):
    """Its scope, at least as large in the dimension that was refused, and nothing else."""
    found = of([reason], demand(**refused))
    assert found.covers(demand(**refused))
    for members in covered:
        assert found.covers(demand(**members)), members
    for members in not_covered:
        assert not found.covers(demand(**members)), members


@pytest.mark.parametrize("reasons", list(permutations(["RESOURCE:CPU", "RESOURCE:MEMORY"])))
def test_two_dimensions_cover_what_is_as_large_in_both(reasons):
    """One instance has no CPU left, another no memory, in any order."""
    found = of(reasons, demand())
    assert found == shortage(sorted(reasons), demand())
    assert found.covers(demand(cpu=2048.0, memory=4096.0))
    assert not found.covers(demand(cpu=512.0))
    assert not found.covers(demand(memory=1024.0))


@pytest.mark.parametrize("reasons", list(permutations(["ATTRIBUTE", "RESOURCE:MEMORY", "AGENT"])))
def test_an_attribute_beside_a_resource_covers_the_same_revision(reasons):
    """Another revision may ask for other attributes."""
    found = of(reasons, demand())
    assert found.relieved
    assert found.covers(demand(memory=4096.0))
    assert not found.covers(demand(revision="g:1"))


def test_unknown_sizes_cover_the_same_revision_only():
    """And are covered by nothing else."""
    unknown = demand(cpu=None)
    found = of([VCPU], unknown)
    assert found.covers(unknown)
    assert not found.covers(demand(revision="g:1", cpu=1e9))
    assert not of([VCPU], demand()).covers(demand(revision="g:1", cpu=None))


def test_live_tasks_make_room_when_they_are_big_enough_together():
    """Of the same bucket, over all clusters."""
    found = of([VCPU], demand(cpu=4096.0))
    small = (demand(cluster="b"), "", 3)
    assert not found.ends_with(demand(cpu=4096.0), [small])
    assert found.ends_with(demand(cpu=4096.0), [small, (demand(), "", 1)])
    assert not found.ends_with(demand(cpu=4096.0), [(demand(bucket="FARGATE"), "", 9)])


def test_on_ec2_together_means_on_one_instance():
    """Two halves on two instances are no room for a whole."""
    found = of(["RESOURCE:MEMORY"], demand(memory=4096.0))
    large = demand(memory=4096.0)
    assert not found.ends_with(large, [(demand(), "i-1", 1), (demand(), "i-2", 1)])
    assert found.ends_with(large, [(demand(), "i-1", 2)])


@pytest.mark.parametrize("reason", ["AGENT", "ATTRIBUTE", "LOCATION"])
def test_no_end_of_a_task_connects_an_agent_or_adds_an_attribute(reason):
    """They never pause a clock."""
    asked = demand(provider="asg")
    assert not of([reason], asked).ends_with(asked, [(asked, "i-1", 99)])


def test_sizes_are_those_of_the_request_else_of_the_revision():
    """Overrides first, by container; task sizes before those of the containers."""
    definition = {
        "cpu": "1 vCPU",
        "memory": "2GB",
        "containerDefinitions": [
            {"name": "prefect", "cpu": 256, "memoryReservation": 512, "memory": 9999},
            {"name": "side", "cpu": 128, "memory": 256,
             "resourceRequirements": [{"type": "GPU", "value": "2"}]},
        ],
    }  # fmt: skip
    assert demand_of({}, definition).cpu == 1024
    assert demand_of({"overrides": {"cpu": "4096"}}, definition).cpu == 4096
    assert demand_of({}, definition).gpu == 2
    unsized = {"containerDefinitions": definition["containerDefinitions"]}
    assert (demand_of({}, unsized).cpu, demand_of({}, unsized).memory) == (384, 768)
    override = {"containerOverrides": [{"name": "prefect", "cpu": 1000, "memoryReservation": 1}]}
    assert demand_of({"overrides": override}, unsized).cpu == 1128
    assert demand_of({"overrides": override}, unsized).memory == 257
    assert demand_of({}, None).cpu is None


@pytest.mark.parametrize("number", ["²", "٣", "9" * 5000, "many"])
def test_a_size_that_is_no_number_is_unknown(number):
    """ECS judges it; here it neither raises nor counts."""
    overrides = {
        "cpu": number,
        "containerOverrides": [
            {"name": "prefect", "resourceRequirements": [{"type": "GPU", "value": number}]}
        ],
    }
    asked = demand_of({"overrides": overrides}, {"containerDefinitions": [{"name": "prefect"}]})
    assert (asked.cpu, asked.gpu) == (None, 0)


sizes = st.sampled_from([256.0, 512.0, 1024.0, 4096.0, None])
demands = st.builds(
    Demand,
    bucket=st.just("EC2"),
    cluster=st.sampled_from("ab"),
    provider=st.sampled_from(["EC2", "asg"]),
    revision=st.sampled_from(["f:1", "g:1"]),
    cpu=sizes,
    memory=sizes,
    gpu=st.sampled_from([0, 1, 2]),
)
reasons = st.lists(
    st.sampled_from([VCPU, UNAVAILABLE, PROVISIONING, "AGENT", "ATTRIBUTE", "RESOURCE:CPU",
                     "RESOURCE:MEMORY", "RESOURCE:GPU", "RESOURCE:NEW", "SOMETHING"]),
    min_size=1, max_size=4,
)  # fmt: skip


@given(reasons, demands, demands)
def test_who_is_refused_is_covered_and_order_means_nothing(said, refused, other):
    """And coverage grows with size."""
    found = shortage(said, refused)
    assert found == shortage(list(reversed(said)), refused)
    if found is None:
        return
    assert found.covers(refused)
    assert found.scope in Scope
    if found.covers(other) and other.cpu is not None and other.memory is not None:
        larger = Demand(**{**vars(other), "cpu": other.cpu * 2})
        assert found.covers(larger) or found.scope is Scope.EQUAL


@given(st.lists(st.tuples(reasons, demands), max_size=8), demands)
def test_a_request_that_nothing_covers_is_kept_back_by_nothing(refusals, asked):
    """Whatever else was refused; and every refused one is kept back by its nearest breakers."""
    breakers = Breakers()
    found = [(s, d) for said, d in refusals if (s := shortage(said, d)) is not None]
    for missing, _ in found:
        breakers.record_failure(missing, 0.0, 2.5)
    assert breakers.keeps_back(asked) == any(missing.covers(asked) for missing, _ in found)
    for _, refused in found:
        nearest = breakers.nearest(refused)
        assert nearest
        assert all(breaker.shortage.covers(refused) for breaker in nearest)


def test_two_refusals_that_cover_the_same_keep_back_both():
    """An agent that is not connected, and a resource that nobody knows, of one request."""
    breakers = Breakers()
    for reason in ("AGENT", "RESOURCE:NEW"):
        breakers.record_failure(of([reason], demand()), 0.0, 2.5)
    assert len(breakers.nearest(demand())) == 2
    assert breakers.keeps_back(demand())
