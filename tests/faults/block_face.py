"""The matrix through Prefect 2's block: each run is a block's, as an agent runs it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import prefect_aws

from prefect_ecs_pinned import PinnedECSTask
from tests.faults.runs import NOT_LAUNCHED, WELL, FieldsOf, Run
from tests.faults.world import FAMILY, credentials


def a_block(endpoint_url: str, key: str = "local", **fields: Any) -> PinnedECSTask:
    """A block as the agent loads it."""
    return PinnedECSTask(
        aws_credentials=prefect_aws.AwsCredentials(**credentials(endpoint_url, key)),
        **{
            "family": FAMILY,
            "image": "flows:1",
            "command": ["true"],
            "task_watch_poll_interval": 0.5,
            **fields,
        },
    )


def for_flow_run(block: PinnedECSTask, flow_run_id: str) -> PinnedECSTask:
    """The block of one flow run."""
    env = {**block.env, "PREFECT__FLOW_RUN_ID": flow_run_id}
    return block.copy(update={"env": env})


class BlockFace:
    """Runs blocks.

    Args:
        endpoint: Of ECS.
        fields: Of the block of a run; runs with the same fields share one.
    """

    ends_with_task = True

    def __init__(self, endpoint: str, fields: FieldsOf) -> None:
        self._endpoint = endpoint
        self._fields = fields
        self._blocks: dict[str, PinnedECSTask] = {}

    def open(self) -> AbstractAsyncContextManager[None]:
        """See `runs.Face`."""
        return nullcontext()

    async def live(self, run: Run) -> str:
        """See `runs.Face`."""
        result = await for_flow_run(self._block_of(run), run.flow_run_id).run(run.status)
        if not result.identifier:
            return NOT_LAUNCHED
        return f"status code {result.status_code}" if result.status_code else WELL

    async def kill(self, run: Run) -> None:
        """See `runs.Face`."""
        assert run.status.identifier is not None
        await self._block_of(run).kill(run.status.identifier)

    async def let_go(self) -> int:
        """See `runs.Face`: a block follows its task to the end of its run."""
        return 0

    def _block_of(self, run: Run) -> PinnedECSTask:
        fields: Mapping[str, Any] = self._fields(run.number)
        key = repr(fields)
        if key not in self._blocks:
            self._blocks[key] = a_block(self._endpoint, **fields)
        return self._blocks[key]
