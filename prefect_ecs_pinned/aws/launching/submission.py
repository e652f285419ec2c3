"""A request to run one task, from the moment it queues until its outcome."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prefect_ecs_pinned.aws.calls.faults import Fault, as_error
from prefect_ecs_pinned.aws.calls.retrying import backoff
from prefect_ecs_pinned.core.breakers import Breaker
from prefect_ecs_pinned.core.capacity import Demand
from prefect_ecs_pinned.core.reaction import (
    NO_ROOM,
    Fail,
    Known,
    Reaction,
    Renew,
    Retry,
    Wait,
    is_odd,
    may_have_started,
    undecided,
)
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.errors import LaunchTimeout, PinnedECSError, TaskFateUnknown

if TYPE_CHECKING:
    from prefect_ecs_pinned.aws.launching.queues import Group

#: Seconds for which a token with a lost answer is sent again. It lives for the life of its task
#: and an hour (ECS_Idempotency): the shortest of tasks would be started again after that.
TOKEN_SECONDS = 3000.0

#: Random bytes of a submission's id.
_ID_BYTES = 12

#: Finds another value of a request's member, given the one that ECS does not accept any more.
Renewal = Callable[[Any], Awaitable[Any]]


@dataclass(eq=False)
class Submission:
    """A request to run one task.

    Attributes:
        request: RunTask's parameters, without ``clientToken``; emptied when it is done.
        budget: Seconds for which it waits for room, or for an answer.
        number: Place in the order of arrival.
        definition: What it runs, as far as it is known.
        renew: Finds another revision when ECS calls this one inactive; None when the revision was
            given by name.
        heal: Finds other subnets when ECS says that one does not exist; None when they were given.
        started_by: The ``startedBy`` by which its task can be searched for; empty for none.
        id: Random; in the environment of the task that it starts, and of no other.
        token: The ``clientToken`` of the calls since the last refusal.
        outcome: The launched task, or the error. The task of the coroutine that launches it, so
            whatever is raised there is its outcome.
        group: Those that ask for the same; None while it is in none.
        breakers: Those through which its last call was a probe.
        waiting: Done when it is its turn, when a pause is over, or when it is withdrawn.
        called: A call is under way, or has started the task.
        withdrawn: Nobody wants the task any more.
        stopped: Its task, started before it was withdrawn: ECS has accepted its stop.
        last_try: Its clock has run out; the next call is the last one.
        refusals: How often it was refused for lack of room.
        renewals: How often it was given another revision, or other subnets.
        setbacks: How often it has backed off.
        spent: What its clock has counted in the groups that it has left: seconds kept back, seconds
            paused, refusals that covered it.
    """

    request: dict[str, Any] = field(repr=False)  # variables may be secrets
    budget: float
    number: int
    definition: Mapping[str, Any] | None = field(default=None, repr=False)
    renew: Renewal | None = field(default=None, repr=False)
    heal: Renewal | None = field(default=None, repr=False)
    started_by: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(_ID_BYTES))
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    outcome: asyncio.Task[Snapshot] = field(init=False, repr=False)
    group: Group | None = field(default=None, repr=False)
    breakers: Sequence[Breaker] = field(default=(), repr=False)
    waiting: asyncio.Future[Any] | None = field(default=None, repr=False)
    called: bool = False
    withdrawn: bool = False
    stopped: Snapshot | None = None
    last_try: bool = False
    refusals: int = 0
    renewals: int = 0
    setbacks: int = 0
    spent: tuple[float, float, int] = (0.0, 0.0, 0)
    _lost_at: float | None = None
    _undecided_since: float | None = None
    _odd_since: float | None = None
    _odd_answers: int = 0

    def __lt__(self, other: Submission) -> bool:
        return self.number < other.number

    @property
    def uncertain(self) -> bool:
        """An answer was lost: a call may have started the task."""
        return self._lost_at is not None

    def token_expires(self, now: float) -> bool:
        """Whether ECS may have forgotten the token of a call whose answer was lost."""
        return self._lost_at is not None and now - self._lost_at > TOKEN_SECONDS

    def withdraw(self) -> None:
        """Nobody wants the task any more: end whatever it waits for."""
        self.withdrawn = True
        if self.waiting is not None and not self.waiting.done() and not self.uncertain:
            self.waiting.set_result(None)

    def let_go(self) -> None:
        """Keep nothing that only a launch needs: hundreds of runs live on for hours without it."""
        self.request.clear()
        self.definition = self.renew = self.heal = self.waiting = None
        self.breakers = ()

    def new_token(self) -> None:
        """After a refusal: ECS would replay it for the same token."""
        self.token = uuid.uuid4().hex
        self._lost_at = None

    def next_call(self, reaction: Reaction) -> None:
        """Get ready for what a reaction asks for.

        Raises:
            PinnedECSError: Nobody wants the task any more, and no call can have started it.
        """
        if isinstance(reaction, Wait | Renew) or (
            isinstance(reaction, Retry) and reaction.new_token
        ):
            self.new_token()
        if self.withdrawn and not self.uncertain:
            raise self.cancelled()

    def answered(self, said: Fault, asked_at: float) -> None:
        """Keep what an answer says about the ones to come."""
        if may_have_started(said) and self._lost_at is None:
            self._lost_at = asked_at
        self._undecided_since = _since(self._undecided_since, undecided(said), asked_at)
        self._odd_since = _since(self._odd_since, is_odd(said), asked_at)
        self._odd_answers = self._odd_answers + 1 if is_odd(said) else 0
        self.refusals += said.kind in NO_ROOM

    def known(self, demand: Demand, now: float) -> Known:
        """What is known when there is to be a reaction."""
        return Known(
            demand=demand,
            budget=self.budget,
            uncertain=self.uncertain,
            last_try=self.last_try,
            undecided=now - (self._undecided_since if self._undecided_since is not None else now),
            odd=now - (self._odd_since if self._odd_since is not None else now),
            odd_answers=self._odd_answers,
            may_renew=self.renew is not None,
            may_heal=self.heal is not None,
            renewals=self.renewals,
        )

    def pause(self, longest: float) -> float:
        """Seconds to back off for, this time."""
        self.setbacks += 1
        return backoff(self.setbacks - 1, longest=longest)

    def what(self) -> str:
        """What cannot be done, for errors."""
        revision = str(self.request.get("taskDefinition", "")).rsplit("/", 1)[-1]
        cluster = str(self.request.get("cluster") or "default")
        return f"cannot launch {revision} on cluster {cluster!r}"

    # -- errors ----------------------------------------------------------------------------------

    def failure(self, reaction: Fail, fault: Fault, held_back: int) -> PinnedECSError:
        """Refused for good, or for as long as there was patience.

        Args:
            reaction: Which of the two.
            fault: The last answer.
            held_back: Refusals of other requests, as large or smaller, for which it waited.
        """
        if reaction.in_time:
            error = as_error(fault, self.what())
        else:
            error = self._out_of_time(fault, held_back)
        error.__cause__ = fault
        return error

    def _out_of_time(self, fault: Fault, held_back: int) -> PinnedECSError:
        why = f"{fault.message or fault.code}, for {self.budget:.0f} s"
        hint = as_error(fault, "").hint
        if fault.kind in NO_ROOM:
            why += (
                f"; refused {_times(self.refusals)} itself, and held back by {held_back} refusals "
                "of requests as large or smaller"
            )
            hint = "ask AWS for a higher quota, add capacity, or raise launch_timeout_seconds"
        return LaunchTimeout(self.what(), why, hint)

    def may_run(self, unknown: Fault) -> PinnedECSError:
        """An answer was lost, and whether its task runs cannot be known."""
        cause = as_error(unknown, self.what())
        why = f"the answer to a call was lost, so it may be running; looking for it: {cause.why}"
        return MayRun(self.what(), why, cause.hint)

    def cancelled(self) -> PinnedECSError:
        """Withdrawn before it was launched, or its task was stopped."""
        return PinnedECSError(self.what(), "the flow run was cancelled")

    def still_runs(self, task: Snapshot) -> PinnedECSError:
        """Withdrawn, and its task could not be stopped."""
        return NotStopped(self.what(), task)


class MayRun(LaunchTimeout):
    """An answer was lost, and nobody can find out whether it has started a task."""


class NotStopped(TaskFateUnknown):
    """A task that nobody wants, and that could not be stopped.

    Attributes:
        task: As RunTask answered it.
    """

    def __init__(self, what: str, task: Snapshot) -> None:
        super().__init__(
            what,
            f"the flow run was cancelled, and task {task.task_arn} could not be stopped: it may be "
            "running",
            "stop it, or allow ecs:StopTask to the credentials",
        )
        self.task = task


def _since(before: float | None, goes_on: bool, asked_at: float) -> float | None:
    """When an unbroken series began; None when it is broken."""
    if not goes_on:
        return None
    return asked_at if before is None else before


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
