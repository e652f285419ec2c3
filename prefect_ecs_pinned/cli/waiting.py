"""No command is silent for long: what it waits for is said on stderr.

A thread looks a few times a second. It says nothing while the command prints something itself, so
a command that is quick prints what it always did.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect_ecs_pinned import activity
from prefect_ecs_pinned.cli import console

#: Seconds of silence after which it is said what is waited for, and again. No command is silent for
#: longer than 3 s, a busy machine included.
SILENCE_SECONDS = 2.0

#: Seconds between two looks.
_LOOK_SECONDS = 0.25


@contextmanager
def reported(what: str) -> Iterator[None]:
    """Say what is waited for whenever nothing has been printed for a while.

    Args:
        what: What is waited for as long as nothing else is known.
    """
    over = threading.Event()
    console.spoke()
    thread = threading.Thread(target=_report, args=(over,), name="waiting", daemon=True)
    with activity.waiting_for(what):
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _report(over: threading.Event) -> None:
    began = time.monotonic()
    while not over.wait(min(_LOOK_SECONDS, SILENCE_SECONDS / 4)):
        elapsed = time.monotonic() - began
        if console.silent_seconds() >= SILENCE_SECONDS:
            console.say(f"waiting for {activity.current()} ({elapsed:.0f} s)", "dim")
