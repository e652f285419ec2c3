"""What the worker reads of flow runs, and what it reports on them.

Nothing is reported before the run was read: it has to be Pending or Running, in the task that
has ended (`attempt`). Others that report, such as prefect-aws's observer, are not contradicted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound, PrefectSignal
from prefect.logging.loggers import get_logger
from prefect.states import Cancelled, Crashed
from prefect.utilities.engine import propose_state

from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.faces.asking import reason_of, within
from prefect_ecs_pinned.faces.following import Following
from prefect_ecs_pinned.faces.states import Seen, read_seen
from prefect_ecs_pinned.worker.attempt import Attempt, Standing, standing, superseded
from prefect_ecs_pinned.worker.claims import Claims

T = TypeVar("T")

#: Seconds that a call is given. A busy server on SQLite takes up to 24 s.
_CALL_SECONDS = 30.0

#: Seconds for which a report is tried, and between two tries.
_PATIENCE_SECONDS = 600.0
_AGAIN_SECONDS = 5.0

#: Seconds after the end of a task within which Prefect may still store its identifier.
PID_SECONDS = 60.0

#: What the state of a run says that was to be cancelled, before why its task has ended.
_ENDED = "Cancelled, and its task has ended: "

logger = get_logger("workers.pinned-ecs.reports")


class FlowRuns:
    """Flow runs as the Prefect API has them; belongs to the worker's event loop.

    Args:
        client: The worker's client.
        clock: Time.

    Attributes:
        following: The flow runs whose states are looked at.
        claims: Those that this worker has taken, and has not launched.
    """

    def __init__(self, client: PrefectClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self.following = Following(self, clock, "They are launched only after they have been read")
        self.claims = Claims(self.seen, clock)

    async def seen(self, ids: Sequence[str], /) -> Mapping[str, Seen]:
        """See `claims.ReadStates`."""
        return await read_seen(self._client, ids)

    async def states(self, ids: Sequence[str], /) -> Mapping[str, str]:
        """See `following.StatesApi`; what is read also goes to those who have claims."""
        asked_at = self.claims.now()
        seen = await self.seen(ids)
        self.claims.seen(seen, asked_at)
        return {flow_run_id: state.type for flow_run_id, state in seen.items()}

    async def all_continue(self, ids: Sequence[str], /) -> bool:
        """No: those who have claims need to be shown each state."""
        return False

    async def state(self, flow_run_id: str, /) -> str | None:
        """See `following.StatesApi`."""
        try:
            flow_run = await self._client.read_flow_run(UUID(flow_run_id))
        except ObjectNotFound:
            return None
        return flow_run.state.type.value if flow_run.state is not None else ""

    def on_state(
        self, states: Collection[str], flow_run_id: UUID, call: Callable[[], object]
    ) -> Callable[[], object]:
        """Have a function called when a flow run is in one of these states, or deleted.

        Returns:
            What ends it.
        """

        def look(state: str | None) -> None:
            if state is None or state in states:
                call()

        return self.following.follow(str(flow_run_id), look)

    async def report_crash(self, attempt: Attempt, reason: str) -> bool:
        """Report a flow run as Crashed whose task has ended and which has not ended by itself.

        One that was to be cancelled is Cancelled. Otherwise Prefect's server does that after 300 s
        (``PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS``).
        It never raises. What cannot be read or reported is tried again for ten minutes.

        Returns:
            Whether it was reported.
        """
        ended_at = self._clock.now()
        while True:
            waited = self._clock.now() - ended_at
            try:
                reported = await self._report_once(attempt, reason, waited >= PID_SECONDS)
            except ObjectNotFound:
                return False
            except Exception as exception:  # noqa: BLE001 - whatever it is, it is tried again
                reported, failure = None, reason_of(exception)
            else:
                failure = "its infrastructure_pid is not stored"
            if reported is not None:
                return reported
            if waited > _PATIENCE_SECONDS:
                text = "Could not report on flow run %s (%s), whose task %s has ended: %s"
                logger.error(text, attempt.flow_run_id, failure, attempt.identifier, reason)
                return False
            await self._clock.wait(_AGAIN_SECONDS)

    async def _report_once(self, attempt: Attempt, reason: str, pid_is_late: bool) -> bool | None:
        """Whether a crash was reported; None when that cannot be decided yet."""
        flow_run = await self._call(self._client.read_flow_run(attempt.flow_run_id))
        seen = standing(attempt, flow_run)
        if seen is Standing.OTHER:
            return False
        if seen is not Standing.OURS and not pid_is_late:
            return None  # Prefect stores the identifier after the launch
        states = await self._call(self._client.read_flow_run_states(attempt.flow_run_id))
        if seen is Standing.ELSEWHERE or superseded(attempt, states):
            return False
        if seen is Standing.WITHOUT_PID:  # it was lost: without it, nothing is to be reported
            await self._call(
                self._client.update_flow_run(
                    attempt.flow_run_id, infrastructure_pid=attempt.identifier
                )
            )
            return None
        if flow_run.state is not None and flow_run.state.is_cancelling():
            await self._end_cancelling(attempt, _ENDED + reason.partition("\n")[0])
            return False
        with contextlib.suppress(PrefectSignal):  # it has ended in the meantime
            state: State[Any] = Crashed(message=reason)
            await self._call(propose_state(self._client, state, flow_run_id=attempt.flow_run_id))
            return True
        return False

    async def confirm_cancelled(self, attempt: Attempt, reason: str) -> None:
        """Turn Cancelling into Cancelled, when whatever would have done so was never started."""
        try:
            flow_run = await self._call(self._client.read_flow_run(attempt.flow_run_id))
            if flow_run.state is not None and flow_run.state.is_cancelling():
                await self._end_cancelling(attempt, reason)
        except Exception as exception:  # noqa: BLE001 - a report never ends what it reports
            text = "Could not report flow run %s as cancelled: %s"
            logger.error(text, attempt.flow_run_id, reason_of(exception))

    async def _end_cancelling(self, attempt: Attempt, reason: str) -> None:
        state: State[Any] = Cancelled(message=reason)
        await self._call(self._client.set_flow_run_state(attempt.flow_run_id, state, force=True))

    async def store_identifier(self, attempt: Attempt) -> None:
        """Store in Prefect the task of a run, where its own worker does not store it.

        It does not raise: the task runs, and must not be taken for one that was not launched. A
        report stores the identifier again.
        """
        pid = attempt.identifier
        try:
            await self._call(
                self._client.update_flow_run(attempt.flow_run_id, infrastructure_pid=pid)
            )
        except Exception as exception:  # noqa: BLE001 - see above
            text = "Could not store task %s of flow run %s: %s"
            logger.error(text, pid, attempt.flow_run_id, reason_of(exception))

    async def _call(self, work: Awaitable[T]) -> T:
        async def call() -> T:
            return await work

        return await within(self._clock, _CALL_SECONDS, call())
