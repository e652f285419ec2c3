"""The bound on live tasks."""

from __future__ import annotations

import asyncio

from prefect_ecs_pinned.worker.room import Room


async def test_no_more_than_the_bound_are_inside_and_the_first_comes_first():
    room = Room()
    turns = [room.enter(2) for _ in range(4)]
    assert [turn.done() for turn in turns] == [True, True, False, False]
    room.leave()
    assert [turn.done() for turn in turns] == [True, True, True, False]
    assert len(room) == 2


async def test_whoever_has_no_bound_waits_for_nobody():
    """And nobody for somebody whose bound is lower."""
    room = Room()
    for _ in range(3):
        assert room.enter(None).done()
    low, high = room.enter(1), room.enter(3)
    room.leave()
    assert (low.done(), high.done()) == (False, True)


async def test_whoever_gives_up_takes_no_place():
    """Neither while it waits, nor when it was let in at the same time."""
    room = Room()
    inside, waiting, next_one = room.enter(1), room.enter(1), room.enter(1)
    room.give_up(waiting)
    room.leave()
    assert (waiting.done(), next_one.done(), len(room)) == (False, True, 1)
    last = room.enter(1)
    room.give_up(next_one)
    assert last.done()
    assert inside.done()
    await asyncio.sleep(0)
    assert len(room) == 1
