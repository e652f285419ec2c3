"""The clocks of other machines, and their times on the clock of this command.

Three clocks meet in a command: this machine's, the Prefect server's, and AWS's. None is known to be
right, so a time of one is never compared with a time of another unchanged. Each server states
its own time with every answer; that is one reading of its clock. What a clock reads, less what ours
reads, lies between two bounds; moved by these, its times become intervals on our clock. A question
such as "is it older than a minute?" is then asked of the end of the interval that makes it harder
to say yes. A clock that is wrong by a day, as long as it is by the same day when it stamps and when
it is read, moves nothing.

Our own clock is the one that the system cannot set: what has passed since this process started.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

#: What an HTTP Date may lag behind: it has whole seconds (RFC 9110, 5.6.7), and servers such as
#: uvicorn renew it once a second.
DATE_GRAIN = timedelta(seconds=2)

_STARTED = datetime.now(timezone.utc), time.monotonic()


def steady_now() -> datetime:
    """When this process started, and what has passed since; nobody can set it meanwhile."""
    at, mark = _STARTED
    return at + timedelta(seconds=time.monotonic() - mark)


class Moment(NamedTuple):
    """A time of another clock, on ours: it was within these bounds."""

    earliest: datetime
    latest: datetime

    @classmethod
    def at(cls, time: datetime) -> Moment:
        """A time that is known exactly."""
        return cls(time, time)


class Clock:
    """The clock of a server, known from its readings.

    Readings that contradict each other widen the bounds: the clock was set meanwhile, or several
    machines with clocks of their own answer.
    """

    def __init__(self) -> None:
        self._ahead: tuple[timedelta, timedelta] | None = None

    @property
    def known(self) -> bool:
        """There was a reading."""
        return self._ahead is not None

    def read(
        self,
        at: datetime,
        asked: datetime,
        answered: datetime,
        grain: timedelta = timedelta(),
    ) -> None:
        """Add a reading.

        Args:
            at: What the clock showed.
            asked: When it was asked, on our clock.
            answered: When the answer was there, on our clock.
            grain: What ``at`` may lag behind what the clock really showed.
        """
        least, most = at - answered, at + grain - asked
        if self._ahead is not None:
            least, most = min(least, self._ahead[0]), max(most, self._ahead[1])
        self._ahead = least, most

    def ours(self, stamp: datetime) -> Moment:
        """A time that this clock has stamped, on our clock. There has to be a reading."""
        assert self._ahead is not None
        least, most = self._ahead
        return Moment(stamp - most, stamp - least)


def http_date(headers: Mapping[str, str]) -> datetime | None:
    """The ``Date`` of an HTTP answer; None when it does not have one that can be read."""
    try:
        date = parsedate_to_datetime(headers["date"])
    except (KeyError, TypeError, ValueError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)


def date_of(answer: Mapping[str, Any]) -> datetime | None:
    """The ``Date`` of a parsed answer of AWS; None when it does not have one."""
    return http_date((answer.get("ResponseMetadata") or {}).get("HTTPHeaders") or {})
