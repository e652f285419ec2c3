"""One value per key: kept while it is used, and let go afterwards."""

from __future__ import annotations

import gc
import threading

from prefect_ecs_pinned.aws.loop.registry import Registry


class Value:
    """Something that can be referred to weakly."""


def shared(kept=3, seconds=600.0, now=lambda: 0.0) -> Registry[Value]:
    return Registry(kept, seconds, now)


def test_equal_keys_share_one_value():
    """Whoever asks, from whichever thread: a barrier lets twenty ask at once."""
    values, found, barrier = shared(), [], threading.Barrier(20)

    def ask():
        barrier.wait()
        found.append(values.get("a", Value))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1


def test_a_few_are_kept_that_nobody_holds():
    """Those that were asked for last."""
    values = shared(kept=3)
    for number in range(100):
        values.get(str(number), Value)
    gc.collect()
    assert len(values) == 3
    assert [values._alive.get(key) is not None for key in ("96", "97", "99")] == [False, True, True]


def test_one_that_is_held_lives_on():
    """And is found again by its key, however many others came since."""
    values = shared(kept=3)
    held = values.get("held", Value)
    for number in range(100):
        values.get(str(number), Value)
    assert values.get("held", Value) is held


def test_one_that_was_not_asked_for_in_a_while_goes():
    """Ten minutes; with it goes what it holds."""
    now = [0.0]
    values = shared(seconds=600.0, now=lambda: now[0])
    values.get("old", Value)
    now[0] = 601.0
    values.get("new", Value)
    gc.collect()
    assert len(values) == 1


def test_one_goes_in_time_though_nobody_asks_for_another():
    """Only `tidy` is called; one that is held stays."""
    now = [0.0]
    values = shared(seconds=600.0, now=lambda: now[0])
    held = values.get("held", Value)
    values.get("idle", Value)
    for now[0] in (1.0, 600.0):
        values.tidy()
        gc.collect()
        assert len(values) == 2
    now[0] = 601.0
    values.tidy()
    gc.collect()
    assert len(values) == 1
    assert values.get("held", Value) is held
    values.clear()
    values.tidy()


def test_a_value_may_ask_for_another_when_it_goes():
    """No lock is held while it does."""
    values = shared(kept=1)

    class Asking(Value):
        def __del__(self):
            values.get("last", Value)

    values.get("asking", Asking)
    values.get("other", Value)
    gc.collect()
    assert values.get("last", Value) is values.get("last", Value)


def test_cleared_it_knows_nothing():
    """And says what it knew."""
    values = shared()
    one = values.get("a", Value)
    assert values.clear() == [one]
    assert values.get("a", Value) is not one
