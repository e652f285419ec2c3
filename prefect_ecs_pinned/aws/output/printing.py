"""Prints lines away from the control loop: one thread in a process, whatever a sink does.

A sink writes to a pipe, a disk or a terminal, and any of these may make it wait forever. So only
the thread here calls it. Lines wait in a channel per stream; channels take turns. A channel that
is full loses its oldest lines, so that the last ones, which say how a run has ended, are there
when printing works again. Where lines are missing, a line says how many.

The thread starts with the first line, is a daemon, and ends after a while without work.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from prefect_ecs_pinned.aws.loop.control_loop import ThreadsafeCalls

#: Characters that may wait in one channel, and in all of a process. CloudWatch answers pages of
#: 1 MB, or 10,000 lines (API_GetLogEvents).
MOST_OF_CHANNEL = 4 * 1024 * 1024
MOST_CHARACTERS = 16 * 1024 * 1024

#: Characters that may wait in a channel although all is full: loud streams leave others room.
LEAST_OF_CHANNEL = 4 * 1024

#: Characters that a line counts for in addition to its own: what it costs in memory.
LINE_CHARACTERS = 100

#: Lines of one channel that are printed before it is another's turn.
LINES_IN_TURN = 100

#: Seconds after which a thread without work ends.
IDLE_SECONDS = 10.0

#: Replaces lines that were dropped, or that the sink has refused.
MISSING = "[pinned-ecs: {} lines of output are missing here: they could not be printed in time]"

#: Called with a line, and whether several streams are being read. It may wait, and it may raise.
Sink = Callable[[str, bool], None]


@dataclass(eq=False)
class Channel:
    """The lines of one stream on their way to a sink; its fields are guarded by `_printing`'s lock.

    Attributes:
        lines: Those that wait.
        size: Their characters.
        missing: Lines that were dropped or refused, which no line has said yet.
        lost: Lines that were dropped or refused, in all.
        in_turn: It has lines, or one of them is being printed.
        printing: One of them is being printed, and is not one of ``lines`` any more.
        drained: Called when it has no more.
    """

    _printing: Printing = field(repr=False)
    sink: Sink = field(repr=False)
    lines: deque[tuple[str, bool]] = field(default_factory=deque, repr=False)
    size: int = 0
    missing: int = 0
    lost: int = 0
    in_turn: bool = False
    printing: bool = False
    drained: list[Callable[[], object]] = field(default_factory=list, repr=False)

    def put(self, line: str, several: bool) -> None:
        """Have a line printed; never waits."""
        self._printing.put(self, line, several)

    async def drain(self, seconds: float) -> int:
        """Wait until all has been printed, but no longer than some seconds.

        Returns:
            How many lines were not, or not yet, printed.
        """
        return await self._printing.drain(self, seconds)


class Printing:
    """The thread, and the lines that wait for it.

    ``_ready`` guards all fields but the limits, and the fields of all channels.

    Args:
        most: Characters that may wait in all channels.
        most_of_channel: Characters that may wait in one.
    """

    def __init__(self, most: int = MOST_CHARACTERS, most_of_channel: int = MOST_OF_CHANNEL) -> None:
        self._most = most
        self._most_of_channel = most_of_channel
        self._ready = threading.Condition()
        self._turns: deque[Channel] = deque()
        self._size = 0
        self._running = False

    def channel(self, sink: Sink) -> Channel:
        """A way to a sink, for the lines of one stream."""
        return Channel(self, sink)

    def put(self, channel: Channel, line: str, several: bool) -> None:
        """See `Channel.put`."""
        size = len(line) + LINE_CHARACTERS
        with self._ready:
            while channel.lines and not self._fits(channel, size):
                self._pop(channel)
                channel.missing += 1
                channel.lost += 1
            if self._fits(channel, size):
                channel.lines.append((line, several))
                channel.size += size
                self._size += size
            else:
                channel.missing += 1
                channel.lost += 1
            if not channel.in_turn:
                channel.in_turn = True
                self._turns.append(channel)
            starting, self._running = not self._running, True
            self._ready.notify()
        if starting:
            self._start()

    async def drain(self, channel: Channel, seconds: float) -> int:
        """See `Channel.drain`."""
        drained = asyncio.get_running_loop().create_future()
        calls = ThreadsafeCalls.here()

        def settle() -> None:
            if not drained.done():
                drained.set_result(None)

        with self._ready:
            if channel.in_turn:
                channel.drained.append(partial(_threadsafe, calls, settle))
            else:
                settle()
        await asyncio.wait((drained,), timeout=seconds)
        with self._ready:
            return channel.lost + len(channel.lines) + channel.printing

    def _fits(self, channel: Channel, size: int) -> bool:
        waiting = channel.size + size
        room = self._size + size <= self._most or waiting <= LEAST_OF_CHANNEL
        return room and waiting <= self._most_of_channel

    def _pop(self, channel: Channel) -> tuple[str, bool]:
        line = channel.lines.popleft()
        channel.size -= len(line[0]) + LINE_CHARACTERS
        self._size -= len(line[0]) + LINE_CHARACTERS
        return line

    # -- the thread --------------------------------------------------------------------------

    def _start(self) -> None:
        try:
            threading.Thread(target=self._work, name="pinned-ecs-print", daemon=True).start()
        except RuntimeError:  # the process may have no more; the next line tries again
            with self._ready:
                self._running = False

    def _work(self) -> None:
        while (channel := self._take()) is not None:
            self._turn(channel)
            del channel  # an idle thread keeps no sink alive

    def _take(self) -> Channel | None:
        with self._ready:
            while not self._turns:
                if not self._ready.wait(IDLE_SECONDS) and not self._turns:
                    self._running = False
                    return None
            return self._turns.popleft()

    def _turn(self, channel: Channel) -> None:
        for _ in range(LINES_IN_TURN):
            with self._ready:
                missing, channel.missing = channel.missing, 0
                line = self._pop(channel) if channel.lines else None
                channel.printing = line is not None
            if missing and not _print(channel, MISSING.format(missing), line is None or line[1]):
                self._refused(channel, missing, line)
            elif line is not None and not _print(channel, *line):
                self._refused(channel, 0, line)
            if self._has_ended(channel):
                return
        with self._ready:
            self._turns.append(channel)

    def _refused(self, channel: Channel, missing: int, line: tuple[str, bool] | None) -> None:
        with self._ready:
            channel.missing += missing + (line is not None)
            channel.lost += line is not None

    def _has_ended(self, channel: Channel) -> bool:
        with self._ready:
            channel.printing = False
            if channel.lines:
                return False
            channel.in_turn = False
            drained, channel.drained = channel.drained, []
        for call in drained:
            call()
        return True


def _print(channel: Channel, line: str, several: bool) -> bool:
    try:
        channel.sink(line, several)
    except BaseException:  # noqa: BLE001 - said where the run ends: lines are missing
        return False
    return True


def _threadsafe(calls: ThreadsafeCalls, call: Callable[[], object]) -> None:
    try:
        calls.call_soon(call)
    except RuntimeError:
        return  # its event loop has closed: nobody waits any more


_shared: list[Printing] = []


def shared() -> Printing:
    """The one of this process. A forked child has its own: threads do not come along."""
    if not _shared:
        _shared.append(Printing())
    return _shared[0]


os.register_at_fork(after_in_child=_shared.clear)
