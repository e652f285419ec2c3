"""Jobs of flow runs, made of templates as Prefect makes them; no server is asked."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.workers.base import BaseJobConfiguration

POOL = "etl"
FLOW = UUID(int=1)
DEPLOYMENT = UUID(int=2)
FLOW_RUN = UUID(int=3)


def flow_run(number: int = FLOW_RUN.int, deployment: UUID | None = DEPLOYMENT) -> FlowRun:
    return FlowRun(id=UUID(int=number), flow_id=FLOW, deployment_id=deployment, name="purple-cat")


def edited(template: Mapping[str, Any], edits: Mapping[str, Any]) -> dict[str, Any]:
    """A template whose job configuration has other members; None removes one."""
    result = copy.deepcopy(dict(template))
    for name, value in edits.items():
        if value is None:
            result["job_configuration"].pop(name, None)
        else:
            result["job_configuration"][name] = copy.deepcopy(value)
    return result


class Block:
    """A saved block of credentials."""

    data: Mapping[str, Any] = {"region_name": "us-east-1"}


class Blocks:
    """Prefect's API, as far as templates that refer to a block need it."""

    async def read_block_document(self, _id: UUID) -> Block:
        return Block()


async def job(
    kind: type[BaseJobConfiguration], template: Mapping[str, Any], variables: Mapping[str, Any]
) -> Any:
    """The configuration of the flow run's job, prepared as `resolve_for_flow_run` does it."""
    configuration = await kind.from_template_and_values(
        base_job_template=copy.deepcopy(dict(template)),
        values=copy.deepcopy(dict(variables)),
        client=Blocks(),  # type: ignore[arg-type]
    )
    configuration.prepare_for_flow_run(
        flow_run=flow_run(),
        deployment=DeploymentResponse(id=DEPLOYMENT, flow_id=FLOW, name="nightly"),
        flow=Flow(id=FLOW, name="extract"),
        work_pool=WorkPool(id=UUID(int=4), name=POOL, type="ecs", default_queue_id=UUID(int=5)),
        worker_name="worker-1",
    )
    return configuration
