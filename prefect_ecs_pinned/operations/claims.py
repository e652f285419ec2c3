"""Which revisions runs may use: what a `Configuration` lays claim to."""

from __future__ import annotations

from dataclasses import dataclass

from prefect_ecs_pinned.aws.pinning.linked_revision import LinkedRevision
from prefect_ecs_pinned.core.arn import parse_revision
from prefect_ecs_pinned.core.compare import Desired, Observed, match
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.families import describe
from prefect_ecs_pinned.runs.revision import definition_spec, make_now, patched_revision


@dataclass(frozen=True)
class Claim:
    """What a block or deployment runs from.

    Attributes:
        name: The block or deployment.
        desired: A definition that it asks for, whichever revision has it; or None.
        link: A revision that it names, as ARN or ``family:revision``; or None.
    """

    name: str
    desired: Desired | None = None
    link: str | None = None

    def covers(self, revision: Observed, active: bool = True) -> bool:
        """Whether a launch might use this revision; of twins, any of them.

        One that is not ACTIVE any more is used only where it is named.
        """
        if self.link is not None and _same(self.link, revision.arn):
            return True
        if self.desired is None or not active:
            return False
        if self.desired.family != parse_revision(revision.arn).family:
            return False
        return match(self.desired, revision) is not None  # in doubt, it is kept


def _same(link: str, arn: str) -> bool:
    try:
        return parse_revision(link) == parse_revision(arn)
    except ValueError:
        return False


async def claims_of(calls: Calls, name: str, whose: Configuration) -> list[Claim]:
    """What one configuration claims, under a name.

    Account and Region of a claim are not compared: one too many keeps a revision too many.

    Raises:
        PinnedECSError: AWS refused, or could not be reached.
    """
    spec, claims = whose.spec, []
    if patched := patched_revision(spec):
        claims.append(Claim(name, link=patched))
    linked = None
    if spec.task_definition_arn:
        claims.append(Claim(name, link=spec.task_definition_arn))
        described = await describe(calls, spec.task_definition_arn, tags=True)
        if described is None:
            return claims  # of another account, or gone: nothing can be built on it
        linked = LinkedRevision(described)
    wanted = definition_spec(spec, whose.access.region or await calls.region(), linked)
    return [*claims, Claim(name, desired=await make_now(wanted))]
