"""Batched CloudWatch Logs: what a hundred containers print, for one call.

Streams that are known to exist are read together by FilterLogEvents. It refuses the whole call
when a single stream that it names does not exist, and a stream appears when its container first
writes; so a stream is read alone by GetLogEvents until that has worked once. Both go on side by
side, each at its own pace: many new streams keep nobody's lines waiting.

Per stream, lines come in its order, each of them once. After the container has ended its stream
is read once more, late enough for its last lines to have arrived, and until that reading has
worked. What is read twice at the seam of two readings is recognised by its event ID, or by its
text where GetLogEvents, which gives no IDs, has read it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from prefect_ecs_pinned.aws.batching import in_batches
from prefect_ecs_pinned.aws.faults import PASSING, Fault, Kind
from prefect_ecs_pinned.aws.pacing import Pace, Pacer
from prefect_ecs_pinned.aws.ports import Clock, OutputApi

logger = logging.getLogger(__name__)

#: API_FilterLogEvents, "logStreamNames": at most 100.
FILTER_STREAMS_LIMIT = 100

#: Half of the lowest quota of any Region: FilterLogEvents 5/s, GetLogEvents 10/s.
#: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html
FILTER_LOG_EVENTS = Pace(rate=2.5, burst=2.5)
GET_LOG_EVENTS = Pace(rate=5.0, burst=5.0)

#: Seconds between reads of a log group.
READ_SECONDS = 5.0

#: Seconds for which lines that a container wrote last may still arrive after it has stopped.
TAIL_SECONDS = 5.0

#: Seconds for which reading the tail is tried again while AWS does not answer.
TAIL_PATIENCE = 120.0

#: Milliseconds by which a line may arrive later than a newer line of another stream of its group;
#: how far back a stream is read that is quiet while others talk.
LATE_MS = 120_000

#: Milliseconds by which a stream's own clock may be behind this machine's.
_CLOCK_SKEW_MS = 5 * 60 * 1000

#: Called with a line, and whether several streams are being read.
Sink = Callable[[str, bool], None]


@dataclass(eq=False)
class Follow:
    """One stream that is being read.

    Attributes:
        stream: Name of the log stream.
        sink: Called with each line, in the order of the stream, on the control loop's thread.
        since: Time in ms of the last line that was handed out, or from which on to read.
        ids: Event IDs of the lines of that very millisecond.
        texts: Lines of that millisecond that were handed out without an ID, and have not been met
            again.
        handed: How many lines of that millisecond were handed out.
        exists: It has been read once.
        token: Where GetLogEvents goes on.
        ends_at: When its last reading may begin; None while its task is live.
        done: Set when everything has been handed out.
    """

    stream: str
    sink: Sink
    since: int
    ids: set[str] = field(default_factory=set)
    texts: Counter[str] = field(default_factory=Counter)
    handed: int = 0
    exists: bool = False
    token: str | None = None
    ends_at: float | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def move_up(self, since: int) -> None:
        """Read from a later time on."""
        if since > self.since:
            self.since, self.ids, self.texts, self.handed = since, set(), Counter(), 0


class Output:
    """Follows log streams; lives on the control loop.

    Args:
        api: The calls.
        clock: Time.
        epoch: Seconds since the epoch.
    """

    def __init__(
        self, api: OutputApi, clock: Clock, epoch: Callable[[], float] = time.time
    ) -> None:
        self._api = api
        self._clock = clock
        self._epoch = epoch
        self._groups: dict[str, list[Follow]] = {}
        self._readers: set[asyncio.Task[None]] = set()
        self._filters = Pacer(FILTER_LOG_EVENTS, clock, probing=False)
        self._gets = Pacer(GET_LOG_EVENTS, clock, probing=False)
        self._may_filter = True

    def follow(self, group: str, stream: str, sink: Sink) -> Follow:
        """Hand every line of a stream to a sink, from now on."""
        follow = Follow(stream, sink, int(self._epoch() * 1000) - _CLOCK_SKEW_MS)
        if group not in self._groups:
            self._groups[group] = []
            for read in (self._read_known, self._read_new):
                reader = asyncio.create_task(self._until_done(group, read))
                self._readers.add(reader)
                reader.add_done_callback(self._readers.discard)
        self._groups[group].append(follow)
        return follow

    async def finish(self, follow: Follow) -> None:
        """Return when the tail of a stream has been handed out, its container having ended."""
        if follow.ends_at is None:
            follow.ends_at = self._clock.now() + TAIL_SECONDS
        await follow.done.wait()

    def abandon(self, follow: Follow) -> None:
        """Stop reading: nobody wants the lines any more."""
        follow.done.set()
        for follows in self._groups.values():
            if follow in follows:
                follows.remove(follow)

    def following(self) -> int:
        """How many streams are being read."""
        return sum(map(len, self._groups.values()))

    async def _until_done(
        self, group: str, read: Callable[[str, list[Follow]], Awaitable[None]]
    ) -> None:
        follows = self._groups[group]
        while follows:
            await read(group, follows)
            if follows:
                await self._clock.wait(READ_SECONDS)
        if self._groups.get(group) is follows:
            del self._groups[group]

    async def _read_known(self, group: str, follows: list[Follow]) -> None:
        known = sorted((f for f in follows if self._together(f)), key=lambda f: f.since)
        for batch in in_batches(known, FILTER_STREAMS_LIMIT):
            ending = self._ending(batch)
            if await self._read_together(group, batch):
                self._end(follows, ending)

    async def _read_new(self, group: str, follows: list[Follow]) -> None:
        for follow in [f for f in follows if not self._together(f)]:
            ending = self._ending([follow])
            if await self._read_alone(group, follow):
                self._end(follows, ending)

    def _together(self, follow: Follow) -> bool:
        return self._may_filter and follow.exists

    def _ending(self, follows: Sequence[Follow]) -> list[Follow]:
        """Those for which a reading that begins now is the last."""
        now = self._clock.now()
        return [f for f in follows if f.ends_at is not None and now >= f.ends_at]

    def _end(self, follows: list[Follow], ending: Sequence[Follow]) -> None:
        for follow in ending:
            if follow in follows:
                follows.remove(follow)
            follow.done.set()

    async def _read_together(self, group: str, follows: Sequence[Follow]) -> bool:
        """Read up to a hundred streams; say whether all there was has been read."""
        by_name = {follow.stream: follow for follow in follows}
        start = min(follow.since for follow in follows)
        newest, token = start, None
        while True:
            await self._filters.permit()
            asked_at = self._clock.now()
            try:
                page = await self._api.filter_log_events(group, list(by_name), start, token)
            except Fault as fault:
                self._failed_together(fault, follows, asked_at)
                self._end_hopeless(group, follows)
                return False
            for event in page["events"]:
                newest = max(newest, event["timestamp"])
                follow = by_name.get(event["logStreamName"])
                if follow is not None:
                    self._hand_out(follow, event["timestamp"], event["message"], event["eventId"])
            token = page.get("nextToken")
            if token is None:
                break
        for follow in follows:
            follow.move_up(newest - LATE_MS)
        return True

    def _failed_together(self, fault: Fault, follows: Sequence[Follow], asked_at: float) -> None:
        if fault.kind is Kind.THROTTLED:
            self._filters.throttled(asked_at)
        elif fault.kind is Kind.NO_STREAM:
            for follow in follows:  # one was deleted: read each alone once more
                follow.exists, follow.token = False, None
        elif fault.kind not in PASSING:
            self._may_filter = False
            logger.warning(
                "Cannot read log streams together, they are read one by one: %s. Allow "
                "logs:FilterLogEvents to make fewer calls",
                fault,
            )

    async def _read_alone(self, group: str, follow: Follow) -> bool:
        """Read one stream; say whether all there was has been read, or nothing ever will be."""
        met_again = follow.handed if follow.token is None else 0
        while not follow.done.is_set():
            await self._gets.permit()
            asked_at = self._clock.now()
            before = follow.token
            try:
                page = await self._api.get_log_events(group, follow.stream, follow.since, before)
            except Fault as fault:
                return self._failed_alone(group, follow, fault, asked_at)
            follow.exists = True
            for event in page["events"]:
                if event["timestamp"] == follow.since and met_again > 0:
                    met_again -= 1
                else:
                    self._hand_out(follow, event["timestamp"], event["message"], None)
            follow.token = page.get("nextForwardToken")
            # API_GetLogEvents: at the end of the stream, the token that was passed in.
            if follow.token is None or follow.token == before:
                break
        return True

    def _failed_alone(self, group: str, follow: Follow, fault: Fault, asked_at: float) -> bool:
        if fault.kind is Kind.NO_STREAM:
            return True  # not yet; or, at the end, it never will be
        if fault.kind is Kind.THROTTLED:
            self._gets.throttled(asked_at)
        if fault.kind in PASSING:
            self._end_hopeless(group, [follow])
            return False
        logger.error("Cannot read log stream %s of %s: %s", follow.stream, group, fault)
        self._end(self._groups[group], [follow])
        return True

    def _end_hopeless(self, group: str, follows: Sequence[Follow]) -> None:
        """End those whose tail has been tried for long enough."""
        long_ago = self._clock.now() - TAIL_PATIENCE
        hopeless = [f for f in follows if f.ends_at is not None and f.ends_at < long_ago]
        for follow in hopeless:
            logger.warning("The last lines of log stream %s could not be read", follow.stream)
        self._end(self._groups[group], hopeless)

    def _hand_out(self, follow: Follow, at: int, text: str, event_id: str | None) -> None:
        """Hand out a line, unless it was handed out before."""
        if at < follow.since or follow.done.is_set() or event_id in follow.ids:
            return
        if at > follow.since:
            follow.move_up(at)
        elif event_id is not None and follow.texts[text] > 0:
            follow.texts[text] -= 1  # GetLogEvents has read it, which gives no ID
            follow.ids.add(event_id)
            return
        if event_id is not None:
            follow.ids.add(event_id)
        else:
            follow.texts[text] += 1
        follow.handed += 1
        follow.sink(text, self.following() > 1)
