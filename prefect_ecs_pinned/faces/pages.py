"""Pages of Prefect's API, as long as its server allows.

A server refuses a ``limit`` above its own ``PREFECT_API_DEFAULT_LIMIT`` (prefect 2.20,
``server/api/dependencies.py``, `LimitBody`); it cannot be asked for that setting.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from prefect.settings import PREFECT_API_URL
from pydantic import ValidationError
from pydantic.v1 import ValidationError as ValidationErrorV1

from prefect_ecs_pinned.errors import PinnedECSError, Unavailable

K = TypeVar("K")
T = TypeVar("T")

#: Prefect's default for PREFECT_API_DEFAULT_LIMIT, and the longest page that is asked for.
LONGEST_PAGE = 200

#: Full pages in a row that bring nothing new. A list that grows while it is read shows some of its
#: members twice; a server that ignores ``offset`` shows a page of them forever.
_STALE_PAGES = 3

#: PREFECT_API_URL (None is the ephemeral API) -> longest page that it allows, if it is shorter.
#: Guarded by `_lock`, since each event loop may run in a thread of its own.
_learned: dict[str | None, int] = {}
_lock = threading.Lock()

# {"detail":"Invalid limit: must be less than or equal to 50."}
_MAXIMUM = re.compile(r"less than or equal to (\d{1,9})\b")

# {"exception_message":"Invalid request received.","exception_detail":[{"loc":["body","sort"], ...
_ANOTHER_REASON = "exception_detail"


def page_limit() -> int:
    """The longest page that the server of PREFECT_API_URL is known to allow."""
    with _lock:
        return _learned.get(PREFECT_API_URL.value(), LONGEST_PAGE)


async def within_limit(call: Callable[[int], Awaitable[T]]) -> T:
    """Make a call with the largest ``limit`` that the server allows, and remember that.

    Args:
        call: Makes the call with a limit.

    Raises:
        httpx.HTTPStatusError: The server refuses whatever the limit is, or for another reason.
    """
    limit, refused = page_limit(), False
    while True:
        try:
            answer = await call(limit)
        except httpx.HTTPStatusError as error:
            smaller = _smaller(limit, error.response)
            if smaller is None:
                raise
            limit, refused = smaller, True
        else:
            if refused:
                _learn(limit)
            return answer


def _smaller(limit: int, answer: httpx.Response) -> int | None:
    """The limit that a refusal names; half of the last one if it names none.

    None when the limit is not what the server refuses.
    """
    if answer.status_code != httpx.codes.UNPROCESSABLE_ENTITY or limit == 1:
        return None
    named = _MAXIMUM.search(answer.text)
    if named and int(named[1]) < limit:
        return max(1, int(named[1]))
    return None if _ANOTHER_REASON in answer.text else limit // 2


def _learn(limit: int) -> None:
    with _lock:
        url = PREFECT_API_URL.value()
        _learned[url] = min(limit, _learned.get(url, limit))


async def for_all(
    ids: Sequence[K], read: Callable[[Sequence[K], int], Awaitable[Sequence[T]]]
) -> list[T]:
    """What is known of many ids, in as few calls as the server allows.

    Args:
        ids: The ids.
        read: Reads what is known of some ids, with a limit of at least their number.
    """
    found: list[T] = []
    start = 0
    while start < len(ids):
        asked = 0

        async def read_some(limit: int) -> Sequence[T]:
            nonlocal asked
            some = ids[start : start + limit]  # noqa: B023 - it is awaited right here
            asked = len(some)
            return await read(some, limit)

        found += await within_limit(read_some)
        start += asked
    return found


async def all_pages(read: Callable[..., Awaitable[Sequence[T]]]) -> list[T]:
    """A whole list, each member once.

    A page is not the last because it is short: a server, or a proxy before it, may give less
    than it was asked for. The last is one that is short and brings nothing new.

    Args:
        read: Reads a page, given ``limit`` and ``offset``. What it returns has an ``id``.

    Raises:
        Unavailable: An answer is not a page of such things, or the same page comes again and again.
    """
    found: dict[Any, T] = {}
    offset = stale = asked = 0

    async def read_page(limit: int) -> Sequence[T]:
        nonlocal asked
        asked = limit
        return await read(limit=limit, offset=offset)

    while stale < _STALE_PAGES:
        before = len(found)
        with readable():
            page = await within_limit(read_page)
        found.update((_id_of(member), member) for member in page)
        stale = 0 if len(found) > before else stale + 1
        if stale and len(page) < asked:
            return list(found.values())
        offset += len(page)
    raise _odd("it returns the same page again and again")


def _id_of(member: Any) -> Any:
    """Its ID, as the server gave it: Prefect's models make up one that lacks."""
    # The first is pydantic 2's; models of Prefect 2 are of pydantic 1.
    name = "model_fields_set" if hasattr(member, "model_fields_set") else "__fields_set__"
    if "id" not in getattr(member, name, ("id",)):
        raise _odd("an answer is not in Prefect's format: something without an ID")
    return member.id


@contextmanager
def readable() -> Iterator[None]:
    """For calls of Prefect's client: an answer that it can not take is an error with a hint.

    Raises:
        Unavailable: So it is.
    """
    try:
        yield
    except (json.JSONDecodeError, ValidationError, ValidationErrorV1) as error:
        raise _odd(f"an answer is not in Prefect's format: {type(error).__name__}") from None


def _odd(why: str) -> PinnedECSError:
    hint = "check PREFECT_API_URL, and the network and proxies up to it"
    return Unavailable("cannot read the Prefect API", why, hint)
