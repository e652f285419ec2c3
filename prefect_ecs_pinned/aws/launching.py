"""Paced, idempotent RunTask: every submission is launched once, or fails for a stated reason.

A submission waits in the lane of its quota bucket, first in, first out. The lane's pacer gives
permits; a few calls are under way at once, as many as pace times latency asks for (`lanes`).

A submission's ``clientToken`` stays the same for as long as the outcome of a call is unknown,
so that a lost answer never starts a second task, and is renewed after every refusal, since ECS
replays refusals too (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html).
A token dies with its task's memory, an hour after the task. So before a submission of which an
answer was lost takes a new token, or is given up, its task is looked for by ``startedBy``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any

from prefect_ecs_pinned.aws.faults import PASSING, Fault, Kind, in_band
from prefect_ecs_pinned.aws.finding import find
from prefect_ecs_pinned.aws.lanes import MOST_CALLS, PROBE_SECONDS, Gate, Lane
from prefect_ecs_pinned.aws.ports import Clock, LaunchApi
from prefect_ecs_pinned.aws.retrying import patiently
from prefect_ecs_pinned.aws.submission import State, Submission
from prefect_ecs_pinned.core.request import launch_type_of
from prefect_ecs_pinned.core.task_state import Snapshot, snapshot
from prefect_ecs_pinned.errors import PinnedECSError

logger = logging.getLogger(__name__)

__all__ = ["MOST_CALLS", "Launching", "Submission"]

#: Weight of the newest latency in the running mean, when it is longer and when it is shorter. The
#: first calls of a process take long for reasons of its own; what lasts is told in a few seconds.
_LONGER_WEIGHT = 0.01
_SHORTER_WEIGHT = 0.1

#: How many new revisions one submission accepts before it gives up: each is an incident.
_MOST_RENEWALS = 10

#: Seconds for which a token with a lost answer is sent again. It lives for the life of its task
#: and an hour (ECS_Idempotency): the shortest of tasks would be started again after that.
TOKEN_SECONDS = 3000.0

#: Seconds for which `close` waits for calls that are under way.
_CLOSE_SECONDS = 60.0

#: StopTask's reason for a task whose flow run was withdrawn while it was being launched.
WITHDRAWN_REASON = "The flow run was cancelled while its task was being launched"


class Launching:
    """Launches submissions; lives on the control loop.

    Args:
        api: The calls.
        clock: Time.
    """

    def __init__(self, api: LaunchApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._lanes: dict[str, Lane] = {}
        self._numbers = count()
        self._open: set[Submission] = set()
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
            launch_type=launch_type_of(request),
        )
        self._open.add(submission)
        self._queue(self._lane(submission), submission)
        return submission

    def withdraw(self, submission: Submission) -> None:
        """Nobody wants the task any more: never launch it, or stop it if it is too late.

        The outcome is settled when that is certain.
        """
        submission.withdrawn = True
        if submission.state in (State.QUEUED, State.WAITING) and not submission.uncertain:
            self._settle(submission, error=submission.cancelled())

    async def close(self) -> None:
        """Withdraw whatever is open, and wait until that is certain, or for a minute."""
        for submission in list(self._open):
            self.withdraw(submission)
        if outcomes := [submission.outcome for submission in self._open]:
            await asyncio.wait(outcomes, timeout=_CLOSE_SECONDS)

    def task_stopped(self, submission: Submission) -> None:
        """Hear that a task of this process has stopped: there is room for another."""
        lane = self._lanes.get(submission.launch_type)
        if lane is not None:
            lane.live = max(0, lane.live - 1)
            for gate in (lane.gate, *lane.cluster_gates.values()):
                gate.capacity_freed()
            lane.changed.set()

    def snapshot(self) -> dict[str, dict[str, float]]:
        """Numbers by lane: queued, calling, launched, live, rate, throttles."""
        return {
            name: {
                "queued": sum(s.state is State.QUEUED for s in lane.queue),
                "calling": lane.calls,
                "launched": lane.launched,
                "live": lane.live,
                "rate": lane.pacer.rate,
                "throttles": lane.pacer.throttles,
            }
            for name, lane in self._lanes.items()
        }

    def _lane(self, submission: Submission) -> Lane:
        name = submission.launch_type
        if name not in self._lanes:
            self._lanes[name] = Lane(name, self._clock)
        return self._lanes[name]

    def _queue(self, lane: Lane, submission: Submission) -> None:
        """Put a submission in its place in the queue, and see to it that somebody serves it."""
        lane.put(submission)
        if lane.dispatcher is None or lane.dispatcher.done():
            lane.dispatcher = self._spawn(self._dispatch(lane))

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _dispatch(self, lane: Lane) -> None:
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
            submission.state = State.CALLING
            gates = [gate for gate in lane.gates(submission) if gate.closed]
            for gate in gates:
                gate.trying += 1
            self._spawn(self._call(lane, submission, gates))

    async def _until_changed(self, lane: Lane) -> None:
        """Wait for a call to return, a submission, freed capacity, or the next probe."""
        lane.changed.clear()
        if not lane.probes():
            await lane.changed.wait()
            return
        changed = asyncio.create_task(lane.changed.wait())
        probe = asyncio.create_task(self._clock.wait(PROBE_SECONDS / 5))
        _, pending = await asyncio.wait((changed, probe), return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()

    async def _call(self, lane: Lane, submission: Submission, gates: list[Gate]) -> None:
        asked_at, since = self._clock.now(), time.time()
        try:
            if submission.lost_at is not None and asked_at - submission.lost_at > TOKEN_SECONDS:
                self._look_first(lane, submission, lambda _: self._start_over(lane, submission))
                return
            request = {**submission.request, "clientToken": submission.token}
            answer = await self._api.run_task(request)
            task = _read(answer)
        except Fault as fault:
            if fault.kind is Kind.OUTCOME_UNKNOWN and not submission.uncertain:
                submission.lost_at, submission.lost_since = asked_at, since
            await self._refused(lane, submission, fault, asked_at)
        except Exception as exception:
            self._settle(submission, error=exception)
        else:
            latency = self._clock.now() - asked_at
            weight = _LONGER_WEIGHT if latency > lane.latency else _SHORTER_WEIGHT
            lane.latency += (latency - lane.latency) * weight
            for gate in gates:
                gate.passed()
            await self._accepted(lane, submission, task)
        finally:
            for gate in gates:
                gate.trying -= 1
            lane.calls -= 1
            lane.changed.set()

    def _start_over(self, lane: Lane, submission: Submission) -> None:
        """With a new token: the task of the old one is not there, and it is too old to be sent."""
        submission.new_token()
        if submission.withdrawn:
            self._settle(submission, error=submission.cancelled())
        else:
            self._queue(lane, submission)

    async def _accepted(self, lane: Lane, submission: Submission, task: Snapshot) -> None:
        if submission.withdrawn:
            await self._stop(submission, task)
            self._settle(submission, error=submission.cancelled())
            return
        lane.live += 1
        lane.launched += 1
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
        self, lane: Lane, submission: Submission, fault: Fault, asked_at: float
    ) -> None:
        if fault.kind is Kind.THROTTLED:
            lane.pacer.throttled(asked_at)
            self._again(lane, submission, fault, 0.0)
        elif fault.kind in (Kind.OUTCOME_UNKNOWN, Kind.UNREACHABLE):
            self._again(lane, submission, fault, submission.pause(longest=10.0))
        elif fault.kind is Kind.CONFLICT and fault.resource_ids:
            await self._adopt(lane, submission, fault)
        elif submission.uncertain:
            self._look_first(lane, submission, lambda _: self._decided(lane, submission, fault))
        else:
            self._decided(lane, submission, fault)

    def _decided(self, lane: Lane, submission: Submission, fault: Fault) -> None:
        """ECS has refused for certain: the token has had its day."""
        submission.new_token()
        if submission.withdrawn:
            self._settle(submission, error=submission.cancelled())
        elif fault.kind in (Kind.INACTIVE, Kind.NO_DEFINITION) and submission.renew is not None:
            self._spawn(self._renew_revision(lane, submission, fault))
        elif fault.kind in (Kind.VCPU_QUOTA, Kind.CAPACITY):
            self._close_gate(lane, submission, fault)
        elif fault.kind in PASSING:
            self._again(lane, submission, fault, submission.pause(longest=5.0))
        else:
            self._settle(submission, error=submission.refused(fault))

    def _again(self, lane: Lane, submission: Submission, fault: Fault, pause: float) -> None:
        """Queue a submission once more, in its old place, if its budget lasts."""
        now = self._clock.now()
        if submission.refused_at is not None:
            submission.spent += now - submission.refused_at
        submission.refused_at = now
        if submission.withdrawn and not submission.uncertain:
            self._settle(submission, error=submission.cancelled())
        elif submission.spent > submission.budget:
            self._give_up(lane, submission, submission.out_of_budget(fault))
        elif pause:
            submission.state = State.WAITING
            self._spawn(self._later(lane, submission, pause))
        else:
            self._queue(lane, submission)

    def _give_up(self, lane: Lane, submission: Submission, error: PinnedECSError) -> None:
        """Fail, unless a call whose answer was lost has started the task after all."""
        if not submission.uncertain:
            self._settle(submission, error=error)
            return

        def fail(unknown: Fault | None) -> None:
            self._settle(submission, error=submission.may_run(unknown) if unknown else error)

        self._look_first(lane, submission, fail)

    def _look_first(
        self, lane: Lane, submission: Submission, otherwise: Callable[[Fault | None], None]
    ) -> None:
        """Look for the task of a call whose answer was lost, by ``startedBy``.

        Args:
            lane: The submission's.
            submission: Settled when its task is found.
            otherwise: What to do when there is none (None), or when that cannot be known (why).
        """
        submission.state = State.CALLING

        async def look() -> None:
            try:
                task = await find(submission, self._api, self._clock)
            except Fault as fault:
                logger.warning("%s: cannot look for its task: %s", submission.what(), fault)
                otherwise(fault)
                return
            except Exception as exception:
                self._settle(submission, error=exception)
                return
            if task is None:
                otherwise(None)
                return
            logger.info("Found the task of a launch whose answer was lost: %s", task.task_arn)
            await self._accepted(lane, submission, task)

        self._spawn(look())

    async def _later(self, lane: Lane, submission: Submission, pause: float) -> None:
        await self._clock.wait(pause)
        if submission.state is State.WAITING:
            self._queue(lane, submission)

    def _close_gate(self, lane: Lane, submission: Submission, fault: Fault) -> None:
        if fault.kind is Kind.VCPU_QUOTA:
            gate = lane.gate
        else:
            gate = lane.cluster_gates.setdefault(submission.cluster, Gate(self._clock))
        if not gate.closed:
            logger.warning("%s: %s; waiting for capacity", submission.what(), fault.message)
        gate.refused(standing_still=lane.live > 0)
        self._queue(lane, submission)
        for waiting in list(lane.queue):
            behind = waiting.state is State.QUEUED and gate in lane.gates(waiting)
            if behind and gate.spent > waiting.budget:
                self._give_up(lane, waiting, waiting.out_of_budget(fault))

    async def _renew_revision(self, lane: Lane, submission: Submission, fault: Fault) -> None:
        assert submission.renew is not None
        submission.renewals += 1
        submission.state = State.WAITING
        if submission.renewals > _MOST_RENEWALS:
            self._settle(submission, error=submission.refused(fault))
            return
        try:
            arn = await submission.renew(str(submission.request["taskDefinition"]))
        except Exception as error:
            self._settle(submission, error=error)
            return
        submission.request["taskDefinition"] = arn
        await self._later(lane, submission, 0.0)

    async def _adopt(self, lane: Lane, submission: Submission, fault: Fault) -> None:
        """Take the task that ECS names in a ConflictException for our own: the token is."""
        arn = fault.resource_ids[0]
        try:
            found = await patiently(
                lambda: self._api.find_task(submission.cluster, arn), self._clock
            )
        except Fault as failure:
            self._settle(submission, error=submission.refused(failure))
            return
        task = snapshot(found) if found else Snapshot(arn, submission.cluster, "PROVISIONING")
        await self._accepted(lane, submission, task)

    def _settle(
        self, submission: Submission, task: Snapshot | None = None, error: Exception | None = None
    ) -> None:
        submission.state = State.DONE
        submission.request.clear()  # hundreds of runs live on for hours without it
        self._open.discard(submission)
        if submission.outcome.done():
            return
        if task is not None:
            submission.outcome.set_result(task)
        elif error is not None:
            submission.outcome.set_exception(error)
            submission.outcome.exception()  # its caller may be gone


def _read(answer: Mapping[str, Any]) -> Snapshot:
    """The task that was launched.

    Raises:
        Fault: The answer has none, or cannot be read.
    """
    if not answer.get("tasks"):
        raise in_band(answer)
    try:
        return snapshot(answer["tasks"][0])
    except (KeyError, TypeError) as error:
        text = "a task that cannot be read"
        raise Fault(Kind.OUTCOME_UNKNOWN, "RunTask", "MalformedAnswer", text) from error
