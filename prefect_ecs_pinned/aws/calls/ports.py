"""What the three verbs need from outside: a clock, and the few AWS calls that they make.

A call raises `prefect_ecs_pinned.aws.calls.faults.Fault` and nothing else. Answers have the shapes
of the API members named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol


class Clock(Protocol):
    """Time, so that tests need not spend it."""

    def now(self) -> float:
        """Seconds on a clock that never goes back."""

    async def wait(self, seconds: float) -> None:
        """Return after that many seconds."""


class Caller(Protocol):
    """Makes calls by their name: what `api` needs of `clients.Clients`."""

    async def call(self, service: str, operation: str, purpose: str = "", **params: Any) -> Any:
        """See `Clients.call`."""

    async def do(
        self,
        service: str,
        operation: str,
        work: Callable[[Any], Any],
        purpose: str = "",
        about: Mapping[str, Any] | None = None,
    ) -> Any:
        """See `Clients.do`."""


class TaskDefinitionApi(Protocol):
    """The calls of `pinning`."""

    async def describe_task_definition(self, name: str, tags: bool = False) -> Mapping[str, Any]:
        """DescribeTaskDefinition's ``taskDefinition``, by family, family:revision or ARN.

        With ``tags``, they are read too (``include=["TAGS"]``), and are among its members.
        """

    async def list_task_definitions(self, family: str, limit: int) -> Sequence[str]:
        """ARNs of a family's ACTIVE revisions, newest first, at most ``limit``."""

    async def register_task_definition(
        self, definition: Mapping[str, Any], newest: int
    ) -> Mapping[str, Any] | None:
        """RegisterTaskDefinition's ``taskDefinition``.

        None, and nothing was registered, when somebody else was seen to have been faster: the
        family's newest ACTIVE revision is not ``newest`` (0: there is none).
        """

    async def caller_arn(self) -> str:
        """GetCallerIdentity's ``Arn``."""


class StopApi(Protocol):
    """The call of `stopping`."""

    async def stop_task(self, cluster: str, task: str, reason: str) -> None:
        """StopTask."""


class LaunchApi(StopApi, Protocol):
    """The calls of `launching`."""

    async def run_task(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """RunTask's answer."""

    async def find_task(self, cluster: str, task: str) -> Mapping[str, Any] | None:
        """One task as DescribeTasks answers it, or None when it is MISSING."""

    async def tasks_started_by(self, cluster: str, started_by: str) -> Sequence[Mapping[str, Any]]:
        """Tasks with that ``startedBy``, living or stopped within the hour, as described.

        Whole, overrides included.
        """

    async def tasks_of_family(self, cluster: str, family: str) -> Sequence[Mapping[str, Any]]:
        """The same of a task definition's family.

        Raises:
            Fault: There are too many to go through.
        """


class WatchApi(StopApi, Protocol):
    """The calls of `watching`."""

    async def describe_tasks(self, cluster: str, tasks: Sequence[str]) -> Mapping[str, Any]:
        """DescribeTasks' answer, for at most 100 tasks."""


class NetworkApi(Protocol):
    """The calls of `network`."""

    async def describe_vpcs(self, vpc_id: str | None) -> Sequence[Mapping[str, Any]]:
        """DescribeVpcs' ``Vpcs``: the one named, or the default VPC."""

    async def describe_subnets(self, vpc_id: str) -> Sequence[Mapping[str, Any]]:
        """DescribeSubnets' ``Subnets`` of a VPC."""


class ClusterApi(Protocol):
    """The call of `clusters`."""

    async def describe_cluster(self, cluster: str) -> Mapping[str, Any] | None:
        """DescribeClusters' item of a cluster, by name or ARN; None when there is none."""


class OutputApi(Protocol):
    """The calls of `output`."""

    async def filter_log_events(
        self, group: str, streams: Sequence[str], start: int, token: str | None
    ) -> Mapping[str, Any]:
        """FilterLogEvents' answer, for at most 100 streams, from a time in ms."""

    async def get_log_events(
        self, group: str, stream: str, start: int, token: str | None
    ) -> Mapping[str, Any]:
        """GetLogEvents' answer, oldest first, from a time in ms."""
