"""A setting of Prefect that is wrong is one message, whichever major reads it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PREFECT_API_REQUEST_TIMEOUT", "hunter2"),
        ("PREFECT_LOGGING_LEVEL", "hunter2"),
        ("PREFECT_API_URL", "http://[::hunter2/api"),
    ],
)
def test_a_setting_that_prefect_refuses_is_one_message(tmp_path, variable, value):
    """Prefect raises at its import, before any command does something."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect_ecs_pinned", "show"],
        env={**os.environ, "PREFECT_HOME": str(tmp_path), "NO_COLOR": "1", variable: value},
        capture_output=True,
        text=True,
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith("waiting for ")]
    error, hint, see = lines[-3:]
    assert done.returncode == 1
    assert error.startswith("error: cannot import Prefect: ")
    assert hint.startswith("hint: correct this PREFECT_ variable")
    assert see.endswith("/errors/ConfigurationError/")
    assert "Traceback" not in done.stderr
