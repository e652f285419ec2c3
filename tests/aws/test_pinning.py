"""Pinning: remembered, found, adopted, or registered; once."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.calls.pacing import DESCRIBE_TASK_DEFINITION, Pacer
from prefect_ecs_pinned.aws.calls.retrying import COMMAND
from prefect_ecs_pinned.aws.loop.bounded import Bounded
from prefect_ecs_pinned.aws.loop.once import Once
from prefect_ecs_pinned.aws.pinning import linked_revision as linked_module
from prefect_ecs_pinned.aws.pinning import resolving as pinning_module
from prefect_ecs_pinned.aws.pinning import revisions as revisions_module
from prefect_ecs_pinned.aws.pinning.resolving import NEW_SECONDS, Pinning
from prefect_ecs_pinned.core.definition import DefinitionSpec, build, former_family
from prefect_ecs_pinned.core.fingerprint import labelled
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.errors import (
    AccessDenied,
    PinnedECSError,
    RegistrationRefused,
    Unavailable,
)
from tests.aws.fakes import FakeDefinitions
from tests.core.model import changed
from tests.core.pairs import UNSEEN


def desired(image: str = "flows:1", **fields) -> Desired:
    return Desired(
        build(DefinitionSpec(family="prefect-default", region="us-east-1", image=image, **fields))
    )


def pinning(api: FakeDefinitions) -> Pinning:
    """What a new process begins with."""
    reads = Pacer(DESCRIBE_TASK_DEFINITION, api.clock, probing=False)
    return Pinning(api, reads, api.clock)


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


def planted(
    api: FakeDefinitions, wanted: Desired, by: str = FakeDefinitions.OTHER, **members
) -> str:
    """A newer copy of a definition, label and all, with other members of its container."""
    forged = copy.deepcopy(labelled(wanted.definition, wanted.fingerprint))
    forged["containerDefinitions"][0].update(members)
    return api.add(forged, by=by)


POLICY: dict[str, Any] = {"restartPolicy": {"enabled": True}}  # nobody knows how ECS describes it
CHECK: dict[str, Any] = {"healthCheck": {"command": ["CMD", "evil"]}}


@pytest.mark.parametrize("members", [CHECK, POLICY], ids=["evidence", "no evidence"])
async def test_a_newer_labelled_copy_is_not_used_beside_our_own(api, clock, members):
    """The scan goes on to ours: one list, and who the caller is only if it matters."""
    own = (await clock.run(pinning(api).resolve(desired()))).arn
    evil = planted(api, desired(), **members)
    api.calls.clear()
    pin = await clock.run(pinning(api).resolve(desired()))
    assert (pin.arn, pin.how, pin.differs) == (own, "found", ())
    assert pin.arn != evil
    expected = {"DescribeTaskDefinition": 2, "ListTaskDefinitions": 1}
    assert api.calls == (expected if members is CHECK else {**expected, "GetCallerIdentity": 1})


@pytest.mark.parametrize("members", [CHECK, POLICY], ids=["evidence", "no evidence"])
async def test_a_labelled_copy_alone_is_never_run(api, clock, members):
    """Whoever registered it is not the caller: one registration."""
    evil = planted(api, desired(), **members)
    pin = await clock.run(pinning(api).resolve(desired()))
    assert (pin.how, pin.arn != evil) == ("registered", True)
    assert (await clock.run(pinning(api).resolve(desired()))).arn == pin.arn
    assert api.calls["RegisterTaskDefinition"] == 1


async def test_who_the_caller_is_is_asked_once(api, clock):
    """However many definitions and families are in doubt, and only if one is."""
    wanted = [desired(f"flows:{n}") for n in range(10)]
    for one in wanted:
        planted(api, one, **POLICY)
    both = pinning(api)
    await clock.run(asyncio.gather(*(both.resolve(one) for one in wanted)))
    assert api.calls["GetCallerIdentity"] == 1


@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.REFUSED])
async def test_when_nobody_says_who_the_caller_is_nothing_is_its_own(api, clock, kind):
    """A denial: a revision is registered, and its answer is proof."""
    api.before = lambda action: (
        Fault(kind, action, "AccessDenied", "no") if action == "GetCallerIdentity" else None
    )
    own = planted(api, desired(), by=api.caller, **POLICY)
    pin = await clock.run(pinning(api).resolve(desired()))
    assert (pin.how, pin.arn != own) == ("registered", True)


async def test_a_throttled_look_at_who_the_caller_is_never_registers(api, clock):
    """It will be known later."""
    api.before = lambda action: (
        Fault(Kind.UNREACHABLE, action, "x") if action == "GetCallerIdentity" else None
    )
    planted(api, desired(), by=api.caller, **POLICY)
    with pytest.raises(Unavailable):
        await clock.run(pinning(api).resolve(desired()))
    assert api.calls["RegisterTaskDefinition"] == 0


def rewriting(path: str):
    """ECS as it may be one day: it describes one member otherwise, each time anew."""

    def rewrite(described: dict[str, Any]) -> None:
        once = changed(described, tuple(path.split(".")))
        described.clear()
        described.update(once)

    return rewrite


UNSEEN_PAIRS = [(path, pair) for pair in UNSEEN for path in pair.covers]


@pytest.mark.parametrize(("path", "pair"), UNSEEN_PAIRS, ids=[path for path, _ in UNSEEN_PAIRS])
async def test_an_unforeseen_rewriting_makes_no_storm(api, clock, caplog, path, pair):
    """Five processes of one role: one registration, one WARNING each, that names the member."""
    wanted = Desired(pair.request())
    api.rewrite = rewriting(path)
    pins = []
    for number in range(5):
        api.caller = api.OWN.format(f"process-{number}")
        pins.append(await clock.run(pinning(api).resolve(wanted)))
    assert api.calls["RegisterTaskDefinition"] == 1
    assert len({pin.arn for pin in pins}) == 1
    assert [pin.how for pin in pins] == ["registered"] + 4 * ["found"]
    assert api.calls["DescribeTaskDefinition"] == 5
    assert api.calls["GetCallerIdentity"] == 4
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 5
    for pin, warning in zip(pins, warnings, strict=True):
        (differs,) = pin.differs
        assert differs in warning
        members = [part for part in differs.split(".") if part not in ("prefect", "s3")]
        assert path.startswith(".".join(members))


@pytest.mark.parametrize(("path", "pair"), UNSEEN_PAIRS, ids=[path for path, _ in UNSEEN_PAIRS])
async def test_of_another_principal_a_rewriting_is_not_believed(api, clock, path, pair):
    """The same revision, registered by somebody else."""
    wanted = Desired(pair.request())
    forged = changed(labelled(wanted.definition, wanted.fingerprint), tuple(path.split(".")))
    evil = api.add(forged)
    pin = await clock.run(pinning(api).resolve(wanted))
    assert pin.arn != evil
    assert api.calls["RegisterTaskDefinition"] == 1


async def test_in_a_process_the_answer_to_its_own_registration_is_proof(api, clock):
    """Even of a member that has never been seen to change: A, B, A, and after a pin is lost."""

    def rewrite(described: dict[str, Any]) -> None:
        described["containerDefinitions"][0]["image"] += "@sha256:0"

    api.rewrite = rewrite
    one = pinning(api)
    first = await clock.run(one.resolve(desired("flows:1")))
    assert first.differs == ("containerDefinitions.prefect.image",)
    await clock.run(one.resolve(desired("flows:2")))
    one._pins.clear()
    again = await clock.run(one.resolve(desired("flows:1")))
    assert (again.arn, api.calls["RegisterTaskDefinition"]) == (first.arn, 2)


# -- roles, tags, families -------------------------------------------------------------------------


async def test_roles_by_name_cost_one_registration(api, clock):
    """In a second process none; and one that gives ARNs adopts the same."""
    short = desired(execution_role_arn="ecsTaskExecutionRole")
    first = await clock.run(pinning(api).resolve(short))
    assert (await clock.run(pinning(api).resolve(short, may_register=False))).arn == first.arn
    full = desired(execution_role_arn="arn:aws:iam::123456789012:role/ecsTaskExecutionRole")
    assert (await clock.run(pinning(api).resolve(full))).arn == first.arn
    assert api.calls["RegisterTaskDefinition"] == 1


TAGS = [{"key": "team", "value": "data"}]


def tagged(image: str = "flows:1") -> Desired:
    return Desired({**desired(image).definition, "tags": TAGS})


async def test_tags_are_asked_for_only_when_they_are_desired(api, clock):
    """And within the one look at the newest revision."""
    arn = api.add({**tagged().definition, "tags": [*TAGS, {"key": "cost", "value": "42"}]})
    for wanted, asked in ((desired(), []), (tagged(), ["prefect-default"])):
        api.calls.clear()
        pin = await clock.run(pinning(api).resolve(wanted))
        assert (pin.arn, pin.how) == (arn, "adopted")
        assert api.calls == {"DescribeTaskDefinition": 1}
        assert api.with_tags == asked


async def test_in_one_process_tags_of_what_was_seen_without_are_read_later(api, clock):
    """Of the one revision that matches, not of the family."""
    one = pinning(api)
    arn = api.add(tagged().definition)
    api.add(desired("flows:2").definition)
    await clock.run(one.resolve(desired("flows:3")))
    pin = await clock.run(one.resolve(tagged()))
    assert (pin.arn, api.with_tags) == (arn, [arn])


async def test_tags_that_may_not_be_read_make_no_storm(api, clock, caplog):
    """A denial counts as none: five processes of one role, one registration, two warnings each."""
    api.before = lambda action: (
        Fault(Kind.DENIED, action, "AccessDeniedException", "ecs:ListTagsForResource")
        if action.endswith("TAGS")
        else None
    )
    theirs = api.add(tagged().definition)
    for number in range(5):
        api.caller = api.OWN.format(number)
        pin = await clock.run(pinning(api).resolve(tagged()))
        assert pin.arn != theirs
    assert api.calls["RegisterTaskDefinition"] == 1
    assert sum("may not read the tags" in r.message for r in caplog.records) == 5


async def test_a_tag_that_a_tagger_has_changed_needs_another_revision(api, clock):
    """One; the other tags of it are the tagger's own."""
    first = await clock.run(pinning(api).resolve(tagged()))
    api.tags[first.arn] = [{"key": "team", "value": "other"}]
    second = await clock.run(pinning(api).resolve(tagged()))
    assert (second.how, second.changed) == ("registered", ("tags",))
    assert (await clock.run(pinning(api).resolve(tagged()))).arn == second.arn


async def test_a_family_that_was_written_in_another_way_is_named(api, clock):
    """Where nothing may be registered: earlier versions wrote names in lower case."""
    api.add({**desired().definition, "family": "teametl"})
    wanted = desired(explicit_family="TeamETL")
    assert wanted.family == "TeamETL"
    with pytest.raises(RegistrationRefused, match="set family to 'teametl'"):
        await clock.run(pinning(api).resolve(wanted, may_register=False))
    api.deregister("arn:aws:ecs:us-east-1:123456789012:task-definition/teametl:1")
    with pytest.raises(RegistrationRefused, match="pinned-ecs pin"):
        await clock.run(pinning(api).resolve(wanted, may_register=False))


@pytest.mark.parametrize("given", ["TeamETL", "team--etl", "-team-etl", "team-etl-", "Team--ETL-"])
async def test_a_denied_registration_names_the_former_family(api, clock, given):
    """A policy may allow its name only; where that has no revisions, nothing is said of it."""
    wanted = desired(explicit_family=given)
    former = former_family(given)
    api.add({**desired().definition, "family": former})
    api.before = lambda action: (
        Fault(
            Kind.DENIED,
            action,
            "AccessDeniedException",
            f"User: agent is not authorized to perform: ecs:{action} on resource: "
            f"arn:aws:ecs:us-east-1:123456789012:task-definition/{given}:*",
        )
        if action == "RegisterTaskDefinition"
        else None
    )
    with pytest.raises(AccessDenied, match=f"of '{given}'") as denied:
        await clock.run(pinning(api).resolve(wanted))
    assert f"set family to '{former}'" in denied.value.hint
    assert "pinned-ecs pin" in denied.value.hint
    api.deregister(f"arn:aws:ecs:us-east-1:123456789012:task-definition/{former}:1")
    with pytest.raises(AccessDenied) as denied:
        await clock.run(pinning(api).resolve(wanted))
    assert former not in denied.value.hint
    assert "pinned-ecs pin" in denied.value.hint


# -- what is remembered ----------------------------------------------------------------------------


async def test_all_that_is_remembered_is_bounded(api, clock, monkeypatch):
    """Ten thousand families, links and dead revisions leave as much as a few hundred."""
    for bound in ("_PINS", "_FAMILIES", "_DEFINITIONS"):
        monkeypatch.setattr(pinning_module, bound, 20)
    monkeypatch.setattr(linked_module, "_REMEMBERED", 20)
    monkeypatch.setattr(revisions_module, "_REMEMBERED", 20)
    api.latency = 0.0
    one = pinning(api)
    for number in range(100):
        wanted = desired(explicit_family=f"family-{number}")
        pin = await clock.run(one.resolve(wanted))
        await clock.run(one.linked(pin.arn))
        api.deregister(pin.arn)
        await clock.run(one.renew(wanted, pin.arn))
        spec = DefinitionSpec(f"family-{number}", "us-east-1", image="flows:1")
        await clock.run(one.definition(spec.key(), spec))
    parts = (one, one._links, one._revisions)
    held = [v for part in parts for v in vars(part).values() if isinstance(v, Bounded | Once)]
    assert len(held) == 10
    assert all(len(items) <= 20 for items in held)
    again = await clock.run(one.resolve(desired(explicit_family="family-0")))
    assert api.calls["RegisterTaskDefinition"] == 200
    assert again.arn.endswith("family-0:2")


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
    """Deregistering takes minutes to show: what a launch has refused counts, if it is not new."""
    one = pinning(api)
    stale = (await clock.run(one.resolve(desired()))).arn
    await clock.pass_time(NEW_SECONDS + 1)
    fresh = await clock.run(one.renew(desired(), stale))
    assert fresh.arn != stale
    assert api.calls["RegisterTaskDefinition"] == 2


# -- new revisions that RunTask does not know yet --------------------------------------------------


async def launch(one: Pinning, wanted: Desired, sees) -> tuple[str, int]:
    """What launching does: RunTask, and `renew` for as long as it does not know the revision."""
    arn, refusals = (await one.resolve(wanted)).arn, 0
    while not sees(arn):
        refusals += 1
        arn = (await one.renew(wanted, arn)).arn
    return arn, refusals


@pytest.mark.parametrize("processes", [1, 4])
async def test_a_revision_that_run_task_does_not_know_yet_is_waited_for(api, clock, processes):
    """For 5 s, as 200 launches see it: one registration, and a few looks that they share."""
    born: dict[str, float] = {}

    def sees(arn: str) -> bool:
        return bool(clock.now() - born.setdefault(arn, clock.now()) >= 5.0)

    all_of_them = [pinning(api) for _ in range(processes)]
    results = await clock.run(
        asyncio.gather(
            *(launch(one, desired(), sees) for one in all_of_them for _ in range(200 // processes))
        )
    )
    assert {arn for arn, _ in results} == set(api.revisions)
    assert len(api.revisions) == 1
    assert max(refusals for _, refusals in results) <= 5
    assert api.calls["DescribeTaskDefinition"] <= 8 * processes


@pytest.mark.parametrize("seen_by", ["registering", "looking"])
async def test_a_revision_that_run_task_never_knows_is_given_up_after_a_minute(api, clock, seen_by):
    """One registration in its stead; what the process saw first counts, not its last look."""
    if seen_by == "looking":
        api.add(desired().definition)
    one = pinning(api)
    stale = (await clock.run(one.resolve(desired()))).arn
    began, registered = clock.now(), api.calls["RegisterTaskDefinition"]
    fresh, refusals = await clock.run(launch(one, desired(), lambda arn: arn != stale))
    assert fresh != stale
    assert NEW_SECONDS <= clock.now() - began <= NEW_SECONDS + 20
    assert refusals <= 15
    assert api.calls["RegisterTaskDefinition"] == registered + 1


async def test_a_new_revision_that_is_not_described_yet_either_is_waited_for(api, clock):
    """DescribeTaskDefinition lags as well: it is no proof that the revision is gone."""
    one = pinning(api)
    arn = (await clock.run(one.resolve(desired()))).arn
    hidden = api.revisions.pop(arn)
    assert (await clock.run(one.renew(desired(), arn))).arn == arn
    api.revisions[arn] = hidden
    assert (await clock.run(one.renew(desired(), arn))).arn == arn
    assert api.calls["RegisterTaskDefinition"] == 1


async def test_who_reports_a_revision_late_is_given_the_new_one_at_once(api, clock):
    """The others have renewed it; nobody waits, nobody looks."""
    one = pinning(api)
    stale = (await clock.run(one.resolve(desired()))).arn
    api.deregister(stale)
    fresh = (await clock.run(one.renew(desired(), stale))).arn
    began, calls = clock.now(), api.calls.total()
    assert (await clock.run(one.renew(desired(), stale))).arn == fresh
    assert (clock.now(), api.calls.total()) == (began, calls)


async def test_a_failed_look_at_a_new_revision_registers_nothing(api, clock):
    """It is raised, and the next report looks again."""
    one = pinning(api)
    arn = (await clock.run(one.resolve(desired()))).arn
    failing = [Fault(Kind.DENIED, "DescribeTaskDefinition", "AccessDeniedException", "no")]
    api.before = lambda _: failing[0] if failing else None
    with pytest.raises(AccessDenied):
        await clock.run(one.renew(desired(), arn))
    failing.clear()
    assert (await clock.run(one.renew(desired(), arn))).arn == arn
    assert list(api.revisions) == [arn]


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


async def test_an_hour_without_network_is_an_error_after_two_minutes(api, clock):
    """And the next run asks again."""
    away = Fault(Kind.UNREACHABLE, "DescribeTaskDefinition", "EndpointConnectionError", "no route")
    api.before = lambda _: away if clock.now() < 3600 else None
    one = pinning(api)
    with pytest.raises(Unavailable, match="check the network"):
        await clock.run(one.resolve(desired()))
    assert clock.now() <= 130
    await clock.pass_time(3600)
    assert (await clock.run(one.resolve(desired()))).arn in api.revisions


PASSING = [
    (Kind.UNKNOWN, "BrandNewException"),
    (Kind.OUTCOME_UNKNOWN, "InternalFailure"),
    (Kind.UNREACHABLE, "EndpointConnectionError"),
    (Kind.THROTTLED, "ThrottlingException"),
]


@pytest.mark.parametrize(("kind", "code"), PASSING)
@pytest.mark.parametrize("action", ["DescribeTaskDefinition", "RegisterTaskDefinition"])
async def test_a_command_waits_for_ten_seconds(api, clock, monkeypatch, action, kind, code):
    """Not for minutes, whichever call fails; while registrations are throttled, for two minutes."""
    monkeypatch.setattr("random.uniform", lambda least, most: (least + most) / 2)
    api.before = lambda called: Fault(kind, action, code, "no") if called == action else None
    reads = Pacer(DESCRIBE_TASK_DEFINITION, clock, probing=False)
    command = Pinning(api, reads, clock, waits=COMMAND)
    with pytest.raises(PinnedECSError, match=code):
        await clock.run(command.resolve(desired()))
    throttled = action == "RegisterTaskDefinition" and kind is Kind.THROTTLED
    least, most = (100, 130) if throttled else (4, 15)
    assert least < clock.now() < most


@pytest.mark.parametrize(("kind", "code"), PASSING)
async def test_an_agent_waits_for_a_code_that_nobody_knows_for_two_minutes(
    api, clock, caplog, kind, code
):
    """Said once; what AWS is known to answer for a while is waited out for fifteen."""
    fault = Fault(kind, "RegisterTaskDefinition", code, "no")
    api.before = lambda called: fault if called == "RegisterTaskDefinition" else None
    with pytest.raises(PinnedECSError, match=code):
        await clock.run(pinning(api).resolve(desired()))
    least, most = (110, 130) if kind is Kind.UNKNOWN else (890, 920)
    assert least < clock.now() < most
    assert sum("unknown code" in line.getMessage() for line in caplog.records) == (
        kind is Kind.UNKNOWN
    )
