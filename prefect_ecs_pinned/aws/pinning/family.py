"""One family: what this process has seen of it, and how a revision of it is found or made.

``lock`` lets one resolution at a time look and register, so what it has seen stays true until it
acts. Lives on the control loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.calls.ports import Clock, TaskDefinitionApi
from prefect_ecs_pinned.aws.calls.retrying import AGENT, Patience, Waits, backoff, warn_of_unknown
from prefect_ecs_pinned.aws.loop.bounded import Bounded, in_batches
from prefect_ecs_pinned.aws.pinning.describing import Describing
from prefect_ecs_pinned.aws.pinning.pin import Pin, hint_of_former, registration_denied
from prefect_ecs_pinned.aws.pinning.revisions import Revisions, is_active
from prefect_ecs_pinned.core.definition import former_family
from prefect_ecs_pinned.core.fingerprint import labelled
from prefect_ecs_pinned.core.plan import (
    Adopt,
    AskCaller,
    Desired,
    Observed,
    ReadTags,
    Register,
    Reuse,
    decide,
    rewritten,
)
from prefect_ecs_pinned.errors import RegistrationRefused

#: The most revisions of a family that one process describes: 200 take 15 s at half the quota.
SCAN_LIMIT = 200

#: Revisions described at the same time in a scan; ends early at the first batch with a match.
SCAN_BATCH = 10

#: Seconds for which a look at the newest revision is trusted before a registration. Somebody
#: else's revision that is missed by it makes a twin, which is harmless.
FRESH_SECONDS = 1.0

#: Revisions of one family that are remembered.
_SEEN = 1024


class Family:
    """The revisions of one family.

    Args:
        name: Its name.
        api: Registers.
        describing: Describes.
        revisions: What is known of single revisions.
        clock: Time.
        waits: How long AWS is waited for.
        lock: Held by the one resolution that looks and registers.

    Attributes:
        seen: ACTIVE revisions by ARN.
    """

    def __init__(
        self,
        name: str,
        api: TaskDefinitionApi,
        describing: Describing,
        revisions: Revisions,
        clock: Clock,
        waits: Waits = AGENT,
        lock: asyncio.Lock | None = None,
    ) -> None:
        self._name = name
        self._api = api
        self._describing = describing
        self._revisions = revisions
        self._clock = clock
        self._waits = waits
        self._lock = lock or asyncio.Lock()
        self.seen: Bounded[str, Observed] = Bounded(_SEEN)
        #: The newest revision as ECS described it, and the highest number that was ever seen.
        self._newest: Mapping[str, Any] | None = None
        self._highest = 0
        #: ARNs that the scan has listed and not described yet, newest first; None before that.
        self._unseen: list[str] | None = None
        #: When the newest revision was last asked for.
        self._looked_at = float("-inf")

    def afresh(self) -> Family:
        """The same family with nothing seen: a revision of it has gone, and others may have.

        A resolution under way continues with what it has seen; those that come after it are held
        back until it has ended.
        """
        return Family(
            self._name,
            self._api,
            self._describing,
            self._revisions,
            self._clock,
            self._waits,
            self._lock,
        )

    def is_busy(self) -> bool:
        """A resolution is under way."""
        return self._lock.locked()

    async def resolve(self, desired: Desired, may_register: bool) -> Pin:
        """A revision for what is desired; see `Pinning.resolve`.

        Raises:
            RegistrationRefused: None matches, and none may be registered.
            Fault: AWS refused to describe or register, or could not be reached.
        """
        async with self._lock:
            pin = await self._find(desired)
            return pin if pin is not None else await self._make(desired, may_register)

    async def _find(self, desired: Desired) -> Pin | None:
        if (pin := await self._match(desired)) is not None:
            return pin
        if self._clock.now() - self._looked_at > FRESH_SECONDS:
            await self._look(desired)
            if (pin := await self._match(desired)) is not None:
                return pin
        return await self._scan(desired)

    async def _match(self, desired: Desired) -> Pin | None:
        decision = await self._decide(desired)
        return decision if isinstance(decision, Pin) else None

    async def _decide(
        self, desired: Desired, newest: Mapping[str, Any] | None = None
    ) -> Pin | Register:
        """Decide by what has been seen, asking for no more than the decision needs."""
        while True:
            seen = [one for one in self.seen.values() if one.arn not in self._revisions.dead]
            decision = decide(desired, seen, newest, self._describing.caller)
            if isinstance(decision, ReadTags):
                await self._read_tags(decision.arn)
            elif isinstance(decision, AskCaller):
                await self._describing.identify()
            elif isinstance(decision, Reuse):
                return Pin(decision.arn, "found", differs=decision.doubts)
            elif isinstance(decision, Adopt):
                return Pin(decision.arn, "adopted")
            else:
                return decision

    async def _read_tags(self, arn: str) -> None:
        try:
            self._see(await self._describing.describe(arn, tags=True))
        except Fault as fault:
            if fault.kind is not Kind.NO_DEFINITION:
                raise
            self.seen.pop(arn, None)  # gone since it was described

    async def _look(self, desired: Desired) -> None:
        """Ask for the newest revision, and for those made between it and the last look."""
        self._looked_at = self._clock.now()
        try:
            newest = await self._describing.describe(self._name, bool(desired.tags))
        except Fault as fault:
            if fault.kind is not Kind.NO_DEFINITION:
                raise
            self.seen.clear()  # only ECS's own answer means that there is none
            self._newest, self._unseen = None, []
            return
        before = self._highest
        self._see(newest)
        self._newest = newest
        if before:
            missed = range(before + 1, self._highest)
            names = [f"{self._name}:{n}" for n in missed][-SCAN_LIMIT:]
            await self._describe_all(names, bool(desired.tags))

    async def _scan(self, desired: Desired) -> Pin | None:
        """Go through the family's revisions, newest first, until one matches.

        What has been seen is kept, and the next who asks continues where this one ended.
        """
        if self._unseen is None:
            arns = await self._describing.list_active(self._name, SCAN_LIMIT)
            self._unseen = [arn for arn in arns if arn not in self.seen]
        while self._unseen:
            batch, self._unseen = self._unseen[:SCAN_BATCH], self._unseen[SCAN_BATCH:]
            await self._describe_all(batch, bool(desired.tags))
            if (pin := await self._match(desired)) is not None:
                return pin
        return None

    async def _make(self, desired: Desired, may_register: bool) -> Pin:
        decision = await self._decide(desired, self._newest)
        if isinstance(decision, Pin):
            return decision
        if not may_register:
            raise RegistrationRefused(
                f"cannot pin family {self._name!r}",
                f"registration is 'never', and a revision is needed ({decision.reason})",
                await self._former()
                or "register it with `pinned-ecs pin BLOCK`, or set registration to 'on-change'",
                decision.changed,
            )
        return await self._register(desired, decision)

    async def _former(self) -> str:
        """A hint, when a family is new that earlier versions wrote in another way."""
        former = former_family(self._name)
        if self._newest is not None or former == self._name:
            return ""
        try:
            found = is_active(await self._describing.describe(former))
        except Fault:
            return ""
        return hint_of_former(self._name, former) if found else ""

    async def _register(self, desired: Desired, decision: Register) -> Pin:
        request = labelled(desired.definition, desired.fingerprint, desired.container_name)
        patience = Patience(self._clock, self._waits.registrations, self._waits.contended)
        attempt = 0
        while True:
            asked_at = self._clock.now()
            newest = int(self._newest["revision"]) if self._newest else 0
            try:
                described = await self._api.register_task_definition(request, newest)
            except Fault as fault:
                if fault.kind is Kind.DENIED and fault.operation == "RegisterTaskDefinition":
                    former = await self._former()
                    raise registration_denied(fault, desired, decision, former) from fault
                if not fault.passing or self._clock.now() > patience.until(fault, asked_at):
                    raise
                warn_of_unknown(fault, self._clock)
                await self._clock.wait(backoff(attempt, longest=5.0))
            else:
                if described is not None:
                    return self._made(desired, decision, described)
            # Refused for another's registration, throttled, made with its answer lost, or left to
            # another process that was faster: in each case look before doing it again.
            attempt += 1
            await self._look(desired)
            if (pin := await self._match(desired)) is not None:
                return pin

    def _made(self, desired: Desired, decision: Register, described: Mapping[str, Any]) -> Pin:
        """ECS's answer to our own registration is proof, in whatever words it is."""
        self._looked_at, self._newest = self._clock.now(), described
        self._revisions.proven[str(described["taskDefinitionArn"])] = desired.fingerprint
        observed = self._see(described)
        differs = rewritten(desired, described)
        return Pin(observed.arn, "registered", decision.changed, decision.reason, differs)

    def _see(self, described: Mapping[str, Any]) -> Observed:
        arn = str(described["taskDefinitionArn"])
        observed = Observed.of(described, self._revisions.proven.get(arn))
        if is_active(described) and arn not in self._revisions.dead:
            self.seen[arn] = observed
            self._revisions.saw(arn)
        else:
            self.seen.pop(arn, None)
        self._highest = max(self._highest, observed.revision)
        return observed

    async def _describe_all(self, names: Sequence[str], tags: bool) -> None:
        for batch in in_batches(names, SCAN_BATCH):
            results = await asyncio.gather(
                *(self._describing.describe(name, tags) for name in batch), return_exceptions=True
            )
            for result in results:
                if isinstance(result, Fault) and result.kind is Kind.NO_DEFINITION:
                    continue  # deleted since it was listed
                if isinstance(result, BaseException):
                    raise result
                self._see(result)
