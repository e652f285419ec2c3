"""What to do after ECS has answered a RunTask call: a value, which `aws.launching.launch` acts on.

Sources: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html (a token
replays refusals as well, so a refusal ends its token), the Errors section of API_RunTask,
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from prefect_ecs_pinned.core.capacity import Demand, Shortage, shortage
from prefect_ecs_pinned.core.kinds import PASSING, THROTTLES, UNKNOWN_SECONDS, Kind

#: How often one submission asks for another revision, or other subnets: each is an incident.
MOST_RENEWALS = 10

#: Longest pause in seconds before a call whose answer was lost is repeated, and before one that
#: was refused for something that passes.
LOST_PAUSE = 10.0
REFUSED_PAUSE = 5.0

#: Seconds for which a revision is waited for that is given by name and was described just now:
#: RunTask may see a new one later than DescribeTaskDefinition does.
NOT_SEEN_SECONDS = 30.0


class Said(Protocol):
    """What ECS said: an `aws.calls.faults.Fault`."""

    kind: Kind
    reasons: tuple[str, ...]
    resource_ids: tuple[str, ...]

    @property
    def passing(self) -> bool:
        """Whether it goes away by itself."""


@dataclass(frozen=True)
class Known:
    """What is known of a submission.

    Attributes:
        demand: What its request asks for.
        budget: Seconds for which it waits: `launch_timeout_seconds`.
        uncertain: An answer was lost: a call may have started the task.
        last_try: Its clock has run out, and this was the call that it is owed.
        undecided: Seconds since the first of an unbroken series of calls that ECS has not
            answered, or has not got to deciding about.
        odd: Seconds of a series of answers that is in no table; those in between that say nothing
            of the call (`interrupts`) are not counted, and do not break it.
        odd_answers: How many they are.
        may_renew: Another revision can be asked for.
        may_heal: Other subnets can be asked for.
        renewals: How often either has been done.
    """

    demand: Demand
    budget: float
    uncertain: bool = False
    last_try: bool = False
    undecided: float = 0.0
    odd: float = 0.0
    odd_answers: int = 1
    may_renew: bool = False
    may_heal: bool = False
    renewals: int = 0


@dataclass(frozen=True)
class Retry:
    """Make the call again.

    Attributes:
        new_token: ECS has refused for certain, and would replay that for the old token.
        longest_pause: Upper bound in seconds of the pause before it; 0: as soon as it is its turn.
    """

    new_token: bool = False
    longest_pause: float = 0.0


@dataclass(frozen=True)
class Wait:
    """Wait until there may be room; then call again with a new token."""

    shortage: Shortage
    new_token: ClassVar[bool] = True


@dataclass(frozen=True)
class Renew:
    """Call again with a new token and another value of a member of the request.

    Attributes:
        member: ``taskDefinition`` or ``subnets``.
    """

    member: str
    new_token: ClassVar[bool] = True


@dataclass(frozen=True)
class Adopt:
    """The task that ECS names may be the one that an earlier call has started: ask for it.

    Attributes:
        arn: The task.
        then: What to do if it is somebody else's.
    """

    arn: str
    then: Retry


@dataclass(frozen=True)
class Fail:
    """Give up.

    Attributes:
        in_time: ECS refuses permanently; otherwise it has not changed its mind for as long as there
            was patience.
        shortage: What this last refusal covers.
    """

    in_time: bool = True
    shortage: Shortage | None = None
    new_token: ClassVar[bool] = False


@dataclass(frozen=True)
class Look:
    """An answer was lost: look for the task, and continue only if there is none.

    Attributes:
        then: What to do if there is none.
    """

    then: Retry | Wait | Renew | Fail


Reaction = Retry | Wait | Renew | Adopt | Look | Fail

#: Refusals for lack of room.
NO_ROOM = frozenset({Kind.CAPACITY, Kind.VCPU_QUOTA, Kind.NO_PLACE, Kind.NO_INSTANCES})

#: No answer, or none of ECS: whether the call has started a task is not known, or it has not.
UNANSWERED = frozenset({Kind.OUTCOME_UNKNOWN, Kind.UNREACHABLE})

#: Answers to the caller rather than to the call. When they pass, the call is still undecided.
_OF_THE_CALLER = frozenset({Kind.EXPIRED, Kind.BAD_SIGNATURE, Kind.DENIED})


def undecided(said: Said) -> bool:
    """Whether ECS has not decided about the call: the identical one is to be sent again."""
    return said.kind in UNANSWERED or (said.kind in _OF_THE_CALLER and said.passing)


def react(said: Said, known: Known) -> Reaction:
    """What to do after an answer.

    Args:
        said: What ECS said instead of naming a task.
        known: What is known of the submission, this answer included.
    """
    if said.kind is Kind.THROTTLED:
        return Retry()
    if undecided(said):
        if known.undecided < known.budget:
            return Retry(longest_pause=LOST_PAUSE)
        return _certain(Fail(in_time=False), known)
    if said.kind is Kind.CONFLICT and said.resource_ids and known.odd < UNKNOWN_SECONDS:
        return Adopt(said.resource_ids[0], Retry(new_token=True, longest_pause=REFUSED_PAUSE))
    if said.kind is Kind.UNKNOWN and not said.reasons and known.odd_answers == 1:
        return Retry(longest_pause=REFUSED_PAUSE)  # perhaps not ECS's own: it may have been done
    return _certain(_decided(said, known), known)


def _certain(then: Retry | Wait | Renew | Fail, known: Known) -> Retry | Wait | Renew | Fail | Look:
    return Look(then) if known.uncertain else then


def _decided(said: Said, known: Known) -> Retry | Wait | Renew | Fail:
    """ECS has refused for certain: the token has had its day."""
    again = Retry(new_token=True, longest_pause=REFUSED_PAUSE)
    if said.kind in (Kind.INACTIVE, Kind.NO_DEFINITION) and known.may_renew:
        return Renew("taskDefinition") if known.renewals < MOST_RENEWALS else Fail()
    if said.kind is Kind.NO_DEFINITION:
        return again if known.odd < NOT_SEEN_SECONDS else Fail()
    if said.kind is Kind.NO_SUBNET and known.may_heal:
        return Renew("subnets") if known.renewals < MOST_RENEWALS else Fail()
    if said.kind in NO_ROOM:
        missing = shortage(said.reasons, known.demand)
        if missing is None:
            return Fail()
        return Fail(False, missing) if known.last_try else Wait(missing)
    if said.kind in (Kind.UNKNOWN, Kind.CONFLICT):
        return again if known.odd < UNKNOWN_SECONDS else Fail()
    if said.kind in PASSING:
        return again
    return Fail()


def is_odd(said: Said) -> bool:
    """Whether an answer counts towards those that are waited out for a bounded time only."""
    return said.kind in (Kind.UNKNOWN, Kind.CONFLICT, Kind.NO_DEFINITION)


def interrupts(said: Said) -> bool:
    """Whether an answer says nothing of the call: it neither adds to a series nor ends it."""
    return said.kind in THROTTLES or undecided(said)


def may_have_started(said: Said) -> bool:
    """Whether the call may have started a task anyway."""
    return said.kind is Kind.OUTCOME_UNKNOWN or (said.kind is Kind.UNKNOWN and not said.reasons)
