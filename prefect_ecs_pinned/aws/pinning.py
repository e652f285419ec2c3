"""Family + fingerprint -> revision: remembered, or found, or adopted, or registered.

All of it runs on the control loop. One resolution per pin is under way at a time, shared by
all who ask and shielded from their cancellation; ``_Family.lock`` lets one resolution per family
look and register at a time, so what it has seen stays true until it acts. Across processes ECS
is the referee: it refuses overlapping registrations of a family, the loser looks again and
adopts what the winner made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect_ecs_pinned.aws.batching import in_batches
from prefect_ecs_pinned.aws.faults import PASSING, Fault, Kind, as_error
from prefect_ecs_pinned.aws.linked import Linked
from prefect_ecs_pinned.aws.notices import Listener, RevisionPinned, nobody
from prefect_ecs_pinned.aws.pacing import Pacer
from prefect_ecs_pinned.aws.ports import Clock, TaskDefinitionApi
from prefect_ecs_pinned.aws.retrying import backoff, patiently
from prefect_ecs_pinned.core.arn import parse_revision
from prefect_ecs_pinned.core.fingerprint import labelled
from prefect_ecs_pinned.core.plan import Adopt, Desired, Observed, Register, Reuse, decide
from prefect_ecs_pinned.errors import PinnedECSError, RegistrationRefused

logger = logging.getLogger(__name__)

#: The most revisions of a family that one process describes: 200 take 15 s at half the quota.
SCAN_LIMIT = 200

#: Revisions described at once in a scan; ends early at the first batch with a match.
SCAN_BATCH = 10

#: Seconds for which a look at the newest revision is trusted before a registration. Somebody
#: else's revision that is missed by it makes a twin, which is harmless.
FRESH_SECONDS = 1.0

#: Seconds for which a registration is tried: fifty of one family take 30 s at 1 a second, and
#: other processes may want the same.
REGISTRATION_PATIENCE = 900.0

#: Seconds for which a family named without a revision stands for the same revision.
NEWEST_SECONDS = 60.0

Key = tuple[str, str]


@dataclass(frozen=True)
class Pin:
    """The revision that runs of one family and fingerprint are launched from.

    Attributes:
        arn: The revision.
        how: ``remembered``, ``found``, ``adopted`` or ``registered``.
        changed: For a registration, the members that differ from the newest revision before.
        reason: For a registration, why.
    """

    arn: str
    how: str
    changed: tuple[str, ...] = ()
    reason: str = ""


@dataclass
class _Family:
    """What this process has seen of one family.

    Attributes:
        lock: One resolution at a time looks and registers.
        seen: ACTIVE revisions by ARN.
        newest: The newest revision as ECS described it.
        highest: Number of the newest revision that was ever seen.
        unseen: ARNs that the scan has listed and not described yet, newest first; None before
            the family has been listed.
        looked_at: When the newest revision was last asked for.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    seen: dict[str, Observed] = field(default_factory=dict)
    newest: Mapping[str, Any] | None = None
    highest: int = 0
    unseen: list[str] | None = None
    looked_at: float = float("-inf")


class Pinning:
    """Resolves desired definitions to revisions; lives on the control loop.

    Args:
        api: The calls.
        reads: Pace of DescribeTaskDefinition and ListTaskDefinitions.
        clock: Time.
        tell: Hears of every revision that is found, adopted or registered.
    """

    def __init__(
        self, api: TaskDefinitionApi, reads: Pacer, clock: Clock, tell: Listener = nobody
    ) -> None:
        self._api = api
        self._tell = tell
        self._reads = reads
        self._clock = clock
        self._pins: dict[Key, Pin] = {}
        self._resolving: dict[tuple[Key, bool], asyncio.Task[Pin]] = {}
        self._families: dict[str, _Family] = {}
        self._linked: dict[str, tuple[float, asyncio.Task[Linked]]] = {}
        self._dead: set[str] = set()
        #: Pins to be resolved again: the revision that was found inactive.
        self._replaced: dict[Key, str] = {}
        self._may_list = True

    def remembered(self, desired: Desired) -> Pin | None:
        """The pin of a desired definition if it has been resolved. Safe from any thread."""
        return self._pins.get((desired.family, desired.fingerprint))

    async def resolve(self, desired: Desired, may_register: bool = True) -> Pin:
        """The pin of a desired definition.

        Args:
            desired: What to run.
            may_register: Whether a revision may be made when none matches.

        Raises:
            RegistrationRefused: None matches, and none may be registered.
            PinnedECSError: AWS refused to describe or register, or could not be reached.
        """
        key = (desired.family, desired.fingerprint)
        if (pin := self._pins.get(key)) is not None:
            return pin
        question = (key, may_register)
        running = self._resolving.get(question)
        if running is not None:
            return Pin((await asyncio.shield(running)).arn, "remembered")
        task = asyncio.create_task(self._resolve(key, desired, may_register))
        self._resolving[question] = task
        task.add_done_callback(lambda done: self._resolved(question, done))
        return await asyncio.shield(task)

    def _resolved(self, question: tuple[Key, bool], done: asyncio.Task[Pin]) -> None:
        self._resolving.pop(question, None)
        if not done.cancelled():
            done.exception()  # every asker may have been cancelled: nobody else retrieves it

    async def renew(self, desired: Desired, stale: str, may_register: bool = True) -> Pin:
        """Resolve again because ECS says that a revision is inactive or gone.

        However many launches report one stale revision, it is one incident: those that come
        after the first are given what the first has found.
        """
        key = (desired.family, desired.fingerprint)
        if stale not in self._dead:
            self._dead.add(stale)
            family = self._family(desired.family)
            if stale in family.seen:  # what else was seen before may be gone as well
                self._families[desired.family] = _Family(lock=family.lock)
        if (pin := self._pins.get(key)) is not None and pin.arn == stale:
            del self._pins[key]
            self._replaced[key] = stale
        return await self.resolve(desired, may_register)

    def remembered_link(self, identifier: str) -> Linked | None:
        """What `linked` would give at once, if it would. Safe from any thread."""
        until, describing = self._linked.get(identifier, (0.0, None))
        if describing is None or not describing.done() or self._clock.now() >= until:
            return None
        failed = describing.cancelled() or describing.exception() is not None
        return None if failed else describing.result()

    async def linked(self, identifier: str) -> Linked:
        """The revision that ``task_definition_arn`` names.

        Revisions never change, so one is described once; a bare family stands for its newest
        revision for `NEWEST_SECONDS`.

        Raises:
            TaskDefinitionNotFound: There is no such family or revision.
            PinnedECSError: AWS refused, or could not be reached.
        """
        known = self._linked.get(identifier)
        if known is None or self._clock.now() >= known[0]:
            try:
                lasting = parse_revision(identifier).revision > 0
            except ValueError:
                lasting = False
            until = float("inf") if lasting else self._clock.now() + NEWEST_SECONDS
            known = (until, asyncio.create_task(self._link(identifier)))
            self._linked[identifier] = known
        try:
            return await asyncio.shield(known[1])
        except Fault as fault:
            if self._linked.get(identifier) is known:
                del self._linked[identifier]
            raise as_error(fault, f"cannot use task definition {identifier!r}") from fault

    async def _link(self, identifier: str) -> Linked:
        return Linked(await self._patiently_describe(identifier))

    async def _resolve(self, key: Key, desired: Desired, may_register: bool) -> Pin:
        family = self._family(desired.family)
        try:
            async with family.lock:
                pin = await self._find(family, desired)
                if pin is None:
                    pin = await self._make(family, desired, may_register)
        except Fault as fault:
            raise as_error(fault, f"cannot pin family {desired.family!r}") from fault
        self._pins[key] = Pin(pin.arn, "remembered")
        stale = self._replaced.pop(key, "")
        self._tell(RevisionPinned(desired.family, pin.arn, pin.how, pin.reason, pin.changed, stale))
        return pin

    async def _find(self, family: _Family, desired: Desired) -> Pin | None:
        if (pin := self._match(family, desired)) is not None:
            return pin
        if self._clock.now() - family.looked_at > FRESH_SECONDS:
            await self._look(family, desired.family)
            if (pin := self._match(family, desired)) is not None:
                return pin
        return await self._scan(family, desired)

    def _match(self, family: _Family, desired: Desired) -> Pin | None:
        decision = decide(desired, family.seen.values())
        if isinstance(decision, Reuse):
            return Pin(decision.arn, "found")
        if isinstance(decision, Adopt):
            # An older revision may bear the label: look through all of them before adopting
            # one without, unless it is the newest.
            newest = family.seen[decision.arn].revision == family.highest
            if newest or family.unseen == []:
                return Pin(decision.arn, "adopted")
        return None

    async def _look(self, family: _Family, name: str) -> None:
        """Ask for the newest revision, and for those made between it and the last look."""
        family.looked_at = self._clock.now()
        try:
            newest = await self._patiently_describe(name)
        except Fault as fault:
            if fault.kind is not Kind.NO_DEFINITION:
                raise
            family.seen.clear()  # only ECS's own answer means that there is none
            family.newest, family.unseen = None, []
            return
        before = family.highest
        self._see(family, newest)
        family.newest = newest
        if before:
            missed = range(before + 1, family.highest)
            await self._describe_all(family, [f"{name}:{n}" for n in missed][-SCAN_LIMIT:])

    async def _scan(self, family: _Family, desired: Desired) -> Pin | None:
        """Go through the family's revisions, newest first, until one matches.

        What has been seen is kept, and the next who asks goes on where this one ended.
        """
        if family.unseen is None:
            family.unseen = [
                arn for arn in await self._list(desired.family) if arn not in family.seen
            ]
        while family.unseen:
            batch, family.unseen = family.unseen[:SCAN_BATCH], family.unseen[SCAN_BATCH:]
            await self._describe_all(family, batch)
            if (pin := self._match(family, desired)) is not None:
                return pin
        return self._match(family, desired)

    async def _list(self, name: str) -> Sequence[str]:
        if not self._may_list:
            return []
        try:
            await self._reads.permit()
            arns = await patiently(
                lambda: self._api.list_task_definitions(name, SCAN_LIMIT), self._clock
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
        return [arn for arn in arns if parse_revision(arn).family == name]

    async def _make(self, family: _Family, desired: Desired, may_register: bool) -> Pin:
        decision = decide(desired, family.seen.values(), family.newest)
        if not isinstance(decision, Register):  # an adoption whose scan has ended just now
            return Pin(decision.arn, "found" if isinstance(decision, Reuse) else "adopted")
        if not may_register:
            raise RegistrationRefused(
                f"cannot pin family {desired.family!r}",
                f"registration is 'never', and a revision is needed ({decision.reason})",
                "register it with `pinned-ecs pin BLOCK`, or set registration to 'on-change'",
                decision.changed,
            )
        return await self._register(family, desired, decision)

    async def _register(self, family: _Family, desired: Desired, decision: Register) -> Pin:
        request = labelled(desired.definition, desired.fingerprint)
        until = self._clock.now() + REGISTRATION_PATIENCE
        attempt = 0
        while True:
            newest = int(family.newest["revision"]) if family.newest else 0
            try:
                described = await self._api.register_task_definition(request, newest)
            except Fault as fault:
                if fault.kind is Kind.DENIED and fault.operation == "RegisterTaskDefinition":
                    raise _registration_denied(fault, desired, decision) from fault
                if fault.kind not in PASSING or self._clock.now() > until:
                    raise
                await self._clock.wait(backoff(attempt, longest=5.0))
            else:
                if described is not None:
                    family.looked_at, family.newest = self._clock.now(), described
                    observed = self._see(family, described)
                    return Pin(observed.arn, "registered", decision.changed, decision.reason)
            # Refused for another's registration, throttled, made with its answer lost, or left to
            # another process that was faster: in each case look before doing it again.
            attempt += 1
            await self._look(family, desired.family)
            if (pin := self._match(family, desired)) is not None:
                return pin

    def _see(self, family: _Family, described: Mapping[str, Any]) -> Observed:
        observed = Observed.of(described)
        alive = described.get("status", "ACTIVE") == "ACTIVE" and observed.arn not in self._dead
        if alive:
            family.seen[observed.arn] = observed
        family.highest = max(family.highest, observed.revision)
        return observed

    async def _describe_all(self, family: _Family, names: Sequence[str]) -> None:
        for batch in in_batches(names, SCAN_BATCH):
            results = await asyncio.gather(
                *(self._patiently_describe(name) for name in batch), return_exceptions=True
            )
            for result in results:
                if isinstance(result, Fault) and result.kind is Kind.NO_DEFINITION:
                    continue  # deleted since it was listed
                if isinstance(result, BaseException):
                    raise result
                self._see(family, result)

    async def _patiently_describe(self, name: str) -> Mapping[str, Any]:
        async def describe() -> Mapping[str, Any]:
            await self._reads.permit()
            asked_at = self._clock.now()
            try:
                return await self._api.describe_task_definition(name)
            except Fault as fault:
                if fault.kind is Kind.THROTTLED:
                    self._reads.throttled(asked_at)
                raise

        return await patiently(describe, self._clock)

    def _family(self, name: str) -> _Family:
        return self._families.setdefault(name, _Family())


def _registration_denied(fault: Fault, desired: Desired, decision: Register) -> PinnedECSError:
    return as_error(
        fault,
        f"cannot register a revision of {desired.family!r} ({decision.reason})",
        "allow ecs:RegisterTaskDefinition and iam:PassRole, or register it elsewhere with "
        "`pinned-ecs pin BLOCK` and set registration to 'never'",
    )
