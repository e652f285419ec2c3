"""The embedded ECS itself: actions in, answers out, on an injected clock. No HTTP, no threads.

`EmbeddedECS.call` answers an action; `server` puts HTTP, latency and processes around it.
"""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from prefect_ecs_pinned.local import run_task, tasks
from prefect_ecs_pinned.local.definitions import Definitions, page
from prefect_ecs_pinned.local.errors import AwsRefusal, client, invalid, throttled
from prefect_ecs_pinned.local.placement import Room
from prefect_ecs_pinned.local.quotas import FARGATE_CALLS, FARGATE_TASKS, Buckets, Quota
from prefect_ecs_pinned.local.region import Region, rewriting
from prefect_ecs_pinned.local.settings import ROOT, Settings
from prefect_ecs_pinned.local.tasks import Moment, Task

#: API_DescribeTasks, "tasks".
MOST_DESCRIBED = 100


class Execution(Protocol):
    """Who runs the commands of tasks, if anybody does."""

    def run(self, task: Task) -> None:
        """Run a task's command; report to ``EmbeddedECS.process_started`` and ``_ended``."""

    def stop(self, task: Task) -> None:
        """Stop a task's process."""


class EmbeddedECS:
    """One account's ECS.

    Args:
        settings: How it behaves; may be changed while it runs.
        now: Seconds on a clock that never goes back.
        subnets: The subnets that EC2 has in a Region, to refuse others; None to refuse none.
        execution: Runs the commands of tasks; None when they only pass time.

    Attributes:
        rewrite: Changes a definition, in place, to how it is described, after ``rewrites``.
        launches: Tasks that were started.
        start_failures: ``(stopCode, stoppedReason)`` of the next tasks, which never start.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        now: Callable[[], float] = time.monotonic,
        subnets: Callable[[str], set[str]] | None = None,
        execution: Execution | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.now = now
        self.execution = execution
        self.buckets = Buckets(self.settings.quota_scale, now)
        self.launches: list[dict[str, Any]] = []
        self.start_failures: deque[tuple[str, str]] = deque()
        self.rewrite: Callable[[dict[str, Any]], None] | None = None
        self.random = random.Random(self.settings.seed)
        self._subnets = subnets
        self._epoch_offset = time.time() - now()
        self._regions: dict[str, Region] = {}
        self._actions: dict[str, Callable[[Region, Mapping[str, Any]], dict[str, Any]]] = {
            "DeregisterTaskDefinition": lambda r, p: r.definitions.deregister(p),
            "DescribeTaskDefinition": lambda r, p: r.definitions.describe(p),
            "ListTaskDefinitions": lambda r, p: r.definitions.list_revisions(p),
            "ListTaskDefinitionFamilies": lambda r, p: r.definitions.list_families(p),
            "DeleteTaskDefinitions": lambda r, p: r.definitions.delete(p),
            "RunTask": self._run_task,
            "StopTask": self._stop_task,
            "DescribeTasks": self._describe_tasks,
            "ListTasks": self._list_tasks,
            "CreateCluster": Region.create_cluster,
            "DescribeClusters": Region.describe_clusters,
            "ListClusters": Region.list_clusters,
            "DeleteCluster": Region.delete_cluster,
            "TagResource": Region.tag,
            "UntagResource": Region.untag,
            "ListTagsForResource": Region.list_tags,
            "CreateService": Region.create_service,
            "ListServices": Region.list_services,
            "DescribeServices": Region.describe_services,
        }

    @property
    def actions(self) -> list[str]:
        """The actions that it supports."""
        return sorted([*self._actions, "RegisterTaskDefinition"])

    def call(
        self,
        action: str,
        request: Mapping[str, Any],
        region: str = "us-east-1",
        caller: str = ROOT,
    ) -> dict[str, Any]:
        """Answer one action immediately, quotas included.

        Raises:
            AwsRefusal: ECS refuses.
        """
        self.admit(action, request, region)
        return self.answer(action, request, region, caller)

    def admit(self, action: str, request: Mapping[str, Any], region: str) -> None:
        """Take the tokens of a call.

        Raises:
            AwsRefusal: There are none: ThrottlingException.
        """
        if not self.buckets.take(region, action):
            raise throttled()
        if action == "RunTask" and not self._admit_fargate(request, region):
            raise throttled()

    def _admit_fargate(self, request: Mapping[str, Any], region: str) -> bool:
        clusters = self._region(region).clusters
        name = str(request.get("cluster") or "default").rsplit("/", 1)[-1]
        launch_type, provider = run_task.placement(request, clusters.get(name, {}))
        if launch_type != "FARGATE":
            return True
        spot = "spot " if provider == "FARGATE_SPOT" else ""
        wanted = [(FARGATE_CALLS, 1.0), (FARGATE_TASKS, float(request.get("count") or 1))]
        return self.buckets.take_from(
            region, [(Quota(spot + q.name, q.burst, q.per_second, ()), n) for q, n in wanted]
        )

    def answer(
        self, action: str, request: Mapping[str, Any], region: str, caller: str = ROOT
    ) -> dict[str, Any]:
        """Carry out an action whose tokens have been taken.

        Args:
            action: The API action.
            request: Its parameters.
            region: Name of the Region.
            caller: ARN of the principal.

        Raises:
            AwsRefusal: ECS refuses.
        """
        if action == "RegisterTaskDefinition":
            return self._region(region).definitions.register(request, caller)
        handler = self._actions.get(action)
        if handler is None:
            raise AwsRefusal("InvalidAction", f"The embedded ECS does not support {action}.")
        return handler(self._region(region), request)

    def definitions(self, region: str = "us-east-1") -> Definitions:
        """The task definitions of a Region."""
        return self._region(region).definitions

    def find(self, arn: str) -> Task | None:
        """A task by ARN."""
        return self._region(arn.split(":")[3]).tasks.get(arn.rsplit("/", 1)[-1])

    def moment(self, task: Task) -> Moment:
        """The state of a task now."""
        return self._moment(task)

    def process_started(self, task: Task) -> None:
        """A task's process runs."""
        task.process_started = self.now()

    def process_ended(self, task: Task, exit_code: int | None, reason: str) -> None:
        """A task's process has ended, or could not be started."""
        task.exit_code, task.ended = exit_code, self.now()
        if exit_code is None and task.stop_asked is None:
            task.failure = ("TaskFailedToStart", reason)

    def summary(self) -> dict[str, Any]:
        """Tasks by status and by revision."""
        by_status: Counter[str] = Counter()
        by_revision: Counter[str] = Counter()
        for region in self._regions.values():
            for task in region.tasks.values():
                by_status[self._moment(task).status] += 1
                by_revision[task.definition["taskDefinitionArn"]] += 1
        return {"by_status": by_status, "by_revision": by_revision}

    # -- tasks -----------------------------------------------------------------------------------

    def _run_task(self, region: Region, request: Mapping[str, Any]) -> dict[str, Any]:
        cluster = region.cluster(request)
        name = cluster["clusterName"]
        known = region.tokens.recall(name, request)
        if known is None:
            try:
                known = self._launch(region, cluster, request)
            except AwsRefusal as refusal:
                region.tokens.keep(name, request, refusal)
                raise
            region.tokens.keep(name, request, known)
        found = [region.tasks[arn.rsplit("/", 1)[-1]] for arn in known["arns"]]
        return {
            "tasks": [self._describe(task, tags=True) for task in found],
            "failures": known["failures"],
        }

    def _launch(
        self, region: Region, cluster: Mapping[str, Any], request: Mapping[str, Any]
    ) -> dict[str, Any]:
        definition = region.definitions.find(request["taskDefinition"], "RunTask")
        if definition is None:
            raise client("TaskDefinition not found.")
        run_task.check(request, definition, cluster, self.settings.container_instances)
        self._check_subnets(region, request)
        arns: list[str] = []
        for _ in range(int(request.get("count") or 1)):
            room = Room(self.settings, lambda: self._live(region), region.name)
            failures, instance = room.place(request, definition, cluster)
            if failures:
                return {"arns": arns, "failures": failures}
            task = self._start(region, cluster, request, definition)
            task.instance = instance
            arns.append(task.arn)
        return {"arns": arns, "failures": []}

    def _start(
        self,
        region: Region,
        cluster: Mapping[str, Any],
        request: Mapping[str, Any],
        definition: Mapping[str, Any],
    ) -> Task:
        launch_type, provider = run_task.placement(request, cluster)
        on_instances = provider is not None and launch_type == "EC2"
        task = Task(
            arn=tasks.new_arn(region.name, cluster["clusterName"]),
            cluster_arn=cluster["clusterArn"],
            definition=definition,
            request=request,
            launch_type=launch_type,
            provider=provider or ("FARGATE" if launch_type == "FARGATE" else None),
            created=self.now(),
            created_at=self._epoch(self.now()),
            phases=self.settings.phases,
            has_process=self.execution is not None,
            held=self.settings.scale_out_seconds if on_instances else 0.0,
            failure=self.start_failures.popleft() if self.start_failures else None,
            tags=list(request.get("tags") or []),
        )
        if task.failure is not None:
            task.has_process = False
        region.tasks[task.id] = region.live[task.id] = task
        region.started_by.setdefault(str(request.get("startedBy")), []).append(task)
        self._record(task)
        if self.execution is not None and task.has_process:
            self.execution.run(task)
        return task

    def _record(self, task: Task) -> None:
        variables = {
            variable["name"]: variable.get("value")
            for container in (task.request.get("overrides") or {}).get("containerOverrides") or []
            for variable in container.get("environment") or []
        }
        self.launches.append(
            {
                "taskArn": task.arn,
                "startedBy": task.request.get("startedBy"),
                "flow_run_id": variables.get("PREFECT__FLOW_RUN_ID"),
                "at": task.created,
                "revision": task.definition["taskDefinitionArn"],
                "environment": sorted(variables),
            }
        )

    def _live(self, region: Region) -> list[Task]:
        stopped = [i for i, task in region.live.items() if self._moment(task).status == "STOPPED"]
        for id_ in stopped:
            del region.live[id_]
        return list(region.live.values())

    def _check_subnets(self, region: Region, request: Mapping[str, Any]) -> None:
        configuration = (request.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
        if self._subnets is None or not self.settings.check_subnets:
            return
        given = configuration.get("subnets") or []
        if missing := sorted(set(given) - self._subnets(region.name)):
            known = "subnet ID" if len(missing) == 1 else "subnet IDs"
            does = "does" if len(missing) == 1 else "do"
            raise invalid(
                f"Error retrieving subnet information for [{', '.join(given)}]: The {known} "
                f"'{', '.join(missing)}' {does} not exist (ErrorCode: InvalidSubnetID.NotFound)"
            )

    def _stop_task(self, region: Region, request: Mapping[str, Any]) -> dict[str, Any]:
        region.cluster(request)
        task = region.tasks.get(str(request["task"]).rsplit("/", 1)[-1])
        if task is None or self._forgotten(task):
            raise invalid("The referenced task was not found.")
        if self._moment(task).desired == "RUNNING":
            task.stop_asked = self.now()
            task.stop_reason = request.get("reason") or ""
            task.tags = []
            if self.execution is not None and task.has_process:
                self.execution.stop(task)
        return {"task": self._describe(task)}

    def _describe_tasks(self, region: Region, request: Mapping[str, Any]) -> dict[str, Any]:
        region.cluster(request)
        wanted = request.get("tasks") or []
        if not wanted:
            raise invalid("Tasks cannot be empty.")
        if len(wanted) > MOST_DESCRIBED:
            raise invalid("taskIds can have at most 100 items.")
        found, failures = [], []
        for name in wanted:
            task = region.tasks.get(name.rsplit("/", 1)[-1])
            if task is None or self._hidden(task):
                failures.append({"arn": name, "reason": "MISSING"})
            else:
                found.append(self._describe(task, "TAGS" in (request.get("include") or [])))
        return {"tasks": found, "failures": failures}

    def _list_tasks(self, region: Region, request: Mapping[str, Any]) -> dict[str, Any]:
        cluster = region.cluster(request)
        started_by, family = request.get("startedBy"), request.get("family")
        if started_by and (family or request.get("launchType")):
            raise invalid("cannot set multiple identifiers when startedBy is specified.")
        desired = request.get("desiredStatus") or "RUNNING"
        known = region.started_by.get(started_by, []) if started_by else region.tasks.values()
        arns = [
            task.arn
            for task in known
            if task.cluster_arn == cluster["clusterArn"]
            and (not family or task.definition["family"] == family)
            and not self._forgotten(task)
            and self._moment(task).desired == desired
        ]
        return page("taskArns", arns, request)

    def _moment(self, task: Task) -> Moment:
        return tasks.moment(task, self.now(), self.settings.task_seconds)

    def _describe(self, task: Task, tags: bool = False) -> dict[str, Any]:
        described = tasks.describe(task, self._moment(task), self.settings.exit_code, self._epoch)
        return {**described, "tags": list(task.tags) if tags else []}

    def _hidden(self, task: Task) -> bool:
        return self.now() - task.created < self.settings.missing_seconds or self._forgotten(task)

    def _forgotten(self, task: Task) -> bool:
        stopped = self._moment(task).stopped
        return stopped is not None and self.now() - stopped > self.settings.retention_seconds

    def _epoch(self, at: float) -> float:
        return round(at + self._epoch_offset, 3)

    def _region(self, name: str) -> Region:
        if name not in self._regions:
            rewrite = rewriting(self.settings, lambda: self.rewrite)
            self._regions[name] = Region(
                name, lambda: self._epoch(self.now()), self.settings, rewrite
            )
        return self._regions[name]
