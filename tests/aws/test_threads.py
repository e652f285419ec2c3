"""Daemon threads for blocking calls: as many as overlap, and none that stay."""

from __future__ import annotations

import asyncio
import threading

import pytest

from prefect_ecs_pinned.aws.loop import threads as module
from prefect_ecs_pinned.aws.loop.threads import THREAD_NAMES, Threads


def alive(name: str) -> int:
    return sum(thread.name == THREAD_NAMES + name for thread in threading.enumerate())


async def until(true) -> None:
    while not true():  # noqa: ASYNC110 - the other side is a thread
        await asyncio.sleep(0.002)


async def test_calls_that_overlap_get_threads_of_their_own():
    """Four calls meet at a barrier, which none of them could pass alone."""
    threads, barrier = Threads(4, "overlap"), threading.Barrier(4)
    places = await asyncio.gather(*(threads.run(barrier.wait) for _ in range(4)))
    assert sorted(places) == [0, 1, 2, 3]
    assert alive("overlap") == 4
    threads.close()


async def test_no_more_threads_than_the_limit():
    """The others queue, first in, first out."""
    threads, order, go = Threads(1, "limit"), [], threading.Event()
    first = asyncio.create_task(threads.run(go.wait))
    rest = [asyncio.create_task(threads.run(lambda n=n: order.append(n))) for n in range(50)]  # type: ignore[misc]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(first, *rest)
    assert order == list(range(50))
    assert alive("limit") == 1
    threads.close()


async def test_few_threads_do_for_calls_that_follow_each_other():
    """One that has just answered is there for the next."""
    threads = Threads(64, "follow")
    for _ in range(200):
        await threads.run(lambda: None)
    assert alive("follow") == 1
    threads.close()


async def test_an_error_reaches_the_one_who_asked():
    """And nobody else."""
    threads = Threads(2, "error")

    def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await threads.run(fail)
    assert await threads.run(lambda: 1) == 1
    threads.close()


async def test_threads_without_work_end(monkeypatch):
    """After a while."""
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    threads = Threads(4, "idle")
    await threads.run(lambda: None)
    await until(lambda: alive("idle") == 0)
    assert await threads.run(lambda: 2) == 2  # and come again


async def test_closed_they_end_at_once():
    """Those with a call under way when it has returned; its answer still arrives."""
    threads, began, go = Threads(4, "closed"), threading.Event(), threading.Event()
    await asyncio.gather(*(threads.run(threading.Barrier(1).wait) for _ in range(3)))
    call = asyncio.create_task(threads.run(lambda: (began.set(), go.wait())[1]))  # type: ignore[func-returns-value]
    await until(began.is_set)
    threads.close()
    await until(lambda: alive("closed") == 1)
    go.set()
    assert await call is True
    await until(lambda: alive("closed") == 0)


async def test_a_caller_that_is_cancelled_breaks_nothing():
    """Its call goes on; the thread is there for the next."""
    threads, began, go = Threads(1, "cancel"), threading.Event(), threading.Event()
    call = asyncio.create_task(threads.run(lambda: (began.set(), go.wait())))  # type: ignore[func-returns-value]
    await until(began.is_set)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go.set()
    assert await threads.run(lambda: 3) == 3
    threads.close()


def test_a_loop_that_has_closed_is_ignored():
    """The answer comes too late for anybody."""
    threads, began, go = Threads(1, "late"), threading.Event(), threading.Event()
    done = threading.Event()

    def call():
        began.set()
        go.wait()
        done.set()

    async def begin():
        asyncio.ensure_future(threads.run(call))  # noqa: RUF006 - it is cancelled with the loop
        await until(began.is_set)

    asyncio.run(begin())
    go.set()
    assert done.wait(5)
    assert asyncio.run(threads.run(lambda: 4)) == 4
    threads.close()


async def test_a_process_that_may_have_no_more_threads(monkeypatch):
    """The first call fails, as nobody could make it; afterwards there are threads again."""
    threads = Threads(4, "none")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await threads.run(lambda: 5)
    assert await threads.run(lambda: 5) == 5
    threads.close()


def _refuse(self):
    raise RuntimeError("can't start new thread")
