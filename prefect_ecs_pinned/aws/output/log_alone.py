"""Reads streams of a log group one by one (GetLogEvents), in turns of some pages.

Here are read: streams that may not exist yet, those that have more lines than can be read together
with others', and all where FilterLogEvents does not work. Those whose container has ended come
first.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.output.log_group import Follow, LogGroup, malformed
from prefect_ecs_pinned.core.log_events import Event, Page, read_page

#: Pages (10,000 lines or 1 MB each, API_GetLogEvents) of one turn of a stream: a second at half of
#: the lowest quota.
TURN_PAGES = 5

#: Empty pages in a row that are taken for the end. There may be some where a stream has gaps
#: (API_GetLogEvents); AWS advises to stop after several (boto/boto3#4472).
MOST_EMPTY_PAGES = 20

#: Seconds for which reading a stream is tried again while AWS refuses it.
REFUSED_SECONDS = 120.0

#: Answers that a stream does not exist which end one that has been read before: one is not proof.
ABSENCES = 2


class Alone:
    """Reads the streams of a group that cannot be read together.

    Args:
        group: The group.
        elsewhere: Whether a stream is read together with others.
    """

    def __init__(self, group: LogGroup, elsewhere: Callable[[Follow], bool]) -> None:
        self._group = group
        self._elsewhere = elsewhere

    async def read(self) -> bool:
        """Give every stream a turn; says whether there is more to read immediately."""
        waiting = dict.fromkeys(f for f in self._group.follows if not self._elsewhere(f))
        more = False
        while (follow := self._next(waiting)) is not None:
            if not follow.done.is_set() and not self._elsewhere(follow):
                more = await self._turn(follow) or more
        return more

    def _next(self, waiting: dict[Follow, None]) -> Follow | None:
        """One whose container has ended since its last turn, or the next that has, had no end."""
        urgent = [
            (follow.ends_at, number)
            for number, follow in enumerate(self._group.follows)
            if follow.ends_at is not None
            and follow.read_at < follow.ends_at
            and self._group.may_end(follow)
            and not self._elsewhere(follow)
        ]
        follow = self._group.follows[min(urgent)[1]] if urgent else next(iter(waiting), None)
        if follow is not None:
            waiting.pop(follow, None)
        return follow

    async def _turn(self, follow: Follow) -> bool:
        """Read one stream for some pages; says whether it continues."""
        follow.read_at, follow.in_turn = self._group.clock.now(), True
        try:
            return await self._read(follow, self._group.may_end(follow))
        finally:
            follow.in_turn = False

    async def _read(self, follow: Follow, last: bool) -> bool:
        for _ in range(TURN_PAGES):
            page = await self._page(follow)
            if page is None or follow.done.is_set():
                return False
            await self._group.print([(follow, e) for e in page.events if _is_new(follow, e)])
            # API_GetLogEvents: at the end of the stream, the token that was passed in.
            ended = page.token is None or page.token == follow.token
            follow.token = page.token
            follow.empty = 0 if page.events else follow.empty + 1
            if ended or follow.empty >= MOST_EMPTY_PAGES:
                follow.exists, follow.empty, follow.again = True, 0, Counter()
                if follow.token is None:
                    follow.begin_afresh()
                if last:
                    self._group.end(follow)
                return False
        return True

    async def _page(self, follow: Follow) -> Page | None:
        group = self._group
        await group.quotas.gets.permit()
        asked_at = group.clock.now()
        answer = await group.ask(
            "GetLogEvents",
            lambda: group.api.get_log_events(group.name, follow.stream, follow.since, follow.token),
        )
        if not isinstance(answer, Fault):
            page = read_page(answer, (follow.stream,), "nextForwardToken", follow.since)
            if page is not None:
                follow.was_read, follow.absences, follow.failed_at = True, 0, None
                return page
            answer = malformed("GetLogEvents")
        self._failed(follow, answer, asked_at)
        return None

    def _failed(self, follow: Follow, fault: Fault, asked_at: float) -> None:
        if fault.kind is Kind.NO_STREAM:
            follow.failed_at = None
            self._absent(follow)
            return
        if fault.kind is Kind.THROTTLED:
            self._group.quotas.gets.throttled(asked_at)
        self._group.note_failure([follow])
        if (fault.unknown or not fault.passing) and not follow.done.is_set():
            self._refused(follow, fault)

    def _absent(self, follow: Follow) -> None:
        """Not yet there; or, at the end, it never will be."""
        follow.absences += 1
        follow.begin_afresh()
        if self._group.may_end(follow) and (not follow.was_read or follow.absences >= ABSENCES):
            self._group.end(follow)

    def _refused(self, follow: Follow, fault: Fault) -> None:
        """Try again for a while, unless it is plain that reading is not allowed."""
        now = self._group.clock.now()
        follow.begin_afresh()  # a token that has expired is refused, too
        cannot = f"Cannot read log stream {follow.stream} of {self._group.name}"
        if fault.kind is Kind.DENIED and not follow.was_read:
            self._group.log(logging.ERROR, f"{cannot}: {fault}")
        elif follow.failed_at is not None and now - follow.failed_at >= REFUSED_SECONDS:
            self._group.log(logging.ERROR, f"{cannot} any longer: {fault}")
        else:
            self._group.log_once(logging.WARNING, f"{cannot}, which is repeated: {fault}")
            return
        self._group.end(follow)


def _is_new(follow: Follow, event: Event) -> bool:
    """Whether a line is not one of those that were handed out before this reading began."""
    line = event.at, hash(event.text)
    if follow.again[line] > 0:
        follow.again[line] -= 1
        return False
    return True
