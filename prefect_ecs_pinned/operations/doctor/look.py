"""Reads of AWS that are made once, however many blocks and deployments ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from typing import Any

from prefect_ecs_pinned.aws.calls import retrying
from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.aws.calls.faults import Fault, as_error
from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.operations.calls import Calls

#: Header in the answers of an embedded ECS (`local.wire`).
_EMBEDDED = "x-pinned-ecs-local"


def is_embedded(answer: Mapping[str, Any]) -> bool:
    """Whether an answer of GetCallerIdentity is an embedded ECS's (`pinned-ecs local`)."""
    return _EMBEDDED in ((answer.get("ResponseMetadata") or {}).get("HTTPHeaders") or {})


class Look:
    """Looks with one set of credentials in one Region."""

    def __init__(self, access: Access) -> None:
        self._access = access
        #: Decides which revision a launch would use; a new one, that remembers nothing.
        self.plane = ControlPlane(access, waits=retrying.COMMAND)
        self._calls = Calls(self.plane)
        self._answers: dict[str, asyncio.Task[Mapping[str, Any] | None]] = {}
        self._elsewhere: dict[str, Look] = {}

    def close(self) -> None:
        """Release what was made."""
        self.plane.close()
        for look in self._elsewhere.values():
            look.close()

    async def region(self) -> str:
        """The Region.

        Raises:
            PinnedECSError: There is none, or no credentials.
        """
        return await self._calls.region()

    def in_region(self, region: str) -> Look:
        """The same credentials in another Region."""
        if region not in self._elsewhere:
            self._elsewhere[region] = Look(self._access.in_region(region))
        return self._elsewhere[region]

    async def ask(self, service: str, operation: str, **params: Any) -> Mapping[str, Any]:
        """An answer.

        Raises:
            PinnedECSError: AWS refused, or could not be reached.
        """
        answer = await self.find(service, operation, (), **params)
        assert answer is not None
        return answer

    async def find(
        self, service: str, operation: str, missing: Collection[str], **params: Any
    ) -> Mapping[str, Any] | None:
        """An answer, or None when AWS says with one of these codes that there is no such thing.

        Raises:
            PinnedECSError: AWS refused, or could not be reached.
        """
        key = json.dumps([service, operation, sorted(missing), params], sort_keys=True)
        if key not in self._answers:
            look_up = self._look_up(service, operation, missing, params)
            self._answers[key] = asyncio.create_task(look_up)
        return await asyncio.shield(self._answers[key])

    async def _look_up(
        self, service: str, operation: str, missing: Collection[str], params: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        try:
            return await self._calls.attempt(service, operation, **params)
        except Fault as fault:
            if fault.code in missing:
                return None
            allow = f"allow {service}:{operation} to the credentials"
            raise as_error(fault, f"cannot call {operation}", allow=allow) from fault
