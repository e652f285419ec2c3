"""Whether there is room for a task now: vCPU quotas of Fargate, instances of EC2.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html (Fargate
On-Demand and Fargate Spot vCPUs are quotas of their own),
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html (a failure
for each container instance that has no room).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.local.facts import gpus, task_size
from prefect_ecs_pinned.local.run_task import CAPACITY_REFUSAL, VCPU_REFUSAL, bucket
from prefect_ecs_pinned.local.settings import ACCOUNT_ID, Settings
from prefect_ecs_pinned.local.tasks import Task

#: Dimensions of an instance, in the order in which a lack of them is reported.
_DIMENSIONS = ("cpu", "memory", "gpu")


def needs(request: Mapping[str, Any], definition: Mapping[str, Any]) -> dict[str, float]:
    """CPU units, MiB and GPUs of a task, overrides included."""
    return {
        "cpu": task_size("cpu", request, definition),
        "memory": task_size("memory", request, definition),
        "gpu": float(gpus(request, definition)),
    }


class Room:
    """Where one more task may go.

    Args:
        settings: Quotas and instances.
        live: Gives the tasks that have not stopped; asked only where there is a limit.
        region: Name of the Region.
    """

    def __init__(self, settings: Settings, live: Callable[[], Sequence[Task]], region: str) -> None:
        self._settings = settings
        self._live = live
        self._region = region

    def place(
        self, request: Mapping[str, Any], definition: Mapping[str, Any], cluster: Mapping[str, Any]
    ) -> tuple[list[dict[str, str]], int | None]:
        """Find a place for a task.

        Returns:
            RunTask's failures, none when there is room, and the number of the instance, None on
            Fargate and where instances have no size.
        """
        where = bucket(request, cluster)
        if where != "EC2":
            return self._quota(where, request, definition, cluster), None
        capacity, size = self._settings.capacity, self._settings.instance_size
        if capacity is None and size is None:
            return [], None
        here = [
            task
            for task in self._live()
            if task.launch_type != "FARGATE" and task.cluster_arn == cluster["clusterArn"]
        ]
        if capacity is not None and len(here) >= capacity:
            return [{"arn": cluster["clusterArn"], "reason": CAPACITY_REFUSAL}], None
        return self._instance(here, needs(request, definition), cluster["clusterName"])

    def _quota(
        self,
        where: str,
        request: Mapping[str, Any],
        definition: Mapping[str, Any],
        cluster: Mapping[str, Any],
    ) -> list[dict[str, str]]:
        quota = self._settings.vcpu_quota
        if quota is None:
            return []
        used = sum(
            task_size("cpu", task.request, task.definition)
            for task in self._live()
            if task.launch_type == "FARGATE" and (task.provider or "FARGATE") == where
        )
        if used + task_size("cpu", request, definition) <= quota * 1024:
            return []
        return [{"arn": cluster["clusterArn"], "reason": VCPU_REFUSAL}]

    def _instance(
        self, here: Sequence[Task], needed: Mapping[str, float], cluster: str
    ) -> tuple[list[dict[str, str]], int | None]:
        size = self._settings.instance_size
        if size is None:
            return [], None
        used: dict[int, dict[str, float]] = defaultdict(lambda: dict.fromkeys(_DIMENSIONS, 0.0))
        for task in here:
            for name, value in needs(task.request, task.definition).items():
                used[task.instance or 0][name] += value
        failures = []
        for number in range(self._settings.container_instances):
            lacking = next(
                (n for n in _DIMENSIONS if used[number][n] + needed[n] > size.get(n, 0.0)), None
            )
            if lacking is None:
                return [], number
            arn = (
                f"arn:aws:ecs:{self._region}:{ACCOUNT_ID}:container-instance/{cluster}/"
                f"{number:032x}"
            )
            failures.append({"arn": arn, "reason": f"RESOURCE:{lacking.upper()}"})
        return failures, None
