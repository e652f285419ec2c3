"""What the block asks of, and tells, the Prefect API about flow runs.

An agent tells an infrastructure that has not started nothing about cancellation, so runs that
wait are looked up: many runs, one call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

from prefect.exceptions import Abort
from prefect.logging.loggers import get_logger
from prefect.states import Cancelled, Crashed
from prefect.utilities.engine import propose_state

from prefect_ecs_pinned.block.prefect_api import PrefectApi

#: Types of the states in which a flow run is not to be launched any more.
UNWANTED = frozenset({"CANCELLING", "CANCELLED", "COMPLETED", "CRASHED", "FAILED"})

#: Types of the states in which a task that was launched is to be stopped. A flow may have come to
#: its end before anybody has heard that its task runs: that is no reason.
CANCELLED = frozenset({"CANCELLING", "CANCELLED"})


def when_in(
    states: Collection[str], flow_run_id: str, call: Callable[[], object]
) -> Callable[[], Any]:
    """Have a function called when a flow run that waits is in one of these states, or deleted.

    It is called again and again then. As long as the API does not answer, it is not.

    Args:
        states: Types of states.
        flow_run_id: UUID of the flow run.
        call: The function.

    Returns:
        What ends it.
    """

    def heard(state: str | None) -> None:
        if state is None or state in states:
            call()

    return PrefectApi.here().follow(flow_run_id, heard)


async def report_crash(flow_run_id: str, reason: str) -> None:
    """Put the reason of a crash on a flow run's page, unless the run has ended by itself.

    The agent would set the state Crashed too, with nothing but a status code; the server keeps
    the first.
    """
    try:
        async with PrefectApi.here().client() as client:
            await propose_state(client, Crashed(message=reason), flow_run_id=UUID(flow_run_id))
    except Abort:
        pass  # it has a final state already
    except Exception as exception:
        get_logger(__name__).error("Could not report on flow run %s: %s", flow_run_id, exception)


async def confirm_cancelled(flow_run_id: str, reason: str) -> None:
    """Turn Cancelling into Cancelled, when whatever would have done so was never started."""
    try:
        async with PrefectApi.here().client() as client:
            flow_run = await client.read_flow_run(UUID(flow_run_id))
            if flow_run.state is not None and flow_run.state.is_cancelling():
                await client.set_flow_run_state(flow_run.id, Cancelled(message=reason), force=True)
    except Exception as exception:
        get_logger(__name__).error("Could not report on flow run %s: %s", flow_run_id, exception)
