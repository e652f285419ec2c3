"""What the block asks of, and tells, the Prefect API about flow runs.

An agent tells an infrastructure that has not started nothing about cancellation, so runs that
wait are looked up: many runs, one call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from uuid import UUID
from weakref import WeakKeyDictionary

from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import Abort
from prefect.logging.loggers import PrefectLogAdapter, get_logger
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED
from prefect.states import Cancelled, Crashed
from prefect.utilities.engine import propose_state

from prefect_ecs_pinned.aws.batching import Batcher
from prefect_ecs_pinned.aws.loop import LoopClock

#: The API's page size: PREFECT_API_DEFAULT_LIMIT.
READ_FLOW_RUNS_LIMIT = 200

#: Seconds that the first who asks waits for others.
_WINDOW_SECONDS = 1.0

#: One batcher for each event loop: the Prefect client belongs to a loop.
_batchers: WeakKeyDictionary[asyncio.AbstractEventLoop, Batcher[str, FlowRun]] = WeakKeyDictionary()


async def is_wanted(flow_run_id: str) -> bool:
    """Whether a flow run that waits for its launch is still to be launched.

    It is not when it is being cancelled, has ended, or was deleted. When the API does not
    answer, it is.
    """
    loop = asyncio.get_running_loop()
    if loop not in _batchers:
        _batchers[loop] = Batcher(_read, READ_FLOW_RUNS_LIMIT, _WINDOW_SECONDS, LoopClock())
    try:
        flow_run = await _batchers[loop].ask(flow_run_id)
    except Exception as exception:
        get_logger(__name__).debug("Could not read flow run %s: %s", flow_run_id, exception)
        return True
    if flow_run is None:
        return False
    state = flow_run.state
    return state is None or not (state.is_final() or state.type is StateType.CANCELLING)


async def _read(ids: Sequence[str]) -> Mapping[str, FlowRun]:
    async with get_client() as client:
        found = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[UUID(id_) for id_ in ids])),
            limit=READ_FLOW_RUNS_LIMIT,
        )
    return {str(flow_run.id): flow_run for flow_run in found}


def page_logger(flow_run_id: str, name: str | None) -> logging.LoggerAdapter[logging.Logger]:
    """A logger whose lines stand on a flow run's page, as those of the flow itself do.

    They go there only: the agent's console has lines of its own for what happens to each run,
    and a line there costs more than sending it. Where Prefect sends no logs to its API, they go
    to the console.
    """
    to_page = get_logger("prefect.flow_runs")
    if PREFECT_LOGGING_TO_API_ENABLED:
        everywhere = to_page
        to_page = logging.Logger(everywhere.name, everywhere.getEffectiveLevel())  # no parent
        to_page.handlers = everywhere.handlers
    adapter: logging.LoggerAdapter[logging.Logger] = PrefectLogAdapter(
        to_page,
        extra={
            "flow_run_id": flow_run_id,
            "flow_run_name": name or "<unknown>",
            "flow_name": "<unknown>",
        },
    )
    return adapter


async def report_crash(flow_run_id: str, reason: str) -> None:
    """Put the reason of a crash on a flow run's page, unless the run has ended by itself.

    The agent would set the state Crashed too, with nothing but a status code; the server keeps
    the first.
    """
    try:
        async with get_client() as client:
            await propose_state(client, Crashed(message=reason), flow_run_id=UUID(flow_run_id))
    except Abort:
        pass  # it has a final state already
    except Exception as exception:
        get_logger(__name__).error("Could not report on flow run %s: %s", flow_run_id, exception)


async def confirm_cancelled(flow_run_id: str, reason: str) -> None:
    """Turn Cancelling into Cancelled, when whatever would have done so was never started."""
    try:
        async with get_client() as client:
            flow_run = await client.read_flow_run(UUID(flow_run_id))
            if flow_run.state is not None and flow_run.state.is_cancelling():
                await client.set_flow_run_state(flow_run.id, Cancelled(message=reason), force=True)
    except Exception as exception:
        get_logger(__name__).error("Could not report on flow run %s: %s", flow_run_id, exception)
