"""Reads of task definitions: paced, patient, and with tags only where tags are asked for.

What a role may not do is found out once, said once, and not tried again: list revisions, read
their tags. Lives on the control loop.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.calls.pacing import Pacer
from prefect_ecs_pinned.aws.calls.ports import Clock, TaskDefinitionApi
from prefect_ecs_pinned.aws.calls.retrying import PATIENCE_SECONDS, retry
from prefect_ecs_pinned.aws.loop.once import Once
from prefect_ecs_pinned.core.arn import parse_revision

logger = logging.getLogger(__name__)

#: The one question of `Describing.identify`.
_CALLER = "caller"


class Describing:
    """Describes revisions.

    Args:
        api: The calls.
        reads: Pace of DescribeTaskDefinition and ListTaskDefinitions.
        clock: Time.
        patience: Seconds for which a call is tried again.
    """

    def __init__(
        self,
        api: TaskDefinitionApi,
        reads: Pacer,
        clock: Clock,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._api = api
        self._reads = reads
        self._clock = clock
        self._patience = patience
        self._may_list = True
        self._may_read_tags = True
        self._identity: Once[str, str] = Once()

    async def describe(self, name: str, tags: bool = False) -> Mapping[str, Any]:
        """A revision by ARN or ``family:number``, or a family's newest one.

        Args:
            name: Which.
            tags: Ask for its tags as well.

        Returns:
            DescribeTaskDefinition's ``taskDefinition``; with ``tags`` among its members if they
            were asked for, None if the role may not read them (``ecs:ListTagsForResource``).

        Raises:
            Fault: A lasting one; `Kind.NO_DEFINITION` when there is no such revision.
        """
        if not tags:
            return await self._describe(name, False)
        if self._may_read_tags:
            try:
                return await self._describe(name, True)
            except Fault as fault:
                if fault.kind is not Kind.DENIED:
                    raise
        found = await self._describe(name, False)
        if self._may_read_tags:
            self._may_read_tags = False
            logger.warning(
                "The credentials may not read the tags of task definitions: revisions that "
                "others have registered are not used when tags are required. Allow "
                "ecs:ListTagsForResource to use them."
            )
        return {**found, "tags": None}

    async def list_active(self, family: str, limit: int) -> Sequence[str]:
        """ARNs of a family's ACTIVE revisions, newest first; none when the role may not list.

        Raises:
            Fault: A lasting one.
        """
        if not self._may_list:
            return []
        try:
            await self._reads.permit()
            arns = await retry(
                lambda: self._api.list_task_definitions(family, limit), self._clock, self._patience
            )
        except Fault as fault:
            if fault.kind is not Kind.DENIED:
                raise
            self._may_list = False
            logger.warning(
                "The credentials may not list task definitions: only the newest revision of a "
                "family can be reused. Allow ecs:ListTaskDefinitions to reuse older ones."
            )
            return []
        return [arn for arn in arns if parse_revision(arn).family == family]

    @property
    def caller(self) -> str | None:
        """GetCallerIdentity's ``Arn``: None before `identify`, empty when AWS refuses to say."""
        return self._identity.peek(_CALLER)

    async def identify(self) -> None:
        """Ask who the caller is; once, however many ask.

        Raises:
            Fault: A passing one that has lasted: who the caller is will be known later.
        """
        await self._identity.get(_CALLER, self._ask_identity)

    async def _ask_identity(self) -> str:
        try:
            return await retry(self._api.caller_arn, self._clock, self._patience)
        except Fault as fault:
            if fault.passing:
                raise
            logger.warning("AWS does not return the caller's identity: %s", fault)
            return ""

    async def _describe(self, name: str, tags: bool) -> Mapping[str, Any]:
        async def describe() -> Mapping[str, Any]:
            await self._reads.permit()
            asked_at = self._clock.now()
            try:
                return await self._api.describe_task_definition(name, tags)
            except Fault as fault:
                if fault.kind is Kind.THROTTLED:
                    self._reads.throttled(asked_at)
                raise

        return await retry(describe, self._clock, self._patience)
