"""`PinnedECSWorker`: flow runs of a work pool as ECS tasks, all from one pinned revision.

This module holds what Prefect calls. `spec` makes a `RunSpec` of a job's configuration, `host` a
`Host` of the worker; what a run does with them is in `prefect_ecs_pinned.runs`.
"""

from __future__ import annotations

import copy
from typing import Any

import anyio.abc
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound
from prefect.settings import PREFECT_API_URL
from prefect.workers.base import BaseWorker, BaseWorkerResult
from prefect_aws import AwsCredentials

from prefect_ecs_pinned.aws import control_plane
from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.aws.loop.control_loop import LoopClock
from prefect_ecs_pinned.connections import LIMITS
from prefect_ecs_pinned.core.arn import TaskIdentifier, region_of
from prefect_ecs_pinned.errors import DOCS, ClusterNotFound, PinnedECSError, TaskNotFound
from prefect_ecs_pinned.faces import events
from prefect_ecs_pinned.faces.access import access_of
from prefect_ecs_pinned.runs.spec import RunSpec
from prefect_ecs_pinned.worker.attempt import Attempt
from prefect_ecs_pinned.worker.claims import Claim, Claims
from prefect_ecs_pinned.worker.configuration import PinnedECSJobConfiguration
from prefect_ecs_pinned.worker.deadline import HAND_BACK_SECONDS, Deadline
from prefect_ecs_pinned.worker.host import Page, WorkerHost
from prefect_ecs_pinned.worker.launches import Order
from prefect_ecs_pinned.worker.live_tasks import LiveTasks
from prefect_ecs_pinned.worker.pool_runs import PoolRun
from prefect_ecs_pinned.worker.reading import prepare_client
from prefect_ecs_pinned.worker.services import Services
from prefect_ecs_pinned.worker.spec import named_revision, run_spec
from prefect_ecs_pinned.worker.taking import Taking
from prefect_ecs_pinned.worker.turns import Turns
from prefect_ecs_pinned.worker.variables import PinnedECSVariables

#: StopTask's reason when Prefect asks for it.
_KILLED_REASON = "Cancelled in Prefect"

#: Different warnings about what jobs ask for and do not get.
_MOST_WARNINGS = 100


class PinnedECSWorkerResult(BaseWorkerResult):
    """The task that was launched; 0, since what becomes of it is reported when it ends."""


class PinnedECSWorker(
    Taking, BaseWorker[PinnedECSJobConfiguration, PinnedECSVariables, PinnedECSWorkerResult]
):
    """Run flow runs on Amazon ECS, all from one pinned task-definition revision.

    It takes the base job templates and job variables of `ECSWorker`. The task definition is built
    from configuration alone, registered when that changes, and shared by all flow runs, workers
    and deployments whose definitions are equal.
    """

    type = "pinned-ecs"
    job_configuration = PinnedECSJobConfiguration
    job_configuration_variables = PinnedECSVariables
    _display_name = "AWS Elastic Container Service, pinned"
    _description = (
        "Execute hundreds of flow runs within containers on AWS ECS, from one pinned "
        "task-definition revision. It is registered only when the configuration changes."
    )
    _documentation_url = DOCS
    _logo_url = "https://cdn.sanity.io/images/3ugk85nk/production/d74b16fe84ce626345adf235a47008fea2869a60-225x225.png"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._submissions = set()
        self._turns = Turns()
        self._services: Services | None = None
        self._warned: set[str] = set()
        self._deadline = Deadline()

    # -- what Prefect calls ----------------------------------------------------------------------

    async def start(self, *args: Any, **kwargs: Any) -> None:
        """As the parent; its own process ends in time after a stop signal."""
        self._deadline.watch_signals()
        await super().start(*args, **kwargs)

    async def setup(self) -> None:
        """Begin to follow tasks, with a client that keeps its connections.

        It is released after the runs that the parent has begun: their group is entered later.
        """
        client = None
        if PREFECT_API_URL.value():  # otherwise the parent refuses to start
            kept = get_client(httpx_settings={"limits": LIMITS})
            client = await self._exit_stack.enter_async_context(kept)
        await super().setup()
        self._client = client or self._client
        prepare_client(self.client, LoopClock())
        self._services = Services(self.client, self._work_pool_name, self.name, self._job_of)
        self._services.begin()

    async def teardown(self, *exc_info: Any) -> None:
        """Release tasks, which run on, before the parent releases its client.

        A worker that does not end by itself hands back what it has not launched.
        """
        self.stopping = any(exc_info)
        if self._services is not None:
            with anyio.CancelScope(shield=True):
                await self._services.stop(
                    self._submissions if self.stopping else None,
                    self._deadline.left(HAND_BACK_SECONDS),
                )
        await super().teardown(*exc_info)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: PinnedECSJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> PinnedECSWorkerResult:
        """Launch the task of a flow run; what becomes of it is followed by `live_tasks`.

        Raises:
            PinnedECSError: Nothing was launched.
        """
        host = self._host(flow_run)
        claims = self._claims_or_none()
        self._turns.give_back(flow_run.id)  # what waits from now on waits for AWS
        try:
            await self._launch(host, configuration, claims.get(flow_run.id) if claims else None)
        except PinnedECSError as error:
            # Prefect logs its traceback: without what led to it, the hint is in a dozen lines.
            raise error.with_traceback(None) from None
        finally:
            if host.has_started and task_status is not None:
                task_status.started(host.attempt.identifier)
        return PinnedECSWorkerResult(identifier=host.attempt.identifier, status_code=0)

    async def _initiate_run(
        self, flow_run: FlowRun, configuration: PinnedECSJobConfiguration
    ) -> None:
        """As `run`, for `submit`: there, Prefect does not store the identifier."""
        host = self._host(flow_run)
        await self._launch(host, configuration, None)
        if host.attempt.identifier:
            await host.store_identifier()

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: PinnedECSJobConfiguration,
        grace_seconds: int = 30,
    ) -> None:
        """Stop a task. Stopping one that has stopped already changes nothing.

        Args:
            infrastructure_pid: ``cluster::task-arn``. The configuration may name another cluster
                by now; the task is where it is.
            configuration: How to reach AWS.
            grace_seconds: ECS has a fixed grace period of its own (30 s unless configured).

        Raises:
            InfrastructureNotAvailable: It is not a task of ECS, or of another Region.
            InfrastructureNotFound: There is no such task or cluster.
            PinnedECSError: AWS refused, or could not be reached.
        """
        try:
            cluster, task = TaskIdentifier.parse(infrastructure_pid)
        except ValueError as error:
            raise InfrastructureNotAvailable(f"Cannot stop an ECS task: {error}") from None
        plane = self._plane(configuration)
        region = await plane.region()
        if region_of(task) not in ("", region):
            raise InfrastructureNotAvailable(
                f"Cannot stop ECS task {task!r}: it is not in Region {region!r}, which the work "
                "pool's credentials are for."
            )
        try:
            await plane.stop(cluster, task, _KILLED_REASON)
        except (ClusterNotFound, TaskNotFound) as error:
            raise InfrastructureNotFound(f"Cannot stop ECS task {task!r}: {error}") from error

    # -- of its own ------------------------------------------------------------------------------

    @property
    def live_tasks(self) -> LiveTasks | None:
        """The tasks that it follows; None when it is not set up."""
        return self._services.live if self._services is not None else None

    def _claims_or_none(self) -> Claims | None:
        return self._services.flow_runs.claims if self._services is not None else None

    def _hand_back(self, claim: Claim) -> None:
        assert self._services is not None
        self._services.handing_back.add(claim)

    def _host(self, flow_run: FlowRun) -> WorkerHost:
        if self._services is None:
            raise RuntimeError("the worker has to be set up first: use it with `async with`")
        page = Page(self.get_flow_run_logger(flow_run))
        return WorkerHost(Attempt.of(flow_run), self._services.flow_runs, self._logger, page)

    async def _launch(
        self, host: WorkerHost, configuration: PinnedECSJobConfiguration, claim: Claim | None
    ) -> None:
        """Launch a task, and have it followed.

        Raises:
            PinnedECSError: Nothing was launched.
        """
        self._warn_once(configuration)

        async def job() -> tuple[RunSpec, ControlPlane]:
            plane = self._plane(configuration)
            return await self._spec(configuration, plane, host.attempt), plane

        assert self._services is not None
        await self._services.launches.launch(Order(host, job, configuration.max_live_tasks, claim))

    async def _job_of(self, run: PoolRun) -> tuple[RunSpec, ControlPlane]:
        """What a flow run of the pool asks for, whichever process launched it."""
        flow_run = await self.client.read_flow_run(run.id)
        configuration = await self.job_configuration.resolve_for_flow_run(
            flow_run,
            client=self.client,
            work_pool=copy.deepcopy(self.work_pool),
            worker_name=self.name,
            worker_id=self.backend_id,
        )
        plane = self._plane(configuration)
        return await self._spec(configuration, plane, Attempt.of(flow_run)), plane

    def _plane(self, configuration: PinnedECSJobConfiguration) -> ControlPlane:
        credentials = configuration.aws_credentials or AwsCredentials()
        return control_plane.shared(access_of(credentials), events.emit)

    async def _spec(
        self, configuration: PinnedECSJobConfiguration, plane: ControlPlane, attempt: Attempt
    ) -> RunSpec:
        named = named_revision(configuration)
        described = (await plane.linked(named)).described if named else None
        return run_spec(
            configuration, self._work_pool_name, attempt.flow_run_id, attempt.name, described
        )

    def _warn_once(self, configuration: PinnedECSJobConfiguration) -> None:
        for line in configuration.ignored:
            if line not in self._warned and len(self._warned) < _MOST_WARNINGS:
                self._warned.add(line)
                self._logger.warning(line)
