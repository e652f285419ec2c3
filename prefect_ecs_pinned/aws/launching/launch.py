"""Paced, idempotent RunTask: every submission is launched once, or fails for a stated reason.

Read `Launching._launch`: it is the way of every launch, in one line. A submission waits for its
turn in the queue of its quota bucket (`queues`), makes one call, and acts on what `core.reaction`
makes of the answer. Its outcome is the outcome of that coroutine, whatever is raised in it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind, in_band
from prefect_ecs_pinned.aws.calls.ports import Clock, LaunchApi
from prefect_ecs_pinned.aws.calls.responses import reading, unreadable
from prefect_ecs_pinned.aws.calls.retrying import warn_of_unknown
from prefect_ecs_pinned.aws.events import LaunchEnded, Measure, ignore
from prefect_ecs_pinned.aws.launching import outcomes
from prefect_ecs_pinned.aws.launching.outcomes import NotStopped
from prefect_ecs_pinned.aws.launching.queues import QuotaQueue
from prefect_ecs_pinned.aws.launching.submission import Permit, Renewal, Submission
from prefect_ecs_pinned.aws.launching.task_lookup import find
from prefect_ecs_pinned.aws.launching.withdrawing import Withdrawing, seen
from prefect_ecs_pinned.aws.stopping import Stopping
from prefect_ecs_pinned.core.capacity import Shortage, demand_of
from prefect_ecs_pinned.core.fingerprint import PREFECT_CONTAINER
from prefect_ecs_pinned.core.queueing import LiveKey
from prefect_ecs_pinned.core.reaction import Adopt, Fail, Look, Renew, Retry, Wait, react
from prefect_ecs_pinned.core.request import launch_type_of, with_submission_id
from prefect_ecs_pinned.core.task_state import Snapshot, snapshot
from prefect_ecs_pinned.errors import PinnedECSError

logger = logging.getLogger(__name__)

#: Seconds for which `close` waits for calls that are under way.
_CLOSE_SECONDS = 60.0


class Launching:
    """Launches submissions; lives on the control loop.

    Args:
        api: The calls.
        clock: Time.
        stopping: Stops tasks that nobody needs; one of its own unless given.
        measure: Called with the end of each launch.
    """

    def __init__(
        self,
        api: LaunchApi,
        clock: Clock,
        stopping: Stopping | None = None,
        measure: Measure = ignore,
    ) -> None:
        self._api = api
        self._clock = clock
        self._measure = measure
        self._queues: dict[str, QuotaQueue] = {}
        self._withdrawing = Withdrawing(stopping or Stopping(api, clock), self.task_stopped)
        self._numbers = count()
        self._open: set[Submission] = set()
        #: Tasks that have not ended, by what has launched them: their queue, and its key for them.
        self._live: dict[Submission, tuple[QuotaQueue, LiveKey]] = {}

    def submit(
        self,
        request: Mapping[str, Any],
        budget: float,
        renew: Renewal | None = None,
        definition: Mapping[str, Any] | None = None,
        heal: Renewal | None = None,
        started_by: str | None = None,
        container_name: str = PREFECT_CONTAINER,
        permit: Permit | None = None,
    ) -> Submission:
        """Queue a request; its ``outcome`` is the launched task, or a `PinnedECSError`.

        Args:
            request: RunTask's parameters.
            budget: Seconds for which it waits for room, or for an answer.
            renew: Finds another revision when ECS calls this one inactive: stale ARN -> new ARN.
            definition: What it runs, for the sizes that the request leaves to it.
            heal: Finds other subnets when one does not exist: stale subnets -> new ones.
            started_by: Its own ``startedBy``; that of the request unless given. Empty when a
                patch has set another one: others may have the same.
            container_name: Name of the Prefect container.
            permit: Asked before each call, where somebody else may come to launch the task.
        """
        submission = Submission(
            request=dict(request),
            budget=budget,
            number=next(self._numbers),
            queued_at=self._clock.now(),
            definition=definition,
            renew=renew,
            heal=heal,
            started_by=str(request.get("startedBy") or "") if started_by is None else started_by,
            permit=permit,
        )
        if permit is not None:
            submission.id = permit.id
        submission.request = with_submission_id(
            submission.request, submission.id, definition, container_name
        )
        self._open.add(submission)
        submission.outcome = asyncio.create_task(self._run_measured(submission))
        submission.outcome.add_done_callback(seen)
        return submission

    def withdraw(self, submission: Submission) -> asyncio.Task[Snapshot | None]:
        """Nobody needs the task any more: never launch it, or stop it if it is too late.

        Returns:
            Done when that is certain: None, or the task when it could not be stopped. Raises
            `MayRun` when a task may run that nobody can find.
        """
        return self._withdrawing.withdraw(submission)

    async def close(self) -> None:
        """Withdraw whatever is open, and wait until that is certain, or for a minute."""
        withdrawn = [self.withdraw(submission) for submission in self._open]
        if withdrawn:
            await asyncio.wait(withdrawn, timeout=_CLOSE_SECONDS)

    def task_stopped(self, submission: Submission) -> None:
        """Take note that a task of this process has ended: there may be room for another."""
        if (live := self._live.pop(submission, None)) is not None:
            queue, key = live
            queue.stopped(key)

    def snapshot(self) -> dict[str, dict[str, float]]:
        """Numbers by quota bucket: queued, calling, launched, live, rate, throttles, oldest.

        The last is the age of the oldest that waits, in seconds. May be called on any thread.
        """
        return {name: queue.snapshot() for name, queue in list(self._queues.items())}

    # -- the way of a launch -----------------------------------------------------------------------

    async def _run_measured(self, submission: Submission) -> Snapshot:
        quota = launch_type_of(submission.request)
        definition = str(submission.request.get("taskDefinition") or "")
        ended = partial(LaunchEnded, quota, submission.cluster, definition)
        error = "cancelled"
        try:
            task = await self._run(submission)
            error = ""
        except Exception as exception:
            error = outcomes.error_type(submission.withdrawn, exception)
            raise
        else:
            return task
        finally:
            self._measure(ended(self._clock.now() - submission.queued_at, error))

    async def _run(self, submission: Submission) -> Snapshot:
        """Launch a submission, and leave nothing of it behind."""
        name = launch_type_of(submission.request)
        queue = self._queues.setdefault(name, QuotaQueue(name, self._clock))
        try:
            return await self._launch(queue, submission)
        except PinnedECSError:
            raise
        except Exception as error:  # whatever was asked: the task may run anyway
            if not (submission.uncertain or submission.called):
                raise
            raise outcomes.may_run(submission.what(), unreadable(error, "RunTask")) from error
        finally:
            self._open.discard(submission)
            self._let_go(queue, submission)

    def _let_go(self, queue: QuotaQueue, submission: Submission) -> None:
        submission.let_go()
        try:
            queue.line.leave(submission)
        except Exception:  # it changes nothing of the outcome
            logger.exception("A submission could not leave its queue")

    async def _launch(self, queue: QuotaQueue, submission: Submission) -> Snapshot:
        """Wait for the turn, call, react: again and again, until it is launched or fails."""
        while True:
            said = await self._call(queue, submission)
            if isinstance(said, Snapshot):
                return await self._accepted(queue, submission, said)
            demand = queue.line.demand(submission)
            assert demand is not None
            reaction = react(said, submission.known(demand, self._clock.now()))
            if isinstance(reaction, Look | Adopt):
                if (task := await find(submission, reaction, self._api, self._clock)) is not None:
                    return await self._accepted(queue, submission, task)
                reaction = reaction.then
            submission.next_call(reaction)
            match reaction:
                case Retry():
                    await submission.pause(reaction.longest_pause, self._clock)
                case Wait():
                    queue.refused(submission, reaction.shortage, said.message)
                case Renew():
                    await submission.replace(reaction.member, said, self._clock)
                    queue.line.leave(submission)  # it may demand something else now
                case Fail(in_time=True):
                    raise outcomes.refused(submission.what(), said)
                case Fail():
                    raise self._out_of_time(queue, submission, said, reaction.shortage)

    def _out_of_time(
        self, queue: QuotaQueue, submission: Submission, said: Fault, shortage: Shortage | None
    ) -> PinnedECSError:
        if shortage is not None:  # the last try is a refusal as any other
            queue.refused(submission, shortage, said.message)
        itself, others = submission.refusals, queue.line.held_back(submission)
        return outcomes.out_of_time(submission.what(), said, submission.budget, itself, others)

    async def _call(self, queue: QuotaQueue, submission: Submission) -> Snapshot | Fault:
        """Make one RunTask call when it is the submission's turn."""
        if queue.line.demand(submission) is None:
            queue.line.join(submission, demand_of(submission.request, submission.definition))
        breakers = await queue.turn(submission)
        if breakers is None:
            raise outcomes.cancelled(submission.what())
        submission.breakers = breakers
        asked_at = self._clock.now()
        try:
            if submission.withdrawn and not submission.uncertain:
                raise outcomes.cancelled(submission.what())
            if submission.history.token_expires(asked_at):
                return Fault(Kind.CONFLICT, "RunTask", "", "the client token is too old")
            if submission.permit is not None and not await submission.permit.granted():
                if not submission.uncertain:
                    raise outcomes.cancelled(submission.what())
                return Fault(Kind.CONFLICT, "RunTask", "", "another worker may launch it by now")
            request = {**submission.request, "clientToken": submission.token}
            submission.called = True
            task = await self._run_task(request)
        except Fault as fault:
            if fault.kind is Kind.THROTTLED:
                queue.pacer.throttled(asked_at)
            warn_of_unknown(fault, self._clock)
            submission.history.add(fault, asked_at)
            submission.called = False
            return fault
        finally:
            queue.returned(breakers)
        queue.concurrency.answered_in(self._clock.now() - asked_at)
        return task

    async def _run_task(self, request: Mapping[str, Any]) -> Snapshot:
        with reading("RunTask"):
            answer = await self._api.run_task(request)
            if not answer.get("tasks"):
                raise in_band(answer)
            return snapshot(answer["tasks"][0])

    async def _accepted(
        self, queue: QuotaQueue, submission: Submission, task: Snapshot
    ) -> Snapshot:
        """Count a task among the live ones; stop it if nobody needs it any more."""
        if not task.cluster_arn:
            task = replace(task, cluster_arn=submission.cluster)
        try:
            key = queue.accepted(submission, task.instance)
            self._live[submission] = queue, key
        except Exception:  # a task that runs is its caller's, whether or not it is counted
            logger.exception("Task %s could not be counted", task.task_arn)
        if not submission.withdrawn or submission.kept:
            return task
        if await self._withdrawing.stop(submission, task):
            raise outcomes.cancelled(submission.what())
        raise NotStopped(submission.what(), task)
