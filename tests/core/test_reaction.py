"""What to do after an answer of RunTask: a table."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import pytest

from prefect_ecs_pinned.core.capacity import Demand, Scope
from prefect_ecs_pinned.core.kinds import PASSING, UNKNOWN_SECONDS, Kind
from prefect_ecs_pinned.core.reaction import (
    LOST_PAUSE,
    MOST_RENEWALS,
    REFUSED_PAUSE,
    Adopt,
    Fail,
    Known,
    Look,
    Renew,
    Retry,
    Wait,
    react,
)

FARGATE = Demand("FARGATE", provider="FARGATE", revision="f:1", cpu=1024.0, memory=2048.0)
EC2 = Demand("EC2", provider="EC2", revision="f:1", cpu=1024.0, memory=2048.0)
SCALING = Demand("EC2", provider="asg", revision="f:1", cpu=1024.0, memory=2048.0)

AGAIN = Retry(new_token=True, longest_pause=REFUSED_PAUSE)
SAME = Retry(longest_pause=LOST_PAUSE)


@dataclass
class Said:
    kind: Kind
    reasons: tuple[str, ...] = ()
    resource_ids: tuple[str, ...] = ()
    worked: bool = False

    @property
    def passing(self) -> bool:
        of_the_caller = self.kind in (Kind.EXPIRED, Kind.BAD_SIGNATURE, Kind.DENIED)
        return self.kind in PASSING or (of_the_caller and self.worked)


def known(demand=FARGATE, **members) -> Known:
    return Known(demand, budget=900.0, **members)


TABLE = [
    # Throttles: the same call in its turn, whatever has been.
    (Said(Kind.THROTTLED), known(), Retry()),
    (Said(Kind.THROTTLED), known(uncertain=True, undecided=1e9, last_try=True), Retry()),
    # Undecided: the identical call, until the budget is spent without a break.
    (Said(Kind.OUTCOME_UNKNOWN), known(uncertain=True), SAME),
    (Said(Kind.UNREACHABLE), known(undecided=899.0), SAME),
    (Said(Kind.UNREACHABLE), known(undecided=900.0), Fail(in_time=False)),
    (
        Said(Kind.OUTCOME_UNKNOWN),
        known(uncertain=True, undecided=900.0),
        Look(Fail(in_time=False)),
    ),
    (Said(Kind.EXPIRED, worked=True), known(), SAME),
    (Said(Kind.BAD_SIGNATURE, worked=True), known(), SAME),
    (Said(Kind.DENIED, worked=True), known(), SAME),
    (Said(Kind.DENIED, worked=True), known(undecided=900.0), Fail(in_time=False)),
    # What has never worked, and what ECS models as the caller's fault.
    (Said(Kind.EXPIRED), known(), Fail()),
    (Said(Kind.DENIED), known(), Fail()),
    (Said(Kind.DENIED), known(uncertain=True), Look(Fail())),
    (Said(Kind.REFUSED), known(), Fail()),
    (Said(Kind.REFUSED), known(uncertain=True), Look(Fail())),
    (Said(Kind.NO_CLUSTER), known(), Fail()),
    # Refused for something that passes: with a new token.
    (Said(Kind.HIDDEN_THROTTLE), known(), AGAIN),
    (Said(Kind.HIDDEN_THROTTLE), known(uncertain=True), Look(AGAIN)),
    # Revisions and subnets.
    (Said(Kind.INACTIVE), known(may_renew=True), Renew("taskDefinition")),
    (Said(Kind.NO_DEFINITION), known(may_renew=True), Renew("taskDefinition")),
    (Said(Kind.INACTIVE), known(may_renew=True, uncertain=True), Look(Renew("taskDefinition"))),
    (Said(Kind.INACTIVE), known(may_renew=True, renewals=MOST_RENEWALS), Fail()),
    (Said(Kind.INACTIVE), known(), Fail()),
    (Said(Kind.NO_DEFINITION), known(), AGAIN),
    (Said(Kind.NO_DEFINITION), known(odd=30.0), Fail()),
    (Said(Kind.NO_SUBNET), known(may_heal=True), Renew("subnets")),
    (Said(Kind.NO_SUBNET), known(may_heal=True, renewals=MOST_RENEWALS), Fail()),
    (Said(Kind.NO_SUBNET), known(), Fail()),
    # Conflicts.
    (Said(Kind.CONFLICT, resource_ids=("arn:1",)), known(), Adopt("arn:1", AGAIN)),
    (Said(Kind.CONFLICT), known(), AGAIN),
    (Said(Kind.CONFLICT, resource_ids=("arn:1",)), known(odd=UNKNOWN_SECONDS), Fail()),
    # Answers in no table: once more as it was, since it may not be ECS's own; then anew.
    (Said(Kind.UNKNOWN), known(uncertain=True), Retry(longest_pause=REFUSED_PAUSE)),
    (Said(Kind.UNKNOWN), known(uncertain=True, odd_answers=2), Look(AGAIN)),
    (Said(Kind.UNKNOWN), known(odd_answers=9, odd=UNKNOWN_SECONDS), Fail()),
    (Said(Kind.UNKNOWN, ("NEW",)), known(), AGAIN),
    (Said(Kind.UNKNOWN, ("NEW",)), known(odd=UNKNOWN_SECONDS), Fail()),
]


@pytest.mark.parametrize(("said", "what_is_known", "reaction"), TABLE)
def test_the_reaction(said, what_is_known, reaction):
    """A value, whatever has led to it."""
    assert react(said, what_is_known) == reaction


@pytest.mark.parametrize("demand", [FARGATE, EC2, SCALING])
@pytest.mark.parametrize(
    "reason", ["RESOURCE:MEMORY", "AGENT", "RESOURCE:NEW", "Capacity is unavailable"]
)
def test_no_room_is_waited_for_until_the_last_try(demand, reason):
    """The last one fails in time's stead."""
    said = Said(Kind.CAPACITY, (reason,))
    reaction = react(said, known(demand))
    assert isinstance(reaction, Wait)
    assert reaction.shortage.covers(demand)
    assert react(said, known(demand, last_try=True)) == Fail(False, reaction.shortage)
    assert react(said, known(demand, uncertain=True)) == Look(reaction)


@pytest.mark.parametrize("reason", ["ATTRIBUTE", "LOCATION"])
def test_what_no_instance_can_take_waits_for_a_capacity_provider_only(reason):
    """Of equal requests."""
    said = Said(Kind.NO_PLACE, (reason,))
    assert react(said, known(EC2)) == Fail()
    reaction = react(said, known(SCALING))
    assert isinstance(reaction, Wait)
    assert reaction.shortage.scope is Scope.EQUAL


def test_nothing_is_started_anew_while_a_call_may_have_started_it():
    """Over all kinds and all that may be known: a new token only after a look."""
    for kind, worked, odd_answers, spent in product(Kind, (0, 1), (1, 2), (0.0, 1000.0)):
        said = Said(kind, ("RESOURCE:CPU",) if kind is Kind.CAPACITY else (), worked=bool(worked))
        reaction = react(
            said,
            known(uncertain=True, odd_answers=odd_answers, undecided=spent, odd=spent),
        )
        assert isinstance(reaction, Look | Adopt) or (
            isinstance(reaction, Retry) and not reaction.new_token
        )
