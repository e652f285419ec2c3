"""What the block reads from, and reports to, the Prefect API about flow runs.

An agent does not report a cancellation to an infrastructure that has not started, so runs that
wait are looked up: many runs, one call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.exceptions import PrefectSignal
from prefect.logging.loggers import get_logger
from prefect.states import Cancelled, Crashed
from prefect.utilities.engine import propose_state

from prefect_ecs_pinned.aws.loop.control_loop import LoopClock
from prefect_ecs_pinned.block.prefect_api import PrefectApi
from prefect_ecs_pinned.faces.asking import reason_of, within

#: Seconds that a report is given: Prefect's client repeats it for two minutes by itself.
_REPORT_SECONDS = 180.0

#: Seconds after which a report that failed is made again: of what the client does not repeat.
_AGAIN_SECONDS = (1.0, 4.0)


def on_state(
    states: Collection[str], flow_run_id: str, call: Callable[[], object]
) -> Callable[[], Any]:
    """Have a function called when a flow run that waits is in one of these states, or deleted.

    It is called again and again then. As long as the API does not answer, it is not. One look
    does not show that a flow run is deleted, see `faces.following`.

    Args:
        states: Types of states.
        flow_run_id: UUID of the flow run; an invalid ID never gets an answer.
        call: The function.

    Returns:
        What ends it.
    """

    def on_state(state: str | None) -> None:
        if state is None or state in states:
            call()

    id_ = parse_id(flow_run_id)
    if id_ is None:  # the API would refuse all of a call that has it
        return lambda: None
    return PrefectApi.here().following.follow(str(id_), on_state)


def parse_id(flow_run_id: str) -> UUID | None:
    """A flow run's ID, in any spelling of a block's variables; None for an invalid one."""
    try:
        return UUID(flow_run_id)
    except ValueError:
        return None


async def report_crash(flow_run_id: str, reason: str) -> None:
    """Put the reason of a crash on a flow run's page, unless the run has ended by itself.

    The agent would set the state Crashed too, with nothing but a status code; the server keeps
    the first.
    """

    async def propose(client: PrefectClient, id_: UUID) -> None:
        with contextlib.suppress(PrefectSignal):  # it has a final state already
            await propose_state(client, Crashed(message=reason), flow_run_id=id_)

    await _insist(propose, flow_run_id)


async def confirm_cancelled(flow_run_id: str, reason: str) -> None:
    """Turn Cancelling into Cancelled, when whatever would have done so was never started."""

    async def confirm(client: PrefectClient, id_: UUID) -> None:
        flow_run = await client.read_flow_run(id_)
        if flow_run.state is not None and flow_run.state.is_cancelling():
            await client.set_flow_run_state(id_, Cancelled(message=reason), force=True)

    await _insist(confirm, flow_run_id)


async def _insist(
    report: Callable[[PrefectClient, UUID], Awaitable[None]], flow_run_id: str
) -> None:
    """Report on a flow run, again if that fails; a report never ends what it reports on."""
    id_, clock = parse_id(flow_run_id), LoopClock()
    if id_ is None:
        return

    async def call() -> None:
        async with PrefectApi.here().client() as client:
            await report(client, id_)

    for pause in (*_AGAIN_SECONDS, None):
        try:
            await within(clock, _REPORT_SECONDS, call())
            break
        except Exception as exception:  # noqa: BLE001 - whatever Prefect raises: reported again
            if pause is None:
                text = "Could not report on flow run %s: %s"
                get_logger(__name__).error(text, flow_run_id, reason_of(exception))
            else:
                await clock.wait(pause)
