"""Batched CloudWatch Logs: what a hundred containers print, for one call.

Read `Output`; a log group is read by `log_together.Together` (FilterLogEvents) and
`log_alone.Alone` (GetLogEvents), side by side.

Per stream, lines come in its order, each of them once. After the container has ended its stream
is read again, late enough for its last lines to have arrived, and until that reading has
worked. What is read twice at the seam of two readings is recognised by its event ID, or by its
text where GetLogEvents, which gives no IDs, has read it (`core.log_events.Seen`).

`finish` returns, whatever the sink and CloudWatch do: a clock ends it that depends on neither.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

from prefect_ecs_pinned.aws.calls.ports import Clock, OutputApi
from prefect_ecs_pinned.aws.output.log_alone import Alone
from prefect_ecs_pinned.aws.output.log_group import Follow, LogGroup, Quotas, Sink
from prefect_ecs_pinned.aws.output.log_together import FILTER_STREAMS_LIMIT, LATE_MS, Together
from prefect_ecs_pinned.core.log_events import Event, Seen

__all__ = ["FILTER_STREAMS_LIMIT", "LATE_MS", "Follow", "Output", "Sink"]

#: Seconds between reads of a log group.
READ_SECONDS = 5.0

#: Seconds for which lines that a container wrote last may still arrive after it has stopped.
TAIL_SECONDS = 5.0

#: Seconds after which `finish` returns although the tail has not been read to its end. Where 1,000
#: streams end together, and FilterLogEvents is not allowed, each needs two calls: 400 s.
TAIL_DEADLINE = 480.0

#: Regions whose paces are remembered.
_MOST_REGIONS = 16

#: Milliseconds by which a stream's own clock may be behind this machine's. AWS refuses calls of a
#: machine whose clock is further off.
_CLOCK_SKEW_MS = 5 * 60 * 1000


class Output:
    """Follows log streams; lives on the control loop.

    Args:
        api: The calls.
        clock: Time.
        epoch: Seconds since the epoch.
        in_region: The calls to another Region.
    """

    def __init__(
        self,
        api: OutputApi,
        clock: Clock,
        epoch: Callable[[], float] = time.time,
        in_region: Callable[[str], OutputApi] | None = None,
    ) -> None:
        self._api = api
        self._clock = clock
        self._epoch = epoch
        self._in_region = in_region
        self._regions: dict[str, Quotas] = {}
        self._groups: dict[tuple[str, str], LogGroup] = {}
        self._readers: set[asyncio.Task[None]] = set()

    def follow(self, group: str, stream: str, sink: Sink, region: str = "") -> Follow:
        """Hand every line of a stream to a sink, from now on.

        Args:
            group: Name of the log group.
            stream: Name of the log stream, which need not exist yet.
            sink: See `Follow.sink`.
            region: The Region of the log group, where that is not the one of the calls.
        """
        key = region, group
        reading = self._groups.get(key)
        if reading is None:
            reading = self._groups[key] = self._new_group(group, region)
            self._start_reading(key)
        since = self._now_ms() - _CLOCK_SKEW_MS
        follow = Follow(reading, stream, sink, since, Seen(since))
        reading.follows.append(follow)
        return follow

    async def finish(self, follow: Follow) -> None:
        """Return when the tail of a stream has been handed out, its container having ended.

        Returns after `TAIL_DEADLINE` in any case, with a WARNING that output was cut.
        """
        if follow.ends_at is None:
            follow.ends_at = self._clock.now() + TAIL_SECONDS
        cutting = asyncio.create_task(self._cut_off(follow))
        try:
            await follow.done.wait()
        finally:
            cutting.cancel()

    def abandon(self, follow: Follow) -> None:
        """Stop reading: nobody needs the lines any more."""
        follow.group.end(follow)

    def following(self) -> int:
        """How many streams are being read."""
        return sum(len(group.follows) for group in self._groups.values())

    async def _cut_off(self, follow: Follow) -> None:
        await self._clock.wait(TAIL_DEADLINE)
        if not follow.done.is_set():
            follow.group.log(
                logging.WARNING,
                f"Output was cut: log stream {follow.stream} of {follow.group.name} could not be "
                f"read to its end in {TAIL_DEADLINE:.0f} s",
            )
            follow.group.end(follow)

    def _now_ms(self) -> int:
        return int(self._epoch() * 1000)

    # -- reading -----------------------------------------------------------------------------

    def _new_group(self, name: str, region: str) -> LogGroup:
        quotas = self._regions.pop(region, None) or Quotas(self._clock)
        self._regions[region] = quotas  # the last that was asked for
        while len(self._regions) > _MOST_REGIONS:
            del self._regions[next(iter(self._regions))]
        api = self._in_region(region) if region and self._in_region is not None else self._api
        return LogGroup(name, api, quotas, self._clock, self._now_ms, self._hand_out)

    def _start_reading(self, key: tuple[str, str]) -> None:
        group = self._groups[key]
        together = Together(group)
        for read in (together.read, Alone(group, together.reads).read):
            reader = asyncio.create_task(self._keep_reading(key, group, read))
            self._readers.add(reader)
            reader.add_done_callback(partial(self._has_ended, key, group))

    async def _keep_reading(
        self, key: tuple[str, str], group: LogGroup, read: Callable[[], Awaitable[bool]]
    ) -> None:
        while group.follows:
            more = False
            try:
                more = await read()
            except Exception as error:  # noqa: BLE001 - read again, and said
                name = type(error).__name__
                text = f"Reading log group {group.name} has failed, and is repeated: {name}"
                group.log_once(logging.WARNING, text)
            if group.follows and not more:
                await self._clock.wait(READ_SECONDS)
        self._let_go(key, group)  # immediately: the next stream begins with its own reader

    def _has_ended(self, key: tuple[str, str], group: LogGroup, reader: asyncio.Task[None]) -> None:
        """Leave nobody waiting for a reader that was cancelled."""
        self._readers.discard(reader)
        if reader.cancelled() or reader.exception() is not None:
            self._let_go(key, group)

    def _let_go(self, key: tuple[str, str], group: LogGroup) -> None:
        for follow in list(group.follows):
            group.end(follow)
        if self._groups.get(key) is group:
            del self._groups[key]

    def _hand_out(self, follow: Follow, event: Event) -> None:
        """Hand out a line, unless it was handed out before."""
        if follow.done.is_set() or not follow.seen.add(event):
            return
        # Not from later than now on: a line from the future does not hide those of the present.
        follow.since = max(follow.since, min(event.at, self._now_ms()))
        try:
            follow.sink(event.text, self._several())
        except BaseException as error:  # noqa: BLE001 - a sink's own: nothing is awaited here
            if not follow.broken:
                follow.group.log(
                    logging.WARNING,
                    f"Lines of log stream {follow.stream} could not be printed: "
                    f"{type(error).__name__}: {error}",
                )
            follow.broken = True

    def _several(self) -> bool:
        """Whether more than one stream is being read."""
        count = 0
        for group in self._groups.values():
            count += len(group.follows)
            if count > 1:
                return True
        return False
