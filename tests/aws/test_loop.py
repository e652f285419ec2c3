"""From one event loop to another: in order, many at a time, nothing kept for loops that ended."""

from __future__ import annotations

import asyncio
import threading

import pytest

from prefect_ecs_pinned.aws.loop.control_loop import Post


async def test_many_are_handed_over_with_one_wake_up(monkeypatch):
    """Eight threads post a thousand calls each: one system call, and every thread's in order."""
    loop, post = asyncio.get_running_loop(), Post.here()
    wake, wakes = loop.call_soon_threadsafe, []
    monkeypatch.setattr(
        loop, "call_soon_threadsafe", lambda *call: (wakes.append(call), wake(*call))
    )
    barrier, called = threading.Barrier(8), []

    def work(name):
        barrier.wait()
        for number in range(1000):
            post.put(lambda number=number: called.append((name, number)))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()  # the loop has no turn until all have posted
    assert called == []
    await asyncio.sleep(0)
    assert len(wakes) == 1
    assert len(called) == 8000
    for name in range(8):
        assert [n for who, n in called if who == name] == list(range(1000))


async def test_none_is_forgotten_while_the_loop_takes_them():
    """Two threads post without a pause while the loop runs; each call is made once."""
    post, called = Post.here(), []

    def work():
        for _ in range(20_000):
            post.put(lambda: called.append(1))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):  # noqa: ASYNC110 - they are threads
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(called) == 40_000


async def test_a_call_that_fails_keeps_no_other_from_being_made():
    """Its exception goes where asyncio sends those of callbacks."""
    failures, called = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, given: failures.append(given))

    def fail():
        raise KeyError("x")

    post = Post.here()
    post.put(fail)
    post.put(lambda: called.append(1))
    await asyncio.sleep(0)
    assert called == [1]
    assert [type(given["exception"]) for given in failures] == [KeyError]


def test_a_loop_that_has_closed_takes_nothing():
    """Each time, and nothing is kept for it."""

    async def make():
        return Post.here(), asyncio.get_running_loop()

    post, loop = asyncio.run(make())
    for _ in range(3):
        with pytest.raises(RuntimeError):
            post.put(lambda: None)
        assert post._take() == []
    del loop
    with pytest.raises(RuntimeError):
        post.put(lambda: None)


def test_each_loop_has_one_of_its_own():
    """However often it is asked for."""

    async def make():
        return {id(Post.here()) for _ in range(3)}, Post.here()

    (first, one), (second, other) = asyncio.run(make()), asyncio.run(make())
    assert len(first) == len(second) == 1
    assert one is not other


def test_a_loop_that_closes_before_it_takes_them_is_noticed():
    """Whoever posts afterwards is told, and nothing is kept."""

    async def make():
        return Post.here()

    loop = asyncio.new_event_loop()
    post = loop.run_until_complete(make())
    post.put(lambda: None)
    loop.close()
    with pytest.raises(RuntimeError):
        post.put(lambda: None)
    assert post._take() == []
