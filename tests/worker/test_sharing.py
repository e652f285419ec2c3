"""What jobs have in common is held once, and none of them changes it."""

from __future__ import annotations

import copy
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from prefect.client.schemas.objects import Flow, WorkPool
from prefect.client.schemas.responses import DeploymentResponse

from prefect_ecs_pinned.core.alike import Pairs
from prefect_ecs_pinned.worker import PinnedECSWorker
from prefect_ecs_pinned.worker.configuration import _last_of
from prefect_ecs_pinned.worker.spec import run_spec
from tests.worker.jobs import FLOW, POOL, flow_run

VARIABLES = {
    "image": "flows:1",
    "env": {"A": "1"},
    "cpu": 256,
    "network_configuration": {"subnets": ["subnet-a"]},
}


class Api:
    """What a job is resolved with, read anew each time."""

    async def read_deployment(self, deployment_id: UUID) -> DeploymentResponse:
        variables = copy.deepcopy(VARIABLES)
        return DeploymentResponse(
            id=deployment_id, flow_id=FLOW, name="nightly", job_variables=variables
        )

    async def read_flow(self, flow_id: UUID) -> Flow:
        return Flow(id=flow_id, name="extract")


@pytest.fixture
def worker() -> PinnedECSWorker:
    """One that has seen its pool."""
    made = PinnedECSWorker(POOL)
    template = made.get_default_base_job_template()
    template["variables"]["properties"]["env"]["default"] = {"B": "2"}
    pool = WorkPool(
        id=uuid4(),
        name=POOL,
        type="pinned-ecs",
        base_job_template=template,
        default_queue_id=uuid4(),
    )
    made._record_work_pool_snapshot(pool)
    return made


async def resolved(worker: PinnedECSWorker, number: int, **own: Any) -> Any:
    run = flow_run(number)
    run.job_variables = own
    pool = copy.deepcopy(worker.work_pool)
    return await worker.job_configuration.resolve_for_flow_run(
        run,
        client=Api(),  # type: ignore[arg-type]
        work_pool=pool,
        worker_name="one",
    )


async def test_jobs_leave_their_pool_as_it_was(worker: PinnedECSWorker):
    """Prefect copies it for each run, which costs 60 KB; here its copy is itself."""
    assert copy.deepcopy(worker.work_pool) is worker.work_pool
    before = orjson.dumps(worker.work_pool.model_dump(mode="json"))
    for number in range(3):
        job = await resolved(worker, number, env={"C": str(number)}, cpu=512)
        spec = run_spec(job, POOL, UUID(int=number), "run")
        assert (spec.env["B"], spec.env["C"]) == ("2", str(number))
    assert orjson.dumps(worker.work_pool.model_dump(mode="json")) == before


async def test_a_newer_pool_takes_the_place_of_the_old_one(worker: PinnedECSWorker):
    """The old one is as it was, for jobs that are being made of it."""
    old = worker.work_pool
    newer = WorkPool(**{**dict(old), "base_job_template": {"job_configuration": {}}})
    worker._record_work_pool_snapshot(newer)
    assert worker.work_pool.base_job_template == {"job_configuration": {}}
    assert "variables" in old.base_job_template


async def test_equal_parts_of_jobs_are_one(worker: PinnedECSWorker):
    """Credentials, definition, deployment and flow; what differs is a job's own."""
    first, second = await resolved(worker, 1), await resolved(worker, 2)
    assert first.aws_credentials is second.aws_credentials
    assert first.task_definition is second.task_definition
    assert first._related_objects["deployment"] is second._related_objects["deployment"]
    other = await resolved(worker, 3, memory=2048)
    assert other.task_definition != first.task_definition
    assert first.env["PREFECT__FLOW_RUN_ID"] != second.env["PREFECT__FLOW_RUN_ID"]


def test_what_json_distinguishes_is_not_shared():
    """To Python, 1 and True are equal."""
    assert _last_of("test", {"a": 1}) == {"a": 1}
    assert _last_of("test", {"a": True})["a"] is True


def test_the_last_pair_of_a_name_is_shared():
    """So many names are remembered, and one pair each."""
    pairs = Pairs("key", "value")
    first = pairs.of("a", "1")
    assert first == {"key": "a", "value": "1"}
    assert pairs.of("a", "1") is first
    assert pairs.of("a", "2") == {"key": "a", "value": "2"}
    assert first == {"key": "a", "value": "1"}
    for number in range(1001):
        pairs.of(str(number), "1")
    assert len(pairs._last) <= 1000
