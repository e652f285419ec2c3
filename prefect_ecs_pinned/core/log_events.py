"""Log events as CloudWatch answers them, and which of them were handed out before.

Nothing that an answer holds, or lacks, raises: an event that cannot be read is left out, a page
that cannot be read is None.

Sources: API_FilteredLogEvent, API_OutputLogEvent, API_FilterLogEvents, API_GetLogEvents of
https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

#: Lines of a stream that are remembered, in addition to those of its newest millisecond: how many
#: newer lines a line may come behind, over all readings, and still be distinguished from one that
#: was read.
REMEMBERED_LINES = 100

#: Lines of one millisecond that are remembered at most. Two pages (API_FilterLogEvents, "limit").
MOST_LINES = 20_000


class Event(NamedTuple):
    """One line.

    Attributes:
        at: When it was written, in ms since the epoch.
        text: The line.
        id: CloudWatch's ID of it; None from GetLogEvents, which gives none.
        stream: The log stream.
    """

    at: int
    text: str
    id: str | None
    stream: str


class Page(NamedTuple):
    """One answer: its events, the oldest first, and the token of the next; None at the end."""

    events: list[Event]
    token: str | None


def read_page(answer: Any, streams: Collection[str], token: str, since: int) -> Page | None:
    """Read an answer of FilterLogEvents or GetLogEvents.

    Events of other streams than those that were asked for are left out, and so are events without
    a message. One without a time has that of the event before it. Events that are not in the order
    of their times are put in order.

    Args:
        answer: What botocore returned.
        streams: The streams that were asked for.
        token: The member with the token, ``nextToken`` or ``nextForwardToken``.
        since: The time in ms that was asked for.

    Returns:
        None when it is not an answer to the question: a proxy's page, or one that was cut short.
    """
    events = answer.get("events") if isinstance(answer, Mapping) else None
    if not isinstance(events, list | tuple):
        return None
    only = next(iter(streams)) if len(streams) == 1 else None
    read: list[Event] = []
    at = since
    for event in events:
        if not isinstance(event, Mapping):
            continue
        at = _time(event.get("timestamp"), at)
        stream, text = event.get("logStreamName", only), _text(event.get("message"))
        if isinstance(stream, str) and stream in streams and text is not None:
            read.append(Event(at, text, _name(event.get("eventId")), stream))
    read.sort(key=lambda event: event.at)
    return Page(read, _name(answer.get(token)))


def _time(value: Any, otherwise: int) -> int:
    if isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) < 20:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return max(0, int(value))
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


@dataclass(slots=True)
class _Line:
    at: int
    text: int  # its hash
    id: str | None


class Seen:
    """Which lines of one stream were handed out, as far as they may be met again.

    A line with an ID is recognised by it. GetLogEvents gives none: a line that it has read is
    recognised by time and text when FilterLogEvents reads it. The newest `REMEMBERED_LINES` are
    remembered, and all of the newest millisecond; what is older than the memory counts as seen.

    Args:
        since: Time in ms from which on lines are needed.
    """

    def __init__(self, since: int) -> None:
        self.newest = since
        self._floor = since
        self._lines: deque[_Line] = deque()
        self._ids: set[str] = set()
        self._nameless: dict[tuple[int, int], deque[_Line]] = {}

    def add(self, event: Event) -> bool:
        """Remember a line; whether it was not seen before."""
        if event.at < self._floor or event.id in self._ids:
            return False
        key = event.at, hash(event.text)
        if event.id is not None:
            if key in self._nameless:  # GetLogEvents has read it
                self._identify(key, event.id)
                return False
            self._ids.add(event.id)
        line = _Line(*key, event.id)
        self._lines.append(line)
        if event.id is None:
            self._nameless.setdefault(key, deque()).append(line)
        self.newest = max(self.newest, event.at)
        self._forget()
        return True

    def again(self) -> Counter[tuple[int, int]]:
        """Time and hash of the text of the lines that a new reading without IDs may meet again."""
        return Counter((line.at, line.text) for line in self._lines)

    def _identify(self, key: tuple[int, int], id_: str) -> None:
        line = self._take_nameless(key)
        line.id = id_
        self._ids.add(id_)

    def _take_nameless(self, key: tuple[int, int]) -> _Line:
        lines = self._nameless[key]
        line = lines.popleft()
        if not lines:
            del self._nameless[key]
        return line

    def _forget(self) -> None:
        while len(self._lines) > REMEMBERED_LINES:
            line = self._lines[0]
            if line.at >= self.newest and len(self._lines) <= MOST_LINES:
                break
            self._lines.popleft()
            if line.id is not None:
                self._ids.discard(line.id)
            else:
                self._take_nameless((line.at, line.text))
            if line.at < self.newest:
                self._floor = max(self._floor, line.at + 1)
