"""What ECS has on tasks in one account and Region. Reads, in batches, except for `Place.stop`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prefect_ecs_pinned.aws.loop.bounded import in_batches
from prefect_ecs_pinned.core.arn import TaskIdentifier, cluster_name
from prefect_ecs_pinned.core.task_state import snapshot
from prefect_ecs_pinned.errors import ClusterNotFound, PinnedECSError, Unavailable
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.clocks import DATE_GRAIN, Clock, date_of, steady_now
from prefect_ecs_pinned.operations.families import DESCRIBE_TASKS_LIMIT, clusters
from prefect_ecs_pinned.operations.reconcile.facts import ByPid, Task
from prefect_ecs_pinned.operations.reconcile.outlived import api_url

#: Statuses that ListTasks has to be asked for one by one (API_ListTasks, "desiredStatus").
_DESIRED = ("RUNNING", "STOPPED")


class Place:
    """One account and Region, seen with one set of credentials.

    Attributes:
        account: Account ID.
        region: AWS Region.
        failures: Why look-ups failed. With any, absence proves nothing.
    """

    def __init__(self, account: str, region: str, calls: Calls) -> None:
        self.account = account
        self.region = region
        self.failures: list[PinnedECSError] = []
        self._calls = calls
        self._clock = Clock()
        self._clusters: Sequence[str] = ()

    def holds(self, pid: TaskIdentifier) -> bool:
        """Whether a pid's task is of this account and Region."""
        return pid.task_arn.split(":")[2:5] == ["ecs", self.region, self.account]

    async def look_around(self) -> None:
        """Find the clusters, once, for what follows."""
        try:
            self._clusters = await clusters(self._calls)
        except PinnedECSError as error:
            self.failures.append(error)

    async def sightings(self, status: str, but: Collection[str] = ()) -> list[Task]:
        """Every task in every cluster that names a flow run.

        Args:
            status: RUNNING for live tasks; STOPPED for those that stopped within the hour.
            but: ARNs of tasks that are known already.
        """
        found: list[Task] = []
        for cluster in self._clusters:
            try:
                arns = await self._list(cluster, desiredStatus=status)
            except PinnedECSError as error:
                self.failures.append(error)
                continue
            described, _ = await self._describe(cluster, [arn for arn in arns if arn not in but])
            found += described.values()
        return [task for task in found if task.flow_run_id]

    async def by_pid(self, pids: Iterable[TaskIdentifier]) -> dict[TaskIdentifier, Task | ByPid]:
        """What ECS says of the tasks that pids name: the task, MISSING or FAILED."""
        answers: dict[TaskIdentifier, Task | ByPid] = {}
        by_cluster: dict[str, list[TaskIdentifier]] = {}
        for pid in pids:
            by_cluster.setdefault(cluster_name(pid.cluster), []).append(pid)
        for cluster, members in by_cluster.items():
            described, missing = await self._describe(cluster, [pid.task_arn for pid in members])
            for pid in members:
                if pid.task_arn in described:
                    answers[pid] = described[pid.task_arn]
                else:
                    answers[pid] = ByPid.MISSING if pid.task_arn in missing else ByPid.FAILED
        return answers

    async def search(self, flow_run_id: str) -> list[Task] | None:
        """Every task that was started by a flow run, in every cluster; None when that failed."""
        found: list[Task] = []
        failed = len(self.failures)
        for cluster in self._clusters:
            try:
                lists = await asyncio.gather(
                    *(
                        self._list(cluster, startedBy=flow_run_id, desiredStatus=status)
                        for status in _DESIRED
                    )
                )
            except PinnedECSError as error:
                self.failures.append(error)
                return None
            arns = list(dict.fromkeys(arn for arns in lists for arn in arns))
            described, missing = await self._describe(cluster, arns)
            if missing:  # listed and not described: it is too new, or about to be forgotten
                return None
            found += described.values()
        return found if len(self.failures) == failed else None

    async def stop(self, cluster: str, task_arn: str, reason: str) -> None:
        """Stop a task.

        Raises:
            PinnedECSError: AWS refused, or could not be reached.
        """
        await self._calls.call("ecs", "StopTask", cluster=cluster, task=task_arn, reason=reason)

    async def _list(self, cluster: str, **filters: str) -> list[str]:
        pages = self._calls.pages("ecs", "ListTasks", "taskArns", cluster=cluster, **filters)
        try:
            return [arn async for arn in pages]
        except ClusterNotFound:  # deleted since it was listed, so nothing runs in it
            return []

    async def _describe(
        self, cluster: str, arns: Sequence[str]
    ) -> tuple[dict[str, Task], set[str]]:
        """ARN -> task of those that are known, and the ARNs that are MISSING."""
        described: dict[str, Task] = {}
        missing: set[str] = set()
        for batch in in_batches(arns, DESCRIBE_TASKS_LIMIT):
            asked = steady_now()
            try:
                answer = await self._calls.call(
                    "ecs", "DescribeTasks", cluster=cluster, tasks=list(batch)
                )
                date = self._read_clock(answer, asked)
            except PinnedECSError as error:
                self.failures.append(error)
                continue
            for raw in answer["tasks"]:
                described[str(raw["taskArn"])] = as_task(raw, self._clock, date)
            missing.update(
                str(failure["arn"])
                for failure in answer.get("failures") or []
                if failure.get("reason") == "MISSING"
            )
        return described, missing

    def _read_clock(self, answer: Mapping[str, Any], asked: datetime) -> datetime:
        """Read AWS's clock from an answer; gives what it shows.

        Raises:
            Unavailable: The answer does not say.
        """
        date = date_of(answer)
        if date is None:
            raise Unavailable(
                f"cannot find out how old tasks in {self.region} are",
                "the answer of DescribeTasks has no Date",
                "look for a proxy or an endpoint_url that removes it",
            )
        self._clock.read(date, asked, steady_now(), DATE_GRAIN)
        return date


def as_task(raw: Mapping[str, Any], clock: Clock, now: datetime) -> Task:
    """Read a described task (API_Task).

    Args:
        raw: The task.
        clock: The one that its times are of.
        now: What that shows: a task that does not say when it was created is as good as new.
    """
    end = snapshot(raw)
    stopped_at = raw.get("stoppedAt") or raw.get("stoppingAt")
    variables = dict(_variables(raw))
    return Task(
        snapshot=end,
        created_at=clock.ours(raw.get("createdAt") or now),
        stopped_at=clock.ours(stopped_at) if end.final and stopped_at else None,
        flow_run_id=variables.get("PREFECT__FLOW_RUN_ID") or str(raw.get("startedBy") or ""),
        reports_to=api_url(variables.get("PREFECT_API_URL") or ""),
    )


def _variables(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The variables that a task was launched with, in whatever container."""
    for container in (raw.get("overrides") or {}).get("containerOverrides") or []:
        for variable in container.get("environment") or []:
            yield str(variable.get("name")), str(variable.get("value") or "")
