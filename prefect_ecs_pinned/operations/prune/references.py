"""Revisions that a person says are referenced from where `prune` can't see."""

from __future__ import annotations

import re
from dataclasses import dataclass

from prefect_ecs_pinned.core.arn import parse_revision
from prefect_ecs_pinned.errors import ConfigurationError

#: What uses revisions and is not asked: there is no call that lists all of it.
UNSEEN = (
    "EventBridge rules",
    "EventBridge Scheduler",
    "Step Functions",
    "ECS services of other accounts and Regions, and the revision to which a service would roll "
    "back",
    "other Prefect servers",
    "deployments of other accounts",
    "scripts and pipelines",
)

#: Key of the tag that keeps a revision, whatever its value.
KEEP_TAG = "pinned-ecs:keep"

#: A task definition's ARN, with or without a revision, or the short forms
#: (API_DescribeTaskDefinition, "taskDefinition"); family as in API_RegisterTaskDefinition.
_REFERENCE = re.compile(
    r"(?P<where>arn:[\w-]+:ecs:[\w-]+:\d{12}:task-definition/)?"
    r"(?P<family>[A-Za-z0-9_-]{1,255})(:(?P<revision>[1-9][0-9]{0,17}))?"
)


@dataclass(frozen=True)
class Reference:
    """What is referenced: one revision, or all of a family.

    Attributes:
        text: As it was given.
        where: Its ARN up to the family; empty when it was given without.
        family: The family.
        revision: The revision; 0 for all of them.
    """

    text: str
    where: str
    family: str
    revision: int

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read an ARN, ``family:revision`` or ``family``.

        Raises:
            ConfigurationError: It is not one of these.
        """
        match = _REFERENCE.fullmatch(text.strip())
        if match is None:
            raise ConfigurationError(
                f"cannot keep {text!r}",
                "it is not an ARN of a task definition, family:revision or family",
                "give, for example, etl:12, or etl to keep every revision of etl",
            )
        where, family, revision = match.group("where", "family", "revision")
        return cls(text.strip(), where or "", family, int(revision or 0))

    def covers(self, arn: str) -> bool:
        """Whether it means this revision."""
        found = parse_revision(arn)
        return (
            found.family == self.family
            and self.revision in (0, found.revision)
            and arn.startswith(self.where)
        )

    @property
    def short(self) -> str:
        """``family:revision`` or ``family``."""
        return f"{self.family}:{self.revision}" if self.revision else self.family
