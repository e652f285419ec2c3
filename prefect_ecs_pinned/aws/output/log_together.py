"""Reads the known streams of a log group together, up to a hundred a call (FilterLogEvents).

A turn of such a batch is no longer than some pages and seconds. One that ends before all was read
has the streams with the most lines read alone from then on, where a token stores the position. So
each such turn leaves fewer for the next, and the quiet ones end.

Streams that may not exist yet are tried together, too, when they are first followed and when their
container has ended: two calls instead of two hundred where all have written, as short runs have.
For one that does not exist the whole call is refused. Then each half is tried, by a bounded number
of calls, while the other reader continues with the other streams.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.loop.bounded import in_batches
from prefect_ecs_pinned.aws.output.log_group import Follow, LogGroup, malformed
from prefect_ecs_pinned.core.log_events import Page, read_page

#: API_FilterLogEvents, "logStreamNames": at most 100.
FILTER_STREAMS_LIMIT = 100

#: Pages (10,000 lines or 1 MB each, API_FilterLogEvents) and seconds of one turn of a batch: 8 s at
#: half of the lowest quota.
TURN_PAGES = 20
TURN_SECONDS = 30.0

#: Seconds for which streams are read alone when they cannot be read together, and failures in a
#: row, throttles apart, after which that is so.
APART_SECONDS = 300.0
MOST_FAILURES = 6

#: Milliseconds by which a line may arrive later than a newer line of another stream of its group.
#: A stream without new lines is read so far back while others have some.
LATE_MS = 120_000

#: Milliseconds since its last line after which a stream is read with other quiet ones. Those with
#: new lines are read from close to their last lines, not from the position of a quiet one.
QUIET_MS = 15_000


#: The least streams that are tried together before it is known that they exist, and for how many
#: of them there may be one call. It takes the time of two GetLogEvents, which one stream needs.
LEAST_GUESSED = 4
GUESSED_PER_CALL = 4


class Together:
    """Reads the known streams of a group.

    Args:
        group: The group; its other streams are read by `log_alone.Alone`.
    """

    def __init__(self, group: LogGroup) -> None:
        self._group = group
        self._apart_until = float("-inf")
        self._failures = 0

    def reads(self, follow: Follow) -> bool:
        """Whether a stream is read here."""
        if follow.guessed:
            return True
        return follow.exists and not (follow.loud or follow.in_turn or self._apart())

    async def read(self) -> bool:
        """Give all known streams a turn; says whether there is more to read immediately."""
        for batch in self._batches():
            live = [follow for follow in batch if not follow.done.is_set()]
            if live:
                await self._turn(live)
        await self._guess([follow for follow in self._group.follows if self._may_guess(follow)])
        return False

    def _apart(self) -> bool:
        return self._group.clock.now() < self._apart_until

    # -- those that may not exist ----------------------------------------------------------------

    def _may_guess(self, follow: Follow) -> bool:
        """Whether a stream is to be tried: at first, and again when its container has ended."""
        if follow.exists or follow.loud or follow.in_turn or self._apart():
            return False
        before = follow.guessed_at
        return before == float("-inf") or (
            follow.ends_at is not None and before < follow.ends_at and self._group.may_end(follow)
        )

    async def _guess(self, follows: Sequence[Follow]) -> None:
        """Read streams as if they existed; those for which that fails are read alone."""
        if len(follows) < LEAST_GUESSED:
            return
        for follow in follows:
            follow.guessed_at = self._group.clock.now()
        for batch in in_batches(follows, FILTER_STREAMS_LIMIT):
            parts: list[Sequence[Follow]] = [batch]
            calls = max(1, len(batch) // GUESSED_PER_CALL)
            while parts and calls > 0 and not self._apart():
                part = [f for f in parts.pop() if not (f.exists or f.in_turn or f.done.is_set())]
                if not part:
                    continue
                calls -= 1
                if (refused := await self._guess_part(part)) is None:
                    continue
                if refused.kind is not Kind.NO_STREAM:
                    return
                middle = len(part) // 2
                parts += [half for half in (part[middle:], part[:middle]) if middle and half]

    async def _guess_part(self, part: Sequence[Follow]) -> Fault | None:
        """Try one call's streams, which are read by nobody else meanwhile."""
        for follow in part:
            follow.guessed = True
        try:
            refused = await self._turn(part)
        finally:
            for follow in part:
                follow.guessed = False
        if refused is None:
            for follow in part:
                follow.exists, follow.was_read, follow.absences = True, True, 0
        return refused

    # -- those that do ---------------------------------------------------------------------------

    def _batches(self) -> list[Sequence[Follow]]:
        known = sorted(filter(self.reads, self._group.follows), key=lambda f: f.since)
        if not known:
            return []
        talks_since = known[-1].since - QUIET_MS
        quiet = [follow for follow in known if follow.since < talks_since]
        talking = known[len(quiet) :]
        return [
            *in_batches(quiet, FILTER_STREAMS_LIMIT),
            *in_batches(talking, FILTER_STREAMS_LIMIT),
        ]

    async def _turn(self, batch: Sequence[Follow]) -> Fault | None:
        """Read streams for some pages; returns why there was no page."""
        group = self._group
        ending = [follow for follow in batch if group.may_end(follow)]
        until, newest = group.clock.now() + TURN_SECONDS, group.newest
        streams = {follow.stream: follow for follow in batch}
        start = min(follow.since for follow in batch)
        lines: Counter[Follow] = Counter()
        token: str | None = None
        for _ in range(TURN_PAGES):
            page = await self._page(streams, start, token)
            if isinstance(page, Fault):
                return page
            lines.update(streams[event.stream] for event in page.events)
            await group.print([(streams[event.stream], event) for event in page.events])
            # boto/boto3#1584: the same token may come several times in a row before others do.
            token = page.token
            if token is None:
                self._move_up(batch, newest)
                for follow in ending:
                    group.end(follow)
                return None
            if group.clock.now() > until:
                break
        self._part(lines)
        return None

    def _move_up(self, batch: Sequence[Follow], newest: int) -> None:
        """Read from a later time on where others have talked, as of when the turn began."""
        late = min(newest, self._group.now_ms()) - LATE_MS
        for follow in batch:
            follow.since = max(follow.since, late)

    def _part(self, lines: Counter[Follow]) -> None:
        """Have those read alone that had half of the lines of a turn without an end."""
        if not lines:
            self._read_apart("pages without events and without an end")
        half = sum(lines.values()) / 2
        for follow, count in lines.most_common():
            if half <= 0:
                break
            follow.loud = True
            follow.begin_afresh()
            half -= count

    async def _page(
        self, streams: Mapping[str, Follow], start: int, token: str | None
    ) -> Page | Fault:
        group = self._group
        await group.quotas.filters.permit()
        asked_at = group.clock.now()
        answer = await group.ask(
            "FilterLogEvents",
            lambda: group.api.filter_log_events(group.name, list(streams), start, token),
        )
        if not isinstance(answer, Fault):
            page = read_page(answer, streams, "nextToken", start)
            if page is not None:
                self._failures = 0
                for follow in streams.values():
                    follow.failed_at = None
                return page
            answer = malformed("FilterLogEvents")
        self._failed(answer, list(streams.values()), asked_at)
        return answer

    def _failed(self, fault: Fault, batch: Sequence[Follow], asked_at: float) -> None:
        if fault.kind is Kind.NO_STREAM:
            for follow in batch:  # one was deleted: read each alone again
                follow.exists = False
                follow.begin_afresh()
            return
        if fault.kind is Kind.THROTTLED:
            self._group.quotas.filters.throttled(asked_at)
        else:
            self._failures += 1
        if not fault.passing or self._failures >= MOST_FAILURES:
            self._read_apart(str(fault))
        else:
            self._group.note_failure(batch)

    def _read_apart(self, why: str) -> None:
        """Have all streams read alone for a while."""
        for follow in filter(self.reads, self._group.follows):
            follow.begin_afresh()
        self._failures = 0
        self._apart_until = self._group.clock.now() + APART_SECONDS
        self._group.log_once(
            logging.WARNING,
            f"Cannot read log streams of {self._group.name} together, they are read one by one: "
            f"{why}. Allow logs:FilterLogEvents to make fewer calls",
        )
