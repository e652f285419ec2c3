"""Asked once, shared, forgotten on failure."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from prefect_ecs_pinned.aws.loop.once import Once


class Source:
    """Counts how often it is asked; answers when it is let."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()

    async def ask(self):
        self.asked += 1
        await self.open.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


async def test_fifty_who_ask_at_once_cost_one_look_up():
    """And so do those who come later."""
    source = Source("a")
    once: Once[str, Any] = Once()
    assert await asyncio.gather(*(once.get("k", source.ask) for _ in range(50))) == ["a"] * 50
    assert await once.get("k", source.ask) == "a"
    assert source.asked == 1


async def test_keys_have_nothing_to_do_with_each_other():
    """One fails, the other does not."""
    source = Source("a", OSError("no"))
    once: Once[int, Any] = Once()
    found = await asyncio.gather(
        once.get(1, source.ask), once.get(2, source.ask), return_exceptions=True
    )
    assert found[0] == "a"
    assert isinstance(found[1], OSError)
    assert len(once) == 1


@pytest.mark.parametrize("failure", [OSError("no"), KeyError("VpcId"), ValueError(), SystemError()])
async def test_any_failure_reaches_all_who_asked_and_is_forgotten(failure):
    """The next who asks starts anew."""
    source = Source(failure, "b")
    once: Once[str, Any] = Once()
    found = await asyncio.gather(
        *(once.get("k", source.ask) for _ in range(50)), return_exceptions=True
    )
    assert found == [failure] * 50
    assert once.peek("k") is None
    assert await once.get("k", source.ask) == "b"
    assert source.asked == 2


async def test_who_asks_again_at_once_after_a_failure_starts_a_new_look_up():
    """The failure is forgotten before anybody gets it."""
    source = Source(OSError("no"), "b")
    once: Once[str, Any] = Once()

    async def twice():
        try:
            return await once.get("k", source.ask)
        except OSError:
            return await once.get("k", source.ask)

    assert await asyncio.gather(*(twice() for _ in range(50))) == ["b"] * 50
    assert source.asked == 2


async def test_a_failure_of_the_asking_itself_reaches_the_caller():
    """It is a function that raises, not an awaitable that does."""

    def fail():
        raise TypeError("odd")

    once: Once[str, Any] = Once()
    with pytest.raises(TypeError, match="odd"):
        await once.get("k", fail)
    assert await once.get("k", Source("a").ask) == "a"


async def test_a_cancelled_caller_leaves_the_look_up_to_the_others():
    """It belongs to nobody."""
    source = Source("a")
    once: Once[str, Any] = Once()
    source.open.clear()
    first, second = (asyncio.create_task(once.get("k", source.ask)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait((first,))
    source.open.set()
    assert await second == "a"
    assert source.asked == 1


async def test_a_failure_that_nobody_waits_for_is_not_reported_as_lost(caplog):
    """All callers have gone."""
    source = Source(OSError("no"))
    once: Once[str, Any] = Once()
    source.open.clear()
    caller = asyncio.create_task(once.get("k", source.ask))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait((caller,))
    source.open.set()
    for _ in range(5):
        await asyncio.sleep(0)
    del caller
    gc.collect()
    assert not caplog.records
    assert await once.get("k", Source("b").ask) == "b"


async def test_many_reports_of_one_incident_make_one_new_look_up():
    """Each names the value that has failed it."""
    source = Source(["old"], ["new"])
    once: Once[str, Any] = Once()
    await once.get("k", source.ask)

    async def report():
        once.forget("k", ["old"])
        return await once.get("k", source.ask)

    assert await asyncio.gather(*(report() for _ in range(50))) == [["new"]] * 50
    assert await report() == ["new"]
    assert source.asked == 2


async def test_what_is_forgotten_while_it_is_looked_up_is_not_remembered():
    """It may be stale already. Who waits gets it; who asks now looks again."""
    old = Source("old")
    released: list[Any] = []
    once: Once[str, Any] = Once(released=released.append)
    old.open.clear()
    waiting = asyncio.create_task(once.get("k", old.ask))
    await asyncio.sleep(0)
    once.forget("k")
    assert await once.get("k", Source("new").ask) == "new"
    old.open.set()
    assert await waiting == "old"
    assert once.peek("k") == "new"
    assert released == ["old"]


async def test_what_is_remembered_is_bounded():
    """Those used longest ago go first, and are released."""
    released: list[Any] = []
    once: Once[int, Any] = Once(most=3, released=released.append)
    for n in range(3):
        await once.get(n, Source(n).ask)
    await once.get(0, Source("never asked").ask)
    for n in range(3, 5):
        await once.get(n, Source(n).ask)
    assert released == [1, 2]
    assert [once.peek(n) for n in range(5)] == [0, None, None, 3, 4]
    once.clear()
    assert sorted(released) == [0, 1, 2, 3, 4]
    assert len(once) == 0


async def test_another_thread_may_peek():
    """It sees a whole value, or none."""
    once: Once[int, Any] = Once(most=2)
    seen: set[Any] = set()
    done = threading.Event()

    def peek():
        while not done.is_set():
            seen.add(once.peek(0))

    thread = threading.Thread(target=peek)
    thread.start()
    for n in range(200):
        await once.get(n % 4, Source(n % 4).ask)
    done.set()
    thread.join()
    assert seen <= {None, 0}
