"""One log group whose streams are followed: what its two readers share.

Nothing here waits for longer than a call, and nothing that a call does is raised: `ask` returns
the fault. Lives on the control loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.calls.pacing import Pace, Pacer
from prefect_ecs_pinned.aws.calls.ports import Clock, OutputApi
from prefect_ecs_pinned.core.log_events import Event, Seen

logger = logging.getLogger("prefect_ecs_pinned.aws.output.streams")

#: Half of the lowest quota of any Region: FilterLogEvents 5/s, GetLogEvents 10/s.
#: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html
FILTER_LOG_EVENTS = Pace(rate=2.5, burst=2.5)
GET_LOG_EVENTS = Pace(rate=5.0, burst=5.0)

#: Seconds after which a call that has not returned is taken for lost. botocore's own time limits
#: are shorter (`clients`).
CALL_SECONDS = 90.0

#: Seconds for which reading the tail is tried again while AWS does not answer.
TAIL_PATIENCE = 120.0

#: Lines that are handed out before the control loop gets to its other work.
LINES_AT_ONCE = 500

#: Lines that a log group remembers to have logged.
MOST_SAID = 100

#: Called with a line, and whether several streams are being read.
Sink = Callable[[str, bool], None]


@dataclass(eq=False)
class Follow:
    """One stream that is being read.

    Attributes:
        group: Its log group.
        stream: Name of the log stream.
        sink: Called with each line, in the order of the stream, on the control loop's thread: it
            may not wait. When it raises, the line is lost, and no other.
        since: Time in ms from which on to read.
        seen: What was handed out.
        exists: It has been read to its end once, so it may be read together with others.
        guessed_at: When it was last read together with others that may not exist either.
        guessed: It is being read so at this moment.
        loud: It has so many lines that it keeps others waiting: it is read alone.
        in_turn: It is being read alone at this moment.
        token: Where GetLogEvents continues.
        again: Lines that may be met again, since reading alone has begun without a token.
        empty: Empty pages in a row.
        was_read: It has been there.
        absences: Answers in a row that it does not exist.
        read_at: When its last turn alone began.
        failed_at: Since when every call for it has failed; None when the last one has not.
        ends_at: When its last reading may begin; None while its task is live.
        broken: The sink has raised.
        done: Set when everything has been handed out, or nothing more will be.
    """

    group: LogGroup
    stream: str
    sink: Sink
    since: int
    seen: Seen
    exists: bool = False
    guessed_at: float = float("-inf")
    guessed: bool = False
    loud: bool = False
    in_turn: bool = False
    token: str | None = None
    again: Counter[tuple[int, int]] = field(default_factory=Counter)
    empty: int = 0
    was_read: bool = False
    absences: int = 0
    read_at: float = float("-inf")
    failed_at: float | None = None
    ends_at: float | None = None
    broken: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def __repr__(self) -> str:
        return f"Follow({self.stream!r} of {self.group.name!r})"

    def begin_afresh(self) -> None:
        """Have the next turn alone begin without a token, where reading has come to."""
        self.token, self.again = None, self.seen.again()


class Quotas:
    """The paces of one Region, first come, first served."""

    def __init__(self, clock: Clock) -> None:
        self.filters = Pacer(FILTER_LOG_EVENTS, clock, probing=False)
        self.gets = Pacer(GET_LOG_EVENTS, clock, probing=False)


class LogGroup:
    """The streams of one log group that are followed.

    Args:
        name: The log group.
        api: The calls, to its Region.
        quotas: Of its Region.
        clock: Time.
        now_ms: Milliseconds since the epoch.
        hand_out: Called with a stream and a line of it that may be new.

    Attributes:
        follows: Those that are being read.
        newest: Time in ms of the newest line of any of them.
    """

    def __init__(
        self,
        name: str,
        api: OutputApi,
        quotas: Quotas,
        clock: Clock,
        now_ms: Callable[[], int],
        hand_out: Callable[[Follow, Event], None],
    ) -> None:
        self.name = name
        self.api = api
        self.quotas = quotas
        self.clock = clock
        self.now_ms = now_ms
        self.follows: list[Follow] = []
        self.newest = 0
        self._hand_out = hand_out
        self._said: set[str] = set()

    def may_end(self, follow: Follow) -> bool:
        """Whether a reading that begins now is the last of a stream."""
        return follow.ends_at is not None and self.clock.now() >= follow.ends_at

    def end(self, follow: Follow) -> None:
        """Read a stream no more."""
        if follow in self.follows:
            self.follows.remove(follow)
        follow.done.set()

    def note_failure(self, follows: Sequence[Follow]) -> None:
        """Note that a call for some has failed; end those whose tail has failed for long enough."""
        now = self.clock.now()
        for follow in follows:
            follow.failed_at = now if follow.failed_at is None else follow.failed_at
            failing_at_end = now - max(follow.failed_at, follow.ends_at or now)
            if follow.ends_at is not None and failing_at_end > TAIL_PATIENCE:
                self.log(
                    logging.WARNING,
                    f"The last lines of log stream {follow.stream} of {self.name} could not be "
                    "read",
                )
                self.end(follow)

    async def print(self, lines: Sequence[tuple[Follow, Event]]) -> None:
        """Hand out lines, a part at a time."""
        for number, (follow, event) in enumerate(lines):
            if number % LINES_AT_ONCE == LINES_AT_ONCE - 1:
                await asyncio.sleep(0)
            self.newest = max(self.newest, event.at)
            self._hand_out(follow, event)

    async def ask(self, operation: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """An answer of AWS, or the `Fault`: nothing is raised, and nothing lasts forever."""

        async def ask() -> Any:
            return await call()

        asking = asyncio.ensure_future(ask())
        patience = asyncio.ensure_future(self.clock.wait(CALL_SECONDS))
        try:
            await asyncio.wait((asking, patience), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done() or asking.cancelled():
                return Fault(Kind.OUTCOME_UNKNOWN, operation, "", "no answer")
            error = asking.exception()
        finally:
            asking.cancel()
            patience.cancel()
        if error is None:
            return asking.result()
        if isinstance(error, Fault):
            return error
        name = type(error).__name__
        self.log_once(
            logging.WARNING,
            f"Reading log group {self.name} has failed, and is repeated: {name}: {error}",
        )
        return Fault(Kind.OUTCOME_UNKNOWN, operation, name, str(error))

    def log_once(self, level: int, text: str) -> None:
        """Log a line that has not been logged for this group."""
        if text not in self._said:
            if len(self._said) >= MOST_SAID:
                self._said.clear()
            self._said.add(text)
            self.log(level, text)

    def log(self, level: int, text: str) -> None:
        """Log a line, where that is possible: logs go to pipes and disks, too."""
        with contextlib.suppress(Exception):
            logger.log(level, text)


def malformed(operation: str) -> Fault:
    """The fault of an answer that cannot be read."""
    return Fault(Kind.OUTCOME_UNKNOWN, operation, "MalformedAnswer", "an answer without 'events'")
