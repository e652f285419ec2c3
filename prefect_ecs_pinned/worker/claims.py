"""Flow runs that this worker has taken, and has not launched yet.

Prefect hands a run to one worker: the one that sets it from Scheduled to Pending. But a worker that
was stopped for minutes, or disconnected, counts as OFFLINE, and others reset its runs (`rescuing`).
So a worker launches a run only if it has read, within `FRESH_SECONDS`, that the run is still in the
state that the worker set. Its clocks continue while it is stopped.
Nearly always that has been read anyway: the states of runs that wait are looked at every 10 s.

All of it belongs to the worker's event loop, except for `Claim.granted`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from prefect.logging.loggers import get_logger

from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.core.request import SUBMISSION_ID_LENGTH
from prefect_ecs_pinned.faces.asking import reason_of
from prefect_ecs_pinned.faces.states import Seen
from prefect_ecs_pinned.runs.host import UNWANTED
from prefect_ecs_pinned.worker.moments import Moment

#: Seconds after which what was read of a run has to be read again before it is launched. Others
#: set a run back no earlier than `rescuing.FENCE_SECONDS` after they have changed its state.
FRESH_SECONDS = 60.0

#: Seconds between two tries to read flow runs.
_AGAIN_SECONDS = 2.0

#: Bytes of a claim's id: of the process, and of the claim.
_PROCESS_BYTES = 4
_CLAIM_BYTES = SUBMISSION_ID_LENGTH // 2 - _PROCESS_BYTES

#: The label of a flow run that holds the id of its newest claim. Its task carries the same id.
CLAIM_LABEL = "prefect-ecs-pinned.claim"

logger = get_logger("workers.pinned-ecs.claims")


#: Reads the states of flow runs: flow run -> its state; those that it does not name are not known.
ReadStates = Callable[[Sequence[str]], Awaitable[Mapping[str, Seen]]]


@dataclass(eq=False, slots=True)
class Claim:
    """A flow run that this worker has taken; the `Permit` of its launch.

    Attributes:
        flow_run_id: The flow run.
        id: Random; the run's label, and in the environment of the task.
        begun_at: When the run was about to be taken.
        state_id: The state that this worker has set; None until that was accepted.
        set_at: When that was known.
        read_at: When the run was last asked for, and was in that state.
        lease_id: Of the concurrency slot of its deployment, None without one.
        launching: It has come to its launch, which closes it.
        calling: A call that changes the run is under way, of the steps before its launch.
        given_back: It was added to what is handed back.
        unwanted: The run has been cancelled, or is final.
        retracted: It is not to be launched any more.
        lost: The reason is that the run is in another state: it is not this worker's any more.
    """

    flow_run_id: UUID
    id: str
    claims: Claims = field(repr=False)
    begun_at: Moment
    state_id: str | None = None
    set_at: Moment | None = None
    read_at: Moment | None = None
    lease_id: UUID | None = None
    launching: bool = False
    calling: bool = False
    given_back: bool = False
    unwanted: bool = False
    retracted: bool = False
    lost: bool = False
    _over: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    _retract: Callable[[], None] | None = field(default=None, repr=False)

    def used_by(self, retract: Callable[[], None], /) -> None:
        """See `Permit`."""
        self._retract = retract
        if self.retracted:
            retract()

    def end(self, lost: bool = False) -> None:
        """Launch the run no more; a task that was started is kept."""
        self.lost = self.lost or lost
        self.retracted = True
        self._over.set()
        if self._retract is not None:
            self._retract()

    def is_fresh(self) -> bool:
        """Whether it was read lately enough."""
        return self.read_at is not None and self.read_at.age(self.claims.now()) <= FRESH_SECONDS

    def is_idle(self) -> bool:
        """Whether it was taken, and nothing that is under way changes it before its launch."""
        return self.state_id is not None and not (self.launching or self.calling)

    def took(self, state_id: str, asked_at: Moment, lease_id: UUID | None = None) -> None:
        """Prefect has accepted a state that was proposed at that moment."""
        self.state_id, self.lease_id = state_id, lease_id
        self.read_at, self.set_at = asked_at, self.claims.now()

    async def granted(self) -> bool:
        """See `Permit`; awaited on the control loop, which is another."""
        if self.retracted or self.unwanted:
            return False
        if self.is_fresh():
            return True
        confirmation = self.claims.confirm(self)
        try:
            future = asyncio.run_coroutine_threadsafe(confirmation, self.claims.loop)
        except RuntimeError:  # the worker's loop has closed
            confirmation.close()
            return False
        return await asyncio.wrap_future(future)

    async def wait_until_over(self) -> None:
        """Return when it gives no leave any more."""
        await self._over.wait()


class Claims:
    """All that a worker has taken.

    Args:
        read: Reads states.
        clock: Time for waiting.
        now: The moment.

    Attributes:
        process: How the ids of this process's claims begin.
        loop: The worker's.
    """

    def __init__(
        self, read: ReadStates, clock: Clock, now: Callable[[], Moment] = Moment.now
    ) -> None:
        self._read_states = read
        self._clock = clock
        self.now = now
        self.process = secrets.token_hex(_PROCESS_BYTES)
        self.loop = asyncio.get_running_loop()
        self._open: dict[UUID, Claim] = {}
        self._reading: asyncio.Task[None] | None = None

    def __contains__(self, flow_run_id: object) -> bool:
        return flow_run_id in self._open

    def get(self, flow_run_id: UUID) -> Claim | None:
        """The open claim of a flow run."""
        return self._open.get(flow_run_id)

    def all(self) -> list[Claim]:
        """The open claims."""
        return list(self._open.values())

    def begin(self, flow_run_id: UUID) -> Claim:
        """Note that a flow run is about to be taken."""
        claim_id = self.process + secrets.token_hex(_CLAIM_BYTES)
        claim = Claim(flow_run_id, claim_id, self, self.now())
        self._open[flow_run_id] = claim
        return claim

    def close(self, claim: Claim) -> None:
        """It was launched, or is not to be."""
        if self._open.get(claim.flow_run_id) is claim:
            del self._open[claim.flow_run_id]

    def seen(self, states: Mapping[str, Seen], asked_at: Moment) -> None:
        """Take note of what was read of flow runs.

        A run that is to be cancelled, or final, is left to anyone who follows its state.
        """
        for claim in self.all():
            seen = states.get(str(claim.flow_run_id))
            if seen is None or claim.set_at is None or not seen.type:
                continue
            if seen.type in UNWANTED:
                claim.unwanted = True
            elif seen.id == claim.state_id:
                claim.read_at = asked_at if claim.read_at is None else max(claim.read_at, asked_at)
            elif asked_at > claim.set_at and not claim.lost:
                text = "Flow run %s was taken over: it is not launched by this worker"
                logger.warning(text, claim.flow_run_id)
                claim.end(lost=True)

    async def confirm(self, claim: Claim) -> bool:
        """Whether a run is still this worker's to launch; read again if that is long ago.

        It waits until that can be known.
        """
        while not (claim.retracted or claim.unwanted):
            if claim.is_fresh():
                return True
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            over = asyncio.create_task(claim.wait_until_over())
            try:
                await asyncio.wait((self._reading, over), return_when=asyncio.FIRST_COMPLETED)
            finally:
                over.cancel()
        return False

    def end(self) -> None:
        """Launch none of them any more."""
        for claim in self.all():
            claim.end()

    async def close_all(self) -> None:
        """Read nothing any more."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    async def _read(self) -> None:
        """Read all that were not read lately; what lasts is tried again."""
        stale = [str(claim.flow_run_id) for claim in self.all() if not claim.is_fresh()]
        if not stale:
            return
        asked_at = self.now()
        try:
            self.seen(await self._read_states(stale), asked_at)
        except Exception as exception:  # noqa: BLE001 - unknown is not final: asked again
            logger.debug("Could not read %d flow runs: %s", len(stale), reason_of(exception))
        if any(not (c.is_fresh() or c.retracted or c.unwanted) for c in self.all()):
            await self._clock.wait(_AGAIN_SECONDS)
