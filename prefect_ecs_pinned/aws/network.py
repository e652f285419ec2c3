"""VPC -> awsvpcConfiguration, looked up once per VPC and process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from prefect_ecs_pinned.aws.faults import Fault, as_error
from prefect_ecs_pinned.aws.ports import Clock, NetworkApi
from prefect_ecs_pinned.aws.retrying import patiently
from prefect_ecs_pinned.errors import ConfigurationError


class Network:
    """Finds the subnets of a VPC; lives on the control loop."""

    def __init__(self, api: NetworkApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._known: dict[str | None, asyncio.Task[Sequence[str]]] = {}

    def remembered(self, vpc_id: str | None) -> Sequence[str] | None:
        """The subnets of a VPC if they have been looked up. Safe from any thread."""
        task = self._known.get(vpc_id)
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    async def subnets(self, vpc_id: str | None) -> Sequence[str]:
        """IDs of all subnets of a VPC; of the default VPC for None.

        Raises:
            ConfigurationError: There is no such VPC, or it has no subnets.
            PinnedECSError: AWS refused, or could not be reached.
        """
        if vpc_id not in self._known:
            self._known[vpc_id] = asyncio.create_task(self._look_up(vpc_id))
        task = self._known[vpc_id]
        try:
            return await asyncio.shield(task)
        except (Fault, ConfigurationError) as failure:
            if self._known.get(vpc_id) is task:
                del self._known[vpc_id]
            if isinstance(failure, Fault):
                raise as_error(
                    failure,
                    f"cannot look up the subnets of {_name(vpc_id)}",
                    "set subnets, or correct vpc_id, or allow ec2:DescribeVpcs and "
                    "ec2:DescribeSubnets",
                ) from failure
            raise

    async def _look_up(self, vpc_id: str | None) -> Sequence[str]:
        vpcs = await patiently(lambda: self._api.describe_vpcs(vpc_id), self._clock)
        if not vpcs:
            raise ConfigurationError(
                f"Failed to find {_name(vpc_id)}",
                "Network configuration cannot be inferred.",
                "Check that the VPC exists in the current region."
                if vpc_id
                else "Pass explicit `subnets` or a `vpc_id`, or configure a default VPC.",
            )
        found = str(vpcs[0]["VpcId"])
        subnets = await patiently(lambda: self._api.describe_subnets(found), self._clock)
        if not subnets:
            raise ConfigurationError(
                f"Failed to find subnets for {_name(vpc_id)}",
                "Network configuration cannot be inferred.",
                "Pass explicit `subnets`, or a `vpc_id` that has some.",
            )
        return [str(subnet["SubnetId"]) for subnet in subnets]


def _name(vpc_id: str | None) -> str:
    return f"VPC with ID {vpc_id}" if vpc_id else "the default VPC"
