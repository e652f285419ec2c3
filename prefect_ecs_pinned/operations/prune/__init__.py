"""Deregister old revisions of a family, and never one that somebody may need.

Agents never deregister: revisions stay until they are pruned. A revision is kept when a saved
block or deployment resolves to it, a live task or an ECS service uses it, it is one of the
newest, or it is young: other Prefect servers may share the family. What is to go is decided
first (`Pruning.survey`), then carried out (`Pruning.carry_out`), at a pace that leaves agents
room to register. Both may be interrupted anywhere and repeated: what is left is found again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timezone

from prefect_ecs_pinned.aws.batching import in_batches
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.operations.blocks import Configuration, configurations
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.claims import Claim, read_claims
from prefect_ecs_pinned.operations.families import (
    Revision,
    clusters,
    describe_all,
    list_revisions,
    live_tasks,
    services,
)
from prefect_ecs_pinned.operations.plan import targets
from prefect_ecs_pinned.operations.prune.rules import (
    Needs,
    Pruned,
    Rules,
    Survey,
    Verdict,
    ago,
    duration,
)

__all__ = ["Pruned", "Pruning", "Rules", "Survey", "Verdict", "duration", "prunings"]

#: API_DeleteTaskDefinitions: "up to 10 task definitions as a list".
DELETE_LIMIT = 10

#: Revisions that are described between two words of progress.
_DESCRIBED_AT_ONCE = 25

#: Seconds after which it is looked again who needs what, while revisions are deregistered.
RECHECK_SECONDS = 60.0

#: Called with what is being done, how many are done, and how many there are.
Progress = Callable[[str, int, int], None]


def _silent(what: str, done: int, total: int) -> None:
    pass


class Pruning:
    """Prunes one family in one account and Region.

    Args:
        calls: Reach AWS.
        family: The family.
        rules: What to keep.
        claims: Reads what saved blocks and deployments claim.
        now: The time of day.
    """

    def __init__(
        self,
        calls: Calls,
        family: str,
        rules: Rules,
        claims: Callable[[], Awaitable[Sequence[Claim]]],
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._calls = calls
        self._family = family
        self._rules = rules
        self._claims = claims
        self._now = now

    async def survey(self, progress: Progress = _silent) -> Survey:
        """Decide; nothing is changed.

        Raises:
            PinnedECSError: Somebody's need could not be found out, so nothing may go.
        """
        active = await list_revisions(self._calls, self._family)
        gone = []
        if self._rules.delete:
            gone = await list_revisions(self._calls, self._family, "INACTIVE")
        number = self._rules.keep
        why = f"one of the {number} newest" if number > 1 else "the newest"
        newest = dict.fromkeys(active[:number], why)
        needs = await self._needs()
        candidates = [arn for arn in active + gone if arn not in newest]
        revisions: list[Revision] = []
        for batch in in_batches(candidates, _DESCRIBED_AT_ONCE):
            revisions += await describe_all(self._calls, batch)
            progress("looking at revisions", len(revisions), len(candidates))
        still_active = set(active)
        verdicts = [Verdict(arn, True, None, reason) for arn, reason in newest.items()]
        verdicts += [self._judge(r, r.arn in still_active, needs) for r in revisions]
        return Survey(self._family, await self._calls.region(), tuple(verdicts))

    def _judge(self, revision: Revision, active: bool, needs: Needs) -> Verdict:
        kept = needs.of(revision.observed, active) or self._too_young(revision)
        return Verdict(revision.arn, active, revision.registered_at, kept, revision.observed)

    async def carry_out(self, survey: Survey, progress: Progress = _silent) -> Pruned:
        """Deregister, and delete if that is asked for, what a survey has found.

        Raises:
            PinnedECSError: AWS refused, or could not be reached. What is done is done.
        """
        done = Pruned()
        looked_at = self._calls.clock.now()
        needs = Needs()
        doomed = [verdict for verdict in survey.doomed if verdict.active]
        to_delete = [verdict.arn for verdict in survey.doomed if not verdict.active]
        for verdict in doomed:
            if self._calls.clock.now() - looked_at > RECHECK_SECONDS:
                needs, looked_at = await self._needs(), self._calls.clock.now()
            if verdict.observed is not None and (reason := needs.of(verdict.observed)):
                done.spared[verdict.arn] = reason
                continue
            await self._calls.call("ecs", "DeregisterTaskDefinition", taskDefinition=verdict.arn)
            done.deregistered.append(verdict.arn)
            progress("deregistering", len(done.deregistered), len(doomed))
        if self._rules.delete:
            await self._delete(to_delete + done.deregistered, done, progress)
        return done

    async def _delete(self, arns: Sequence[str], done: Pruned, progress: Progress) -> None:
        for batch in in_batches(arns, DELETE_LIMIT):
            answer = await self._calls.call(
                "ecs", "DeleteTaskDefinitions", taskDefinitions=list(batch)
            )
            refused = {str(f["arn"]): str(f.get("reason", "")) for f in answer["failures"]}
            done.failures.update(refused)
            done.deleted += [arn for arn in batch if arn not in refused]
            progress("deleting", len(done.deleted), len(arns))

    async def _needs(self) -> Needs:
        among = await clusters(self._calls)
        return Needs(
            claims=await self._claims(),
            live=await live_tasks(self._calls, self._family, among),
            services=await services(self._calls, among),
        )

    def _too_young(self, revision: Revision) -> str:
        age = self._now() - revision.registered_at
        if age >= self._rules.min_age:
            return ""
        return f"registered {ago(age)} ago"


async def prunings(reference: str, rules: Rules) -> list[Pruning]:
    """A pruning for each family that a saved block, and its deployments, register in.

    Families of revisions that are only linked belong to somebody else, and are left alone.

    Raises:
        ConfigurationError: No such block; it does not load; or it registers nothing.
        PinnedECSError: AWS or Prefect refused, or could not be reached.
    """
    found = await prunings_for(await configurations(reference, every=True), rules)
    if not found:
        raise ConfigurationError(
            f"cannot prune {reference!r}",
            "it uses a revision that was registered elsewhere as it is",
            "prune it where it is registered",
        )
    return found


async def prunings_for(wanted: Sequence[Configuration], rules: Rules) -> list[Pruning]:
    """As `prunings`, for configurations that have been read; none when they only link."""
    found: dict[tuple[str, str], Pruning] = {}
    async with targets(wanted) as members:
        for target in members:
            family = target.prepared.desired.family
            key = (target.access_key, family)
            if target.prepared.revision is None and key not in found:
                found[key] = _pruning(Calls.of(target.credentials), family, rules)
    return list(found.values())


def _pruning(calls: Calls, family: str, rules: Rules) -> Pruning:
    return Pruning(calls, family, rules, lambda: read_claims(calls, family))
