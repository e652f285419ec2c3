"""Pages of Prefect's API: the server's limit is learned, and nothing on them is overlooked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_ecs_pinned.errors import Unavailable
from prefect_ecs_pinned.faces import pages
from prefect_ecs_pinned.faces.pages import LONGEST_PAGE, all_pages, for_all, page_limit

SAYS = '{"detail":"Invalid limit: must be less than or equal to %d."}'


@dataclass(frozen=True)
class Member:
    id: int


class Server:
    """A server with a limit, whose refusals and pages may be odd."""

    def __init__(self, limit: int, members: int = 0, refusal: str = SAYS, status: int = 422):
        self.limit = limit
        self.members = [Member(n) for n in range(members)]
        self.refusal = refusal % limit if "%d" in refusal else refusal
        self.status = status
        self.calls: list[int] = []
        self.cut: Callable[[list[Member]], list[Member]] = lambda page: page

    async def read(self, *, limit: int, offset: int) -> Sequence[Member]:
        self._check(limit)
        return self.cut(self.members[offset : offset + limit])

    async def read_some(self, ids: Sequence[int], limit: int) -> Sequence[int]:
        assert len(ids) <= limit
        self._check(limit)
        return ids

    def _check(self, limit: int) -> None:
        self.calls.append(limit)
        if limit > self.limit:
            request = httpx.Request("POST", "http://prefect/api/flow_runs/filter")
            response = httpx.Response(self.status, text=self.refusal, request=request)
            raise httpx.HTTPStatusError("refused", request=request, response=response)


@pytest.fixture(autouse=True)
def _unlearned():
    with temporary_settings({PREFECT_API_URL: "http://prefect/api"}):
        yield
    pages._learned.clear()


@pytest.mark.parametrize("limit", [1, 7, 50, 199])
async def test_a_limit_is_learned_by_one_refusal(limit: int):
    """It is named in it, and never exceeded again, by whatever call."""
    server = Server(limit, members=3 * limit + 1)
    assert await all_pages(server.read) == server.members
    assert await for_all(range(2 * limit), server.read_some) == list(range(2 * limit))
    assert server.calls == [LONGEST_PAGE] + [limit] * (5 + 2)
    assert page_limit() == limit


async def test_another_server_has_another_limit():
    """What is learned is learned of a URL."""
    await all_pages(Server(50).read)
    with temporary_settings({PREFECT_API_URL: "http://another/api"}):
        assert page_limit() == LONGEST_PAGE
        await all_pages(Server(20).read)
        assert page_limit() == 20
    with temporary_settings({PREFECT_API_URL: None}):
        assert page_limit() == LONGEST_PAGE
    assert page_limit() == 50


async def test_a_limit_above_prefects_own_is_not_used():
    """Longer pages than 200 are not asked for."""
    server = Server(1000, members=500)
    assert len(await all_pages(server.read)) == 500
    assert server.calls == [200] * 4


async def test_a_limit_that_is_lowered_is_learned_again():
    """The server was restarted with another setting, in the middle of a list."""
    server = Server(100, members=300)

    def lower(page: list[Member]) -> list[Member]:
        server.limit, server.refusal = 30, SAYS % 30
        return page

    server.cut = lower
    assert await all_pages(server.read) == server.members
    assert page_limit() == 30


@pytest.mark.parametrize("refusal", ["", "no", SAYS % 200, SAYS % 4000, "<html>limit</html>"])
async def test_a_refusal_that_names_no_usable_limit_halves_it(refusal: str):
    """Down to what the server takes."""
    server = Server(50, members=120, refusal=refusal)
    assert await all_pages(server.read) == server.members
    assert server.calls[:3] == [200, 100, 50]
    assert page_limit() == 50


@pytest.mark.parametrize(
    ("limit", "refusal", "calls"),
    [
        (-1, "", [200, 100, 50, 25, 12, 6, 3, 1]),
        (0, SAYS, [200, 1]),
        (0, json.dumps({"exception_detail": [{"loc": ["body", "sort"]}]}), [200]),
    ],
)
async def test_a_refusal_of_something_else_is_raised(limit: int, refusal: str, calls: list[int]):
    """And nothing is learned of it."""
    server = Server(limit, members=1, refusal=refusal)
    with pytest.raises(httpx.HTTPStatusError):
        await all_pages(server.read)
    assert server.calls == calls
    assert page_limit() == LONGEST_PAGE


@pytest.mark.parametrize("status", [400, 401, 404, 409, 429, 500, 503])
async def test_another_status_is_no_limit(status: int):
    """Whatever it says."""
    server = Server(50, members=1, status=status)
    with pytest.raises(httpx.HTTPStatusError):
        await all_pages(server.read)
    assert server.calls == [LONGEST_PAGE]


@given(limit=st.integers(1, 250), members=st.integers(0, 700), named=st.booleans())
async def test_nothing_is_overlooked(limit: int, members: int, named: bool):
    """Whatever the limit, and whether it is named or not."""
    pages._learned.clear()
    server = Server(limit, members, SAYS if named else "no")
    assert await all_pages(server.read) == server.members
    assert await for_all(range(members), server.read_some) == list(range(members))


@given(cut=st.integers(1, 60), members=st.integers(0, 300))
async def test_a_short_page_is_not_the_last(cut: int, members: int):
    """Something gives fewer than were asked for, and does not say so."""
    pages._learned.clear()
    server = Server(200, members)
    server.cut = lambda page: page[:cut]
    assert await all_pages(server.read) == server.members


async def test_members_that_come_twice_count_once():
    """The list grows at its beginning while it is read: all that was there is found."""
    server = Server(10, members=45)

    def grow(page: list[Member]) -> list[Member]:
        server.members.insert(0, Member(-len(server.calls)))
        return page

    server.cut = grow
    found = [member.id for member in await all_pages(server.read)]
    assert len(found) == len(set(found))
    assert set(range(45)) <= set(found)


async def test_more_than_was_asked_for_is_taken():
    """And the next page begins after it."""
    server = Server(200, members=450)

    async def read(*, limit: int, offset: int) -> Sequence[Member]:
        server.calls.append(offset)
        return server.members[offset : offset + 300]

    assert await all_pages(read) == server.members
    assert server.calls == [0, 300, 450]


async def test_a_server_that_ignores_the_offset_is_an_error():
    """Not an endless list, and not a list that may lack something."""

    async def read(*, limit: int, offset: int) -> Sequence[Member]:
        return [Member(n) for n in range(limit)]

    with pytest.raises(Unavailable, match="returns the same page again and again"):
        await all_pages(read)


async def test_an_answer_that_is_no_json_is_an_error_with_a_hint():
    """A login page, say; its text is not shown."""

    async def read(*, limit: int, offset: int) -> Sequence[Member]:
        return [Member(**member) for member in json.loads("<html>s3cret</html>")]

    with pytest.raises(Unavailable) as error:
        await all_pages(read)
    assert "not in Prefect's format: JSONDecodeError\nhint: check PREFECT_API_URL" in str(
        error.value
    )
    assert "s3cret" not in str(error.value)
