"""From one event loop to another: in order, many at a time, nothing kept for loops that ended."""

from __future__ import annotations

import asyncio
import threading

import pytest

from prefect_ecs_pinned.aws.loop.control_loop import ThreadsafeCalls


async def test_many_are_handed_over_with_one_wake_up(monkeypatch):
    """Eight threads calls a thousand calls each: one system call, and every thread's in order."""
    loop, calls = asyncio.get_running_loop(), ThreadsafeCalls.here()
    wake, wakes = loop.call_soon_threadsafe, []
    monkeypatch.setattr(
        loop, "call_soon_threadsafe", lambda *call: (wakes.append(call), wake(*call))
    )
    barrier, called = threading.Barrier(8), []

    def work(name):
        barrier.wait()
        for number in range(1000):
            calls.call_soon(lambda number=number: called.append((name, number)))

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
    """Two threads calls without a pause while the loop runs; each call is made once."""
    calls, called = ThreadsafeCalls.here(), []

    def work():
        for _ in range(20_000):
            calls.call_soon(lambda: called.append(1))

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

    calls = ThreadsafeCalls.here()
    calls.call_soon(fail)
    calls.call_soon(lambda: called.append(1))
    await asyncio.sleep(0)
    assert called == [1]
    assert [type(given["exception"]) for given in failures] == [KeyError]


def test_a_loop_that_has_closed_takes_nothing():
    """Each time, and nothing is kept for it."""

    async def make():
        return ThreadsafeCalls.here(), asyncio.get_running_loop()

    calls, loop = asyncio.run(make())
    for _ in range(3):
        with pytest.raises(RuntimeError):
            calls.call_soon(lambda: None)
        assert calls._take() == []
    del loop
    with pytest.raises(RuntimeError):
        calls.call_soon(lambda: None)


def test_each_loop_has_one_of_its_own():
    """However often it is asked for."""

    async def make():
        return {id(ThreadsafeCalls.here()) for _ in range(3)}, ThreadsafeCalls.here()

    (first, one), (second, other) = asyncio.run(make()), asyncio.run(make())
    assert len(first) == len(second) == 1
    assert one is not other


def test_a_loop_that_closes_before_it_takes_them_is_noticed():
    """Whoever posts afterwards is told, and nothing is kept."""

    async def make():
        return ThreadsafeCalls.here()

    loop = asyncio.new_event_loop()
    calls = loop.run_until_complete(make())
    calls.call_soon(lambda: None)
    loop.close()
    with pytest.raises(RuntimeError):
        calls.call_soon(lambda: None)
    assert calls._take() == []
