"""What the runs of a pool are configured to be: asked for by those who find their tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import orjson
from prefect.logging.loggers import get_logger

from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.core.arn import parse_revision
from prefect_ecs_pinned.faces.asking import reason_of
from prefect_ecs_pinned.runs.spec import RunSpec
from prefect_ecs_pinned.worker.pool_runs import PoolRun

#: Seconds for which a deployment's job is remembered: it costs three calls and more.
_REMEMBERED_SECONDS = 600.0

#: Job variables of a run that decide where its task is, and how it is watched.
_DECIDING = (
    "aws_credentials",
    "cluster",
    "family",
    "task_definition_arn",
    "task_start_timeout_seconds",
    "task_watch_poll_interval",
)

logger = get_logger("workers.pinned-ecs.adopting")


@dataclass(frozen=True)
class Job:
    """What a run asks for.

    Attributes:
        spec: Of a run of the same deployment.
        plane: The control plane of its credentials.
        region: Its Region.
    """

    spec: RunSpec
    plane: ControlPlane
    region: str

    @property
    def cluster(self) -> str:
        """Where its tasks are looked for."""
        return self.spec.cluster or "default"

    @property
    def family(self) -> str:
        """Family of its tasks' definitions."""
        named = (self.spec.job_request or {}).get("taskDefinition")
        if named:
            return parse_revision(str(named)).family
        return str((self.spec.task_definition or {}).get("family") or self.spec.default_family)

    @property
    def found_by_run(self) -> bool:
        """Whether a task's ``startedBy`` is its run's id."""
        return not (self.spec.job_request or {}).get("startedBy")

    def of(self, run: PoolRun) -> RunSpec:
        """The spec of a run: what it sets itself is among what no message may show."""
        given = run.variables.get("env")
        own = {k: str(v) for k, v in given.items() if v is not None} if given else {}
        return replace(
            self.spec,
            flow_run_id=str(run.id),
            name=run.name,
            log_prefix=f"Flow run {run.name!r}",
            env={**self.spec.env, **own},
        )


class PoolJobs:
    """Remembers jobs by deployment; belongs to the worker's event loop.

    Args:
        resolve: Makes the job of a flow run: its spec, and the control plane of its credentials.
        clock: Time.
    """

    def __init__(
        self, resolve: Callable[[PoolRun], Awaitable[tuple[RunSpec, ControlPlane]]], clock: Clock
    ) -> None:
        self._resolve = resolve
        self._clock = clock
        self._jobs: dict[tuple[object, bytes], tuple[float, Job | None]] = {}

    async def of(self, run: PoolRun) -> Job | None:
        """The job of a flow run; None when it cannot be made."""
        deciding = {name: run.variables[name] for name in _DECIDING if name in run.variables}
        key = (run.deployment_id, orjson.dumps(deciding, option=orjson.OPT_SORT_KEYS))
        now = self._clock.now()
        made_at, job = self._jobs.get(key, (float("-inf"), None))
        if now - made_at < _REMEMBERED_SECONDS:
            return job
        self._jobs = {
            key: kept for key, kept in self._jobs.items() if now - kept[0] < _REMEMBERED_SECONDS
        }
        try:
            spec, plane = await self._resolve(run)
            job = Job(spec, plane, await plane.region())
        except Exception as exception:  # noqa: BLE001 - its runs are left alone
            text = "Cannot look for tasks of deployment %s, since its job cannot be made: %s"
            logger.warning(text, run.deployment_id, reason_of(exception))
            job = None
        self._jobs[key] = now, job
        return job
