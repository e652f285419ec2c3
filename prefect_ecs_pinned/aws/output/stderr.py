"""Writes a line to stderr, where `ECSTask` prints the output of its containers.

It waits where stderr takes no more for now: a pipe whose reader is slow, a disk that is full, a
descriptor that does not block. So it is called by a thread of its own (`aws.output.printing`). Of a
pipe it leaves a half free: anyone who logs on the event loop would wait for the reader, too, and
every run with it.
"""

from __future__ import annotations

import errno
import io
import select
import stat
import sys
import time
from collections.abc import Callable
from os import fstat, write
from typing import Any, TextIO

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = termios = None  # type: ignore[assignment]

#: Bytes that a pipe takes without waiting when poll says that it takes any.
CHUNK = getattr(select, "PIPE_BUF", 512)

#: Seconds between looks at whether stderr takes more: the first, and the longest.
FIRST_PAUSE = 0.002
LONGEST_PAUSE = 0.25

#: What a disk or a descriptor answers that may take more later.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.EINTR})


def write_line(line: str, pause: Callable[[float], None] = time.sleep) -> None:
    """Write a line; characters that stderr's encoding lacks are written as escapes.

    Nothing is written when the process has no stderr.

    Args:
        line: Without its end.
        pause: Waits for some seconds.

    Raises:
        OSError: Nobody can read it: the pipe is closed.
        ValueError: stderr is closed.
    """
    stream = sys.stderr
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    data = f"{line}\n".encode(encoding, "backslashreplace")
    if _is_plain(stream):
        _write_all(stream, data, pause)
    else:  # somebody's own, whose rules are its own
        stream.write(data.decode(encoding))
        stream.flush()


def _is_plain(stream: Any) -> bool:
    """Whether writing to its descriptor is what the stream itself would do."""
    if type(stream) is not io.TextIOWrapper or type(stream.buffer) is not io.BufferedWriter:
        return False
    return type(stream.buffer.raw) is io.FileIO and hasattr(select, "poll")


def _write_all(stream: TextIO, data: bytes, pause: Callable[[float], None]) -> None:
    """Write to the descriptor, which says how much it has taken: nothing is written twice."""
    seconds = FIRST_PAUSE
    while data:
        written = _write_some(stream.fileno(), data[:CHUNK])  # again each time: it may be closed
        if written:
            data, seconds = data[written:], FIRST_PAUSE
        else:
            pause(seconds)
            seconds = min(seconds * 2, LONGEST_PAUSE)


def _write_some(descriptor: int, data: bytes) -> int:
    if not _has_room(descriptor, len(data)):
        return 0
    try:
        return write(descriptor, data)
    except OSError as error:
        if error.errno in _FULL:
            return 0
        raise


def _has_room(descriptor: int, size: int) -> bool:
    """Whether a write would not wait, and would leave others a part of a pipe."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    ready = poll.poll(0)
    if not ready:
        return False
    if ready[0][1] != select.POLLOUT:
        return True  # nobody reads it any more: writing raises
    if not stat.S_ISFIFO(fstat(descriptor).st_mode) or not hasattr(fcntl, "F_GETPIPE_SZ"):
        return True
    waiting = int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)
    capacity = fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
    return waiting + size <= capacity // 2 or waiting == 0
