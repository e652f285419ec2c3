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
from prefect_ecs_pinned.local.errors import AwsRefusal, client, invalid, no_cluster, throttled
from prefect_ecs_pinned.local.quotas import FARGATE_CALLS, FARGATE_TASKS, Buckets, Quota
from prefect_ecs_pinned.local.settings import ACCOUNT_ID, Settings
from prefect_ecs_pinned.local.tags import check_tags
from prefect_ecs_pinned.local.tasks import Moment, Task

#: API_DescribeTasks, "tasks".
MOST_DESCRIBED = 100


class Execution(Protocol):
    """Who runs the commands of tasks, if anybody does."""

    def run(self, task: Task) -> None:
        """Run a task's command; report to ``EmbeddedECS.process_started`` and ``_ended``."""

    def stop(self, task: Task) -> None:
        """Stop a task's process."""


class _Region:
    """All that one Region knows."""

    def __init__(self, name: str, epoch: Callable[[], float]) -> None:
        self.name = name
        self.definitions = Definitions(name, epoch)
        self.clusters: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, Task] = {}
        self.live: dict[str, Task] = {}
        self.started_by: dict[str, list[Task]] = {}
        self.services: dict[str, dict[str, Any]] = {}
        self.tokens = run_task.Tokens()
        self.add_cluster("default")

    def add_cluster(self, name: str) -> dict[str, Any]:
        arn = f"arn:aws:ecs:{self.name}:{ACCOUNT_ID}:cluster/{name}"
        return self.clusters.setdefault(
            name, {"clusterArn": arn, "clusterName": name, "status": "ACTIVE"}
        )


class EmbeddedECS:
    """One account's ECS.

    Args:
        settings: How it behaves; may be changed while it runs.
        now: Seconds on a clock that never goes back.
        subnets: The subnets that EC2 knows in a Region, to refuse others; None to refuse none.
        execution: Runs the commands of tasks; None when they only pass time.
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
        self.random = random.Random(self.settings.seed)
        self._subnets = subnets
        self._epoch_offset = time.time() - now()
        self._regions: dict[str, _Region] = {}
        self._actions: dict[str, Callable[[_Region, Mapping[str, Any]], dict[str, Any]]] = {
            "RegisterTaskDefinition": lambda r, p: r.definitions.register(p),
            "DeregisterTaskDefinition": lambda r, p: r.definitions.deregister(p),
            "DescribeTaskDefinition": lambda r, p: r.definitions.describe(p),
            "ListTaskDefinitions": lambda r, p: r.definitions.list_revisions(p),
            "ListTaskDefinitionFamilies": lambda r, p: r.definitions.list_families(p),
            "DeleteTaskDefinitions": lambda r, p: r.definitions.delete(p),
            "RunTask": self._run_task,
            "StopTask": self._stop_task,
            "DescribeTasks": self._describe_tasks,
            "ListTasks": self._list_tasks,
            "CreateCluster": self._create_cluster,
            "DescribeClusters": self._describe_clusters,
            "ListClusters": self._list_clusters,
            "DeleteCluster": self._delete_cluster,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsForResource": self._list_tags,
            "CreateService": self._create_service,
            "ListServices": self._list_services,
            "DescribeServices": self._describe_services,
        }

    def call(
        self, action: str, request: Mapping[str, Any], region: str = "us-east-1"
    ) -> dict[str, Any]:
        """Answer one action at once, quotas included.

        Raises:
            AwsRefusal: ECS refuses.
        """
        self.admit(action, request, region)
        return self.answer(action, request, region)

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
        launch_type, provider = run_task.placement(request)
        if launch_type != "FARGATE":
            return True
        spot = "spot " if provider == "FARGATE_SPOT" else ""
        wanted = [(FARGATE_CALLS, 1.0), (FARGATE_TASKS, float(request.get("count") or 1))]
        return self.buckets.take_from(
            region, [(Quota(spot + q.name, q.burst, q.per_second, ()), n) for q, n in wanted]
        )

    def answer(self, action: str, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """Carry out an action whose tokens have been taken."""
        handler = self._actions.get(action)
        if handler is None:
            raise AwsRefusal("InvalidAction", f"The embedded ECS does not know {action}.")
        return handler(self._region(region), request)

    def definitions(self, region: str = "us-east-1") -> Definitions:
        """The task definitions of a Region."""
        return self._region(region).definitions

    def find(self, arn: str) -> Task | None:
        """A task by ARN."""
        return self._region(arn.split(":")[3]).tasks.get(arn.rsplit("/", 1)[-1])

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

    def _run_task(self, region: _Region, request: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self._cluster(region, request)
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
        return {"tasks": [self._describe(task) for task in found], "failures": known["failures"]}

    def _launch(
        self, region: _Region, cluster: Mapping[str, Any], request: Mapping[str, Any]
    ) -> dict[str, Any]:
        definition = region.definitions.find(request["taskDefinition"])
        if definition is None:
            raise client("TaskDefinition not found.")
        run_task.check(request, definition, self.settings.container_instances)
        self._check_subnets(region, request)
        arns: list[str] = []
        for _ in range(int(request.get("count") or 1)):
            if reason := self._no_room(region, cluster, request, definition):
                return {
                    "arns": arns,
                    "failures": [{"arn": cluster["clusterArn"], "reason": reason}],
                }
            arns.append(self._start(region, cluster, request, definition).arn)
        return {"arns": arns, "failures": []}

    def _start(
        self,
        region: _Region,
        cluster: Mapping[str, Any],
        request: Mapping[str, Any],
        definition: Mapping[str, Any],
    ) -> Task:
        launch_type, provider = run_task.placement(request)
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

    def _no_room(
        self,
        region: _Region,
        cluster: Mapping[str, Any],
        request: Mapping[str, Any],
        definition: Mapping[str, Any],
    ) -> str:
        """Why a task cannot be placed now; empty when it can."""
        launch_type, _ = run_task.placement(request)
        quota, capacity = self.settings.vcpu_quota, self.settings.capacity
        if quota is None and capacity is None:
            return ""
        live = [t for t in self._live(region) if t.launch_type == launch_type]
        if launch_type == "FARGATE" and quota is not None:
            used = sum(run_task.vcpus(task.request, task.definition) for task in live)
            if used + run_task.vcpus(request, definition) > quota:
                return run_task.VCPU_REFUSAL
        if launch_type != "FARGATE" and capacity is not None:
            here = sum(task.cluster_arn == cluster["clusterArn"] for task in live)
            if here >= capacity:
                return run_task.CAPACITY_REFUSAL
        return ""

    def _live(self, region: _Region) -> list[Task]:
        stopped = [i for i, task in region.live.items() if self._moment(task).status == "STOPPED"]
        for id_ in stopped:
            del region.live[id_]
        return list(region.live.values())

    def _check_subnets(self, region: _Region, request: Mapping[str, Any]) -> None:
        configuration = (request.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
        if self._subnets is None or not self.settings.check_subnets:
            return
        for subnet in sorted(set(configuration.get("subnets") or []) - self._subnets(region.name)):
            raise invalid(
                f"Error retrieving subnet information for [{subnet}]: The subnet ID '{subnet}' "
                "does not exist (ErrorCode: InvalidSubnetID.NotFound)"
            )

    def _stop_task(self, region: _Region, request: Mapping[str, Any]) -> dict[str, Any]:
        self._cluster(region, request)
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

    def _describe_tasks(self, region: _Region, request: Mapping[str, Any]) -> dict[str, Any]:
        self._cluster(region, request)
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
                found.append(self._describe(task))
        return {"tasks": found, "failures": failures}

    def _list_tasks(self, region: _Region, request: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self._cluster(region, request)
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
        return tasks.moment(task, self.now(), self.settings.phases, self.settings.task_seconds)

    def _describe(self, task: Task) -> dict[str, Any]:
        return tasks.describe(task, self._moment(task), self.settings.exit_code, self._epoch)

    def _hidden(self, task: Task) -> bool:
        return self.now() - task.created < self.settings.missing_seconds or self._forgotten(task)

    def _forgotten(self, task: Task) -> bool:
        stopped = self._moment(task).stopped
        return stopped is not None and self.now() - stopped > self.settings.retention_seconds

    def _epoch(self, at: float) -> float:
        return round(at + self._epoch_offset, 3)

    # -- clusters, tags, services ------------------------------------------------------------------

    def _region(self, name: str) -> _Region:
        if name not in self._regions:
            self._regions[name] = _Region(name, lambda: self._epoch(self.now()))
        return self._regions[name]

    def _cluster(self, region: _Region, request: Mapping[str, Any]) -> dict[str, Any]:
        name = str(request.get("cluster") or "default").rsplit("/", 1)[-1]
        if name not in region.clusters:
            raise no_cluster()
        return region.clusters[name]

    def _create_cluster(self, region: _Region, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"cluster": region.add_cluster(request.get("clusterName") or "default")}

    def _describe_clusters(self, region: _Region, request: Mapping[str, Any]) -> dict[str, Any]:
        names = [n.rsplit("/", 1)[-1] for n in request.get("clusters") or ["default"]]
        return {
            "clusters": [region.clusters[name] for name in names if name in region.clusters],
            "failures": [
                {"arn": name, "reason": "MISSING"} for name in names if name not in region.clusters
            ],
        }

    def _list_clusters(self, region: _Region, request: Mapping[str, Any]) -> dict[str, Any]:
        arns = [cluster["clusterArn"] for cluster in region.clusters.values()]
        return page("clusterArns", arns, request)

    def _delete_cluster(self, region: _Region, request: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self._cluster(region, request)
        del region.clusters[cluster["clusterName"]]
        return {"cluster": {**cluster, "status": "INACTIVE"}}

    def _tags_of(self, region: _Region, arn: str) -> list[dict[str, str]]:
        if ":task-definition/" in arn:
            tags = region.definitions.tags(arn)
        else:
            task = region.tasks.get(arn.rsplit("/", 1)[-1])
            tags = None if task is None else task.tags
        if tags is None:
            raise AwsRefusal("ResourceNotFoundException", "The specified resource was not found.")
        return tags

    def _tag(self, region: _Region, request: Mapping[str, Any]) -> dict[str, Any]:
        tags = self._tags_of(region, request["resourceArn"])
        check_tags(request["tags"])
        keys = {tag["key"] for tag in request["tags"]}
        tags[:] = [tag for tag in tags if tag["key"] not in keys] + list(request["tags"])
        return {}

    def _untag(self, region: _Region, request: Mapping[str, Any]) -> dict[str, Any]:
        tags = self._tags_of(region, request["resourceArn"])
        tags[:] = [tag for tag in tags if tag["key"] not in request["tagKeys"]]
        return {}

    def _list_tags(self, region: _Region, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"tags": self._tags_of(region, request["resourceArn"])}

    def _create_service(self, region: _Region, request: Mapping[str, Any]) -> dict[str, Any]:
        cluster, name = self._cluster(region, request), request["serviceName"]
        definition = region.definitions.find(request.get("taskDefinition") or "")
        if definition is None:
            raise client("TaskDefinition not found.")
        service = {
            "serviceArn": f"arn:aws:ecs:{region.name}:{ACCOUNT_ID}:service/"
            f"{cluster['clusterName']}/{name}",
            "serviceName": name,
            "clusterArn": cluster["clusterArn"],
            "status": "ACTIVE",
            "taskDefinition": definition["taskDefinitionArn"],
            "desiredCount": request.get("desiredCount", 0),
        }
        region.services[service["serviceArn"]] = service
        return {"service": service}

    def _list_services(self, region: _Region, request: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self._cluster(region, request)["clusterArn"]
        arns = [a for a, service in region.services.items() if service["clusterArn"] == cluster]
        return page("serviceArns", arns, {"maxResults": 10, **request})

    def _describe_services(self, region: _Region, request: Mapping[str, Any]) -> dict[str, Any]:
        names = {name.rsplit("/", 1)[-1] for name in request["services"]}
        found = [s for s in region.services.values() if s["serviceName"] in names]
        return {"services": found, "failures": []}
