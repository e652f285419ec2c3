"""The matrix through Prefect 3's worker: each run is polled, taken, resolved, launched, followed.

The worker is a real one, and does with a flow run what it does after a poll. How a run has ended is
what Prefect has been given to know of it (`worker_side`).
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import jsonpatch
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse

from prefect_ecs_pinned.faces.states import read_states
from prefect_ecs_pinned.local import LocalECS
from prefect_ecs_pinned.worker import PinnedECSWorker
from tests.faults.prefect_side import serving
from tests.faults.runs import NOT_LAUNCHED, WELL, FieldsOf, Run
from tests.faults.worker_side import FINAL, POOL, WorkerSide
from tests.faults.world import FAMILY, credentials

#: Seconds between two looks at a flow run; and within which a worker lets go of tasks that ended.
_LOOK_SECONDS = 0.2
_LET_GO_SECONDS = 60.0

#: Seconds after which a run is taken for one that its worker leaves Pending, since it may run.
_LEFT_SECONDS = 60.0
LEFT = "MayRun: cannot launch it: it may be running; looking for it: left Pending"

#: What Prefect writes in front of the error of a run that could not be launched (prefect 3.9).
_NOT_SUBMITTED = "Failed to submit flow run to infrastructure: "


def template(endpoint: str, fields: Mapping[str, Any], key: str = "local") -> dict[str, Any]:
    """A pool's template; what fields of a block have no variable for stands in it."""
    made = copy.deepcopy(PinnedECSWorker.get_default_base_job_template())
    job = made["job_configuration"]
    job["aws_credentials"] = credentials(endpoint, key)
    job["task_watch_poll_interval"] = 0.5
    for name, value in (fields.get("task_definition") or {}).items():
        if name != "containerDefinitions":
            job["task_definition"][name] = value
    for patch in fields.get("task_customizations") or ():
        path = patch["path"].split("/")[1]
        job["task_run_request"].setdefault(path, None)
        job["task_run_request"] = jsonpatch.JsonPatch([patch]).apply(job["task_run_request"])
    return made


def variables(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Job variables of a deployment."""
    in_template = ("task_definition", "task_customizations")
    own = {name: value for name, value in fields.items() if name not in in_template}
    return {"family": FAMILY, "image": "flows:1", "command": "true", **own}


def end_of(state: str, message: str, launched: bool) -> str:
    """How a flow run has ended, in the words that a block would have."""
    if state == "COMPLETED":
        return WELL
    if state == "CANCELLED":
        return WELL if launched else NOT_LAUNCHED
    return message.removeprefix(_NOT_SUBMITTED).partition("\n")[0]


class WorkerFace:
    """Runs a worker for each template that the fields of runs make.

    Args:
        side: Prefect's API.
        endpoint: Of ECS.
        fields: Of a run.
        submitted: Whether a run, by its number, is one that a caller of the worker's own methods
            submits; the others are polled.
    """

    ends_with_task = False  # what it says of a task is noted when it says so: `Day.note_untruth`

    def __init__(
        self,
        side: WorkerSide,
        endpoint: str,
        fields: FieldsOf,
        submitted: Callable[[int], bool] = lambda number: False,
    ) -> None:
        self._submitted = submitted
        self._side = side
        self._endpoint = endpoint
        self._fields = fields
        self._workers: dict[str, PinnedECSWorker] = {}
        self._ready: dict[str, asyncio.Future[None]] = {}
        self._lives: list[asyncio.Task[None]] = []
        self._over = asyncio.Event()
        self._runs: dict[str, Run] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """See `runs.Face`."""
        self._side.on_pid = self._note_pid
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("prefect.events.utilities.should_emit_events", lambda: False)
            patch.setattr("prefect.workers.base.get_client", self._client)
            try:
                yield
            finally:
                self._over.set()
                await asyncio.gather(*self._lives)

    def _client(self) -> PrefectClient:
        """A client whose requests stay in the process: HTTP would take longest by far."""

        async def answer(request: httpx.Request) -> httpx.Response:
            path = request.url.raw_path.decode()
            status, content = self._side.status_and_body(path, request.content)
            return httpx.Response(status, content=content)

        return get_client(httpx_settings={"transport": httpx.MockTransport(answer)})

    async def live(self, run: Run) -> str:
        """See `runs.Face`."""
        self._runs[run.flow_run_id] = run
        fields = self._fields(run.number)
        worker = await self._worker_of(fields)
        if self._submitted(run.number):
            await self._submit(worker, run, variables(fields))
        deployment = self._side.deployment(variables(fields))
        left_since: float | None = None
        while True:
            state, message, pid = self._side.now(run.flow_run_id)
            left = state == "PENDING" and not pid and not _has(worker, run)
            left_since = (left_since or time.monotonic()) if left else None
            if left_since is not None and time.monotonic() - left_since > _LEFT_SECONDS:
                return LEFT
            if state == "SCHEDULED" and not _has(worker, run):
                await self._poll(worker, run, deployment)
            elif state is None and not _has(worker, run):
                return NOT_LAUNCHED
            elif state in FINAL:
                return end_of(state, message, bool(self._side.launches_of(run.flow_run_id)))
            await asyncio.sleep(_LOOK_SECONDS)

    async def kill(self, run: Run) -> None:
        """See `runs.Face`; what the server's clean-up has a worker do."""
        worker = await self._worker_of(self._fields(run.number))
        flow_run = await worker.client.read_flow_run(UUID(run.flow_run_id))
        configuration = await _configuration(worker, flow_run)
        await worker.kill_infrastructure(flow_run.infrastructure_pid or "", configuration)

    async def let_go(self) -> int:
        """Tasks that are followed still when all runs have ended, after a time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _LET_GO_SECONDS
        while (left := self._followed()) and loop.time() < until:  # noqa: ASYNC110 - as in life
            await asyncio.sleep(_LOOK_SECONDS)
        return left

    def _followed(self) -> int:
        return sum(len(w.live_tasks) for w in self._workers.values() if w.live_tasks is not None)

    def _note_pid(self, id_: str, pid: str) -> None:
        if id_ in self._runs:
            self._runs[id_].status.identifier = pid

    async def _poll(self, worker: PinnedECSWorker, run: Run, deployment: str) -> None:
        """Hand a flow run to a worker, as its poll does."""
        pool = worker.work_pool.name
        flow_run = FlowRun.model_validate(self._side.schedule(run.flow_run_id, pool, deployment))
        await worker._submit_scheduled_flow_runs([_polled(flow_run)])

    async def _submit(
        self, worker: PinnedECSWorker, run: Run, variables: Mapping[str, Any]
    ) -> None:
        """Have a worker launch a flow run, for a caller who waits and may be cancelled."""
        flow_run = FlowRun.model_validate(self._side.submit(run.flow_run_id, variables))
        await worker.run(flow_run, await _configuration(worker, flow_run), run.status)

    async def _worker_of(self, fields: Mapping[str, Any]) -> PinnedECSWorker:
        made = template(self._endpoint, fields)
        key = repr(made)
        if key not in self._workers:
            pool = f"{POOL}-{len(self._workers)}"
            self._side.templates[pool] = made
            self._workers[key] = PinnedECSWorker(pool, create_pool_if_not_found=False)
            self._ready[key] = asyncio.get_running_loop().create_future()
            self._lives.append(asyncio.create_task(self._work(key)))
        await self._ready[key]
        return self._workers[key]

    async def _work(self, key: str) -> None:
        """The life of a worker, in one task, since anyio's scopes belong to one."""
        try:
            async with self._workers[key]:
                self._ready[key].set_result(None)
                await self._over.wait()
        except BaseException as error:
            if not self._ready[key].done():
                self._ready[key].set_exception(error)
            raise


# -- processes of their own ------------------------------------------------------------------------


@contextmanager
def pool_of_processes(ecs: LocalECS) -> Iterator[Callable[[str, Mapping[str, Any]], object]]:
    """Prefect's API for workers in other processes; yields what makes a flow run of fields."""
    side = WorkerSide()
    side.ecs = ecs
    side.templates[POOL] = template(ecs.endpoint_url, {})
    with serving(side):
        yield lambda id_, fields: side.schedule(id_, POOL, side.deployment(variables(fields)))


async def run_group(flow_runs: Sequence[str]) -> int:
    """Run the flow runs of one process, which Prefect has; how many did not end well."""
    left, failed = set(flow_runs), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prefect.events.utilities.should_emit_events", lambda: False)
        async with PinnedECSWorker(POOL, create_pool_if_not_found=False) as worker:
            polled = [await worker.client.read_flow_run(UUID(id_)) for id_ in flow_runs]
            await worker._submit_scheduled_flow_runs([_polled(run) for run in polled])
            while left:
                await asyncio.sleep(_LOOK_SECONDS)
                seen = await read_states(worker.client, sorted(left))
                ended = {id_: state for id_, state in seen.items() if state in FINAL}
                failed += sum(state != "COMPLETED" for state in ended.values())
                left -= set(ended)
    return failed


def _polled(flow_run: FlowRun) -> WorkerFlowRunResponse:
    """A flow run as a poll brings it."""
    return WorkerFlowRunResponse(work_pool_id=uuid4(), work_queue_id=uuid4(), flow_run=flow_run)


def _has(worker: PinnedECSWorker, run: Run) -> bool:
    """Whether a worker is about to launch a run."""
    return UUID(run.flow_run_id) in worker._submitting_flow_run_ids


async def _configuration(worker: PinnedECSWorker, flow_run: FlowRun) -> Any:
    """Of a flow run's job."""
    pool = copy.deepcopy(worker.work_pool)
    return await worker.job_configuration.resolve_for_flow_run(
        flow_run, client=worker.client, work_pool=pool, worker_name=worker.name
    )
