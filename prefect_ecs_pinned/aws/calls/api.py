"""The AWS calls that are made, one thin method each: the ports, over shared boto3 clients."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from botocore.exceptions import ParamValidationError
from botocore.validate import ParamValidator

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind, classify, presentable
from prefect_ecs_pinned.aws.calls.models import input_shape
from prefect_ecs_pinned.aws.calls.ports import Caller
from prefect_ecs_pinned.aws.calls.responses import items, member
from prefect_ecs_pinned.errors import ConfigurationError

#: API_ListTaskDefinitions, "maxResults": at most 100 a page.
LIST_PAGE = 100


#: Seconds for which a look at a family's newest revision is trusted by a registration, counted from
#: when it was asked for. On a busy machine the one call may follow the other so late that another
#: process has registered in between.
_FRESH_SECONDS = 0.1

#: How often the family is looked at again before a registration, on a machine that is too busy to
#: do so in time.
_MOST_LOOKS = 3

#: Names of which it is remembered when they were described; a registration follows immediately.
_MOST_DESCRIBED = 256

#: API_ListTasks, "maxResults": at most 100 a page. A flow run has one task or two, a family more.
LIST_TASKS = 100
LIST_PAGES = 10

#: What can be done about a request that ECS does not take: people write parts of it.
CORRECT_REQUEST = (
    "correct task_customizations, or network_configuration or task_run_request of the work pool; "
    "see API_RunTask"
)

#: What a Region may look like: it becomes a part of a host name (botocore.utils).
_REGION = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@lru_cache(maxsize=1)
def registrable_members() -> frozenset[str]:
    """The members that RegisterTaskDefinition accepts, as the installed botocore has them."""
    return frozenset(input_shape("ecs", "RegisterTaskDefinition").members)


def check_run_task(request: Mapping[str, Any]) -> None:
    """Check the members and types of a RunTask request, which the launching client does not.

    Raises:
        ConfigurationError: botocore's model excludes it.
    """
    report = ParamValidator().validate(_without_pairs(request), input_shape("ecs", "RunTask"))
    if report.has_errors():
        wrong = presentable(ParamValidationError(report=report.generate_report()))
        raise ConfigurationError("cannot launch", str(wrong), CORRECT_REQUEST) from wrong


def _without_pairs(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """A request without the variables that are a name and a value, both text.

    They are in order, and most of what botocore's validator would walk through for every run.
    """
    overrides = request.get("overrides")
    overrides = overrides if isinstance(overrides, dict) else {}
    containers = overrides.get("containerOverrides")
    if not isinstance(containers, list):
        return request
    less = [
        {**c, "environment": []} if isinstance(c, dict) and _are_pairs(c.get("environment")) else c
        for c in containers
    ]
    return {**request, "overrides": {**overrides, "containerOverrides": less}}


def _are_pairs(variables: Any) -> bool:
    return type(variables) is list and all(
        type(v) is dict
        and v.keys() == {"name", "value"}
        and type(v["name"]) is str
        and type(v["value"]) is str
        for v in variables
    )


def _newest(client: Any, family: str) -> int:
    """Number of a family's newest revision, 0 when ECS says that there is none.

    Raises:
        Fault: ECS says something else, or nothing.
    """
    try:
        answer = client.describe_task_definition(taskDefinition=family)
    except Exception as exception:  # noqa: BLE001 - classified below, whatever it is
        failure = exception
    else:
        return int(member(answer, "taskDefinition", "DescribeTaskDefinition")["revision"])
    fault = classify(failure, "DescribeTaskDefinition")
    if fault.kind is not Kind.NO_DEFINITION:
        raise fault from presentable(failure)
    return 0


class EcsApi:
    """`ports.TaskDefinitionApi`, `ports.LaunchApi`, `ports.WatchApi` and `ports.ClusterApi`."""

    def __init__(self, clients: Caller) -> None:
        self._clients = clients
        #: Guards the table below: calls are made on several threads.
        self._lock = threading.Lock()
        #: When each name was described last, the latest at the end.
        self._described_at: dict[str, float] = {}

    async def describe_task_definition(self, name: str, tags: bool = False) -> Mapping[str, Any]:
        include: dict[str, Any] = {"include": ["TAGS"]} if tags else {}

        def describe(client: Any) -> Any:
            asked_at = time.monotonic()
            try:
                return client.describe_task_definition(taskDefinition=name, **include)
            finally:
                self._asked_for(name, asked_at)

        answer = await self._clients.do(
            "ecs", "DescribeTaskDefinition", describe, about={"taskDefinition": name, **include}
        )
        definition: Mapping[str, Any] = member(answer, "taskDefinition", "DescribeTaskDefinition")
        return {**definition, "tags": answer.get("tags") or []} if tags else definition

    async def describe_cluster(self, cluster: str) -> Mapping[str, Any] | None:
        answer = await self._clients.call("ecs", "DescribeClusters", clusters=[cluster])
        found: Sequence[Mapping[str, Any]] = items(answer, "clusters", "DescribeClusters")
        return next(iter(found), None)

    async def caller_arn(self) -> str:
        answer = await self._clients.call("sts", "GetCallerIdentity")
        return str(member(answer, "Arn", "GetCallerIdentity"))

    def _asked_for(self, name: str, asked_at: float) -> None:
        with self._lock:
            self._described_at.pop(name, None)
            self._described_at[name] = asked_at
            if len(self._described_at) > _MOST_DESCRIBED:
                del self._described_at[next(iter(self._described_at))]

    async def list_task_definitions(self, family: str, limit: int) -> Sequence[str]:
        arns: list[str] = []
        token: dict[str, str] = {}
        while len(arns) < limit:
            answer = await self._clients.call(
                "ecs",
                "ListTaskDefinitions",
                familyPrefix=family,
                status="ACTIVE",
                sort="DESC",
                maxResults=min(LIST_PAGE, limit),
                **token,
            )
            arns += items(answer, "taskDefinitionArns", "ListTaskDefinitions", str)
            if not answer.get("nextToken"):
                break
            token = {"nextToken": answer["nextToken"]}
        return arns[:limit]

    async def register_task_definition(
        self, definition: Mapping[str, Any], newest: int
    ) -> Mapping[str, Any] | None:
        def register(client: Any) -> Any:
            family = str(definition["family"])
            asked_at = self._described_at.get(family, float("-inf"))
            for _ in range(_MOST_LOOKS):
                if time.monotonic() - asked_at <= _FRESH_SECONDS:
                    break
                asked_at = time.monotonic()
                if _newest(client, family) != newest:
                    return None
            return client.register_task_definition(**definition)

        answer = await self._clients.do("ecs", "RegisterTaskDefinition", register, about=definition)
        if answer is None:
            return None
        registered: Mapping[str, Any] = member(answer, "taskDefinition", "RegisterTaskDefinition")
        return registered

    async def run_task(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await self._clients.call(
            "ecs", "RunTask", "launching", **request
        )
        return answer

    async def stop_task(self, cluster: str, task: str, reason: str) -> None:
        answer = await self._clients.call(
            "ecs", "StopTask", "watching", cluster=cluster, task=task, reason=reason
        )
        if (
            "ResponseMetadata" in answer
        ):  # it came over the wire: a page of a proxy has stopped nothing
            member(answer, "task", "StopTask")

    async def find_task(self, cluster: str, task: str) -> Mapping[str, Any] | None:
        answer = await self._describe(cluster, [task], "looking")
        return next(iter(answer["tasks"]), None)

    async def tasks_started_by(self, cluster: str, started_by: str) -> Sequence[Mapping[str, Any]]:
        return await self._tasks(cluster, startedBy=started_by)

    async def tasks_of_family(self, cluster: str, family: str) -> Sequence[Mapping[str, Any]]:
        return await self._tasks(cluster, family=family)

    async def _tasks(self, cluster: str, **which: str) -> Sequence[Mapping[str, Any]]:
        """Described tasks, also those that have stopped: ListTasks leaves these out by itself.

        Raises:
            Fault: A passing one, while ECS does not describe all that it lists.
        """
        arns: list[str] = []
        for status in ("RUNNING", "STOPPED"):
            arns += await self._list(cluster, desiredStatus=status, **which)
        tasks: list[Mapping[str, Any]] = []
        for start in range(0, len(arns), LIST_TASKS):
            batch = arns[start : start + LIST_TASKS]
            answer = await self._describe(cluster, batch, "looking")
            if len(answer["tasks"]) < len(batch):  # MISSING: both are eventually consistent
                text = "ECS lists a task that it does not describe yet"
                raise Fault(Kind.OUTCOME_UNKNOWN, "DescribeTasks", "", text)
            tasks += answer["tasks"]
        return tasks

    async def _list(self, cluster: str, **which: str) -> list[str]:
        arns: list[str] = []
        token: dict[str, str] = {}
        for _ in range(LIST_PAGES):
            request: dict[str, Any] = {"maxResults": LIST_TASKS, **which, **token}
            answer = await self._clients.call(
                "ecs", "ListTasks", "looking", cluster=cluster, **request
            )
            arns += items(answer, "taskArns", "ListTasks", str)
            if not answer.get("nextToken"):
                return arns
            token = {"nextToken": answer["nextToken"]}
        text = f"there are more than {LIST_TASKS * LIST_PAGES} tasks to search"
        raise Fault(Kind.REFUSED, "ListTasks", "", text)

    async def describe_tasks(self, cluster: str, tasks: Sequence[str]) -> Mapping[str, Any]:
        return await self._describe(cluster, tasks, "watching")

    async def _describe(
        self, cluster: str, tasks: Sequence[str], purpose: str
    ) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await self._clients.call(
            "ecs", "DescribeTasks", purpose, cluster=cluster, tasks=list(tasks)
        )
        items(answer, "tasks", "DescribeTasks")
        return answer


class Ec2Api:
    """`ports.NetworkApi`."""

    def __init__(self, clients: Caller) -> None:
        self._clients = clients

    async def describe_vpcs(self, vpc_id: str | None) -> Sequence[Mapping[str, Any]]:
        which: dict[str, Any] = (
            {"VpcIds": [vpc_id]}
            if vpc_id
            else {"Filters": [{"Name": "isDefault", "Values": ["true"]}]}
        )
        answer = await self._clients.call("ec2", "DescribeVpcs", **which)
        vpcs: Sequence[Mapping[str, Any]] = items(answer, "Vpcs", "DescribeVpcs")
        return vpcs

    async def describe_subnets(self, vpc_id: str) -> Sequence[Mapping[str, Any]]:
        of_vpc = [{"Name": "vpc-id", "Values": [vpc_id]}]
        answer = await self._clients.call("ec2", "DescribeSubnets", Filters=of_vpc)
        subnets: Sequence[Mapping[str, Any]] = items(answer, "Subnets", "DescribeSubnets")
        return subnets


class LogsApi:
    """`ports.OutputApi`, of the access's Region or another.

    Events are read by `core.log_events`: one that is odd spoils no page.
    """

    def __init__(self, clients: Caller, region: str = "") -> None:
        self._clients = clients
        self._region = region

    def in_region(self, region: str) -> LogsApi:
        """The calls to a Region: that of ``awslogs-region``, which need not be the task's."""
        return LogsApi(self._clients, region)

    async def filter_log_events(
        self, group: str, streams: Sequence[str], start: int, token: str | None
    ) -> Mapping[str, Any]:
        more = {"nextToken": token} if token else {}
        return await self._call(
            "FilterLogEvents",
            logGroupName=group,
            logStreamNames=list(streams),
            startTime=start,
            **more,
        )

    async def get_log_events(
        self, group: str, stream: str, start: int, token: str | None
    ) -> Mapping[str, Any]:
        more = {"nextToken": token} if token else {}
        return await self._call(
            "GetLogEvents",
            logGroupName=group,
            logStreamName=stream,
            startTime=start,
            startFromHead=True,
            **more,
        )

    async def _call(self, operation: str, **params: Any) -> Mapping[str, Any]:
        if self._region and not _REGION.fullmatch(self._region):
            raise Fault(Kind.REFUSED, operation, "", f"{self._region!r} is not a Region")
        answer: Mapping[str, Any] = await self._clients.call(
            "logs", operation, region=self._region, **params
        )
        member(answer, "events", operation)
        return answer
