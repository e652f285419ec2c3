"""Paced, idempotent RunTask: every submission is launched once, or fails for a stated reason.

A submission waits in the lane of its quota bucket, first in, first out. The lane's pacer gives
permits; a few calls are under way at once, as many as pace times latency asks for.

A submission's ``clientToken`` stays the same for as long as the outcome of a call is unknown,
so that a lost answer never starts a second task, and is renewed after every refusal, since ECS
replays refusals too (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html).

Refusals for want of capacity close a gate: of the account's vCPUs the gate of the lane, of a
cluster's instances the gate of the cluster. Behind a closed gate only the head of the queue
tries, when a task has stopped or every few seconds, and nobody else is kept waiting.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import Any

from prefect_ecs_pinned.aws.faults import Fault, Kind, as_error, in_band
from prefect_ecs_pinned.aws.pacing import RUN_TASK, Pacer
from prefect_ecs_pinned.aws.ports import Clock, LaunchApi
from prefect_ecs_pinned.aws.retrying import backoff, patiently
from prefect_ecs_pinned.core.request import launch_type_of
from prefect_ecs_pinned.core.task_state import Snapshot, snapshot
from prefect_ecs_pinned.errors import LaunchTimeout, PinnedECSError

logger = logging.getLogger(__name__)

#: The most RunTask calls under way at once: 100 a second at 300 ms, with room to spare.
MOST_CALLS = 48

#: Fewest RunTask calls that may be under way at once.
_FEWEST_CALLS = 4

#: Latency of RunTask in seconds that is assumed before one has been measured.
_ASSUMED_LATENCY = 0.3

#: Weight of the newest latency in the running mean.
_LATENCY_WEIGHT = 0.1

#: Room above pace times latency.
_ROOM = 1.3

#: Seconds between the tries of the head behind a closed gate.
PROBE_SECONDS = 2.5

#: Tries at once behind a closed gate at which it opens.
_OPEN_AT = 16

#: How many new revisions one submission accepts before it gives up: each is an incident.
_MOST_RENEWALS = 10

#: StopTask's reason for a task whose flow run was withdrawn while it was being launched.
WITHDRAWN_REASON = "The flow run was cancelled while its task was being launched"


class _State(Enum):
    QUEUED = "waits for its turn"
    WAITING = "waits to try again, outside of the queue"
    CALLING = "its RunTask call is under way"
    DONE = "launched, failed or withdrawn"


@dataclass(eq=False)
class Submission:
    """A request to run one task, from the moment it queues until its outcome.

    Attributes:
        request: RunTask's parameters, without ``clientToken``.
        budget: Seconds for which refusals are waited out.
        renew: Finds another revision when ECS calls this one inactive: stale ARN -> new ARN.
            None when the revision was given by name.
        outcome: The launched task, or the error.
        number: Place in the order of arrival.
        token: The ``clientToken`` of the calls since the last refusal.
        spent: Seconds of the budget that are used up.
        refused_at: When the last refusal was, None before the first.
        uncertain: A call with this token was lost: it may have started the task.
        withdrawn: Nobody wants the task any more.
    """

    request: dict[str, Any]
    budget: float
    renew: Callable[[str], Awaitable[str]] | None
    outcome: asyncio.Future[Snapshot]
    number: int
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    attempts: int = 0
    renewals: int = 0
    spent: float = 0.0
    refused_at: float | None = None
    uncertain: bool = False
    withdrawn: bool = False
    state: _State = _State.QUEUED

    def __lt__(self, other: Submission) -> bool:
        return self.number < other.number

    @property
    def cluster(self) -> str:
        return str(self.request.get("cluster") or "default")

    def new_token(self) -> None:
        """After a refusal: ECS would replay it for the same token."""
        self.token = uuid.uuid4().hex
        self.uncertain = False

    def what(self) -> str:
        revision = str(self.request.get("taskDefinition", "")).rsplit("/", 1)[-1]
        return f"cannot launch {revision} on cluster {self.cluster!r}"


class _Gate:
    """Closed while there is no capacity; then a few tries are let through.

    One at first, twice as many after each success, one again after a refusal; with
    `_OPEN_AT` it opens.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.closed = False
        self.trying = 0
        self.allowed = 1
        self.next_try = 0.0
        self.refused_at = 0.0
        self.spent = 0.0

    def lets_pass(self) -> bool:
        return not self.closed or (
            self.trying < self.allowed and self._clock.now() >= self.next_try
        )

    def refused(self, standing_still: bool) -> None:
        """Close, and count the time since the last refusal unless it stands still."""
        now = self._clock.now()
        if self.closed and not standing_still:
            self.spent += now - self.refused_at
        self.closed, self.refused_at, self.allowed = True, now, 1
        self.next_try = now + PROBE_SECONDS

    def passed(self) -> None:
        """A task was launched: there may be room for more."""
        self.spent, self.next_try = 0.0, 0.0
        self.allowed *= 2
        if self.allowed >= _OPEN_AT:
            self.closed, self.allowed = False, 1

    def capacity_freed(self) -> None:
        self.next_try = 0.0


class _Lane:
    """The queue of one quota bucket, its pacer, and the calls under way."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.pacer = Pacer(RUN_TASK, clock)
        self.queue: list[Submission] = []
        self.changed = asyncio.Event()
        self.calls = 0
        self.latency = _ASSUMED_LATENCY
        self.live = 0
        self.gate = _Gate(clock)
        self.cluster_gates: dict[str, _Gate] = {}
        self.dispatcher: asyncio.Task[None] | None = None

    def put(self, submission: Submission) -> None:
        submission.state = _State.QUEUED
        heapq.heappush(self.queue, submission)
        self.changed.set()

    def most_calls(self) -> int:
        wanted = math.ceil(self.pacer.rate * self.latency * _ROOM)
        return max(_FEWEST_CALLS, min(MOST_CALLS, wanted))

    def gates(self, submission: Submission) -> list[_Gate]:
        cluster = self.cluster_gates.get(submission.cluster)
        return [self.gate] if cluster is None else [self.gate, cluster]

    def next(self) -> Submission | None:
        """Take the first submission whose gates are open, dropping those that are done."""
        passed_over = []
        taken = None
        while self.queue:
            submission = heapq.heappop(self.queue)
            if submission.state is not _State.QUEUED:
                continue
            if all(gate.lets_pass() for gate in self.gates(submission)):
                taken = submission
                break
            passed_over.append(submission)
            if not self.gate.lets_pass():
                break  # nobody behind it passes either
        for submission in passed_over:
            heapq.heappush(self.queue, submission)
        return taken


class Launching:
    """Launches submissions; lives on the control loop.

    Args:
        api: The calls.
        clock: Time.
        launched: Called with the lane's name and the task for every task that was launched.
    """

    def __init__(self, api: LaunchApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}
        self._numbers = count()
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(
        self,
        request: Mapping[str, Any],
        budget: float,
        renew: Callable[[str], Awaitable[str]] | None = None,
    ) -> Submission:
        """Queue a request; its ``outcome`` is the launched task, or a `PinnedECSError`."""
        submission = Submission(
            request=dict(request),
            budget=budget,
            renew=renew,
            outcome=asyncio.get_running_loop().create_future(),
            number=next(self._numbers),
        )
        self._queue(self._lane(submission), submission)
        return submission

    def withdraw(self, submission: Submission) -> None:
        """Nobody wants the task any more: never launch it, or stop it if it is too late.

        The outcome is settled when that is certain.
        """
        submission.withdrawn = True
        if submission.state in (_State.QUEUED, _State.WAITING) and not submission.uncertain:
            self._settle(submission, error=_withdrawn(submission))

    def task_stopped(self, request: Mapping[str, Any]) -> None:
        """Hear that a task of this process has stopped: there is room for another."""
        lane = self._lanes.get(launch_type_of(request))
        if lane is not None:
            lane.live = max(0, lane.live - 1)
            for gate in (lane.gate, *lane.cluster_gates.values()):
                gate.capacity_freed()
            lane.changed.set()

    def snapshot(self) -> dict[str, dict[str, float]]:
        """Numbers by lane: queued, calling, live, rate, throttles."""
        return {
            name: {
                "queued": sum(s.state is _State.QUEUED for s in lane.queue),
                "calling": lane.calls,
                "live": lane.live,
                "rate": lane.pacer.rate,
                "throttles": lane.pacer.throttles,
            }
            for name, lane in self._lanes.items()
        }

    def _lane(self, submission: Submission) -> _Lane:
        name = launch_type_of(submission.request)
        if name not in self._lanes:
            self._lanes[name] = _Lane(name, self._clock)
        return self._lanes[name]

    def _queue(self, lane: _Lane, submission: Submission) -> None:
        """Put a submission in its place in the queue, and see to it that somebody serves it."""
        lane.put(submission)
        if lane.dispatcher is None or lane.dispatcher.done():
            lane.dispatcher = self._spawn(self._dispatch(lane))

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _dispatch(self, lane: _Lane) -> None:
        """Give permits to the head of the queue until the queue is empty."""
        while lane.queue:
            if lane.calls >= lane.most_calls():
                await self._until_changed(lane)
                continue
            await lane.pacer.permit()
            submission = lane.next()
            if submission is None:
                lane.pacer.give_back()
                if lane.queue:
                    await self._until_changed(lane)
                continue
            lane.calls += 1
            submission.state = _State.CALLING
            gates = [gate for gate in lane.gates(submission) if gate.closed]
            for gate in gates:
                gate.trying += 1
            self._spawn(self._call(lane, submission, gates))

    async def _until_changed(self, lane: _Lane) -> None:
        """Wait for a call to return, a submission, freed capacity, or the next probe."""
        lane.changed.clear()
        changed = asyncio.create_task(lane.changed.wait())
        probe = asyncio.create_task(self._clock.wait(PROBE_SECONDS / 5))
        _, pending = await asyncio.wait((changed, probe), return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()

    async def _call(self, lane: _Lane, submission: Submission, gates: list[_Gate]) -> None:
        asked_at = self._clock.now()
        request = {**submission.request, "clientToken": submission.token}
        submission.attempts += 1
        try:
            answer = await self._api.run_task(request)
            if not answer.get("tasks"):
                raise in_band(answer)
        except Fault as fault:
            await self._refused(lane, submission, fault, asked_at)
        except Exception as exception:
            self._settle(submission, error=exception)
        else:
            latency = self._clock.now() - asked_at
            lane.latency += (latency - lane.latency) * _LATENCY_WEIGHT
            for gate in gates:
                gate.passed()
            await self._accepted(lane, submission, snapshot(answer["tasks"][0]))
        finally:
            for gate in gates:
                gate.trying -= 1
            lane.calls -= 1
            lane.changed.set()

    async def _accepted(self, lane: _Lane, submission: Submission, task: Snapshot) -> None:
        if submission.withdrawn:
            await self._stop(submission, task)
            self._settle(submission, error=_withdrawn(submission))
            return
        lane.live += 1
        self._settle(submission, task=task)

    async def _stop(self, submission: Submission, task: Snapshot) -> None:
        try:
            await patiently(
                lambda: self._api.stop_task(
                    task.cluster_arn or submission.cluster, task.task_arn, WITHDRAWN_REASON
                ),
                self._clock,
            )
        except Fault as fault:
            logger.error("Could not stop task %s, which nobody wants: %s", task.task_arn, fault)

    async def _refused(
        self, lane: _Lane, submission: Submission, fault: Fault, asked_at: float
    ) -> None:
        if fault.kind is Kind.CONFLICT and fault.resource_ids:
            await self._adopt(lane, submission, fault)
        elif fault.kind in (Kind.INACTIVE, Kind.NO_DEFINITION) and submission.renew is not None:
            self._spawn(self._renew_revision(lane, submission, fault))
        elif fault.kind in (Kind.VCPU_QUOTA, Kind.CAPACITY):
            self._close_gate(lane, submission, fault)
        elif fault.kind in (Kind.THROTTLED, Kind.HIDDEN_THROTTLE):
            if fault.kind is Kind.THROTTLED:
                lane.pacer.throttled(asked_at)
                pause = 0.0
            else:
                submission.new_token()
                pause = backoff(submission.attempts, longest=5.0)
            self._again(lane, submission, fault, pause)
        elif fault.kind is Kind.OUTCOME_UNKNOWN:
            submission.uncertain = True
            self._again(lane, submission, fault, backoff(submission.attempts, longest=10.0))
        else:
            self._settle(submission, error=_error(submission, fault))

    def _again(self, lane: _Lane, submission: Submission, fault: Fault, pause: float) -> None:
        """Queue a submission once more, in its old place, if its budget lasts."""
        if submission.withdrawn and not submission.uncertain:
            self._settle(submission, error=_withdrawn(submission))
            return
        now = self._clock.now()
        if submission.refused_at is not None:
            submission.spent += now - submission.refused_at
        submission.refused_at = now
        if submission.spent > submission.budget:
            self._settle(submission, error=_out_of_budget(submission, fault))
        elif pause:
            submission.state = _State.WAITING
            self._spawn(self._later(lane, submission, pause))
        else:
            self._queue(lane, submission)

    async def _later(self, lane: _Lane, submission: Submission, pause: float) -> None:
        await self._clock.wait(pause)
        if submission.state is _State.WAITING:
            self._queue(lane, submission)

    def _close_gate(self, lane: _Lane, submission: Submission, fault: Fault) -> None:
        submission.new_token()
        if submission.withdrawn:
            self._settle(submission, error=_withdrawn(submission))
            return
        if fault.kind is Kind.VCPU_QUOTA:
            gate = lane.gate
        else:
            gate = lane.cluster_gates.setdefault(submission.cluster, _Gate(self._clock))
        if not gate.closed:
            logger.warning("%s: %s; waiting for capacity", submission.what(), fault.message)
        gate.refused(standing_still=lane.live > 0)
        self._queue(lane, submission)
        for waiting in list(lane.queue):
            if gate in lane.gates(waiting) and gate.spent > waiting.budget:
                self._settle(waiting, error=_out_of_budget(waiting, fault))

    async def _renew_revision(self, lane: _Lane, submission: Submission, fault: Fault) -> None:
        assert submission.renew is not None
        submission.new_token()
        submission.renewals += 1
        submission.state = _State.WAITING
        if submission.withdrawn or submission.renewals > _MOST_RENEWALS:
            gone = _withdrawn(submission) if submission.withdrawn else _error(submission, fault)
            self._settle(submission, error=gone)
            return
        try:
            arn = await submission.renew(str(submission.request["taskDefinition"]))
        except PinnedECSError as error:
            self._settle(submission, error=error)
            return
        submission.request["taskDefinition"] = arn
        await self._later(lane, submission, 0.0)

    async def _adopt(self, lane: _Lane, submission: Submission, fault: Fault) -> None:
        """Take the task that ECS names in a ConflictException for our own: the token is."""
        arn = fault.resource_ids[0]
        try:
            found = await patiently(
                lambda: self._api.find_task(submission.cluster, arn), self._clock
            )
        except Fault as failure:
            self._settle(submission, error=_error(submission, failure))
            return
        task = snapshot(found) if found else Snapshot(arn, "", "PROVISIONING")
        await self._accepted(lane, submission, task)

    def _settle(
        self, submission: Submission, task: Snapshot | None = None, error: Exception | None = None
    ) -> None:
        submission.state = _State.DONE
        if submission.outcome.done():
            return
        if task is not None:
            submission.outcome.set_result(task)
        elif error is not None:
            submission.outcome.set_exception(error)
            submission.outcome.exception()  # its caller may be gone


def _error(submission: Submission, fault: Fault) -> PinnedECSError:
    error = as_error(fault, submission.what())
    error.__cause__ = fault
    return error


def _out_of_budget(submission: Submission, fault: Fault) -> PinnedECSError:
    error = LaunchTimeout(
        submission.what(),
        f"{fault.message or fault.code}, for {submission.budget:.0f} s",
        "ask AWS for a higher quota, add capacity, or raise launch_timeout_seconds",
    )
    error.__cause__ = fault
    return error


def _withdrawn(submission: Submission) -> PinnedECSError:
    return PinnedECSError(submission.what(), "the flow run was cancelled")
