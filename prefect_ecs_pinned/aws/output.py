"""Batched CloudWatch Logs: what a hundred containers print, for one call.

Streams that are known to exist are read together by FilterLogEvents. One that was never read
is tried by itself first: FilterLogEvents refuses the whole call when a single stream that it
names does not exist, and a stream appears when its container first writes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from prefect_ecs_pinned.aws.batching import in_batches
from prefect_ecs_pinned.aws.faults import PASSING, Fault, Kind
from prefect_ecs_pinned.aws.ports import Clock, OutputApi

logger = logging.getLogger(__name__)

#: API_FilterLogEvents, "logStreamNames": at most 100.
FILTER_STREAMS_LIMIT = 100

#: Seconds between reads of a log group, and of one call after another: well below the lowest
#: quota of any Region (FilterLogEvents 5/s, GetLogEvents 10/s).
READ_SECONDS = 5.0
CALL_SECONDS = 0.4

#: Seconds for which lines that a container wrote last may still arrive after it has stopped.
TAIL_SECONDS = 5.0

#: Milliseconds by which a stream's own clock may be behind this machine's.
_CLOCK_SKEW_MS = 5 * 60 * 1000


@dataclass(eq=False)
class Follow:
    """One stream that is being read.

    Attributes:
        stream: Name of the log stream.
        sink: Called with each line, in the order of the stream, on the control loop's thread.
        since: Time in ms of the last line that was handed out.
        seen: Of the lines of that very millisecond, the IDs, or the texts where there are none.
        exists: It has been read once.
        ends_at: When reading ends; None while its task is live.
        done: Set when everything has been handed out.
    """

    stream: str
    sink: Callable[[str], None]
    since: int
    seen: set[str] = field(default_factory=set)
    exists: bool = False
    ends_at: float | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Output:
    """Follows log streams; lives on the control loop."""

    def __init__(self, api: OutputApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._groups: dict[str, list[Follow]] = {}
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._may_filter = True

    def follow(self, group: str, stream: str, sink: Callable[[str], None]) -> Follow:
        """Hand every line of a stream to a sink, from now on."""
        follow = Follow(stream, sink, int(time.time() * 1000) - _CLOCK_SKEW_MS)
        self._groups.setdefault(group, []).append(follow)
        if group not in self._readers:
            self._readers[group] = asyncio.create_task(self._read_until_done(group))
        return follow

    async def finish(self, follow: Follow) -> None:
        """Return when the tail of a stream has been handed out, its container having ended."""
        follow.ends_at = self._clock.now() + TAIL_SECONDS
        await follow.done.wait()

    def abandon(self, follow: Follow) -> None:
        """Stop reading: nobody wants the lines any more."""
        follow.ends_at = float("-inf")

    async def _read_until_done(self, group: str) -> None:
        follows = self._groups[group]
        while follows:
            ending = [
                f for f in follows if f.ends_at is not None and self._clock.now() >= f.ends_at
            ]
            known = [f for f in follows if f.exists] if self._may_filter else []
            for batch in in_batches(known, FILTER_STREAMS_LIMIT):
                await self._read_together(group, batch)
            for follow in [f for f in follows if f not in known]:
                await self._read_alone(group, follow)
            for follow in ending:
                follows.remove(follow)
                follow.done.set()
            if follows:
                await self._clock.wait(READ_SECONDS)
        del self._groups[group], self._readers[group]

    async def _read_together(self, group: str, follows: Sequence[Follow]) -> None:
        by_name = {follow.stream: follow for follow in follows}
        start = min(follow.since for follow in follows)
        token: str | None = None
        while True:
            await self._clock.wait(CALL_SECONDS)
            try:
                page = await self._api.filter_log_events(group, list(by_name), start, token)
            except Fault as fault:
                if fault.kind not in PASSING:
                    # Denied, or a stream was deleted: read each by itself from now on.
                    self._may_filter = fault.kind is Kind.NO_STREAM
                    for follow in follows:
                        follow.exists = False
                return
            for event in page["events"]:
                _hand_out(
                    by_name[event["logStreamName"]],
                    event["timestamp"],
                    event["message"],
                    event["eventId"],
                )
            token = page.get("nextToken")
            if token is None:
                return

    async def _read_alone(self, group: str, follow: Follow) -> None:
        token: str | None = None
        while True:
            await self._clock.wait(CALL_SECONDS)
            try:
                page = await self._api.get_log_events(group, follow.stream, follow.since, token)
            except Fault as fault:
                if fault.kind not in PASSING and fault.kind is not Kind.NO_STREAM:
                    logger.error("Cannot read log stream %s of %s: %s", follow.stream, group, fault)
                return
            follow.exists = True
            for event in page["events"]:
                timestamp, message = event["timestamp"], event["message"]
                _hand_out(follow, timestamp, message, f"{timestamp} {message}")
            if not page["events"] or page.get("nextForwardToken") == token:
                return
            token = page.get("nextForwardToken")


def _hand_out(follow: Follow, timestamp: int, message: str, event_id: str) -> None:
    """Hand out a line that was not handed out before.

    GetLogEvents gives no IDs: a line that it has read is known again by its text.
    """
    if timestamp < follow.since or not follow.seen.isdisjoint((event_id, f"{timestamp} {message}")):
        return
    if timestamp > follow.since:
        follow.since, follow.seen = timestamp, set()
    follow.seen.add(event_id)
    follow.sink(message)
