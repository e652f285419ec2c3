"""Which revision is the desired one: an equal one, or a labelled one that nobody has changed."""

from __future__ import annotations

import copy
import itertools
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from prefect_ecs_pinned.core.compare import Desired, Digests, Match, Observed, match
from prefect_ecs_pinned.core.fingerprint import fingerprint, labelled
from prefect_ecs_pinned.core.plan import (
    Adopt,
    AskCaller,
    ReadTags,
    Register,
    Reuse,
    decide,
    differences,
    rewritten,
)
from tests.core.echo import echo
from tests.core.model import Definition, Path, changed, definitions, leaves
from tests.core.test_pairs import member
from tests.core.test_properties import of_tomorrow

OWN = "arn:aws:sts::123456789012:assumed-role/agent/process-1"
OWN_AGAIN = "arn:aws:sts::123456789012:assumed-role/agent/process-2"
OTHER = "arn:aws:sts::123456789012:assumed-role/developer/maria"

#: How many definitions are generated for each member.
EXAMPLES = max(2, int(os.environ.get("GENERATED_DEFINITIONS", "350")) // 100)

generated = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

#: Members whose values a launch sends, and the other half of a pin's key; tags have tests below.
NOT_COMPARED = {("family",), ("tags", "key"), ("tags", "value")}
SIZES = {"cpu", "memory"}
COMPARED = [path for path in leaves() if path not in NOT_COMPARED]
PROVEN = [path for path in COMPARED if member(".".join(path)).known_from]
UNPROVEN = [path for path in COMPARED if not member(".".join(path)).known_from]


def planted(definition: Definition, desired: Desired, by: str = OTHER, number: int = 9) -> Observed:
    """A copy with the desired definition's label, as ECS describes it."""
    sent = labelled(definition, desired.fingerprint)
    return Observed.of({**echo(sent, number), "registeredBy": by})


def is_a_size(definition: Definition, path: Path) -> bool:
    """It is stated, so that its value is sent with every launch."""
    stated: dict[Path, Any] = {path[:-1]: definition} if len(path) == 1 else {}
    if len(path) == 2 and path[0] == "containerDefinitions":
        stated = {path[:-1]: definition["containerDefinitions"][0]}
    return path[-1] in SIZES and any(one.get(path[-1]) for one in stated.values())


@generated
@given(definition=definitions(), caller=st.sampled_from([OWN, ""]))
@pytest.mark.parametrize("path", COMPARED, ids=".".join)
def test_a_copy_in_which_somebody_changed_a_member_is_never_used(path, definition, caller):
    """Each known member in turn, label and all; whoever asks."""
    assume(not is_a_size(definition, path))
    desired = Desired(definition)
    copied = planted(changed(definition, path), desired)
    assert isinstance(decide(desired, [copied], caller=caller), Register)


@generated
@given(definition=definitions())
@pytest.mark.parametrize("path", PROVEN, ids=".".join)
def test_ones_own_copy_is_not_used_either_where_there_is_evidence(path, definition):
    """It would come back as it was sent; and who asks need not be known."""
    assume(not is_a_size(definition, path))
    desired = Desired(definition)
    copied = planted(changed(definition, path), desired, by=OWN_AGAIN)
    assert isinstance(decide(desired, [copied]), Register)
    assert isinstance(decide(desired, [copied], caller=OWN), Register)


@generated
@given(definition=definitions())
@pytest.mark.parametrize("path", UNPROVEN, ids=".".join)
def test_ones_own_revision_is_believed_where_there_is_no_evidence(path, definition):
    """ECS may describe the member so. Who asks is asked for, and the member is named."""
    definition = changed(definition, path)  # it is stated
    desired = Desired(definition)
    own = planted(changed(definition, path), desired, by=OWN_AGAIN)
    assert decide(desired, [own]) == AskCaller()
    decision = decide(desired, [own], caller=OWN)
    assert isinstance(decision, Reuse)
    assert decision.arn == own.arn
    (doubt,) = decision.doubts
    assert doubt.split(".")[-1] == path[-1]


def lists_of(document: Any) -> Iterator[list[dict[str, Any]]]:
    """The lists of two structures or more, at any level."""
    for part in document.values() if isinstance(document, dict) else document:
        if isinstance(part, dict | list):
            yield from lists_of(part)
    if isinstance(document, list) and len([i for i in document if isinstance(i, dict)]) > 1:
        yield document


def structures_of(item: dict[str, Any], other: dict[str, Any]) -> Iterator[tuple[Any, Any, str]]:
    """Two structures in the same place of two items, and a member that differs; at any level."""
    for name in sorted(item.keys() | other.keys()):
        one, two = item.get(name), other.get(name)
        if one != two:
            yield item, other, name
        if isinstance(one, dict) and isinstance(two, dict):
            yield from structures_of(one, two)


def exchange(one: dict[str, Any], two: dict[str, Any], name: str) -> None:
    """Give each the member of the other, or none if the other has none."""
    values = one.pop(name, None), two.pop(name, None)
    for structure, value in zip((two, one), values, strict=True):
        if value is not None:
            structure[name] = value


@settings(generated, max_examples=100 * EXAMPLES)
@given(definition=definitions(), data=st.data(), own=st.booleans())
def test_a_copy_with_values_in_other_items_is_another_one(definition, data, own):
    """All values are there, and none is where it was: a member of two items is exchanged."""
    desired = Desired(definition)
    copied = copy.deepcopy(definition)
    places = [
        place
        for items in lists_of(copied)
        for one, two in itertools.combinations(items, 2)
        for place in structures_of(one, two)
    ]
    assume(places)
    exchange(*data.draw(st.sampled_from(places)))
    assume(Digests.of(copied).known != Digests.of(definition).known)
    made = planted(copied, desired, by=OWN_AGAIN if own else OTHER)
    decision = decide(desired, [made], caller=OWN)
    assert isinstance(decision, Register) or (own and getattr(decision, "doubts", ()))


@pytest.mark.parametrize(
    ("member", "items"),
    [
        (
            "portMappings",
            [{"containerPortRange": "80-90"}, {"containerPortRange": "1-9", "protocol": "udp"}],
        ),
        (
            "resourceRequirements",
            [
                {
                    "type": "GPU",
                    "value": "1",
                    "sharingStrategy": {"nvidiaMps": {"memory": n, "maxComputePercent": n}},
                }
                for n in (1, 2)
            ],
        ),
    ],
)
def test_which_values_belong_together_is_no_matter_of_belief(member, items):
    """Neither member differs by itself; the copy is believed of one's own principal only."""
    definition = {
        **PLAIN,
        "containerDefinitions": [{"name": "prefect", "image": "x", member: items}],
    }
    desired = Desired(definition)
    places = list(structures_of(*copy.deepcopy(items)))
    assert places
    for number, _ in enumerate(places):
        copied = copy.deepcopy(definition)
        one, two, name = list(structures_of(*copied["containerDefinitions"][0][member]))[number]
        exchange(one, two, name)
        if Digests.of(copied) == Digests.of(definition):
            continue  # the items themselves have changed places
        found = planted(copied, desired, by=OWN_AGAIN)
        assert isinstance(decide(desired, [found], caller=OTHER), Register)
        decision = decide(desired, [found], caller=OWN)
        assert isinstance(decision, Reuse)
        assert decision.doubts


@generated
@given(definition=definitions(), path=st.sampled_from(COMPARED))
def test_an_equal_one_wins_over_a_newer_label(definition, path):
    """Ours without a label, beside a copy with it; nobody is asked who he is."""
    assume(not is_a_size(definition, path))
    desired = Desired(definition)
    equal = Observed.of(echo(definition, 3))
    copied = planted(changed(definition, path), desired, by=OWN)
    assert decide(desired, [copied, equal]) == Adopt(equal.arn)
    own = planted(definition, desired, number=4)
    assert decide(desired, [copied, equal, own]) == Reuse(own.arn)


@generated
@given(definition=definitions(), seed=st.integers(0, 2**32))
def test_unknown_members_are_forgiven(definition, seed):
    """What AWS may add tomorrow, at every level, to ours and to somebody else's."""
    desired = Desired(definition)
    sent = labelled(definition, desired.fingerprint)
    for original, expected in ((sent, Reuse), (definition, Adopt)):
        answer = of_tomorrow(echo(original), random.Random(seed))
        decision = decide(desired, [Observed.of(answer)])
        assert isinstance(decision, expected)


@generated
@given(definition=definitions())
def test_a_member_that_only_botocore_knows_costs_one_registration(definition):
    """It is sent, ECS may leave it out of what it describes, and the label nominates."""
    desired = Desired({**definition, "quantumMode": {"enabled": True}})
    described = echo(labelled(dict(desired.definition), desired.fingerprint))
    del described["quantumMode"]
    assert decide(desired, [Observed.of(described)]) == Reuse(described["taskDefinitionArn"])
    unlabelled = Observed.of(echo(definition))
    assert isinstance(decide(desired, [unlabelled]), Register)


# -- our own registration --------------------------------------------------------------------------

PLAIN: Definition = {
    "family": "f",
    "containerDefinitions": [
        {
            "name": "prefect",
            "image": "flows:1",
            "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        }
    ],
}


def test_the_answer_to_our_own_registration_is_proof():
    """In whatever words it is."""
    desired = Desired(PLAIN)
    answer = echo(labelled(PLAIN, desired.fingerprint))
    answer["containerDefinitions"][0]["image"] = "docker.io/library/flows:1"
    observed = Observed.of(answer, proves=desired.fingerprint)
    assert match(desired, observed) == Match(equal=True, labelled=True)
    assert rewritten(desired, answer) == ("containerDefinitions.prefect.image",)
    assert isinstance(decide(Desired({**PLAIN, "pidMode": "task"}), [observed]), Register)


def test_what_is_known_to_be_worded_otherwise_is_no_difference():
    """Roles by name, tags beside it, defaults, order, unknown members."""
    definition = {
        **copy.deepcopy(PLAIN),
        "taskRoleArn": "flows",
        "tags": [{"key": "a", "value": "b"}],
        "quantumMode": {"enabled": True},
    }
    desired = Desired(definition)
    answer = echo(labelled(definition, desired.fingerprint))
    del answer["quantumMode"]
    assert rewritten(desired, answer) == ()


# -- roles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "described", "same"),
    [
        ("flows", "arn:aws:iam::123456789012:role/flows", True),
        ("flows", "arn:aws-cn:iam::123456789012:role/flows", True),
        ("flows", "arn:aws:iam::123456789012:role/team/flows", True),
        ("team/flows", "arn:aws:iam::123456789012:role/team/flows", True),
        ("/team/flows", "arn:aws:iam::123456789012:role/team/flows", True),
        ("arn:aws:iam::123456789012:role/flows", "flows", True),
        ("arn:aws:iam::123456789012:role/flows", "arn:aws:iam::123456789012:role/flows", True),
        ("other/flows", "arn:aws:iam::123456789012:role/team/flows", False),
        ("flows", "arn:aws:iam::210987654321:role/flows", False),
        ("flows", "arn:aws:iam::123456789012:role/flows2", False),
        ("lows", "arn:aws:iam::123456789012:role/flows", False),
        ("arn:aws:iam::123456789012:role/a/f", "arn:aws:iam::123456789012:role/f", False),
        ("arn:aws:iam::210987654321:role/f", "arn:aws:iam::123456789012:role/f", False),
        ("flows", "", False),
        ("", "arn:aws:iam::123456789012:role/flows", False),
    ],
)
@pytest.mark.parametrize("member_", ["taskRoleArn", "executionRoleArn"])
def test_roles_are_compared_by_name_within_the_revisions_own_account(
    given_, described, same, member_
):
    """A label makes no difference."""
    desired = Desired({**PLAIN, **({member_: given_} if given_ else {})})
    for sent in (PLAIN, labelled(PLAIN, desired.fingerprint)):
        answer = {**echo(sent), **({member_: described} if described else {})}
        found = match(desired, Observed.of(answer))
        assert (found is not None and found.equal) == same
        assert (differences(answer, desired.definition) == ()) == same


# -- tags ------------------------------------------------------------------------------------------


def tagged(**tags: str) -> dict[str, Any]:
    return {"tags": [{"key": key, "value": value} for key, value in tags.items()]}


@pytest.mark.parametrize(
    ("has", "used"),
    [
        ({"team": "data"}, True),
        ({"team": "data", "cost": "42"}, True),
        ({"team": "other"}, False),
        ({"cost": "42"}, False),
        ({}, False),
    ],
)
def test_desired_tags_have_to_be_among_the_revisions(has, used):
    """Others are a tagger's."""
    desired = Desired({**PLAIN, **tagged(team="data")})
    for sent in (PLAIN, labelled(PLAIN, desired.fingerprint)):
        answer = {**echo(sent), **tagged(**has)}
        decision = decide(desired, [Observed.of(answer)], answer)
        assert isinstance(decision, Register) != used
        if isinstance(decision, Register):
            assert all("tags" in path for path in decision.changed)


def test_without_desired_tags_nobody_asks_for_any():
    """A revision with tags is as good as one without."""
    assert isinstance(decide(Desired(PLAIN), [Observed.of(echo(PLAIN))]), Adopt)
    answer = {**echo(PLAIN), **tagged(team="data")}
    assert isinstance(decide(Desired(PLAIN), [Observed.of(answer)]), Adopt)


def test_tags_are_read_only_of_a_revision_that_matches_otherwise():
    """And before anything else is decided."""
    desired = Desired({**PLAIN, **tagged(team="data")})
    same, other = echo(PLAIN, 1), echo({**PLAIN, "pidMode": "task"}, 2)
    asked = decide(desired, [Observed.of(same), Observed.of(other)])
    assert asked == ReadTags(same["taskDefinitionArn"])


def test_tags_that_may_not_be_read_count_as_none():
    """Somebody else's revision is not adopted; one's own is believed, with a doubt."""
    desired = Desired({**PLAIN, **tagged(team="data")})
    theirs = {**echo(PLAIN), "tags": None}
    assert isinstance(decide(desired, [Observed.of(theirs)], caller=OWN), Register)
    ours = {**echo(labelled(PLAIN, desired.fingerprint)), "tags": None, "registeredBy": OWN_AGAIN}
    observed = Observed.of(ours)
    assert decide(desired, [observed]) == AskCaller()
    assert decide(desired, [observed], caller=OWN) == Reuse(observed.arn, ("tags",))
    assert isinstance(decide(desired, [observed], caller=OTHER), Register)


# -- variables -------------------------------------------------------------------------------------


def test_a_described_list_with_duplicates_is_another_one():
    """ECS has put it into an order of its own: nobody knows which of them wins."""
    described = echo(PLAIN)
    variables = described["containerDefinitions"][0]["environment"]
    described["containerDefinitions"][0]["environment"] = [*variables, {"name": "A", "value": "9"}]
    assert fingerprint(described) != fingerprint(PLAIN)
    changed_ = differences(described, PLAIN)
    assert changed_
    assert all(path.startswith("containerDefinitions.prefect.environment") for path in changed_)
