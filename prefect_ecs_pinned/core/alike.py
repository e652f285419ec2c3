"""Small parts of requests that are alike in many: made once, and shared while they are.

A thousand runs that wait hold a thousand requests, and nearly all of their tags and variables are
the same. What is shared is not changed by anybody.
"""

from __future__ import annotations

#: Names for which the last pair is remembered; with more, all are forgotten.
_MOST = 1000


class Pairs:
    """Makes ``{first: name, second: value}``; the last one of each name again if it is the same.

    Args:
        first: Member that holds the name, such as ``key``.
        second: Member that holds the value.
    """

    def __init__(self, first: str, second: str) -> None:
        self._first, self._second = first, second
        self._last: dict[str, dict[str, str]] = {}

    def of(self, name: str, value: str) -> dict[str, str]:
        """The pair; it is not to be changed."""
        last = self._last.get(name)
        if last is not None and last[self._second] == value:
            return last
        if len(self._last) >= _MOST:
            self._last.clear()
        made = {self._first: name, self._second: value}
        self._last[name] = made
        return made


#: API_Tag, and API_KeyValuePair.
TAGS = Pairs("key", "value")
VARIABLES = Pairs("name", "value")
