"""Faults of output: nothing that a sink or CloudWatch does hangs a stream, or others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.output.log_group import CALL_SECONDS
from prefect_ecs_pinned.aws.output.streams import TAIL_DEADLINE, Follow, Output
from tests.aws.test_output import DENIED, START, THROTTLED, FakeLogs
from tests.aws.virtual import VirtualClock

Answer = Callable[[], Awaitable[Any]]

#: The longest that `finish` takes.
LONGEST = TAIL_DEADLINE + 1

#: Seconds in which a stream ends that has nothing to do with what is wrong.
SOON = 60.0


class OddLogs(FakeLogs):
    """`FakeLogs` of any groups, where the test may answer instead, and each group may be loud.

    Attributes:
        odd: Returns a coroutine function that answers instead, or None.
        loud: Streams that never end: every page of theirs is full.
    """

    def __init__(self, clock: VirtualClock, page: int = 100) -> None:
        super().__init__(clock, page)
        self.odd: Callable[[str, str, Sequence[str]], Answer | None] = lambda *_: None
        self.loud: set[str] = set()
        self._lines = count()

    async def filter_log_events(
        self, group: str, streams: Sequence[str], start: int, token: str | None
    ) -> Any:
        if (answer := self.odd("filter", group, streams)) is not None:
            await self.clock.wait(0.02)
            return await answer()
        if loud := self.loud & set(streams):
            await self._call("filter", streams)
            events = [e for stream in sorted(loud) for e in self._more(stream)]
            return {"events": events, "nextToken": f"t{next(self._lines)}"}
        return await super().filter_log_events(group, streams, start, token)

    async def get_log_events(self, group: str, stream: str, start: int, token: str | None) -> Any:
        if (answer := self.odd("get", group, [stream])) is not None:
            await self.clock.wait(0.02)
            return await answer()
        if stream in self.loud:
            await self._call("get", [stream])
            return {"events": self._more(stream), "nextForwardToken": f"t{next(self._lines)}"}
        return await super().get_log_events(group, stream, start, token)

    def _more(self, stream: str) -> list[dict[str, Any]]:
        now = START + int(self.clock.now() * 1000)
        numbers = [next(self._lines) for _ in range(10)]
        return [
            {"logStreamName": stream, "timestamp": now, "message": f"{n}", "eventId": f"{n}"}
            for n in numbers
        ]


class Streams:
    """Streams that are followed, and what was printed of them."""

    def __init__(self, page: int = 100) -> None:
        self.clock = VirtualClock()
        self.logs = OddLogs(self.clock, page)
        self.output = Output(self.logs, self.clock, epoch=lambda: START / 1000 + self.clock.now())
        self.printed: dict[str, list[str]] = {}

    def follow(self, *streams: str, group: str = "g", sink: Any = None) -> list[Follow]:
        """Follow streams; ``sink`` may raise after the line was noted."""

        def note(stream: str, line: str) -> None:
            self.printed[stream].append(line)
            if sink is not None:
                sink(line)

        follows = []
        for stream in streams:
            self.printed[stream] = []
            follows.append(
                self.output.follow(group, stream, lambda line, _, s=stream: note(s, line))  # type: ignore[misc]
            )
        return follows

    async def finish(self, *follows: Follow, within: float = LONGEST) -> float:
        """Seconds until all have finished."""
        began = self.clock.now()
        await self.clock.run(asyncio.gather(*map(self.output.finish, follows)), limit=within)
        return self.clock.now() - began


# -- the sink --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError(32, "Broken pipe"),
        OSError(28, "No space left on device"),
        ValueError("I/O operation on closed file."),
        UnicodeEncodeError("ascii", "ä", 0, 1, "ordinal not in range(128)"),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        SystemExit(1),
        GeneratorExit(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("times", [1, 10_000])
async def test_a_sink_that_raises_keeps_nobody_waiting(error, times, caplog):
    """Once or always: its stream ends, another one loses nothing, and there is one WARNING."""
    streams, left = Streams(), [times]

    def fail(line: str) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise error

    bad = streams.follow("bad", sink=fail)
    good = streams.follow("good")
    for second in range(30):
        streams.logs.write("bad", f"{second}")
        streams.logs.write("good", f"{second}")
        await streams.clock.pass_time(1.0)
    assert await streams.finish(*bad, *good) <= SOON
    lines = [f"{second}" for second in range(30)]
    assert streams.printed == {"bad": lines, "good": lines}  # each was tried
    assert sum("could not be printed" in r.getMessage() for r in caplog.records) == 1


async def test_a_log_that_cannot_be_written_hangs_nobody(monkeypatch):
    """Warnings of the reader go to the same pipe."""

    def closed(*_: Any) -> None:
        raise ValueError("I/O operation on closed file.")

    monkeypatch.setattr(logging.getLogger("prefect_ecs_pinned.aws.output.streams"), "log", closed)
    streams = Streams()
    streams.logs.fault = lambda *_: DENIED
    assert await streams.finish(*streams.follow("s")) <= SOON


# -- answers that are none -------------------------------------------------------------------------

GOOD = {"timestamp": START + 1, "message": "x", "eventId": "x", "logStreamName": "a"}

ODD_ANSWERS: list[Any] = [
    None,
    {},
    "<html>",
    {"events": None},
    {"events": "x"},
    {"events": {}},
    {"events": [None, 3, "x", [], {}]},
    {"events": [{**GOOD, "message": None}]},
    {"events": [{k: v for k, v in GOOD.items() if k != "message"}]},
    {"events": [], "nextToken": 7, "nextForwardToken": 7},
    {"events": [], "nextToken": "", "nextForwardToken": ""},
    {"events": [{**GOOD, "logStreamName": "stranger"}, {**GOOD, "logStreamName": 3}]},
    {"events": [{**GOOD, "logStreamName": "stranger", "timestamp": 10**30}]},
]


@pytest.mark.parametrize("odd", ODD_ANSWERS, ids=str)
@pytest.mark.parametrize("action", ["filter", "get"])
@pytest.mark.parametrize("times", [1, 3, 10**6])
async def test_an_odd_answer_hangs_nobody(odd, action, times):
    """Once, thrice or always: both streams end, and what can be read is printed once."""
    streams, left = Streams(), [times]
    follows = streams.follow("a", "b")
    for second in range(60):
        if second == 20:

            def answer(asked: str, group: str, names: Sequence[str]) -> Answer | None:
                if asked != action or left[0] <= 0:
                    return None
                left[0] -= 1
                return lambda: asyncio.sleep(0, odd)

            streams.logs.odd = answer
        for stream in ("a", "b"):
            streams.logs.write(stream, f"{second}")
        await streams.clock.pass_time(1.0)
    await streams.finish(*follows)
    written = [f"{second}" for second in range(60)]
    if times < 10:
        own = [line for line in streams.printed["a"] if line != "x"]
        assert (own, streams.printed["b"]) == (written, written)


@pytest.mark.parametrize("action", ["filter", "get"])
@pytest.mark.parametrize(
    "without",
    [
        {"timestamp": None},
        {"timestamp": "soon"},
        {"timestamp": float("nan")},
        {"timestamp": float("inf")},
        {"timestamp": True},
        {"timestamp": 10**30},
        {"timestamp": -5},
        {"eventId": None},
        {"eventId": 5},
        {"eventId": []},
        {"logStreamName": None},
        {"message": b"bytes \xff"},
        {"message": 5},
    ],
    ids=str,
)
async def test_an_event_without_a_member_is_printed_all_the_same(action, without):
    """Or left out where nobody can say whose it is; the lines around it are there, once."""
    streams = Streams()
    follows = streams.follow("a", "b")
    for stream in ("a", "b"):
        streams.logs.write(stream, "before")
    await streams.clock.pass_time(0.5 if action == "get" else 11.0)
    event = {**GOOD, "timestamp": START + int(streams.clock.now() * 1000), **without}
    event = {name: value for name, value in event.items() if value is not None}
    given: list[Any] = []

    def answer(asked: str, group: str, names: Sequence[str]) -> Answer | None:
        if asked != action or "a" not in names or given:
            return None
        given.append(event)
        return lambda: asyncio.sleep(0, {"events": [event], "nextForwardToken": "0"})

    streams.logs.odd = answer
    if action == "get":
        del streams.logs.streams["a"]  # has it read alone
        await streams.clock.pass_time(7.0)
        streams.logs.streams["a"] = []
    await streams.clock.pass_time(20.0)
    for stream in ("a", "b"):
        streams.logs.write(stream, "after")
    await streams.finish(*follows)
    odd = [line for line in streams.printed["a"] if line not in ("before", "after")]
    assert len(odd) <= 1
    assert given
    assert streams.printed["a"].count("after") == 1
    assert streams.printed["b"] == ["before", "after"]


async def boom() -> Any:
    raise KeyError("nextToken")


async def cancelled() -> Any:
    raise asyncio.CancelledError


async def never() -> Any:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("answer", [boom, cancelled, never], ids=lambda a: a.__name__)
@pytest.mark.parametrize("action", ["filter", "get"])
async def test_a_call_that_ends_in_no_answer_at_all_is_made_again(answer: Answer, action: str):
    """A bug, a cancelled client, a call that never returns: the streams go on and end."""
    streams = Streams()
    given: list[Any] = []
    follows = streams.follow("a", "b")
    for stream in ("a", "b"):
        streams.logs.write(stream, "one")
    await streams.clock.pass_time(12.0 if action == "filter" else 0.0)

    def odd(asked: str, group: str, names: Sequence[str]) -> Answer | None:
        if asked != action or given:
            return None
        given.append(1)
        return answer

    streams.logs.odd = odd
    await streams.clock.pass_time(6.0)
    for stream in ("a", "b"):
        streams.logs.write(stream, "two")
    assert await streams.finish(*follows) <= CALL_SECONDS + 30
    assert given
    assert streams.printed == {"a": ["one", "two"], "b": ["one", "two"]}


@pytest.mark.parametrize("action", ["filter", "get"])
async def test_calls_that_never_return_end_by_the_deadline(action, caplog):
    """For ever, and for all streams: every run ends, each with one WARNING."""
    streams = Streams()
    streams.logs.odd = lambda asked, *_: never
    follows = streams.follow("a", "b")
    assert await streams.finish(*follows) <= LONGEST
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len([w for w in warned if "stream a " in w or "stream b " in w]) == 2


# -- tokens ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["same", "new"])
@pytest.mark.parametrize("action", ["filter", "get"])
async def test_tokens_that_never_end_end(token, action):
    """The same for ever, or new ones for ever on empty pages."""
    streams, numbers = Streams(), count()

    async def page() -> Any:
        value = "same" if token == "same" else f"t{next(numbers)}"
        return {"events": [], "nextToken": value, "nextForwardToken": value}

    follows = streams.follow("a", "b")
    for stream in ("a", "b"):
        streams.logs.write(stream, "one")
    await streams.clock.pass_time(12.0)
    streams.logs.odd = lambda asked, *_: page if asked == action else None
    for stream in ("a", "b"):
        streams.logs.write(stream, "two")
    await streams.clock.pass_time(60.0)
    assert await streams.finish(*follows) <= SOON
    if action == "filter":  # they are read alone instead
        assert streams.printed == {"a": ["one", "two"], "b": ["one", "two"]}


async def test_a_token_that_comes_twice_is_followed():
    """boto/boto3#1584: the same token, and then the lines."""
    streams, pages = Streams(), []
    follows = streams.follow("a")
    streams.logs.write("a", "one")
    await streams.clock.pass_time(7.0)
    event = {**GOOD, "timestamp": START + 7_000, "message": "two"}

    async def page() -> Any:
        pages.append(1)
        answer: dict[str, Any] = {"events": [event] if len(pages) == 4 else []}
        return answer if len(pages) >= 4 else {**answer, "nextToken": "same"}

    streams.logs.odd = lambda asked, *_: page if asked == "filter" and len(pages) < 4 else None
    await streams.clock.pass_time(12.0)
    assert streams.printed["a"] == ["one", "two"]
    await streams.finish(*follows)


async def test_a_token_that_has_expired_loses_and_repeats_nothing():
    """API_GetLogEvents: a token expires after 24 hours."""
    streams = Streams()
    streams.logs.fault = lambda action, _: DENIED if action == "filter" else None
    follows = streams.follow("a")
    streams.logs.write("a", "one", "one", "two")
    await streams.clock.pass_time(12.0)
    expired = Fault(Kind.REFUSED, "GetLogEvents", "InvalidParameterException", "invalid nextToken")
    refused: list[str] = []

    def fault(action: str, _: Sequence[str]) -> Fault | None:
        if action == "get" and not refused:
            refused.append(action)
            return expired
        return DENIED if action == "filter" else None

    streams.logs.fault = fault
    streams.logs.write("a", "three")
    await streams.clock.pass_time(12.0)
    await streams.finish(*follows)
    assert refused
    assert streams.printed["a"] == ["one", "one", "two", "three"]


# -- fairness --------------------------------------------------------------------------------------


@pytest.mark.parametrize("louds", [1, 5, 100])
async def test_a_loud_stream_keeps_no_quiet_one_from_ending(louds, caplog):
    """Endless pages, in the same group: the quiet ones print and end within a minute or two."""
    streams = Streams()
    loud = streams.follow(*[f"loud{n}" for n in range(louds)])
    quiet = streams.follow(*[f"quiet{n}" for n in range(20)])
    for stream in streams.printed:
        streams.logs.write(stream, "hello")
    await streams.clock.pass_time(30.0)
    streams.logs.loud = {follow.stream for follow in loud}
    await streams.clock.pass_time(60.0)
    for follow in quiet:
        streams.logs.write(follow.stream, "goodbye")
    assert await streams.finish(*quiet) <= 2 * SOON
    assert all(streams.printed[f.stream] == ["hello", "goodbye"] for f in quiet)
    assert await streams.finish(*loud) <= LONGEST
    for follow in loud:
        lines = streams.printed[follow.stream][1:]
        assert [int(line) for line in lines] == sorted({int(line) for line in lines})
    cut = [r.getMessage() for r in caplog.records if "Output was cut" in r.getMessage()]
    assert len(cut) == louds


async def test_a_loud_group_keeps_no_other_from_ending():
    """The quota is shared in turns."""
    streams = Streams()
    loud = streams.follow(*[f"loud{n}" for n in range(10)], group="loud")
    quiet = [f for n in range(10) for f in streams.follow(f"quiet{n}", group=f"group{n}")]
    for stream in streams.printed:
        streams.logs.write(stream, "hello")
    streams.logs.loud = {follow.stream for follow in loud}
    await streams.clock.pass_time(60.0)
    for follow in quiet:
        streams.logs.write(follow.stream, "goodbye")
    assert await streams.finish(*quiet) <= SOON
    assert all(streams.printed[f.stream] == ["hello", "goodbye"] for f in quiet)
    for follow in loud:
        streams.output.abandon(follow)


async def test_much_output_that_ends_is_printed_to_its_end():
    """Ten thousand lines that came at once, a hundred a page, beside others: none is cut."""
    streams = Streams()
    follows = streams.follow("much", "little")
    streams.logs.write("little", "hello")
    streams.logs.write("much", "hello")
    await streams.clock.pass_time(12.0)
    lines = [f"{n}" for n in range(10_000)]
    streams.logs.write("much", *lines)
    streams.logs.write("little", "goodbye")
    await streams.finish(*follows)
    assert streams.printed == {"much": ["hello", *lines], "little": ["hello", "goodbye"]}


async def test_a_thousand_streams_that_end_together_without_filter_log_events_all_end_in_time():
    """5 GetLogEvents calls a second, one a stream: none is cut."""
    streams = Streams()
    streams.logs.fault = lambda action, _: DENIED if action == "filter" else None
    names = [f"s{n}" for n in range(1000)]
    follows = streams.follow(*names)
    for name in names:
        streams.logs.write(name, "hello")
    await streams.clock.pass_time(900.0)
    for name in names:
        streams.logs.write(name, "goodbye")
    assert await streams.finish(*follows) < TAIL_DEADLINE
    assert all(streams.printed[name] == ["hello", "goodbye"] for name in names)


# -- what goes wrong for one, or for a while -------------------------------------------------------


async def test_a_group_that_may_not_be_read_disturbs_no_other():
    """Its streams end; the other's are read together all the same."""
    streams = Streams()

    async def denied() -> Any:
        raise DENIED

    streams.logs.odd = lambda _, group, __: denied if group == "denied" else None
    bad = streams.follow("bad1", "bad2", group="denied")
    good = streams.follow("good1", "good2", group="allowed")
    for stream in streams.printed:
        streams.logs.write(stream, "hello")
    await streams.clock.pass_time(30.0)
    assert await streams.finish(*bad) <= SOON
    streams.logs.calls.clear()
    await streams.clock.pass_time(30.0)
    assert set(streams.logs.calls) == {"filter"}
    await streams.finish(*good)
    assert streams.printed["good1"] == streams.printed["good2"] == ["hello"]


@pytest.mark.parametrize("action", ["filter", "get"])
async def test_a_refusal_that_passes_loses_no_line(action):
    """IAM is eventually consistent, and an unknown code is no proof."""
    for kind in (Kind.REFUSED, Kind.DENIED):
        streams = Streams()
        if action == "get":
            streams.logs.fault = lambda asked, _: DENIED if asked == "filter" else None
        follows = streams.follow("a")
        streams.logs.write("a", "one")
        await streams.clock.pass_time(12.0)
        refused = Fault(kind, "GetLogEvents", "SomethingNewException", "?")
        before = streams.logs.fault
        streams.logs.fault = lambda asked, _, a=action, r=refused, b=before: (  # type: ignore[misc]
            r if asked == a else b(asked, _)
        )
        streams.logs.write("a", "two")
        await streams.clock.pass_time(60.0)
        streams.logs.fault = before
        streams.logs.write("a", "three")
        await streams.clock.pass_time(12.0)
        await streams.finish(*follows)
        assert streams.printed["a"] == ["one", "two", "three"]


@pytest.mark.parametrize("pause", [6.5, 9.1])
async def test_a_stream_is_read_by_one_reader_at_a_time(pause):
    """FilterLogEvents is tried again while a slow GetLogEvents is under way."""

    class SlowLogs(FakeLogs):
        async def get_log_events(self, *request: Any) -> Any:
            await self.clock.wait(4.0)
            return await super().get_log_events(*request)

    clock = VirtualClock()
    logs, printed = SlowLogs(clock), []
    output = Output(logs, clock, lambda: START / 1000 + clock.now())
    logs.fault = lambda action, _: DENIED if action == "filter" and clock.now() < 100 else None
    follow = output.follow("g", "s", lambda line, _: printed.append(line))
    for number in range(200):
        logs.write("s", f"{number}")
        await clock.pass_time(pause)
    await clock.run(output.finish(follow))
    assert printed == [f"{number}" for number in range(200)]
    assert logs.calls["filter"] > 10


async def test_one_answer_that_a_stream_is_gone_does_not_cut_its_tail():
    """It has been read before, and it is there when it is asked for again."""
    streams, refused = Streams(), []
    gone = Fault(Kind.NO_STREAM, "GetLogEvents", "ResourceNotFoundException", "no such stream")
    follows = streams.follow("a")
    streams.logs.write("a", "one")
    await streams.clock.pass_time(12.0)
    streams.logs.write("a", "two")

    def fault(action: str, _: Sequence[str]) -> Fault | None:
        refused.append(action)
        return gone if len(refused) <= 2 else None

    streams.logs.fault = fault
    assert await streams.finish(*follows) <= SOON
    assert refused[:2] == ["filter", "get"]
    assert streams.printed["a"] == ["one", "two"]


async def test_a_group_that_is_deleted_meanwhile_ends():
    """All its streams are gone for good."""
    streams = Streams()
    follows = streams.follow("a", "b")
    for stream in ("a", "b"):
        streams.logs.write(stream, "one")
    await streams.clock.pass_time(12.0)
    streams.logs.streams.clear()
    assert await streams.finish(*follows) <= SOON
    assert streams.printed == {"a": ["one"], "b": ["one"]}


async def test_throttles_for_ever_end_by_the_deadline():
    """Every call, for a hundred streams."""
    streams = Streams()
    streams.logs.fault = lambda *_: THROTTLED
    assert await streams.finish(*streams.follow(*[f"s{n}" for n in range(100)])) <= LONGEST


async def test_a_line_of_the_future_hides_none_of_the_present():
    """One machine's clock is an hour ahead: neither it nor another one loses a line."""
    streams = Streams()
    follows = streams.follow("a", "b")
    for second in range(180):
        now = START + int(streams.clock.now() * 1000)
        streams.logs.write("a", f"{second}", at=now + 3_600_000 if second == 60 else now)
        if second % 50 == 0:
            streams.logs.write("b", f"{second}")
        await streams.clock.pass_time(1.0)
    await streams.finish(*follows)
    assert sorted(map(int, streams.printed["a"])) == list(range(180))
    assert streams.printed["b"] == ["0", "50", "100", "150"]


async def test_the_readers_death_leaves_nobody_waiting():
    """Whatever ends them."""
    streams = Streams()
    (follow,) = streams.follow("a")
    await streams.clock.pass_time(1.0)
    for reader in list(streams.output._readers):
        reader.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await streams.finish(follow) == 0
    (again,) = streams.follow("b")
    streams.logs.write("b", "hello")
    await streams.finish(again)
    assert streams.printed["b"] == ["hello"]


async def test_a_stream_that_begins_as_its_group_is_let_go_is_read():
    """In the moment between the end of a reader and the event loop's taking note of it."""
    streams = Streams()
    clock = streams.clock
    begin: list[Any] = []

    async def wait(seconds: float) -> None:
        await VirtualClock.wait(clock, seconds)
        if begin:
            asyncio.get_running_loop().call_soon(begin.pop())

    (first,) = streams.follow("a")
    await clock.pass_time(6.0)
    clock.wait = wait  # type: ignore[method-assign]
    await clock.pass_time(6.0)
    streams.output.abandon(first)
    follows: list[Follow] = []
    begin.append(lambda: follows.extend(streams.follow("b")))
    streams.logs.write("b", "hello")
    await VirtualClock.pass_time(clock, 20.0)
    assert not begin
    await streams.finish(*follows)
    assert streams.printed["b"] == ["hello"]


async def test_a_line_of_a_megabyte_is_printed():
    """As it is."""
    streams = Streams()
    follows = streams.follow("a")
    streams.logs.write("a", "x" * 2**20)
    await streams.finish(*follows)
    assert streams.printed["a"] == ["x" * 2**20]


async def test_a_group_of_another_region_is_read_there():
    """By its name and its Region, each with the quotas of its own."""
    clock = VirtualClock()
    here, there = FakeLogs(clock), FakeLogs(clock)
    asked: list[str] = []

    def in_region(region: str) -> FakeLogs:
        asked.append(region)
        return there

    output = Output(here, clock, lambda: START / 1000 + clock.now(), in_region)
    printed: list[tuple[str, str]] = []
    here.write("s", "here")
    there.write("s", "there")
    follows = [
        output.follow("g", "s", lambda line, _: printed.append(("", line))),
        output.follow("g", "s", lambda line, _: printed.append(("eu", line)), "eu-west-1"),
    ]
    await clock.run(asyncio.gather(*map(output.finish, follows)))
    assert sorted(printed) == [("", "here"), ("eu", "there")]
    assert asked == ["eu-west-1"]


# -- everything at once ----------------------------------------------------------------------------

ACTIONS = st.sampled_from(["write", "write", "write", "wait", "fault", "odd", "delete", "deny"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ACTIONS, st.integers(0, 7)), min_size=5, max_size=60), st.integers(1, 7))
def test_whatever_happens_lines_come_once_and_in_order(steps, page):
    """Writes, throttles, odd answers, streams that seem gone, FilterLogEvents denied for a time."""

    async def play() -> None:
        streams = Streams(page)
        names = list("abcde")  # enough to be tried together at once
        follows = streams.follow(*names)
        written: dict[str, list[str]] = {name: [] for name in names}
        wrong: list[Any] = []
        gone = Fault(Kind.NO_STREAM, "GetLogEvents", "ResourceNotFoundException", "?")

        def odd(asked: str, group: str, _: Sequence[str]) -> Answer | None:
            if not wrong:
                return None
            what, number = wrong.pop()
            if what == "odd":
                return lambda: asyncio.sleep(0, ODD_ANSWERS[number % 6])

            async def fail() -> Any:
                deny = what == "deny" and asked == "filter"
                raise DENIED if deny else gone if what == "delete" else THROTTLED

            return fail

        streams.logs.odd = odd
        for what, number in steps:
            name = names[number % 5]
            if what == "write":
                lines = ["the same", "the same", f"{len(written[name])}"][: number % 3 + 1]
                streams.logs.write(name, *lines)
                written[name] += lines
            elif what == "wait":
                await streams.clock.pass_time(number)
            else:
                wrong.append((what, number))
        await streams.clock.pass_time(60.0)
        await streams.finish(*follows)
        assert streams.printed == written

    asyncio.run(play())
