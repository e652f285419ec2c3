"""Revisions that somebody names, as what could be registered again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from prefect_ecs_pinned.aws.calls.api import registrable_members
from prefect_ecs_pinned.aws.calls.faults import Fault, as_error
from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.loop.once import Once
from prefect_ecs_pinned.aws.pinning.describing import Describing
from prefect_ecs_pinned.core.arn import parse_revision
from prefect_ecs_pinned.core.canonical import DESCRIBED_ONLY
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.core.shown import plain

#: Seconds for which a family named without a revision means the same revision.
NEWEST_SECONDS = 60.0

#: How keys of tags begin that are not taken along: AWS's own, and `pinned-ecs:keep`.
_NOT_KEPT = ("aws:", "pinned-ecs:")

#: Links that are remembered; a deployment needs one or two.
_REMEMBERED = 1024


@dataclass(frozen=True)
class LinkedRevision:
    """A revision as ECS describes it. What is derived from it is made once.

    Attributes:
        described: DescribeTaskDefinition's ``taskDefinition``; with ``tags`` if asked for.
    """

    described: Mapping[str, Any] = field(repr=False)  # variables may be secrets

    @property
    def arn(self) -> str:
        """Its ARN."""
        return str(self.described["taskDefinitionArn"])

    @cached_property
    def definition(self) -> Mapping[str, Any]:
        """The members that RegisterTaskDefinition would accept.

        Additions of ECS, now or in the future, are not taken for something to be registered;
        nor are tags that AWS itself has set, such as CloudFormation's (API_Tag: the prefix
        ``aws:`` is reserved), and those that say something of this revision.
        """
        accepted = registrable_members() - DESCRIBED_ONLY - {"tags"}
        definition = {name: value for name, value in self.described.items() if name in accepted}
        tags = self.described.get("tags") or []
        if kept := [tag for tag in tags if not str(tag["key"]).lower().startswith(_NOT_KEPT)]:
            definition["tags"] = kept
        return definition

    def desired(self, container: str) -> Desired:
        """The definition that would make such a revision.

        Args:
            container: Name of the Prefect container.
        """
        return self._desired.setdefault(container, Desired(self.definition, container))

    @cached_property
    def _desired(self) -> dict[str, Desired]:
        return {}


@dataclass(frozen=True, eq=False)
class _Held:
    """A description, and until when the name means it."""

    until: float
    linked: LinkedRevision = field(repr=False)


class Links:
    """What names of revisions mean, described once; lives on the control loop."""

    def __init__(self, describing: Describing, clock: Clock) -> None:
        self._describing = describing
        self._clock = clock
        #: By name, with tags and without.
        self._known: Once[tuple[str, bool], _Held] = Once(_REMEMBERED)

    def remembered(self, identifier: str, tags: bool = False) -> LinkedRevision | None:
        """What `read` would return immediately, if it would. Safe from any thread."""
        held = self._known.peek((identifier, tags))
        return held.linked if held is not None and self._clock.now() < held.until else None

    async def read(self, identifier: str, tags: bool = False) -> LinkedRevision:
        """The revision that a name means; see `Pinning.linked`."""
        key = (identifier, tags)
        held = self._known.peek(key)
        if held is not None and self._clock.now() >= held.until:
            self._known.forget(key, held)
        try:
            held = await self._known.get(key, lambda: self._describe(identifier, tags))
        except Fault as fault:
            raise as_error(fault, f"cannot use task definition {plain(identifier)!r}") from fault
        return held.linked

    async def _describe(self, identifier: str, tags: bool) -> _Held:
        try:
            lasting = parse_revision(identifier).revision > 0
        except ValueError:
            lasting = False
        until = float("inf") if lasting else self._clock.now() + NEWEST_SECONDS
        return _Held(until, LinkedRevision(await self._describing.describe(identifier, tags)))
