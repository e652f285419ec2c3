"""The pruning of one family in one account and Region."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone

from prefect_ecs_pinned.aws.loop.bounded import in_batches
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.claims import Claim
from prefect_ecs_pinned.operations.families import (
    Revision,
    clusters,
    describe,
    describe_all,
    list_revisions,
    live_tasks,
    services,
)
from prefect_ecs_pinned.operations.prune.last_look import last_look
from prefect_ecs_pinned.operations.prune.references import Reference
from prefect_ecs_pinned.operations.prune.rules import (
    Needs,
    Pruned,
    Rules,
    Survey,
    Verdict,
    ago,
)

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

    @property
    def family(self) -> str:
        """The family."""
        return self._family

    async def knows(self, reference: Reference) -> bool:
        """Whether a reference is to a revision of this family, account and Region.

        Raises:
            PinnedECSError: AWS refused, or could not be reached.
        """
        if reference.family != self._family:
            return False
        described = await describe(self._calls, reference.short)
        if described is None:  # a family may do not have one that is ACTIVE
            return not (reference.revision or reference.where)
        return reference.covers(str(described["taskDefinitionArn"]))

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
        judged = [self._judge(r, r.arn in still_active, needs) for r in revisions]
        verdicts += await self._look_again(judged, progress)
        return Survey(self._family, await self._calls.region(), tuple(verdicts))

    def _judge(self, revision: Revision, active: bool, needs: Needs) -> Verdict:
        kept = (
            needs.of(revision.observed, active)
            or self._rules.named(revision.arn)
            or self._too_young(revision)
        )
        return Verdict(revision.arn, active, revision.registered_at, kept, revision.observed)

    async def _look_again(self, judged: Sequence[Verdict], progress: Progress) -> list[Verdict]:
        """Ask for the tags of those that would be deregistered, and only of those."""
        found = {verdict.arn: verdict for verdict in judged}
        doomed = [verdict for verdict in judged if not verdict.kept]
        done = 0
        for batch in in_batches(doomed, _DESCRIBED_AT_ONCE):
            kept = await asyncio.gather(*(self._last_look(verdict.arn) for verdict in batch))
            found.update((v.arn, replace(v, kept=k)) for v, k in zip(batch, kept, strict=True))
            done += len(batch)
            progress("looking at tags", done, len(doomed))
        return list(found.values())

    async def _last_look(self, arn: str) -> str:
        return await last_look(self._calls, arn, self._rules.min_age)

    async def carry_out(self, survey: Survey, progress: Progress = _silent) -> Pruned:
        """Deregister, and delete if that is asked for, what a survey has found.

        Raises:
            PinnedECSError: AWS refused, or could not be reached. Completed steps are kept.
        """
        done = Pruned()
        looked_at = float("-inf")  # a survey of thousands takes minutes: its needs are old
        needs = Needs()
        to_delete = []
        doomed = sum(verdict.active for verdict in survey.doomed)
        for verdict in survey.doomed:
            if self._calls.clock.now() - looked_at > RECHECK_SECONDS:
                needs, looked_at = await self._needs(), self._calls.clock.now()
            observed, active = verdict.observed, verdict.active
            needed = needs.of(observed, active) if observed is not None else ""
            if reason := needed or await self._last_look(verdict.arn):
                done.spared[verdict.arn] = reason
                continue
            to_delete.append(verdict.arn)
            if active:
                await self._calls.call(
                    "ecs", "DeregisterTaskDefinition", taskDefinition=verdict.arn
                )
                done.deregistered.append(verdict.arn)
                progress("deregistering", len(done.deregistered), doomed)
        if self._rules.delete:
            await self._delete(to_delete, done, progress)
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
