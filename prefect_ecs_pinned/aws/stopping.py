"""StopTask, repeated until ECS has accepted it: one service for all who stop tasks.

A stop that fails once is not a reason to leave a task running, nor to claim that it was stopped.
So `Stopping.stop` answers what is known within its patience, and where that is nothing, the
stop is repeated in the background for up to an hour. Stops of one task are shared.

Sources: API_StopTask ("Stops a running task"; it also succeeds for a task that has stopped),
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from prefect_ecs_pinned.aws.calls.faults import UNKNOWN_SECONDS, Fault, Kind
from prefect_ecs_pinned.aws.calls.ports import Clock, StopApi
from prefect_ecs_pinned.aws.calls.retrying import LONGEST_SECONDS, backoff

logger = logging.getLogger(__name__)

#: Seconds for which a caller waits for the answer that a stop was accepted.
STOP_PATIENCE = 60.0

#: As `STOP_PATIENCE`, while AWS answers nothing but what does not pass by itself: a permission that
#: is missing. IAM spreads a new one in seconds
#: (https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html, "eventual consistency").
REFUSED_PATIENCE = 10.0

#: Seconds for which a stop is repeated, whether or not a caller waits for it.
STOP_SECONDS = 3600.0

#: Seconds for which "not found" may mean "not yet", of a task that ECS has shown (eventual
#: consistency: DescribeTasks answers MISSING for a while after RunTask).
NOT_FOUND_SECONDS = 120.0

#: Seconds between the two answers that say that a task which ECS has not shown does not exist.
NOT_FOUND_PAUSE = 3.0

#: Seconds that `close` waits for calls under way.
_CLOSE_SECONDS = 60.0


class Outcome(Enum):
    """What is known of a stop."""

    ACCEPTED = "ECS has accepted StopTask: the task stops, or has stopped"
    ENDED = "the task was seen STOPPED, or ECS does not find it (any longer)"
    UNKNOWN = "not accepted within the patience; it is repeated in the background"
    REFUSED = "refused permanently; nothing is repeated (only of tasks that ECS has not shown)"
    UNWANTED = "no caller needs it any longer; nothing is repeated"


@dataclass(frozen=True)
class StopResult:
    """The outcome, and the last `Fault` (None when there was none).

    Attributes:
        outcome: What is known.
        fault: The newest refusal; of ENDED, ECS's "not found" if that is how it is known, and None
            if the task was seen STOPPED.
    """

    outcome: Outcome
    fault: Fault | None = None

    @property
    def certain(self) -> bool:
        """The task does not run on: it stops, has stopped, or does not exist."""
        return self.outcome in (Outcome.ACCEPTED, Outcome.ENDED)

    @property
    def stops(self) -> bool:
        """ECS has the task, and it stops or has stopped."""
        return self.certain and (self.outcome is Outcome.ACCEPTED or self.fault is None)


@dataclass(eq=False)
class _Stop:
    """A stop under way; one per task.

    Attributes:
        refused_since: Since when each answer has been a refusal that does not pass by itself.
        refused: That has lasted for `REFUSED_PATIENCE`.
    """

    cluster: str
    task: str
    reason: str
    shown: bool
    result: asyncio.Future[StopResult]
    wanted: list[Callable[[], bool]] = field(default_factory=list)
    fault: Fault | None = None
    not_found_since: float | None = None
    unknown_since: float | None = None
    refused_since: float | None = None
    refused: asyncio.Event = field(default_factory=asyncio.Event)
    warned: bool = False


class Stopping:
    """Stops tasks; lives on the control loop.

    Args:
        api: StopTask.
        clock: Time.
    """

    def __init__(self, api: StopApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._stops: dict[str, _Stop] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._closed = False

    async def stop(
        self,
        cluster: str,
        task_arn: str,
        reason: str,
        *,
        shown: bool = True,
        patience: float = STOP_PATIENCE,
        though_refused: bool = False,
        wanted: Callable[[], bool] = lambda: True,
    ) -> StopResult:
        """Stop a task. Never raises a `Fault`: the result says what is known.

        The call is repeated with backoff until ECS accepts it, the task is seen STOPPED (see
        `ended`), ECS does not find it, or `STOP_SECONDS` have passed. A caller that waits may be
        cancelled: the stop continues. A second stop of the same task joins the first.

        Args:
            cluster: Name or ARN.
            task_arn: ARN or ID.
            reason: StopTask's ``reason``; that of the first caller is sent.
            shown: ECS has shown the task to this process (RunTask or DescribeTasks). Then every
                fault is repeated, and "not found" counts after `NOT_FOUND_SECONDS`. Otherwise
                final faults stop it (REFUSED; a code that is in no table, after
                `UNKNOWN_SECONDS`), and "not found" counts when ECS has answered so twice, some
                seconds apart.
            patience: Seconds after which UNKNOWN is returned, and the stop continues; the same
                after `REFUSED_PATIENCE` of refusals that do not pass by themselves.
            though_refused: Wait for the whole of ``patience`` anyway.
            wanted: Called before each call; when no caller's is true, the stop ends (UNWANTED).
        """
        stop = self._stops.get(task_arn)
        if stop is None:
            result: asyncio.Future[StopResult] = asyncio.get_running_loop().create_future()
            stop = _Stop(cluster, task_arn, reason, shown, result)
            self._stops[task_arn] = stop
            work = asyncio.create_task(self._repeat(stop))
            self._work.add(work)
            work.add_done_callback(self._work.discard)
        stop.shown = stop.shown or shown
        stop.wanted.append(wanted)
        until: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._clock.wait(patience))]
        if not though_refused:
            until.append(asyncio.ensure_future(stop.refused.wait()))
        try:
            await asyncio.wait((stop.result, *until), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in until:
                end.cancel()
        return stop.result.result() if stop.result.done() else _unknown(stop)

    def ended(self, task_arn: str) -> None:
        """A task was seen STOPPED: a stop of it that is under way is over."""
        if (stop := self._stops.get(task_arn)) is not None:
            self._settle(stop, StopResult(Outcome.ENDED))

    def under_way(self) -> int:
        """How many tasks are being stopped."""
        return len(self._stops)

    async def close(self) -> None:
        """Give each stop under way its call, for up to a minute; repeat none of them then."""
        self._closed = True
        if self._work:
            await asyncio.wait(self._work, timeout=_CLOSE_SECONDS)
        for stop in list(self._stops.values()):
            self._settle(stop, _unknown(stop))

    async def _repeat(self, stop: _Stop) -> None:
        began, attempt = self._clock.now(), 0
        try:
            while not stop.result.done():
                if (result := await self._try(stop)) is not None:
                    self._settle(stop, result)
                    return
                waited = self._clock.now() - began
                longest = LONGEST_SECONDS if waited < STOP_PATIENCE else 3 * LONGEST_SECONDS
                pause = backoff(attempt, longest=longest)
                if stop.not_found_since is not None:
                    pause = max(pause, NOT_FOUND_PAUSE)
                self._warn(stop, waited)
                if self._closed or waited + pause > STOP_SECONDS:
                    return
                attempt += 1
                await self._clock.wait(pause)
        finally:  # whatever was raised
            if not stop.result.done():
                logger.error("Task %s could not be stopped, and may run: %s", stop.task, stop.fault)
            self._settle(stop, _unknown(stop))

    async def _try(self, stop: _Stop) -> StopResult | None:
        """Call once; None means again."""
        if not any(wanted() for wanted in stop.wanted):
            return StopResult(Outcome.UNWANTED, stop.fault)
        asked_at = self._clock.now()
        try:
            await self._api.stop_task(stop.cluster, stop.task, stop.reason)
        except Fault as fault:
            stop.fault = fault
            self._note_refusal(stop, fault, asked_at)
            return self._refused(stop, fault)
        except Exception as exception:  # an answer in no shape that ECS has
            stop.fault = Fault(Kind.OUTCOME_UNKNOWN, "StopTask", type(exception).__name__, "")
            self._note_refusal(stop, stop.fault, asked_at)
            logger.debug("StopTask %s", stop.task, exc_info=True)
            return None
        return StopResult(Outcome.ACCEPTED)

    def _note_refusal(self, stop: _Stop, fault: Fault, asked_at: float) -> None:
        if fault.passing or fault.kind is Kind.NO_TASK:
            stop.refused_since = None
            stop.refused.clear()
            return
        stop.refused_since = asked_at if stop.refused_since is None else stop.refused_since
        if self._clock.now() - stop.refused_since >= REFUSED_PATIENCE:
            stop.refused.set()

    def _refused(self, stop: _Stop, fault: Fault) -> StopResult | None:
        if fault.kind is Kind.NO_TASK:
            return self._not_found(stop, fault)
        if stop.shown:
            return None
        if fault.unknown:
            now = self._clock.now()
            stop.unknown_since = now if stop.unknown_since is None else stop.unknown_since
            final = now - stop.unknown_since >= UNKNOWN_SECONDS
        else:
            stop.unknown_since = None
            final = not fault.passing
        return StopResult(Outcome.REFUSED, fault) if final else None

    def _not_found(self, stop: _Stop, fault: Fault) -> StopResult | None:
        now = self._clock.now()
        if stop.not_found_since is None:
            stop.not_found_since = now
        enough = NOT_FOUND_SECONDS if stop.shown else NOT_FOUND_PAUSE
        return StopResult(Outcome.ENDED, fault) if now - stop.not_found_since >= enough else None

    def _warn(self, stop: _Stop, waited: float) -> None:
        """Once, when it takes longer than a caller waits or nothing says that it will pass."""
        fault = stop.fault
        may_pass = fault is None or fault.kind is Kind.NO_TASK
        passing = may_pass or (fault is not None and fault.passing and not fault.unknown)
        if stop.warned or (passing and waited < STOP_PATIENCE):
            return
        stop.warned = True
        logger.warning(
            "Task %s could not be stopped yet: %s; repeated for up to an hour",
            stop.task,
            fault,
        )

    def _settle(self, stop: _Stop, result: StopResult) -> None:
        if self._stops.get(stop.task) is stop:
            del self._stops[stop.task]
        if not stop.result.done():
            stop.result.set_result(result)


def _unknown(stop: _Stop) -> StopResult:
    return StopResult(Outcome.UNKNOWN, stop.fault)
