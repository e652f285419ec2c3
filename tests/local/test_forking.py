"""Processes of Prefect are forked, and so are those that they start; others are not."""

from __future__ import annotations

import pytest

from prefect_ecs_pinned.local.forked import program_of
from tests.local.test_runner import recorder

__all__ = ["recorder"]

NOBODY = "00000000-0000-0000-0000-000000000000"

#: A module of Prefect's, as far as the stand-in can see; it is on the path by PYTHONPATH.
OF_PREFECT = ["python", "-m", "prefect.probe"]


SUPERVISOR = "prefect.runner._workspace_supervisor"


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("python -m prefect.engine", "prefect.engine"),
        ("/usr/bin/python3.11 -m prefect.engine 1234", "prefect.engine"),
        (f"python -m {SUPERVISOR} a.json", SUPERVISOR),
        ("prefect flow-run execute", "prefect"),
        ("/opt/bin/prefect flow-run execute 1234", "prefect"),
        ("prefect flow-run cancel 1234", None),
        ("prefect server start", None),
        ("python -m prefect", None),
        ("python -m prefecture.engine", None),
        ("python -c prefect.engine", None),
        ("python", None),
        ("sh -c 'prefect flow-run execute'", None),
    ],
)  # fmt: skip
def test_what_is_forked(command, program):
    """Prefect's way to run a flow, under either major, and its own modules; nothing else."""
    assert program_of(command.split()) == program
