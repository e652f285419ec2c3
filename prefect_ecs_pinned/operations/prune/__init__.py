"""Deregister old revisions of a family, and never one that somebody may need.

Agents never deregister: revisions stay until they are pruned. A revision is kept when a saved
block or deployment resolves to it, or when a live task or an ECS service uses it. The newest and
young revisions are kept too, because other Prefect servers may share the family. Many uses of a
revision can't be seen from here (`UNSEEN`): their users name the revision (`Rules.referenced`), or
give it a tag (`KEEP_TAG`). The revisions to be removed are decided first (`Pruning.survey`), then
carried out (`Pruning.carry_out`), at a pace that leaves agents room to register. Both may be
interrupted anywhere and repeated: what is left is found again.
"""

from prefect_ecs_pinned.operations.prune.pruning import Pruning
from prefect_ecs_pinned.operations.prune.references import KEEP_TAG, UNSEEN, Reference
from prefect_ecs_pinned.operations.prune.rules import Pruned, Rules, Survey, Verdict, duration
from prefect_ecs_pinned.operations.prune.wanted import prunings, prunings_for

__all__ = [
    "KEEP_TAG",
    "UNSEEN",
    "Pruned",
    "Pruning",
    "Reference",
    "Rules",
    "Survey",
    "Verdict",
    "duration",
    "prunings",
    "prunings_for",
]
