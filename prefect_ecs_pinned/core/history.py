"""What the answers to a submission's calls have shown so far."""

from __future__ import annotations

from dataclasses import dataclass

from prefect_ecs_pinned.core.reaction import (
    NO_ROOM,
    Said,
    interrupts,
    is_odd,
    may_have_started,
    undecided,
)

#: Seconds for which a token with a lost answer is sent again. It lives for the life of its task
#: and an hour (ECS_Idempotency): the shortest of tasks would be started again after that.
TOKEN_SECONDS = 3000.0


@dataclass
class History:
    """Answers, as far as the reaction to the next one depends on them; all times in seconds.

    Attributes:
        lost_at: When the first call was made of which an answer was lost, since the token is new.
        odd_answers: How many answers in a row are in no table.
        refusals: How often it was refused for lack of room.
    """

    lost_at: float | None = None
    odd_answers: int = 0
    refusals: int = 0
    _undecided_since: float | None = None
    _odd_since: float | None = None
    _interrupted: bool = False
    _asked_at: float = 0.0

    def add(self, said: Said, asked_at: float) -> None:
        """Keep what an answer says about the ones to come."""
        if may_have_started(said) and self.lost_at is None:
            self.lost_at = asked_at
        self._undecided_since = _since(self._undecided_since, undecided(said), asked_at)
        self._count_odd(said, asked_at)
        self._asked_at = asked_at
        self.refusals += said.kind in NO_ROOM

    @property
    def uncertain(self) -> bool:
        """An answer was lost: a call may have started the task."""
        return self.lost_at is not None

    def token_expires(self, now: float) -> bool:
        """Whether ECS may have forgotten the token of a call whose answer was lost."""
        return self.lost_at is not None and now - self.lost_at > TOKEN_SECONDS

    def _count_odd(self, said: Said, asked_at: float) -> None:
        """Throttles and lost answers interrupt a series of odd ones: they say nothing of the call.

        The time from them to the next answer is not counted. A series that they began again might
        never end.
        """
        if self._odd_since is not None and self._interrupted:
            self._odd_since += asked_at - self._asked_at
        self._interrupted = interrupts(said)
        if self._interrupted:
            return
        self._odd_since = _since(self._odd_since, is_odd(said), asked_at)
        self.odd_answers = self.odd_answers + 1 if is_odd(said) else 0

    def undecided(self, now: float) -> float:
        """For how long ECS has not answered, or not got to deciding."""
        return 0.0 if self._undecided_since is None else now - self._undecided_since

    def odd(self, now: float) -> float:
        """For how long it has answered what is in no table."""
        return 0.0 if self._odd_since is None else now - self._odd_since


def _since(before: float | None, goes_on: bool, asked_at: float) -> float | None:
    """When an unbroken series began; None when it is broken."""
    if not goes_on:
        return None
    return asked_at if before is None else before
