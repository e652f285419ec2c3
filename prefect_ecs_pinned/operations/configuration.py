"""`Configuration`: what runs of one block or deployment ask for, with a name for messages.

A *source* makes them: `blocks` does of saved blocks and deployments. Commands take them as they
are, and need not know where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.runs.spec import RunSpec

#: Placeholder for the id of any flow run: all are as long.
_FLOW_RUN_ID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Configuration:
    """What the runs of a block or deployment ask for, a flow run's own values apart.

    Attributes:
        block_name: ``pinned-ecs-task/NAME``.
        deployment: ``flow/deployment`` whose overrides are applied; None for none.
        spec: What its runs ask for.
        access: Its access to AWS.
        image_unset: Neither the block nor its definition names an image: it follows the Prefect
            version that loads the block.
    """

    block_name: str
    deployment: str | None
    spec: RunSpec = field(repr=False)
    access: Access = field(repr=False)
    image_unset: bool = False

    def of_a_run(self) -> RunSpec:
        """What one flow run asks for: its request is as long as any run's."""
        env = {**self.spec.env, "PREFECT__FLOW_RUN_ID": _FLOW_RUN_ID}
        return replace(self.spec, env=env, flow_run_id=_FLOW_RUN_ID)

    @property
    def name(self) -> str:
        """How it is called in messages."""
        return self.deployment or self.block_name
