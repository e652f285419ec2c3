"""What this process has learned of single revisions, and the wait for one that is new.

Lives on the control loop. Each table has a bound: a revision that is forgotten counts as one that
was seen long ago and that nobody has reported.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind, as_error
from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.calls.retrying import backoff
from prefect_ecs_pinned.aws.loop.bounded import Bounded
from prefect_ecs_pinned.aws.loop.once import Once
from prefect_ecs_pinned.aws.pinning.describing import Describing

logger = logging.getLogger(__name__)

#: Seconds for which RunTask may not know a revision that this process has seen for the first
#: time: ECS is eventually consistent, and seconds have been seen.
NEW_SECONDS = 60.0

#: Seconds of the first and of the longest wait for a revision that RunTask does not know yet.
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 8.0

#: Revisions that each table holds at most.
_REMEMBERED = 4096


class Revisions:
    """Which revisions are new, proven or dead.

    Attributes:
        dead: Revisions that ECS has called inactive or gone; they are not used again.
        proven: Revision that was registered here -> fingerprint of what was sent.
    """

    def __init__(self, describing: Describing, clock: Clock) -> None:
        self._describing = describing
        self._clock = clock
        self.dead: Bounded[str, bool] = Bounded(_REMEMBERED)
        self.proven: Bounded[str, str] = Bounded(_REMEMBERED)
        #: Revision -> when it was first seen ACTIVE, or registered here.
        self._first_seen: Bounded[str, float] = Bounded(_REMEMBERED)
        #: Revision that RunTask does not know yet -> how often it has been waited for.
        self._waited: Bounded[str, int] = Bounded(_REMEMBERED)
        #: Shared while it lasts; nothing of it is remembered.
        self._waiting: Once[str, bool] = Once(most=0)

    def saw(self, arn: str) -> None:
        """ECS has described a revision as ACTIVE."""
        if arn not in self._first_seen:
            self._first_seen[arn] = self._clock.now()

    async def wait_for_new(self, arn: str) -> bool:
        """If a revision is new, pause, and say whether a launch is to be tried again with it.

        Those who wait for the same revision share the pause and the look at it.

        Raises:
            PinnedECSError: AWS refused to describe it, or could not be reached.
        """
        if not self._is_new(arn):
            return False
        try:
            return await self._waiting.get(arn, lambda: self._wait_for(arn))
        except Fault as fault:
            raise as_error(fault, f"cannot wait for {arn}, which RunTask does not find") from fault

    async def _wait_for(self, arn: str) -> bool:
        attempt = self._waited.get(arn, 0)
        self._waited[arn] = attempt + 1
        if attempt == 0:
            logger.info("RunTask does not find %s yet; waiting for it", arn)
        await self._clock.wait(backoff(attempt, _FIRST_WAIT, _LONGEST_WAIT))
        try:
            described = await self._describing.describe(arn)
        except Fault as fault:
            if fault.kind is not Kind.NO_DEFINITION:
                raise
            return self._is_new(arn)
        return is_active(described)

    def _is_new(self, arn: str) -> bool:
        return self._clock.now() - self._first_seen.get(arn, float("-inf")) < NEW_SECONDS


def is_active(described: Mapping[str, Any]) -> bool:
    """Whether a revision is ACTIVE, as ECS describes it."""
    return bool(described.get("status", "ACTIVE") == "ACTIVE")
