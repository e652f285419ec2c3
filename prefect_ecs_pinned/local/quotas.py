"""Request quotas of AWS: token buckets per account and Region.

One bucket for each row of the tables, shared by its actions:
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html,
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html (Fargate),
https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html,
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Quota:
    """A token bucket: how many calls together, and how many more each second."""

    name: str
    burst: float
    per_second: float
    actions: Sequence[str]


QUOTAS = (
    Quota("task definition modify", 20, 1, ("RegisterTaskDefinition", "DeregisterTaskDefinition")),
    Quota(
        "task definition read",
        50,
        20,
        ("DescribeTaskDefinition", "ListTaskDefinitions", "ListTaskDefinitionFamilies"),
    ),
    Quota("task definition delete", 5, 1, ("DeleteTaskDefinitions",)),
    Quota(
        "cluster resource modify", 100, 40, ("RunTask", "StartTask", "StopTask", "ExecuteCommand")
    ),
    Quota(
        "cluster resource read",
        100,
        20,
        ("DescribeTasks", "ListTasks", "DescribeContainerInstances", "ListContainerInstances"),
    ),
    Quota("cluster read", 50, 20, ("DescribeClusters", "ListClusters")),
    Quota("tag modify", 20, 10, ("TagResource", "UntagResource")),
    Quota("DescribeVpcs", 100, 20, ("DescribeVpcs",)),
    Quota("DescribeSubnets", 100, 20, ("DescribeSubnets",)),
    Quota("GetLogEvents", 25, 25, ("GetLogEvents",)),
    Quota("FilterLogEvents", 10, 10, ("FilterLogEvents",)),
)

#: RunTask on Fargate draws on these as well; Spot has buckets of its own.
FARGATE_CALLS = Quota("Fargate RunTask calls", 20, 20, ())
FARGATE_TASKS = Quota("Fargate tasks", 100, 20, ())


class Buckets:
    """All buckets of one account, by Region.

    Args:
        scale: Multiple of AWS's quotas; None switches them off.
        now: Seconds on a clock that never goes back.
    """

    def __init__(self, scale: float | None, now: Callable[[], float]) -> None:
        self.scale = scale
        self._now = now
        self._levels: dict[tuple[str, str], tuple[float, float]] = {}
        self._by_action = {action: quota for quota in QUOTAS for action in quota.actions}

    def take(self, region: str, action: str) -> bool:
        """Take a token for a call; False when there is none."""
        quota = self._by_action.get(action)
        return quota is None or self.take_from(region, [(quota, 1)])

    def take_from(self, region: str, wanted: Sequence[tuple[Quota, float]]) -> bool:
        """Take tokens from several buckets, or from none."""
        if self.scale is None:
            return True
        levels = []
        for quota, tokens in wanted:
            level = self._level(region, quota)
            if level < tokens:
                return False
            levels.append((quota, level - tokens))
        for quota, level in levels:
            self._levels[region, quota.name] = (level, self._now())
        return True

    def _level(self, region: str, quota: Quota) -> float:
        scale = self.scale or 1.0
        level, at = self._levels.get((region, quota.name), (quota.burst * scale, self._now()))
        return min(quota.burst * scale, level + (self._now() - at) * quota.per_second * scale)
