"""Signals to a task's process, however young it is."""

from __future__ import annotations

import signal
import subprocess

import pytest

from prefect_ecs_pinned.local.preload import _signal_group


@pytest.mark.parametrize("own_group", [True, False])
def test_a_signal_reaches_a_process_that_has_no_group_yet(own_group):
    """It was forked, and has not come to setsid: StopTask's SIGTERM is not to be lost."""
    process = subprocess.Popen(["sleep", "60"], start_new_session=own_group)
    try:
        _signal_group(process.pid, signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM
    finally:
        process.kill()
