"""A log stream that is followed, as a run sees it from its own event loop.

A run waits here for the end of its output. The wait has a clock of its own, on the run's event
loop: it ends although the control loop may have closed, or AWS or the sink may not answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from prefect_ecs_pinned.aws.loop.control_loop import ControlLoop
from prefect_ecs_pinned.aws.output import printing
from prefect_ecs_pinned.aws.output.streams import TAIL_DEADLINE, Follow, Output

logger = logging.getLogger(__name__)

#: Seconds for which lines are waited for that have been read, and not printed.
PRINT_SECONDS = 15.0

#: Seconds by which the control loop may be late.
MARGIN_SECONDS = 30.0


class Followed:
    """A log stream that is to be followed; see `Output.follow`.

    Args:
        loop: The control loop.
        output: That of the control plane; used on the control loop.
        sink: Called with each line on a thread that does nothing else: it may wait, and raise.
    """

    def __init__(self, loop: ControlLoop, output: Output, sink: printing.Sink) -> None:
        self._loop = loop
        self._output = output
        self._lines = printing.shared().channel(sink)
        self._follow: Follow | None = None  # belongs to the control loop

    def begin(self, group: str, stream: str, region: str) -> None:
        """Have the stream followed; awaits nothing, so nobody is cancelled half-way."""

        def follow() -> None:
            self._follow = self._output.follow(group, stream, self._lines.put, region)

        with contextlib.suppress(RuntimeError):  # the control plane has been closed
            self._loop.call(follow)

    async def finish(self) -> int:
        """Return when the tail has been printed, the container having ended.

        It returns within `output.TAIL_DEADLINE`, `MARGIN_SECONDS` and `PRINT_SECONDS`, whatever
        becomes of AWS, the control loop and the sink. A WARNING says when output was cut.

        Returns:
            How many lines were read, and not printed.
        """

        async def finish() -> None:
            if self._follow is not None:  # this comes after `follow`, on the same loop
                await self._output.finish(self._follow)

        reading = asyncio.ensure_future(self._loop.run(finish()))
        try:
            await asyncio.wait((reading,), timeout=TAIL_DEADLINE + MARGIN_SECONDS)
        finally:
            if not reading.done():
                reading.cancel()
        if not reading.done() or reading.cancelled() or reading.exception() is not None:
            logger.warning("Output was cut: its log stream is no longer read")
        return await self._lines.drain(PRINT_SECONDS)

    def abandon(self) -> None:
        """Stop reading; lines that have been read are printed."""

        def abandon() -> None:
            if self._follow is not None:
                self._output.abandon(self._follow)

        with contextlib.suppress(RuntimeError):  # the control plane has been closed
            self._loop.call(abandon)
