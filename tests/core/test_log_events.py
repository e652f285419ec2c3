"""Log events: any answer can be read, and no line is taken for new twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_ecs_pinned.core.log_events import (
    MOST_LINES,
    REMEMBERED_LINES,
    Event,
    Page,
    Seen,
    read_page,
)

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "timestamp": st.integers(0, 20) | JUNK,
        "message": st.text(max_size=3) | JUNK,
        "eventId": st.text(max_size=3) | JUNK,
        "logStreamName": st.sampled_from(["a", "b", "stranger"]) | JUNK,
    },
)


@settings(max_examples=50, deadline=None)
@given(
    JUNK | st.fixed_dictionaries({"events": st.lists(EVENTS | JUNK) | JUNK, "nextToken": JUNK}),
    st.sampled_from([("a",), ("a", "b")]),
)
def test_any_answer_can_be_read(answer, streams):
    """It is None, or events of those streams in the order of their times."""
    page = read_page(answer, streams, "nextToken", 5)
    assert page is None or all(
        isinstance(event.at, int)
        and isinstance(event.text, str)
        and (event.id is None or event.id)
        and event.stream in streams
        for event in page.events
    )
    if page is not None:
        assert [e.at for e in page.events] == sorted(e.at for e in page.events)
        assert page.token is None or page.token


def one(**members: Any) -> dict[str, Any]:
    event = {"timestamp": 7, "message": "x", "eventId": "1", "logStreamName": "a", **members}
    return {name: value for name, value in event.items() if value is not ...}


@pytest.mark.parametrize(
    ("event", "read"),
    [
        (one(), Event(7, "x", "1", "a")),
        (one(timestamp=...), Event(5, "x", "1", "a")),
        (one(timestamp="12"), Event(12, "x", "1", "a")),
        (one(timestamp=12.5), Event(12, "x", "1", "a")),
        (one(timestamp=True), Event(5, "x", "1", "a")),
        (one(timestamp=-1), Event(0, "x", "1", "a")),
        (one(eventId=...), Event(7, "x", None, "a")),
        (one(eventId=9), Event(7, "x", None, "a")),
        (one(message=9), Event(7, "9", "1", "a")),
        (one(message=b"\xff"), Event(7, "\ufffd", "1", "a")),
        (one(message=...), None),
        (one(logStreamName="b"), None),
        (one(logStreamName=[]), None),
        (one(logStreamName=...), Event(7, "x", "1", "a")),
    ],
)
def test_members_that_are_missing_or_odd(event, read):
    """One stream was asked for: whose line it is goes without saying."""
    page = read_page({"events": [event]}, ("a",), "nextToken", 5)
    assert page == Page([] if read is None else [read], None)


def test_a_line_without_its_stream_is_nobodys_where_two_were_asked_for():
    """It could be either's."""
    page = read_page({"events": [one(logStreamName=...)]}, ("a", "b"), "nextToken", 5)
    assert page == Page([], None)


def test_an_event_without_a_time_stays_behind_the_one_before_it():
    """In the order of the answer."""
    events = [one(timestamp=9, message="2"), one(timestamp=..., message="3"), one(message="1")]
    page = read_page({"events": events}, ("a",), "nextToken", 5)
    assert page is not None
    assert [event.text for event in page.events] == ["1", "2", "3"]


def event(at: int, text: str, id_: str | None = None) -> Event:
    return Event(at, text, id_, "a")


def test_a_late_line_is_new_and_an_old_one_is_not():
    """As far back as lines are remembered."""
    seen = Seen(0)
    for at in range(0, 2 * REMEMBERED_LINES, 2):
        assert seen.add(event(at, "x", f"{at}"))
    assert seen.add(event(101, "late", "late"))
    assert not seen.add(event(101, "late", "late"))
    assert not seen.add(event(100, "x", "100"))
    assert not seen.add(event(0, "older than the memory", "other"))


def test_the_memory_is_bounded():
    """Whatever comes: one millisecond for ever, the future first, no IDs."""
    for times in ([5] * 30_000, [10**15] + [7] * 30_000, range(30_000), range(30_000, 0, -1)):
        for named in (True, False):
            seen = Seen(0)
            for number, at in enumerate(times):
                seen.add(event(at, f"{number}", f"{number}" if named else None))
            assert len(seen._lines) <= MOST_LINES
            assert len(seen._ids) + len(seen._nameless) <= MOST_LINES
            assert seen.add(event(max(times), "next", "next"))


READINGS = st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.integers(0, 30)), max_size=12)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("xy")), max_size=30), READINGS)
def test_readings_of_both_kinds_give_each_line_once(lines, readings):
    """With IDs and without, each from somewhere before where the last has come to."""
    at, stream = 0, []
    for number, (step, text) in enumerate(lines):
        at += step
        stream.append(event(at, text, f"{number}"))
    seen, given, come_to = Seen(0), [], 0
    for with_ids, back, ahead in [*readings, (True, 30, 30)]:
        start = min((e.at for e in stream[max(0, come_to - back) :][:1]), default=0)
        to = min(len(stream), come_to + ahead)
        again = seen.again()
        for number, line in enumerate(stream[:to]):
            if line.at < start:
                continue
            key = line.at, hash(line.text)
            if not with_ids and again[key] > 0:
                again[key] -= 1
                continue
            if seen.add(line if with_ids else line._replace(id=None)):
                given.append(number)
        come_to = to
    assert given == list(range(come_to))
