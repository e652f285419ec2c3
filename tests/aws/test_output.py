"""Output: every line once and in order, few calls, and nothing lost at the seams."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.output.streams import FILTER_STREAMS_LIMIT, Follow, Output
from tests.aws.virtual import VirtualClock

GROUP = "prefect"
MISSING = Fault(Kind.NO_STREAM, "FilterLogEvents", "ResourceNotFoundException", "no such stream")
DENIED = Fault(Kind.DENIED, "FilterLogEvents", "AccessDeniedException", "not authorized")
THROTTLED = Fault(Kind.THROTTLED, "FilterLogEvents", "ThrottlingException", "Rate exceeded")

#: Time in ms at second 0 of the clock.
START = 1_700_000_000_000


class FakeLogs:
    """`ports.OutputApi`: streams as CloudWatch keeps them, a few events a page.

    ``fault`` may return a fault for an action and the streams that it names.
    """

    def __init__(self, clock: VirtualClock, page: int = 100) -> None:
        self.clock = clock
        self.page = page
        self.streams: dict[str, list[tuple[int, str, str]]] = {}
        self.calls: Counter[str] = Counter()
        self.at: dict[str, list[float]] = {"filter": [], "get": []}
        self.fault: Callable[[str, Sequence[str]], Fault | None] = lambda *_: None

    def write(self, stream: str, *texts: str, at: int | None = None) -> None:
        """A container writes; by default now."""
        when = START + int(self.clock.now() * 1000) if at is None else at
        events = self.streams.setdefault(stream, [])
        events += [(when, text, f"{stream}-{len(events) + n}") for n, text in enumerate(texts)]

    async def _call(self, action: str, streams: Sequence[str]) -> None:
        self.calls[action] += 1
        self.at[action].append(self.clock.now())
        await self.clock.wait(0.02)
        if (fault := self.fault(action, streams)) is not None:
            raise fault
        if any(stream not in self.streams for stream in streams):
            raise MISSING

    async def filter_log_events(
        self, group: str, streams: Sequence[str], start: int, token: str | None
    ) -> dict[str, Any]:
        assert len(streams) <= 100, "logStreamNames can have at most 100 items."
        await self._call("filter", streams)
        events = [
            (at, stream, text, id_)
            for stream in streams
            for at, text, id_ in self.streams[stream]
            if at >= start
        ]
        events.sort(key=lambda event: event[0])  # by time only: a stream keeps its own order
        first = int(token or 0)
        answer: dict[str, Any] = {
            "events": [
                {"logStreamName": s, "timestamp": at, "message": text, "eventId": id_}
                for at, s, text, id_ in events[first : first + self.page]
            ]
        }
        if first + self.page < len(events):
            answer["nextToken"] = str(first + self.page)
        return answer

    async def get_log_events(
        self, group: str, stream: str, start: int, token: str | None
    ) -> dict[str, Any]:
        await self._call("get", [stream])
        events = self.streams[stream]
        first = sum(at < start for at, _, _ in events) if token is None else int(token)
        page = events[first : first + self.page]
        return {
            "events": [{"timestamp": at, "message": text} for at, text, _ in page],
            "nextForwardToken": str(first + len(page)),
        }


@pytest.fixture
def logs(clock: VirtualClock) -> FakeLogs:
    return FakeLogs(clock)


class Reader:
    """Follows streams and keeps what was printed."""

    def __init__(self, logs: FakeLogs, clock: VirtualClock) -> None:
        self.output = Output(logs, clock, epoch=lambda: START / 1000 + clock.now())
        self.clock = clock
        self.printed: dict[str, list[str]] = {}
        self.labelled: dict[str, list[bool]] = {}
        self.follows: dict[str, Follow] = {}

    def follow(self, *streams: str) -> None:
        for stream in streams:
            lines = self.printed.setdefault(stream, [])
            labels = self.labelled.setdefault(stream, [])

            def sink(line: str, several: bool, lines: Any = lines, labels: Any = labels) -> None:
                lines.append(line)
                labels.append(several)

            self.follows[stream] = self.output.follow(GROUP, stream, sink)

    async def finish(self, *streams: str) -> None:
        ends = [self.output.finish(self.follows[stream]) for stream in streams or self.follows]
        await self.clock.run(asyncio.gather(*ends))


@pytest.fixture
async def reader(logs: FakeLogs, clock: VirtualClock) -> Reader:
    return Reader(logs, clock)


async def test_three_hundred_streams_print_every_line_once_and_in_order(clock, logs, reader):
    """Written while they are read, many in one millisecond, some of them the same."""
    streams = [f"family/prefect/{n}" for n in range(300)]
    reader.follow(*streams)
    written: dict[str, list[str]] = {stream: [] for stream in streams}
    for second in range(120):
        for number, stream in enumerate(streams):
            if (number + second) % 7 == 0:
                lines = [f"{second} one", "the same", "the same", f"{second} two"]
                logs.write(stream, *lines)
                written[stream] += lines
        await clock.pass_time(1.0)
    await reader.finish()
    assert reader.printed == written
    assert reader.output.following() == 0


async def test_known_streams_cost_one_call_a_hundred(clock, logs, reader):
    """Three calls every five seconds for three hundred that are quiet."""
    streams = [f"s{n}" for n in range(300)]
    for stream in streams:
        logs.write(stream, "hello")
    reader.follow(*streams)
    await clock.pass_time(120.0)
    logs.calls.clear()
    await clock.pass_time(60.0)
    assert set(logs.calls) == {"filter"}
    assert 30 <= logs.calls["filter"] <= 36
    assert FILTER_STREAMS_LIMIT == 100


async def test_it_keeps_to_half_of_the_lowest_quotas(clock, logs, reader):
    """FilterLogEvents has 5 calls a second in some Regions, GetLogEvents 10."""
    reader.follow(*[f"s{n}" for n in range(500)])
    for n in range(250):
        logs.write(f"s{n}", "hello")
    await clock.pass_time(60.0)
    for action, most in (("filter", 2.5), ("get", 5.0)):
        assert len(logs.at[action]) > 10
        for begin in range(55):
            inside = sum(begin <= at < begin + 5 for at in logs.at[action])
            assert inside <= most * 5 + most + 1


async def test_a_stream_that_does_not_exist_keeps_nobody_waiting(clock, logs, reader):
    """It is tried alone, and its lines are there once it is."""
    logs.write("old", "one")
    reader.follow("old", "new")
    await clock.pass_time(12.0)
    logs.write("old", "two")
    await clock.pass_time(6.0)
    assert reader.printed == {"old": ["one", "two"], "new": []}
    logs.write("new", "first")
    await clock.pass_time(6.0)
    assert reader.printed["new"] == ["first"]


@pytest.mark.parametrize(
    ("silent", "most_gets", "longest"), [(0.0, 40, 15.0), (0.1, 300, 50.0), (1.0, 230, 40.0)]
)
async def test_two_hundred_short_runs_need_few_calls_of_their_own(
    clock, logs, reader, silent, most_gets, longest
):
    """Each writes for 3 s and ends. Where all write, tails come within 15 s (70 s one by one).

    Containers that write nothing have no stream, which costs no more than it did one by one.
    """
    tails = []

    async def run(number: int) -> None:
        await clock.wait(number / 20)
        stream = f"flows/prefect/{number}"
        reader.follow(stream)
        for part in range(3):
            await clock.wait(1.0)
            if number % 100 >= 100 * silent:
                logs.write(stream, f"{part}a", f"{part}b")
        ended_at = clock.now()
        await reader.output.finish(reader.follows[stream])
        tails.append(clock.now() - ended_at)
        assert reader.printed[stream] == [
            f"{part}{line}" for part in range(3) for line in "ab" if stream in logs.streams
        ]

    await clock.run(asyncio.gather(*(run(number) for number in range(200))))
    assert max(tails) <= longest
    assert logs.calls["get"] <= most_gets
    for action, rate in (("filter", 2.5), ("get", 5.0)):
        assert logs.calls[action] <= rate * (clock.now() + 1) + rate


async def test_the_tail_that_arrives_after_the_end_is_read(clock, logs, reader):
    """The driver sends its last lines up to five seconds late."""
    logs.write("s", "one")
    reader.follow("s")
    await clock.pass_time(11.0)
    ending = asyncio.ensure_future(reader.output.finish(reader.follows["s"]))
    await clock.pass_time(4.5)
    logs.write("s", "last words", at=START + 11_000)
    await clock.run(ending)
    assert reader.printed["s"] == ["one", "last words"]


async def test_a_tail_is_read_again_until_it_has_been_read(clock, logs, reader):
    """A throttle at the end loses no line."""
    logs.write("s", "one")
    reader.follow("s")
    await clock.pass_time(11.0)
    logs.write("s", "last words")
    logs.fault = lambda action, _: THROTTLED
    ending = asyncio.ensure_future(reader.output.finish(reader.follows["s"]))
    await clock.pass_time(60.0)
    assert not ending.done()
    logs.fault = lambda *_: None
    await clock.run(ending)
    assert reader.printed["s"] == ["one", "last words"]


async def test_a_tail_that_cannot_be_read_keeps_no_run_for_ever(clock, logs, reader):
    """Two minutes, then the run ends without its last lines."""
    logs.write("s", "one")
    reader.follow("s")
    logs.fault = lambda action, _: THROTTLED
    before = clock.now()
    await reader.finish("s")
    assert 120 <= clock.now() - before <= 150


async def test_a_container_that_never_wrote_ends_too(clock, logs, reader):
    """Its stream never appears."""
    reader.follow("silent")
    await clock.pass_time(20.0)
    before = clock.now()
    await reader.finish("silent")
    assert clock.now() - before <= 11.0
    assert reader.printed["silent"] == []


async def test_without_filter_log_events_streams_are_read_one_by_one(clock, logs, reader):
    """The permission is missing: that is asked once, and nothing is lost or printed twice."""
    logs.fault = lambda action, _: DENIED if action == "filter" else None
    streams = [f"s{n}" for n in range(20)]
    reader.follow(*streams)
    for second in range(60):
        for stream in streams:
            logs.write(stream, f"{second}", "the same", "the same")
        await clock.pass_time(1.0)
    await reader.finish()
    expected = [text for second in range(60) for text in (f"{second}", "the same", "the same")]
    assert all(reader.printed[stream] == expected for stream in streams)
    assert logs.calls["filter"] == 1


async def test_a_denied_stream_is_logged_once_and_ends(clock, logs, reader, caplog):
    """Neither action is allowed: the run goes on without its output."""
    logs.fault = lambda *_: DENIED
    reader.follow("s")
    await clock.pass_time(30.0)
    await reader.finish("s")
    assert logs.calls == {"get": 1}
    assert sum("Cannot read log stream s" in r.getMessage() for r in caplog.records) == 1


async def test_a_stream_that_is_deleted_takes_no_other_with_it(clock, logs, reader):
    """The call for all is refused once; the others go on and repeat nothing."""
    for stream in ("a", "b"):
        logs.write(stream, "one", "one", at=START)
    reader.follow("a", "b")
    await clock.pass_time(12.0)
    del logs.streams["a"]
    await clock.pass_time(6.0)
    logs.write("b", "two")
    await clock.pass_time(12.0)
    assert reader.printed["b"] == ["one", "one", "two"]


async def test_a_quiet_stream_does_not_have_the_others_read_again(clock, logs):
    """What is fetched at a time stays the same, however long the others have talked."""
    logs.page = 1000
    reader = Reader(logs, clock)
    logs.write("quiet", "hello")
    reader.follow("quiet", "loud")
    for second in range(1200):
        logs.write("loud", *[f"{second}-{n}" for n in range(10)])
        await clock.pass_time(1.0)
    assert len(reader.printed["loud"]) >= 11_900
    logs.calls.clear()
    for _ in range(60):
        await clock.pass_time(1.0)
    assert logs.calls["filter"] <= 36  # 12 reads of two pages and a bit; all of it would be 150
    logs.write("quiet", "goodbye")
    await reader.finish()
    assert reader.printed["quiet"] == ["hello", "goodbye"]


async def test_lines_are_labelled_when_several_are_followed(clock, logs, reader):
    """One run alone prints as `ECSTask` does."""
    logs.write("a", "alone")
    reader.follow("a")
    await clock.pass_time(6.0)
    reader.follow("b")
    logs.write("a", "not alone")
    await clock.pass_time(6.0)
    assert reader.labelled["a"] == [False, True]


async def test_nobody_wants_the_lines_any_more(clock, logs, reader):
    """Reading ends with the run that is cancelled."""
    logs.write("a", "one")
    reader.follow("a")
    await clock.pass_time(6.0)
    reader.output.abandon(reader.follows["a"])
    logs.write("a", "two")
    await clock.pass_time(6.0)
    logs.calls.clear()
    await clock.pass_time(60.0)
    assert reader.printed["a"] == ["one"]
    assert not logs.calls
