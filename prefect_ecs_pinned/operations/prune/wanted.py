"""What is to be pruned for a saved block or a pool: the families that it registers in."""

from __future__ import annotations

from collections.abc import Sequence

from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.plan import targets
from prefect_ecs_pinned.operations.prune.pruning import Pruning
from prefect_ecs_pinned.operations.prune.references import Reference
from prefect_ecs_pinned.operations.prune.rules import Rules
from prefect_ecs_pinned.operations.sources import Holder, configurations, name_of, read_claims


async def prunings(reference: Holder, rules: Rules) -> list[Pruning]:
    """A pruning for each family that a saved block or pool, and its deployments, register in.

    Families of revisions that are only linked belong to somebody else, and are not changed.

    Raises:
        ConfigurationError: No such block or pool; it does not load, or registers nothing; or a
            revision that is to be kept is not of these families.
        PinnedECSError: AWS or Prefect refused, or could not be reached.
    """
    found = await prunings_for(await configurations(reference, every=True), rules)
    if not found:
        raise ConfigurationError(
            f"cannot prune {name_of(reference)!r}",
            "it uses, unchanged, a revision that was registered elsewhere",
            "prune it where it is registered",
        )
    return found


async def prunings_for(wanted: Sequence[Configuration], rules: Rules) -> list[Pruning]:
    """As `prunings`, for configurations that have been read; none when they only link."""
    found: dict[tuple[str, str], Pruning] = {}
    async with targets(wanted) as members:
        for target in members:
            family = target.prepared.desired.family
            key = (target.access.key, family)
            if target.prepared.revision is None and key not in found:
                found[key] = _pruning(Calls.of(target.access), family, rules)
    made = list(found.values())
    if made:
        await _check(made, rules.referenced)
    return made


async def _check(found: Sequence[Pruning], referenced: Sequence[Reference]) -> None:
    """Refuse a reference that keeps nothing: it may be a typo.

    Raises:
        ConfigurationError: One is to no revision of what is to be pruned.
    """
    families = ", ".join(sorted({pruning.family for pruning in found}))
    for reference in referenced:
        if not any([await pruning.knows(reference) for pruning in found]):
            raise ConfigurationError(
                f"cannot keep {reference.text!r}",
                f"it is not a revision of the pruned family {families}",
                "correct it, or leave it out; nothing was changed",
            )


def _pruning(calls: Calls, family: str, rules: Rules) -> Pruning:
    return Pruning(calls, family, rules, lambda: read_claims(calls, family))
