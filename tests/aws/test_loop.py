"""From one event loop to another: in order, many at a time, nothing kept for loops that ended."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import wait

import pytest

from prefect_ecs_pinned.aws.loop.control_loop import ControlLoop, LoopClosed, ThreadsafeCalls


async def test_many_are_handed_over_with_one_wake_up(monkeypatch):
    """Eight threads calls a thousand calls each: one system call, and every thread's in order."""
    loop, calls = asyncio.get_running_loop(), ThreadsafeCalls.here()
    wake, wakes = loop.call_soon_threadsafe, []
    monkeypatch.setattr(
        loop,
        "call_soon_threadsafe",
        lambda *call: (wakes.append(call), wake(*call)),  # type: ignore[func-returns-value]
    )
    barrier, called = threading.Barrier(8), []

    def work(name):
        barrier.wait()
        for number in range(1000):
            calls.call_soon(lambda number=number: called.append((name, number)))  # type: ignore[misc]

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
    """Who posts afterwards gets an error, and nothing is kept."""

    async def make():
        return ThreadsafeCalls.here()

    loop = asyncio.new_event_loop()
    calls = loop.run_until_complete(make())
    calls.call_soon(lambda: None)
    loop.close()
    with pytest.raises(RuntimeError):
        calls.call_soon(lambda: None)
    assert calls._take() == []


# -- the control loop closes -----------------------------------------------------------------------


async def settled(waiting, seconds=5.0):
    """What became of each; nobody waits for ever."""
    done, waits = await asyncio.wait(waiting, timeout=seconds)
    assert not waits
    return [future.exception() if not future.cancelled() else "cancelled" for future in done]


@pytest.mark.parametrize("moment", ["before", "posted", "under way", "after"])
async def test_whoever_asks_a_loop_that_closes_is_given_an_error(moment):
    """At any moment of the end: no caller waits, and none gets a CancelledError."""
    control, began = ControlLoop(), threading.Event()

    async def work():
        began.set()
        await asyncio.Event().wait()

    asked = []
    if moment == "before":
        asked = [asyncio.ensure_future(control.run(work())) for _ in range(50)]
        await asyncio.sleep(0)
        control.close()
    elif moment == "posted":  # in the very pass in which the loop stops
        held, hold = threading.Event(), threading.Event()
        control.call(lambda: (held.set(), hold.wait()))  # type: ignore[func-returns-value]
        held.wait()
        control.close()
        asked = [asyncio.ensure_future(control.run(work())) for _ in range(50)]
        await asyncio.sleep(0)
        hold.set()
    elif moment == "under way":
        asked = [asyncio.ensure_future(control.run(work()))]
        await asyncio.to_thread(began.wait)
        control.close()
    else:
        control.close()
        while control._loop.is_running() or not control._loop.is_closed():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        asked = [asyncio.ensure_future(control.run(work()))]
    assert {type(error) for error in await settled(asked)} == {LoopClosed}


async def test_no_thread_that_posts_while_a_loop_closes_is_left_waiting():
    """Eight threads ask without a pause until they are refused: every coroutine is settled."""
    control, futures, closing = ControlLoop(), [], threading.Event()

    async def work():
        await asyncio.sleep(3600)

    def ask():
        while True:
            try:
                futures.append(control._begin(work()))
            except LoopClosed:
                return
            if len(futures) > 2_000:  # on a busy machine it may be long until it is closed
                closing.wait()
            if len(futures) > 10_000:  # and until it has taken all of these
                wait([futures[-1]])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(futures) < 100:  # noqa: ASYNC110 - they are threads
        await asyncio.sleep(0)
    closing.set()
    control.close()
    control.close()  # a second time stops nothing that ends it
    for thread in threads:
        await asyncio.to_thread(thread.join)
    errors = await settled([asyncio.wrap_future(future) for future in futures])
    assert {type(error) for error in errors} == {LoopClosed}


async def test_functions_that_were_posted_last_are_called():
    """What they begin is cancelled, so that what they promise is settled."""
    control, held, hold, ended = ControlLoop(), threading.Event(), threading.Event(), []

    def begin():
        task = asyncio.create_task(asyncio.sleep(3600))
        task.add_done_callback(lambda done: ended.append(done.cancelled()))

    control.call(lambda: (held.set(), hold.wait()))  # type: ignore[func-returns-value]
    held.wait()
    control.close()
    for _ in range(10):
        control.call(begin)
    hold.set()
    while len(ended) < 10:  # noqa: ASYNC110 - another thread appends
        await asyncio.sleep(0.001)
    assert ended == [True] * 10


async def test_a_coroutine_that_does_not_end_keeps_nobody_waiting():
    """It is given a second; then its caller gets the error, and the thread ends."""
    control, began = ControlLoop(), threading.Event()

    async def stubborn():
        began.set()
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    asked = asyncio.ensure_future(control.run(stubborn()))
    await asyncio.to_thread(began.wait)
    control.close()
    assert [type(error) for error in await settled([asked])] == [LoopClosed]


async def test_a_caller_that_is_cancelled_cancels_the_coroutine_and_no_other():
    """Before it has begun, and while it runs."""
    control, ended, began = ControlLoop(), [], threading.Event()

    async def work(name):
        began.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(name)

    one, other = (asyncio.ensure_future(control.run(work(name))) for name in "ab")
    await asyncio.sleep(0)
    await asyncio.to_thread(began.wait)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    while not ended:  # noqa: ASYNC110 - another thread appends
        await asyncio.sleep(0.001)
    assert ended == ["a"]
    assert not other.done()
    control.close()
    await settled([other])
