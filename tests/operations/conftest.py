"""Fixtures of the tests of commands."""

from tests.operations.fixtures import (  # noqa: F401
    deploy,
    ecs,
    pinned_ecs,
    prefect,
    prefect_harness,
    save,
)
