"""A request to run one task, from the moment it queues until its outcome."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from prefect_ecs_pinned.aws.calls.faults import Fault
from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.calls.retrying import backoff
from prefect_ecs_pinned.aws.launching.network import missing_subnets
from prefect_ecs_pinned.aws.launching.outcomes import cancelled
from prefect_ecs_pinned.aws.loop.control_loop import first_of
from prefect_ecs_pinned.core.breakers import Breaker
from prefect_ecs_pinned.core.capacity import Demand
from prefect_ecs_pinned.core.groups import Spent
from prefect_ecs_pinned.core.history import History
from prefect_ecs_pinned.core.reaction import REFUSED_PAUSE, Fail, Known, Renew, Retry, Wait
from prefect_ecs_pinned.core.request import SUBMISSION_ID_LENGTH
from prefect_ecs_pinned.core.task_state import Snapshot

#: Finds another value of a request's member, given the one that ECS does not accept any more.
Renewal = Callable[[Any], Awaitable[Any]]


class Permit(Protocol):
    """Leave to launch a task that somebody else may launch; asked before each RunTask call.

    Attributes:
        id: Becomes the submission's id, which its task carries.
        retracted: It was taken back: nothing is launched any more, and a task that was started
            before is kept.
    """

    @property
    def id(self) -> str:
        """See above."""

    @property
    def retracted(self) -> bool:
        """See above."""

    def used_by(self, retract: Callable[[], None], /) -> None:
        """Is given what has to be called, on the caller's event loop, when it is retracted."""

    async def granted(self) -> bool:
        """Whether the call may be made; awaited on the control loop. False is final."""


@dataclass(eq=False, slots=True)
class Submission:
    """A request to run one task.

    Attributes:
        request: RunTask's parameters, without ``clientToken``; emptied when it is done.
        budget: Seconds for which it waits for room, or for an answer.
        number: Place in the order of arrival.
        queued_at: When that was.
        definition: What it runs, as far as it is known.
        renew: Finds another revision when ECS calls this one inactive; None when the revision was
            given by name.
        heal: Finds other subnets when ECS says that one does not exist; None when they were given.
        started_by: The ``startedBy`` by which its task can be searched for; empty for none.
        id: Random; in the environment of the task that it starts, and of no other.
        token: The ``clientToken`` of the calls since the last refusal.
        outcome: The launched task, or the error. The task of the coroutine that launches it, so
            whatever is raised there is its outcome.
        breakers: Those through which its last call was a probe.
        waiting: Done when it is its turn, when a pause is over, or when it is withdrawn.
        called: A call is under way, or has started the task.
        permit: Is asked before each call; None when nobody else may launch it.
        withdrawn: Nobody needs the task any more.
        kept: Though it is withdrawn, a task that was started is its outcome, and not stopped.
        stopped: Its task, started before it was withdrawn: ECS has accepted its stop.
        last_try: Its clock has run out; the next call is the last one.
        history: What was answered so far.
        renewals: How often it was given another revision, or other subnets.
        setbacks: How often it has backed off.
        spent: What its clock has counted in the groups that it has left: seconds kept back, seconds
            paused, refusals that covered it.
    """

    request: dict[str, Any] = field(repr=False)  # variables may be secrets
    budget: float
    number: int
    queued_at: float = 0.0
    definition: Mapping[str, Any] | None = field(default=None, repr=False)
    renew: Renewal | None = field(default=None, repr=False)
    heal: Renewal | None = field(default=None, repr=False)
    started_by: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(SUBMISSION_ID_LENGTH // 2))
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    outcome: asyncio.Task[Snapshot] = field(init=False, repr=False)
    breakers: Sequence[Breaker] = field(default=(), repr=False)
    waiting: asyncio.Future[Any] | None = field(default=None, repr=False)
    called: bool = False
    permit: Permit | None = field(default=None, repr=False)
    withdrawn: bool = False
    kept: bool = False
    stopped: Snapshot | None = None
    last_try: bool = False
    renewals: int = 0
    setbacks: int = 0
    spent: Spent = (0.0, 0.0, 0)
    history: History = field(default_factory=History, repr=False)

    def __lt__(self, other: Submission) -> bool:
        return self.number < other.number

    def waits(self) -> bool:
        """Whether it waits for its turn, or a pause to end."""
        return self.waiting is not None and not self.waiting.done()

    @property
    def refusals(self) -> int:
        """How often it was refused for lack of room."""
        return self.history.refusals

    def settled(self) -> bool:
        """Whether it was launched, or has failed."""
        return self.outcome.done()

    @property
    def uncertain(self) -> bool:
        """An answer was lost: a call may have started the task."""
        return self.history.uncertain

    @property
    def cluster(self) -> str:
        """Name or ARN of the cluster that its request names."""
        return str(self.request.get("cluster") or "default")

    def withdraw(self, keep: bool = False) -> None:
        """Nobody needs the task any more, unless it was started: end whatever it waits for."""
        self.withdrawn, self.kept = True, keep
        if self.waiting is not None and self.waits() and not self.uncertain:
            self.waiting.set_result(None)

    def let_go(self) -> None:
        """Keep nothing that only a launch needs: hundreds of runs live on for hours without it."""
        self.request.clear()
        self.definition = self.renew = self.heal = self.waiting = self.permit = None
        self.breakers = ()

    def new_token(self) -> None:
        """After a refusal: ECS would replay it for the same token."""
        self.token = uuid.uuid4().hex
        self.history.lost_at = None

    def next_call(self, reaction: Retry | Wait | Renew | Fail) -> None:
        """Get ready for what a reaction asks for.

        Raises:
            PinnedECSError: Nobody needs the task any more, and no call can have started it.
        """
        if reaction.new_token:
            self.new_token()
        if self.withdrawn and not self.uncertain:
            raise cancelled(self.what())

    async def replace(self, member: str, said: Fault, clock: Clock) -> None:
        """Find another revision, or other subnets: ECS does not accept its own any more.

        Args:
            member: ``taskDefinition``, or else the subnets.
            said: ECS's refusal.
            clock: Time.

        Raises:
            PinnedECSError: There is none.
        """
        self.renewals += 1
        if member == "taskDefinition":
            assert self.renew is not None
            stale = str(self.request["taskDefinition"])
            self.request["taskDefinition"] = await self.renew(stale)
            if self.request["taskDefinition"] == stale:
                self.renewals -= 1  # it is new, and was waited for
            return
        assert self.heal is not None
        network = self.request["networkConfiguration"]["awsvpcConfiguration"]
        subnets = list(await self.heal(missing_subnets(said) or network["subnets"]))
        healed = {**network, "subnets": subnets}
        self.request["networkConfiguration"] = {"awsvpcConfiguration": healed}
        if set(subnets) == set(network["subnets"]):  # EC2 still lists one that is gone
            await self.pause(REFUSED_PAUSE, clock)

    def known(self, demand: Demand, now: float) -> Known:
        """What is known when there is to be a reaction."""
        return Known(
            demand=demand,
            budget=self.budget,
            uncertain=self.uncertain,
            last_try=self.last_try,
            undecided=self.history.undecided(now),
            odd=self.history.odd(now),
            odd_answers=self.history.odd_answers,
            may_renew=self.renew is not None,
            may_heal=self.heal is not None,
            renewals=self.renewals,
        )

    async def pause(self, longest: float, clock: Clock) -> None:
        """Back off for up to so many seconds, unless it is withdrawn meanwhile."""
        if not longest:
            return
        self.setbacks += 1
        self.waiting = asyncio.get_running_loop().create_future()
        try:
            await first_of(self.waiting, clock.wait(backoff(self.setbacks - 1, longest=longest)))
        finally:
            self.waiting = None

    def what(self) -> str:
        """What cannot be done, for errors."""
        revision = str(self.request.get("taskDefinition", "")).rsplit("/", 1)[-1]
        return f"cannot launch {revision} on cluster {self.cluster!r}"
