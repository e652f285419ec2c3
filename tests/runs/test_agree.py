"""Two hundred documents through `plan`, `doctor`, `iam`, `pin` and a run: one verdict each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest

from prefect_ecs_pinned.aws import control_plane
from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.errors import ConfigurationError, PinnedECSError
from prefect_ecs_pinned.local import LocalECS, Phases, Settings
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.doctor.examine import _examine
from prefect_ecs_pinned.operations.doctor.findings import Status
from prefect_ecs_pinned.operations.doctor.look import Look
from prefect_ecs_pinned.operations.iam.needs import needs
from prefect_ecs_pinned.operations.pin import pin_for
from prefect_ecs_pinned.operations.plan import plan_for
from prefect_ecs_pinned.runs.run import run
from prefect_ecs_pinned.runs.spec import RunSpec
from tests.runs.nonsense import documents
from tests.runs.test_run import Recorded

pytestmark = pytest.mark.walkthrough

DOCUMENTS = 200
SEED = 4711
ROLE = "arn:aws:iam::123456789012:role/execution"
LAUNCH_TYPES = ("FARGATE", "FARGATE_SPOT", "EC2", "EXTERNAL", None)

#: Of doctor's checks, those of what is sent; others look at what there is in the account.
OF_REQUESTS = ("definition", "size", "overrides")


@pytest.fixture(scope="module")
def ecs() -> Iterator[LocalECS]:
    settings = Settings(
        quota_scale=None, latencies={"*": 0.0}, phases=Phases(0, 0, 0, 0, 0, 0), task_seconds=0.02
    )
    with LocalECS(settings) as ecs:
        yield ecs


@pytest.fixture
def access(ecs: LocalECS) -> Iterator[Access]:
    def session() -> Any:
        return boto3.Session(
            aws_access_key_id=ecs.access_key, aws_secret_access_key="x", region_name="us-east-1"
        )

    control_plane.forget_all()
    yield Access("agree", "us-east-1", session, lambda: {"endpoint_url": ecs.endpoint_url})
    control_plane.forget_all()


async def _verdict(step: Any) -> str:
    """What is wrong with what is asked for, else which other error it is, else nothing."""
    try:
        await step
    except ConfigurationError as error:
        return f"{error.what}: {error.why}"
    except PinnedECSError as error:
        return type(error).__name__
    return ""


async def _doctors(configuration: Configuration, look: Look) -> bool:
    said = await _examine(configuration, look)
    return any(name in OF_REQUESTS and answer.status is Status.FAIL for name, answer in said)


async def test_all_commands_and_a_run_agree(ecs: LocalECS, access: Access) -> None:
    """What is asked for is refused by all, in the same words, or by none."""
    base = RunSpec(
        *("prefect-doc", "run"),
        image="flows:1",
        command=["true"],
        execution_role_arn=ROLE,
        task_watch_poll_interval=0.05,
        launch_timeout_seconds=0,
    )
    plane: ControlPlane = control_plane.shared(access)
    look, seen = Look(access), Counter[str]()
    for number, document in enumerate(documents(DOCUMENTS, SEED)):
        launch_type = LAUNCH_TYPES[number // 2 % len(LAUNCH_TYPES)]
        spec = replace(
            base,
            default_family=f"doc-{number}",
            task_definition=document,
            launch_type=launch_type,
        )
        one = [Configuration(f"pinned-ecs-task/doc-{number}", None, spec, access)]
        before = ecs.calls.get("RegisterTaskDefinition", {"calls": 0})["calls"]
        planned = await _verdict(plan_for(one))
        failed = await _doctors(one[0], look)
        allowed = await _verdict(needs(one[0]))
        pinned = await _verdict(pin_for(one))
        ran = await _verdict(run(spec, plane, Recorded(supervised=False)))
        refused = ": " in planned
        assert failed == refused, (number, planned)
        if refused:
            assert planned == allowed == pinned == ran, number
            assert ecs.calls.get("RegisterTaskDefinition", {"calls": 0})["calls"] == before
        else:
            assert ": " not in allowed + pinned + ran, (number, allowed, pinned, ran)
        seen["refused" if refused else f"pin {pinned or 'ok'}, run {ran or 'ok'}"] += 1
    look.close()
    assert seen["refused"] > DOCUMENTS // 4
    assert seen["pin ok, run ok"] > DOCUMENTS // 20, seen
