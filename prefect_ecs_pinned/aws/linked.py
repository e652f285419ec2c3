"""A revision that somebody names, as what could be registered again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from prefect_ecs_pinned.aws.api import registrable_members
from prefect_ecs_pinned.core.canonical import DESCRIBED_ONLY
from prefect_ecs_pinned.core.plan import Desired


@dataclass(frozen=True)
class Linked:
    """A revision as ECS describes it. What is derived from it is made once.

    Attributes:
        described: DescribeTaskDefinition's ``taskDefinition``.
    """

    described: Mapping[str, Any] = field(repr=False)  # variables may be secrets

    @property
    def arn(self) -> str:
        return str(self.described["taskDefinitionArn"])

    @cached_property
    def definition(self) -> Mapping[str, Any]:
        """The members that RegisterTaskDefinition would accept.

        What ECS only tells, now or in the future, is not taken for something to be registered.
        """
        accepted = registrable_members() - DESCRIBED_ONLY
        return {name: value for name, value in self.described.items() if name in accepted}

    @cached_property
    def desired(self) -> Desired:
        """The definition that would make such a revision."""
        return Desired(self.definition)
