"""Pinning: remembered, found, adopted, or registered; once."""

from __future__ import annotations

import asyncio
import copy

import pytest

from prefect_ecs_pinned.aws.faults import Fault, Kind
from prefect_ecs_pinned.aws.pacing import DESCRIBE_TASK_DEFINITION, Pacer
from prefect_ecs_pinned.aws.pinning import Pinning
from prefect_ecs_pinned.core.definition import DefinitionSpec, build
from prefect_ecs_pinned.core.fingerprint import labelled
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.errors import AccessDenied, RegistrationRefused, Unavailable
from tests.aws.fakes import FakeDefinitions
from tests.aws.virtual import VirtualClock


def desired(image: str = "flows:1", **fields) -> Desired:
    return Desired(
        build(DefinitionSpec(family="prefect-default", region="us-east-1", image=image, **fields))
    )


def pinning(api: FakeDefinitions) -> Pinning:
    """What a new process begins with."""
    reads = Pacer(DESCRIBE_TASK_DEFINITION, api.clock, probing=False)
    return Pinning(api, reads, api.clock)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def api(clock):
    return FakeDefinitions(clock)


async def test_three_hundred_cold_runs_cost_one_registration(api, clock):
    """And one DescribeTaskDefinition."""
    one = pinning(api)
    pins = await clock.run(asyncio.gather(*(one.resolve(desired()) for _ in range(300))))
    assert {pin.arn for pin in pins} == set(api.revisions)
    assert api.calls == {"DescribeTaskDefinition": 1, "RegisterTaskDefinition": 1}
    assert [pin.how for pin in pins].count("registered") == 1


async def test_a_restarted_process_costs_one_describe(api, clock):
    """The fingerprint travels inside the revision."""
    before = await clock.run(pinning(api).resolve(desired()))
    api.calls.clear()
    after = await clock.run(pinning(api).resolve(desired()))
    assert (after.arn, after.how) == (before.arn, "found")
    assert api.calls == {"DescribeTaskDefinition": 1}


async def test_fifty_images_in_one_family_register_one_at_a_time(api, clock):
    """Fifty registrations from cold, none overlapping; none after a restart, by one scan."""
    one = pinning(api)
    wanted = [desired(f"flows:{n}") for n in range(50)]
    await clock.run(asyncio.gather(*(one.resolve(d) for d in wanted)))
    assert api.calls["RegisterTaskDefinition"] == 50
    assert api.most_registering == 1
    api.calls.clear()
    again = pinning(api)
    pins = await clock.run(asyncio.gather(*(again.resolve(d) for d in wanted)))
    assert len({pin.arn for pin in pins}) == 50
    assert api.calls["RegisterTaskDefinition"] == 0
    assert api.calls["ListTaskDefinitions"] == 1
    assert api.calls["DescribeTaskDefinition"] <= 51


async def test_going_back_registers_nothing(api, clock):
    """A, then B, then A again: A's revision, in this process and in the next."""
    one = pinning(api)
    first = await clock.run(one.resolve(desired("flows:1")))
    await clock.run(one.resolve(desired("flows:2")))
    assert (await clock.run(one.resolve(desired("flows:1")))).arn == first.arn
    assert (await clock.run(pinning(api).resolve(desired("flows:1")))).arn == first.arn
    assert api.calls["RegisterTaskDefinition"] == 2


async def test_a_copied_label_with_another_image_is_not_believed(api, clock):
    """Someone copied the revision, label and all, and changed the image."""
    wanted = desired()
    forged = copy.deepcopy(labelled(wanted.definition, wanted.fingerprint))
    forged["containerDefinitions"][0]["image"] = "evil:1"
    evil = api.add(forged)
    pin = await clock.run(pinning(api).resolve(wanted))
    assert pin.arn != evil
    assert pin.how == "registered"


async def test_a_revision_without_a_label_is_adopted(api, clock):
    """One that Terraform or CI has registered: one describe, no registration."""
    arn = api.add(desired().definition)
    pin = await clock.run(pinning(api).resolve(desired()))
    assert (pin.arn, pin.how) == (arn, "adopted")
    assert api.calls == {"DescribeTaskDefinition": 1}


async def test_a_revision_with_a_task_role_is_not_adopted(api, clock):
    """A launch could not take the role away."""
    role = "arn:aws:iam::123456789012:role/admin"
    api.add({**desired().definition, "taskRoleArn": role})
    pin = await clock.run(pinning(api).resolve(desired()))
    assert pin.how == "registered"
    assert pin.changed == ("taskRoleArn",)


async def test_eight_processes_from_cold_end_with_one_revision(api, clock):
    """Seven are refused, look again, and adopt what the eighth has registered."""
    processes = [pinning(api) for _ in range(8)]
    pins = await clock.run(asyncio.gather(*(p.resolve(desired()) for p in processes)))
    assert len({pin.arn for pin in pins}) == 1
    assert len(api.revisions) == 1


async def test_a_lost_answer_is_looked_up_before_it_is_repeated(api, clock):
    """The registration took effect: one revision."""
    lost = [Fault(Kind.OUTCOME_UNKNOWN, "RegisterTaskDefinition", "ReadTimeoutError")]
    api.after = lambda _: lost.pop() if lost else None
    pin = await clock.run(pinning(api).resolve(desired()))
    assert list(api.revisions) == [pin.arn]


@pytest.mark.parametrize("kind", [Kind.THROTTLED, Kind.OUTCOME_UNKNOWN])
async def test_a_failed_look_up_never_registers(api, clock, kind):
    """Only ECS's own answer means that there is no such family."""
    api.before = lambda action: (
        Fault(kind, action, "x") if action == "DescribeTaskDefinition" else None
    )
    with pytest.raises(Unavailable):
        await clock.run(pinning(api).resolve(desired()))
    assert api.calls["RegisterTaskDefinition"] == 0


async def test_a_role_that_may_not_list_goes_without_the_scan(api, clock, caplog):
    """One warning, and registrations as needed."""
    api.add(desired("flows:0").definition)
    api.before = lambda action: (
        Fault(Kind.DENIED, action, "AccessDeniedException")
        if action == "ListTaskDefinitions"
        else None
    )
    one = pinning(api)
    for n in (1, 2):
        assert (await clock.run(one.resolve(desired(f"flows:{n}")))).how == "registered"
    assert sum("may not list" in record.message for record in caplog.records) == 1


async def test_a_denied_registration_says_what_to_do(api, clock):
    """The hint names both ways out."""
    api.before = lambda action: (
        Fault(Kind.DENIED, action, "AccessDeniedException", "not authorized")
        if action == "RegisterTaskDefinition"
        else None
    )
    with pytest.raises(AccessDenied, match="pinned-ecs pin"):
        await clock.run(pinning(api).resolve(desired()))


async def test_never_registers_when_it_may_not(api, clock):
    """The error names what differs, and the command that registers it."""
    api.add(desired("flows:1").definition)
    with pytest.raises(RegistrationRefused, match="pinned-ecs pin") as refused:
        await clock.run(pinning(api).resolve(desired("flows:2"), may_register=False))
    assert refused.value.changed == ("containerDefinitions.prefect.image",)
    assert api.calls["RegisterTaskDefinition"] == 0


async def test_a_deregistered_pin_is_renewed_once_for_all_who_hit_it(api, clock):
    """Two hundred launches report one stale revision: one registration."""
    one = pinning(api)
    stale = (await clock.run(one.resolve(desired()))).arn
    api.deregister(stale)
    api.calls.clear()
    pins = await clock.run(asyncio.gather(*(one.renew(desired(), stale) for _ in range(200))))
    assert len({pin.arn for pin in pins} | {stale}) == 2
    assert api.calls["RegisterTaskDefinition"] == 1


async def test_a_revision_that_still_looks_active_is_not_taken_twice(api, clock):
    """Deregistering takes minutes to show: what a launch has refused counts."""
    one = pinning(api)
    stale = (await clock.run(one.resolve(desired()))).arn
    fresh = await clock.run(one.renew(desired(), stale))
    assert fresh.arn != stale


async def test_a_cancelled_asker_takes_nobody_along(api, clock):
    """The first who asked is cancelled while the registration is under way."""
    one = pinning(api)
    first = asyncio.create_task(one.resolve(desired()))
    await clock.pass_time(0.15)
    second = asyncio.create_task(one.resolve(desired()))
    await clock.pass_time(0.01)
    first.cancel()
    assert (await clock.run(second)).arn in api.revisions
    assert api.calls["RegisterTaskDefinition"] == 1


async def test_a_linked_revision_is_described_once(api, clock):
    """Revisions never change; a bare family stands for its newest one for a minute."""
    arn = api.add(desired().definition)
    one = pinning(api)
    for _ in range(3):
        assert (await clock.run(one.linked(arn))).arn == arn
        assert one.remembered_link(arn) is await one.linked(arn)
    assert api.calls["DescribeTaskDefinition"] == 1
    for _ in range(3):
        await clock.run(one.linked("prefect-default"))
    assert api.calls["DescribeTaskDefinition"] == 2
    await clock.pass_time(61)
    assert one.remembered_link("prefect-default") is None
    await clock.run(one.linked("prefect-default"))
    assert api.calls["DescribeTaskDefinition"] == 3


async def test_left_to_another_process_that_was_faster(api, clock):
    """Its revision is adopted: nothing is registered a second time."""
    other = pinning(api)
    register = api.register_task_definition

    async def too_late(definition, newest):
        api.register_task_definition = register
        await other.resolve(desired())
        return

    api.register_task_definition = too_late
    pin = await clock.run(pinning(api).resolve(desired()))
    assert (list(api.revisions), pin.how) == ([pin.arn], "found")


async def test_contended_for_a_minute_by_others(api, clock):
    """Somebody registers other revisions of the family all the time: ours is made in the end."""
    contended = Fault(
        Kind.CONTENDED, "RegisterTaskDefinition", "ClientException", "Too many concurrent attempts"
    )
    api.before = lambda action: (
        contended if action == "RegisterTaskDefinition" and clock.now() < 60 else None
    )
    pin = await clock.run(pinning(api).resolve(desired()))
    assert list(api.revisions) == [pin.arn]
    assert api.calls["RegisterTaskDefinition"] <= 25


async def test_a_look_that_is_denied_is_not_taken_for_a_denied_registration(api, clock):
    """The hint names the permission that is missing."""
    api.before = lambda action: (
        Fault(Kind.DENIED, action, "AccessDeniedException", "no")
        if action == "DescribeTaskDefinition"
        else None
    )
    with pytest.raises(AccessDenied) as denied:
        await clock.run(pinning(api).resolve(desired()))
    assert denied.value.hint == "allow ecs:DescribeTaskDefinition to the credentials"
    assert api.calls["RegisterTaskDefinition"] == 0


async def test_an_hour_without_network_is_told_after_two_minutes(api, clock):
    """And the next run asks again."""
    away = Fault(Kind.UNREACHABLE, "DescribeTaskDefinition", "EndpointConnectionError", "no route")
    api.before = lambda _: away if clock.now() < 3600 else None
    one = pinning(api)
    with pytest.raises(Unavailable, match="check the network"):
        await clock.run(one.resolve(desired()))
    assert clock.now() <= 130
    await clock.pass_time(3600)
    assert (await clock.run(one.resolve(desired()))).arn in api.revisions
