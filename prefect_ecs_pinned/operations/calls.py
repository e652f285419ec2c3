"""The AWS calls that commands make: paced within half of the quotas, patient with throttles.

The other half is for the agents that launch meanwhile. What AWS refuses permanently is an error
with a hint; so is what may pass but has not within 10 s, since a person is waiting.
They are made by a control plane of the command's own (`aws.control_plane`), which shares nothing
with the runs of this process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from prefect_ecs_pinned.aws.calls import retrying
from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.aws.calls.faults import Fault, Kind, as_error
from prefect_ecs_pinned.aws.calls.pacing import (
    DESCRIBE_TASK_DEFINITION,
    DESCRIBE_TASKS,
    Pace,
    Pacer,
)
from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.calls.responses import member
from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.aws.loop.control_loop import LoopClock

#: Under the bucket that DeregisterTaskDefinition shares with RegisterTaskDefinition (1/s, burst
#: 20), so that an agent which needs a revision meanwhile gets one.
#: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
MODIFY_TASK_DEFINITION = Pace(rate=0.9, burst=18.0)

#: Under the bucket of DeleteTaskDefinitions (1/s, burst 5), same page.
DELETE_TASK_DEFINITIONS = Pace(rate=0.9, burst=4.0)

#: Action -> bucket; what is not listed is made as it comes, and backs off when throttled.
_BUCKETS: Mapping[str, str] = {
    "DescribeTaskDefinition": "read",
    "ListTaskDefinitions": "read",
    "ListTaskDefinitionFamilies": "read",
    "DescribeTasks": "tasks",
    "ListTasks": "tasks",
    "DeregisterTaskDefinition": "modify",
    "DeleteTaskDefinitions": "delete",
}
_PACES: Mapping[str, Pace] = {
    "read": DESCRIBE_TASK_DEFINITION,
    "tasks": DESCRIBE_TASKS,
    "modify": MODIFY_TASK_DEFINITION,
    "delete": DELETE_TASK_DEFINITIONS,
}

#: Action -> the member that its answer always has; without it, it is a proxy's page.
_ANSWERS: Mapping[str, str] = {
    "DescribeTaskDefinition": "taskDefinition",
    "DeregisterTaskDefinition": "taskDefinition",
    "ListTaskDefinitions": "taskDefinitionArns",
    "DescribeTasks": "tasks",
    "ListTasks": "taskArns",
    "StopTask": "task",
    "ListClusters": "clusterArns",
    "DescribeClusters": "clusters",
    "ListServices": "serviceArns",
    "DescribeServices": "services",
    "DescribeLogGroups": "logGroups",
    "GetCallerIdentity": "Account",
    "DescribeVpcs": "Vpcs",
    "DescribeSubnets": "Subnets",
    "DescribeSecurityGroups": "SecurityGroups",
    "GetRole": "Role",
    "GetPolicy": "Policy",
}


class Caller(Protocol):
    """Makes one call; `aws.control_plane.ControlPlane` does."""

    async def call(self, service: str, operation: str, purpose: str = "", **params: Any) -> Any:
        """The answer.

        Raises:
            Fault: AWS answered something else, or nothing.
        """

    async def region(self) -> str:
        """The Region that calls go to."""


class Calls:
    """Calls with one set of credentials; belongs to the event loop that it is used on.

    Args:
        caller: Makes the calls.
        clock: Time.
    """

    def __init__(self, caller: Caller, clock: Clock | None = None) -> None:
        self._caller = caller
        self.clock = clock or LoopClock()
        self._pacers = {name: Pacer(p, self.clock, probing=False) for name, p in _PACES.items()}

    @classmethod
    def of(cls, access: Access) -> Calls:
        """Calls with the credentials, Region and client parameters of an access."""
        return cls(ControlPlane(access, waits=retrying.COMMAND))

    async def region(self) -> str:
        """The Region that calls go to.

        Raises:
            PinnedECSError: There is none, or no credentials.
        """
        try:
            return await self._caller.region()
        except Fault as fault:
            raise as_error(fault, "cannot reach AWS") from fault

    async def call(self, service: str, operation: str, **params: Any) -> Mapping[str, Any]:
        """Make one call that is safe to repeat; wait for its turn, and through throttles.

        Args:
            service: boto3's name, such as ``ecs``.
            operation: The API action, such as ``ListTasks``.
            params: The request.

        Raises:
            PinnedECSError: AWS refuses (`AccessDenied`, `ClusterNotFound`, …), or could not be
                reached for 10 s (`Unavailable`).
        """
        try:
            return await self.attempt(service, operation, **params)
        except Fault as fault:
            allow = f"allow {service}:{operation} to the credentials"
            raise as_error(fault, f"cannot call {operation}", allow=allow) from fault

    async def attempt(self, service: str, operation: str, **params: Any) -> Mapping[str, Any]:
        """As `call`, with AWS's answer.

        Raises:
            Fault: A lasting one; or a passing one that has not passed within 10 s, or, of a
                throttle, within 2 minutes.
        """
        bucket = _BUCKETS.get(operation)

        async def once() -> Mapping[str, Any]:
            if bucket is not None:
                await self._pacers[bucket].permit()
            asked_at = self.clock.now()
            try:
                answer: Mapping[str, Any] = await self._caller.call(service, operation, **params)
            except Fault as fault:
                if bucket is not None and fault.kind is Kind.THROTTLED:
                    self._pacers[bucket].throttled(asked_at)
                raise
            if operation in _ANSWERS:
                member(answer, _ANSWERS[operation], operation)
            return answer

        # A command makes as many calls as its account has revisions: throttles are waited out.
        waits = retrying.COMMAND
        return await retrying.retry(once, self.clock, waits.reads, waits.contended)

    async def pages(
        self, service: str, operation: str, member: str, **params: Any
    ) -> AsyncIterator[Any]:
        """The items of every page of a listing, in order.

        Args:
            service: boto3's name.
            operation: The API action; it pages by ``nextToken``.
            member: The answer's member that holds the items.
            params: The request.

        Raises:
            PinnedECSError: As `call`.
        """
        token: dict[str, str] = {}
        while True:
            answer = await self.call(service, operation, **params, **token)
            for item in answer[member]:
                yield item
            if not answer.get("nextToken"):
                return
            token = {"nextToken": answer["nextToken"]}
