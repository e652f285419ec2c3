"""`pinned-ecs migrate`: stdout, stderr and exit code apart."""

from __future__ import annotations

import json
import warnings

import pytest
from prefect.deployments import Deployment  # type: ignore[attr-defined]
from prefect_aws.ecs import ECSTask

from prefect_ecs_pinned.errors import ConfigurationError


@pytest.fixture
def old(prefect):
    """An ECSTask with a deployment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ECSTask(image="flows:1", family="etl", env={"TOKEN": "hunter2"}).save(
            "shared", overwrite=True
        )
        Deployment(  # type: ignore[call-arg, unused-coroutine]
            name="prod",
            flow_name="flow",
            infrastructure=ECSTask.load("shared"),
            path="/",
            entrypoint="flow.py:flow",
        ).apply()
    return "ecs-task/shared"


def test_step_by_step(pinned_ecs, old):
    """Dry run, block, deployments, and once more: data on stdout, what comes next on stderr."""
    dry = pinned_ecs("migrate", old, "--deployments")
    lines = dry.out.splitlines()
    assert (dry.code, lines[0]) == (0, "pinned-ecs-task/shared: would be made")
    assert lines[1].split() == ["setting", "before", "after", "meaning"]
    assert lines[-1] == "deployment flow/prod: would be moved"
    assert dry.err.splitlines() == [
        "Dry run: nothing was changed. Apply the changes with --yes.",
        "next: pinned-ecs migrate ecs-task/shared --deployments --yes",
    ]

    made = pinned_ecs("migrate", old, "--yes")
    assert made.code == 0
    assert made.err == "next: pinned-ecs migrate ecs-task/shared --deployments --yes\n"
    assert made.out.splitlines()[0] == "pinned-ecs-task/shared: made"
    assert made.out.splitlines()[-1] == "deployment flow/prod: stays on ecs-task/shared"

    moved = pinned_ecs("migrate", old, "--deployments", "--yes")
    assert moved.code == 0
    assert moved.out.splitlines()[-1] == "deployment flow/prod: moved"
    assert moved.err.splitlines() == [
        "pinned-ecs-task/shared exists, and is not changed.",
        "next: pinned-ecs plan pinned-ecs-task/shared --all",
    ]

    again = pinned_ecs("migrate", old, "--deployments", "--yes")
    assert (again.code, "deployment" in again.out) == (0, False)
    assert "hunter2" not in dry.out + made.out + moved.out


def test_json(pinned_ecs, old):
    """What is done, without the block's data, which may hold secrets."""
    said = pinned_ecs("migrate", old, "--deployments", "--dry-run", "--json")
    data = json.loads(said.out)
    assert (said.code, data["target"], data["moved"]) == (
        0,
        "pinned-ecs-task/shared",
        ["flow/prod"],
    )
    assert {change["field"] for change in data["changes"]} == {
        "auto_deregister_task_definition",
        "launch_timeout_seconds",
        "task_start_timeout_seconds",
    }
    assert "hunter2" not in said.out


def test_a_pinned_block_is_refused(pinned_ecs, prefect):
    """One message and a hint; exit code 1; no data."""
    said = pinned_ecs("migrate", "pinned-ecs-task/shared")
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines() == [
        "error: cannot use block 'pinned-ecs-task/shared': it is not of type 'ecs-task'",
        "hint: name it ecs-task/NAME",
        f"see: {ConfigurationError('').page}",
    ]


def test_a_dry_run_that_is_also_applied_is_refused(pinned_ecs, old):
    """--dry-run is what earlier versions needed; it changes nothing, and goes with no --yes."""
    assert pinned_ecs("migrate", old, "--dry-run").code == 0
    said = pinned_ecs("migrate", old, "--dry-run", "--yes")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: cannot combine --yes and --dry-run")
