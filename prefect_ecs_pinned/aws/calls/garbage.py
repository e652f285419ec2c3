"""Python's search for garbage, while many objects are made of which nearly all are dropped soon."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

#: Guards the two below: each thread that reads something large pauses the collector.
_lock = threading.Lock()
_pauses = 0
_was_enabled = False


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """Pause the garbage collector, which is the process's; the last pause that ends resumes it.

    It would count such objects as old ones, and so look at all objects of the process sooner: 0.2 s
    in an agent.
    """
    global _pauses, _was_enabled
    with _lock:
        if _pauses == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _lock:
            _pauses -= 1
            if _pauses == 0 and _was_enabled:
                gc.enable()
