"""One worker process of Prefect 3 that is measured: ``python -m benchmarks.worker_subject TASK``.

``TASK`` is JSON as for `benchmarks.subject`; ``what`` is `worker` or `ecsworker`. A run is what a
worker does for it once it has been polled: its job is resolved, its task launched, and followed to
its end where the worker does that. What Prefect's API answers meanwhile is made here.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect_aws.workers.ecs_worker import ECSWorker

from benchmarks.own_cost import Meter, resident_kb
from prefect_ecs_pinned.worker import PinnedECSWorker

#: Seconds in which a process that has nothing more to do lets go of what it can.
_SETTLING_SECONDS = 1.0

#: Seconds between looks whether all tasks have ended.
_LOOK_SECONDS = 0.05

_FLOW = UUID(int=1)

_WORKERS: dict[str, Any] = {"worker": PinnedECSWorker, "ecsworker": ECSWorker}


class PrefectAPI:
    """What a worker reads when it resolves a job; read anew for each run, as over HTTP."""

    async def read_deployment(self, deployment_id: UUID) -> DeploymentResponse:
        """A deployment; deployments differ as launches may."""
        number = deployment_id.int
        return DeploymentResponse.model_validate(
            {
                "id": deployment_id,
                "flow_id": _FLOW,
                "name": f"prod-{number}",
                "job_variables": {
                    "image": "registry.example.com/flows:2026.11",
                    "env": {"DEPLOYMENT": str(number), "EXTRA_PIP_PACKAGES": "", "TZ": "UTC"},
                    "cpu": 1024,
                    "memory": 2048 + 1024 * (number % 4),
                },
            }
        )

    async def read_flow(self, flow_id: UUID) -> Flow:
        """The flow."""
        return Flow.model_validate({"id": flow_id, "name": "healthcheck"})


class Status:
    """Stands for the `TaskStatus` that the worker passes."""

    def started(self, value: str) -> None:
        """Nothing is stored."""


def flow_run(deployment: int) -> FlowRun:
    """A flow run as a poll brings it."""
    return FlowRun(
        id=uuid4(),
        flow_id=_FLOW,
        deployment_id=UUID(int=deployment),
        name=f"brisk-{uuid4().hex[:8]}",
    )


async def one_run(worker: Any, pool: WorkPool, run: FlowRun) -> None:
    """What a worker does for one flow run, from the poll on.

    Raises:
        Exception: The run has crashed.
    """
    configuration = await worker.job_configuration.resolve_for_flow_run(
        run, client=PrefectAPI(), work_pool=pool, worker_name=worker.name
    )
    await worker.run(run, configuration, task_status=Status())


async def runs(task: dict[str, Any]) -> dict[str, Any]:
    """All runs at once."""
    kind, count, deployments = _WORKERS[task["what"]], task["runs"], task.get("deployments", 1)
    pool = WorkPool(
        id=uuid4(),
        name="bench",
        type=kind.type,
        base_job_template=kind.get_default_base_job_template(),
        default_queue_id=uuid4(),
    )
    async with kind("bench", create_pool_if_not_found=False) as worker:
        if task.get("warm"):
            await one_run(worker, pool, flow_run(0))
        due = [flow_run(number % deployments) for number in range(count)]
        meter = Meter()
        await meter.begin()
        print("ready", flush=True)
        sys.stdin.readline()
        meter.restart()
        results = await asyncio.gather(
            *(one_run(worker, pool, run) for run in due), return_exceptions=True
        )
        while isinstance(worker, PinnedECSWorker) and worker.live_tasks:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
        cost = meter.end()
        await asyncio.sleep(_SETTLING_SECONDS)
        settled = resident_kb()
    crashes = [result for result in results if result is not None]
    reasons = Counter(f"{type(crash).__name__}: {crash}"[:160] for crash in crashes)
    return {
        "runs": count,
        "crashed": len(crashes),
        "reasons": dict(reasons.most_common(5)),
        "settled_kb": settled,
        **cost.as_json(),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(runs(json.loads(sys.argv[1])))), flush=True)
