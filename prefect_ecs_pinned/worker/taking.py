"""How a worker takes a flow run: proposed Pending, labelled, proposed Submitting.

These are steps of Prefect's own (prefect 3.9, ``BaseWorker._submit_run`` and
``_submit_run_and_capture_errors``), with what they leave out: the id of the state that was set, and
a label by which a run's task is known to be of this attempt.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Abort
from prefect.states import Pending
from prefect.utilities.engine import propose_state

from prefect_ecs_pinned.faces.asking import reason_of
from prefect_ecs_pinned.runs.host import UNWANTED
from prefect_ecs_pinned.runs.watch import Unwanted
from prefect_ecs_pinned.worker.claims import CLAIM_LABEL, FRESH_SECONDS, Claim, Claims

if TYPE_CHECKING:
    from prefect.workers.base import BaseWorker

    Base = BaseWorker[Any, Any, Any]
else:
    Base = object

#: The names that states have which a worker sets when it takes a run.
_OWN_STATES = ("Pending", "Submitting")


class Taking(Base):
    """A worker that knows which flow runs it has taken; see `claims`.

    Attributes:
        stopping: No more runs are taken.
    """

    stopping = False
    _submissions: set[asyncio.Task[None]]

    def _claims_or_none(self) -> Claims | None:
        raise NotImplementedError

    async def _submit_run(self, flow_run: FlowRun) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._submissions.add(task)
        try:
            await super()._submit_run(flow_run)
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
        taken = await super()._propose_pending_state(flow_run)
        if not taken:
            claims.close(claim)
        return taken

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
        await self._client.update_flow_run_labels(flow_run_id, labels)  # type: ignore[arg-type]

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        claims = self._claims_or_none()
        claim = claims.get(flow_run.id) if claims is not None else None
        if claims is None or claim is None:
            await super()._propose_submitting_state(flow_run)
            return
        asked_at = claims.now()
        if self.stopping or claim.begun_at.age(asked_at) > FRESH_SECONDS:
            return  # it may be somebody else's by now, see `still_taken`
        try:
            state = await propose_state(
                self.client, Pending(name="Submitting"), flow_run_id=flow_run.id
            )
        except Abort:
            return
        except Exception as exception:  # noqa: BLE001 - the run is read before it is launched
            self._logger.debug("Flow run %s: Submitting: %s", flow_run.id, reason_of(exception))
            return
        if state.is_pending():
            lease = state.state_details.deployment_concurrency_lease_id
            claim.took(str(state.id), asked_at, lease)

    async def still_taken(self, claim: Claim) -> bool:
        """Whether a run is this worker's to launch; read, if the state that it set is not known.

        Raises:
            Unwanted: The flow run has been cancelled.
        """
        if claim.set_at is not None or claim.retracted:
            return not claim.retracted
        asked_at = claim.claims.now()
        seen = await self.client.read_flow_run(claim.flow_run_id)
        if seen.state is not None and seen.state.type.value in UNWANTED:
            raise Unwanted("not wanted")
        if not is_taken(claim, seen):
            claim.end(lost=True)
            return False
        assert seen.state is not None
        lease = seen.state.state_details.deployment_concurrency_lease_id
        claim.took(str(seen.state.id), asked_at, lease)
        return True


def is_taken(claim: Claim, flow_run: FlowRun) -> bool:
    """Whether a flow run is what a claim has made of it, as far as it says itself."""
    state = flow_run.state
    if state is None or not state.is_pending() or state.name not in _OWN_STATES:
        return False
    if claim.state_id is not None:
        return str(state.id) == claim.state_id
    return flow_run.labels.get(CLAIM_LABEL) == claim.id
