"""How a worker takes a flow run: proposed Pending, labelled, proposed Submitting.

These are steps of Prefect's own (prefect 3.9, ``BaseWorker._submit_run`` and
``_submit_run_and_capture_errors``), with what they leave out: the id of the state that was set, and
a label by which a run's task is known to be of this attempt.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, WorkPool
from prefect.exceptions import Abort
from prefect.states import Pending
from prefect.utilities.engine import propose_state

from prefect_ecs_pinned.faces.asking import reason_of
from prefect_ecs_pinned.worker.claims import CLAIM_LABEL, FRESH_SECONDS, Claim, Claims
from prefect_ecs_pinned.worker.moments import Moment
from prefect_ecs_pinned.worker.reading import POLLED_AT
from prefect_ecs_pinned.worker.turns import Turns

if TYPE_CHECKING:
    from prefect.workers.base import BaseWorker

    Base = BaseWorker[Any, Any, Any]
else:
    Base = object

#: The names that states have which a worker sets when it takes a run.
_OWN_STATES = ("Pending", "Submitting")


class _SharedPool(WorkPool):
    """A work pool that jobs are made of, and that nobody changes: its copy is itself.

    Prefect copies the pool, 60 KB with its template, for each run, because a newer one might
    replace it meanwhile; that one is another object. The rendered part is a copy (prefect 3.9,
    ``BaseJobConfiguration.from_template_and_values``).
    """

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> _SharedPool:
        return self


class Taking(Base):
    """A worker that records which flow runs it has taken; see `claims`.

    Attributes:
        stopping: No more runs are taken.
    """

    stopping = False
    _submissions: set[asyncio.Task[None]]
    _turns: Turns
    _polled_at = 0.0

    def _claims_or_none(self) -> Claims | None:
        raise NotImplementedError

    def _hand_back(self, claim: Claim) -> None:
        raise NotImplementedError

    async def _submit_scheduled_flow_runs(self, flow_run_response: list[Any]) -> list[FlowRun]:
        self._polled_at = asyncio.get_running_loop().time()
        return await super()._submit_scheduled_flow_runs(flow_run_response)

    def _record_work_pool_snapshot(self, work_pool: WorkPool) -> None:
        super()._record_work_pool_snapshot(work_pool)
        if (pool := self._work_pool) is not None:
            self._work_pool = _SharedPool.model_construct(pool.model_fields_set, **dict(pool))

    async def _submit_run(self, flow_run: FlowRun) -> None:
        POLLED_AT.set(self._polled_at)  # this is a task of its own
        await self._turns.take(flow_run.id)
        try:
            if self.stopping:
                self._forget(flow_run.id)
            else:
                await self._submit_in_turn(flow_run)
        finally:
            self._turns.give_back(flow_run.id)

    def _forget(self, flow_run_id: UUID) -> None:
        """A run is not submitted after all."""
        self._release_limit_slot(flow_run_id)
        self._submitting_flow_run_ids.discard(flow_run_id)
        if self._cancelling_observer is not None:
            self._cancelling_observer.remove_in_flight_flow_run_id(flow_run_id)

    async def _submit_in_turn(self, flow_run: FlowRun) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._submissions.add(task)
        try:
            await super()._submit_run(flow_run)
        except Exception as exception:  # noqa: BLE001 - it would end the worker, with all runs
            text = "Could not submit flow run %s (%s): it stays Scheduled, and is polled again"
            self._logger.warning(text, flow_run.id, reason_of(exception))
            self._forget(flow_run.id)
        finally:
            self._submissions.discard(task)
            claims = self._claims_or_none()
            claim = claims.get(flow_run.id) if claims is not None else None
            if claims is not None and claim is not None and not claim.launching:
                claims.close(claim)  # its job cannot be made

    async def _propose_pending_state(self, flow_run: FlowRun) -> bool:
        claims = self._claims_or_none()
        if self.stopping or claims is None:
            return False
        claim = claims.begin(flow_run.id)
        log = self.get_flow_run_logger(flow_run)
        asked_at = claims.now()
        try:
            state = await propose_state(self.client, Pending(), flow_run_id=flow_run.id)
        except Abort as abort:
            log.info("Aborted submission of flow run '%s': %s", flow_run.id, abort)
        except Exception:  # as Prefect does it: the run is polled again
            log.exception("Failed to update state of flow run '%s'", flow_run.id)
        else:
            if state.is_pending():
                _take(claim, state, asked_at)
                if not self.stopping:
                    return True
                self._hand_back(claim)
                claims.close(claim)
                return False
            text = "Aborted submission of flow run '%s': the server returned %r"
            log.info(text, flow_run.id, state.type.value)
        claims.close(claim)
        return False

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        claims = self._claims_or_none()
        claim = claims.get(flow_run_id) if claims is not None else None
        if claim is None or self._client is None:
            await super()._give_worker_labels_to_flow_run(flow_run_id)
            return
        labels = {
            "prefect.worker.name": self.name,
            "prefect.worker.type": self.type,
            CLAIM_LABEL: claim.id,
        }
        if self._work_pool is not None:
            labels["prefect.work-pool.name"] = self._work_pool.name
            labels["prefect.work-pool.id"] = str(self._work_pool.id)
        if claim.retracted:
            return  # it may be another worker's by now
        claim.calling = True
        try:
            await self._client.update_flow_run_labels(flow_run_id, labels)  # type: ignore[arg-type]
        finally:
            claim.calling = False

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        claims = self._claims_or_none()
        claim = claims.get(flow_run.id) if claims is not None else None
        if claims is None or claim is None:
            await super()._propose_submitting_state(flow_run)
            return
        if self.stopping or not await claims.confirm(claim):
            return
        confirmed_at, asked_at = claim.read_at, claims.now()
        claim.calling = True
        try:
            state = await propose_state(
                self.client, Pending(name="Submitting"), flow_run_id=flow_run.id
            )
        except Abort:
            return  # whether it is still this worker's is asked before the launch
        except Exception as exception:  # noqa: BLE001 - the run is as good as Pending
            self._logger.debug("Flow run %s: Submitting: %s", flow_run.id, reason_of(exception))
            return
        finally:
            claim.calling = False
        if confirmed_at is None or confirmed_at.age(claims.now()) > FRESH_SECONDS:
            claim.end(lost=True)  # the state may have been another worker's by then
        elif state.is_pending():
            _take(claim, state, asked_at)

    async def _propose_crashed_state(
        self, flow_run: FlowRun, message: str, client: PrefectClient | None = None
    ) -> None:
        claims = self._claims_or_none()
        claim = claims.get(flow_run.id) if claims is not None else None
        if claim is None or not claim.retracted:
            await super()._propose_crashed_state(flow_run, message, client)
        elif not (claim.lost or claim.launching):
            self._hand_back(claim)  # the run itself has not failed


def _take(claim: Claim, state: State[Any], asked_at: Moment) -> None:
    claim.took(str(state.id), asked_at, state.state_details.deployment_concurrency_lease_id)


def is_taken(claim: Claim, flow_run: FlowRun) -> bool:
    """Whether a flow run is what a claim has made of it, as far as it says itself."""
    state = flow_run.state
    if state is None or not state.is_pending() or state.name not in _OWN_STATES:
        return False
    if claim.state_id is not None:
        return str(state.id) == claim.state_id
    return flow_run.labels.get(CLAIM_LABEL) == claim.id
