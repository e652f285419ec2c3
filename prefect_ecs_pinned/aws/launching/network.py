"""VPC -> awsvpcConfiguration, looked up once per VPC and process, and again when it has changed."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind, as_error
from prefect_ecs_pinned.aws.calls.ports import Clock, NetworkApi
from prefect_ecs_pinned.aws.calls.retrying import PATIENCE_SECONDS, retry
from prefect_ecs_pinned.aws.loop.once import Once
from prefect_ecs_pinned.errors import ConfigurationError

#: Most VPCs whose subnets are remembered.
_MOST_VPCS = 256

#: Seconds for which a new look-up is trusted although RunTask refuses a subnet of it: EC2 and ECS
#: learn of a change one after the other.
_TRUSTED_SECONDS = 5.0

#: "Error retrieving subnet information for [subnet-0]: The subnet ID 'subnet-0' does not exist
#: (ErrorCode: InvalidSubnetID.NotFound)"
_NO_SUBNET = re.compile(r"The subnet IDs? (.*?) do(?:es)? not exist")
_SUBNET = re.compile(r"subnet-\w+")


def missing_subnets(fault: Fault) -> Sequence[str]:
    """The subnets that do not exist, as RunTask names them; empty for any other refusal."""
    if fault.kind is not Kind.NO_SUBNET:
        return ()
    named = _NO_SUBNET.search(fault.message)
    return tuple(dict.fromkeys(_SUBNET.findall(named[1] if named else fault.message)))


class Network:
    """Finds the subnets of a VPC; lives on the control loop.

    Args:
        api: The calls.
        clock: Time.
        patience: Seconds for which a call is tried again.
    """

    def __init__(self, api: NetworkApi, clock: Clock, patience: float = PATIENCE_SECONDS) -> None:
        self._api = api
        self._clock = clock
        self._patience = patience
        self._known: Once[str | None, Sequence[str]] = Once(_MOST_VPCS)
        #: When the subnets of a VPC were looked up because one did not exist any more.
        self._replaced_at: dict[str | None, float] = {}

    def remembered(self, vpc_id: str | None) -> Sequence[str] | None:
        """The subnets of a VPC if they have been looked up. Safe from any thread."""
        return self._known.peek(vpc_id)

    async def subnets(self, vpc_id: str | None) -> Sequence[str]:
        """IDs of all subnets of a VPC; of the default VPC for None.

        Raises:
            ConfigurationError: There is no such VPC, or it has no subnets.
            PinnedECSError: AWS refused, or could not be reached.
        """
        return await self._find(vpc_id, frozenset())

    async def replaced(self, vpc_id: str | None, gone: Collection[str]) -> Sequence[str]:
        """The subnets of a VPC after RunTask has said of some that they do not exist.

        They are looked up again once, however many launches report it: those who come later get
        what was found then. Subnets that EC2 still lists are left out while there are others.

        Args:
            vpc_id: As in `subnets`.
            gone: IDs of the subnets that do not exist (`missing_subnets`).

        Raises:
            ConfigurationError: As `subnets`.
            PinnedECSError: As `subnets`.
        """
        known = self._known.peek(vpc_id)
        if known is not None and not set(known).isdisjoint(gone):
            replaced_at = self._replaced_at.get(vpc_id, float("-inf"))
            if self._clock.now() - replaced_at >= _TRUSTED_SECONDS:
                self._known.forget(vpc_id, known)
        found = await self._find(vpc_id, frozenset(gone))
        return [subnet for subnet in found if subnet not in gone] or found

    async def _find(self, vpc_id: str | None, gone: frozenset[str]) -> Sequence[str]:
        try:
            return await self._known.get(vpc_id, lambda: self._look_up(vpc_id, gone))
        except Fault as fault:
            raise as_error(
                fault,
                f"cannot look up the subnets of {_name(vpc_id)}",
                "set subnets, or correct vpc_id",
                "allow ec2:DescribeVpcs and ec2:DescribeSubnets, or set subnets",
            ) from fault

    async def _look_up(self, vpc_id: str | None, gone: frozenset[str]) -> Sequence[str]:
        vpcs = await self._ids("DescribeVpcs", "VpcId", lambda: self._api.describe_vpcs(vpc_id))
        if not vpcs:
            raise ConfigurationError(
                f"Failed to find {_name(vpc_id)}",
                "Network configuration cannot be inferred.",
                "Check that the VPC exists in the current region."
                if vpc_id
                else "Pass explicit `subnets` or a `vpc_id`, or configure a default VPC.",
            )
        found = await self._ids(
            "DescribeSubnets", "SubnetId", lambda: self._api.describe_subnets(vpcs[0])
        )
        if not found:
            raise ConfigurationError(
                f"Failed to find subnets for {_name(vpc_id)}",
                "Network configuration cannot be inferred.",
                "Pass explicit `subnets`, or a `vpc_id` that has some.",
            )
        if gone:
            self._replaced_at.pop(vpc_id, None)
            self._replaced_at[vpc_id] = self._clock.now()
            if len(self._replaced_at) > _MOST_VPCS:
                del self._replaced_at[next(iter(self._replaced_at))]
        return [subnet for subnet in found if subnet not in gone] or found

    async def _ids(
        self, operation: str, name: str, ask: Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]
    ) -> Sequence[str]:
        """A member of each item of an answer; an odd one is read again, immediately and later."""

        async def once() -> Sequence[str]:
            try:
                ids = [item[name] for item in await ask()]
            except (TypeError, LookupError, AttributeError):
                ids = [None]
            if all(isinstance(found, str) and found for found in ids):
                return [str(found) for found in ids]
            odd = f"an answer with an item without {name!r}"
            raise Fault(Kind.OUTCOME_UNKNOWN, operation, "MalformedAnswer", odd)

        async def twice() -> Sequence[str]:
            try:
                return await once()
            except Fault as fault:
                if fault.code != "MalformedAnswer":
                    raise
            return await once()

        return await retry(twice, self._clock, self._patience)


def _name(vpc_id: str | None) -> str:
    return f"VPC with ID {vpc_id}" if vpc_id else "the default VPC"
