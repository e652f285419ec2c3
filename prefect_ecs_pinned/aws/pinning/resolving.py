"""Family + fingerprint -> revision: remembered, or found, or adopted, or registered.

All of it runs on the control loop. One resolution per pin is under way at a time, shared by
all who ask and shielded from their cancellation; in each `Family` one at a time looks and
registers. Across processes ECS is the referee: it refuses overlapping registrations of a family,
the loser looks again and adopts what the winner made.

A revision that ECS calls inactive or unknown at launch is pinned again (`Pinning.renew`), unless it
is so new that RunTask may not know it yet: then it is waited for. All that is remembered has a
bound; what is forgotten is looked up again.
"""

from __future__ import annotations

from dataclasses import replace

from prefect_ecs_pinned.aws.calls.faults import Fault, as_error
from prefect_ecs_pinned.aws.calls.pacing import Pacer
from prefect_ecs_pinned.aws.calls.ports import Clock, TaskDefinitionApi
from prefect_ecs_pinned.aws.calls.retrying import AGENT, Waits
from prefect_ecs_pinned.aws.events import Listener, RevisionPinned, ignore
from prefect_ecs_pinned.aws.loop.bounded import Bounded
from prefect_ecs_pinned.aws.loop.once import Once
from prefect_ecs_pinned.aws.pinning.describing import Describing
from prefect_ecs_pinned.aws.pinning.family import Family
from prefect_ecs_pinned.aws.pinning.linked_revision import LinkedRevision, Links
from prefect_ecs_pinned.aws.pinning.pin import Pin, warn_of_difference
from prefect_ecs_pinned.aws.pinning.registrable import make
from prefect_ecs_pinned.aws.pinning.revisions import NEW_SECONDS, Revisions
from prefect_ecs_pinned.core.definition import DefinitionSpec
from prefect_ecs_pinned.core.plan import Desired

__all__ = ["NEW_SECONDS", "Pin", "Pinning"]

#: Pins and families that are remembered.
_PINS = 4096
_FAMILIES = 256

#: Built definitions that are remembered; a deployment needs one or two.
_DEFINITIONS = 1024

Key = tuple[str, str]


class Pinning:
    """Resolves desired definitions to revisions; lives on the control loop.

    Args:
        api: The calls.
        reads: Pace of DescribeTaskDefinition and ListTaskDefinitions.
        clock: Time.
        emit: Called with an event for every revision that is found, adopted or registered.
        waits: How long AWS is waited for.
    """

    def __init__(
        self,
        api: TaskDefinitionApi,
        reads: Pacer,
        clock: Clock,
        emit: Listener = ignore,
        waits: Waits = AGENT,
    ) -> None:
        self._api = api
        self._emit_event = emit
        self._clock = clock
        self._waits = waits
        self._describing = Describing(api, reads, clock, waits.reads)
        self._definitions: Bounded[str, Desired] = Bounded(_DEFINITIONS)
        self._links = Links(self._describing, clock)
        #: By key and `may_register`: a caller that may not register gets this answer, whatever
        #: others ask for.
        self._pins: Once[tuple[Key, bool], Pin] = Once(_PINS)
        self._revisions = Revisions(self._describing, clock)
        self._families: Bounded[str, Family] = Bounded(_FAMILIES, Family.is_busy)
        #: Pins to be resolved again: the revision that was found inactive.
        self._replaced: Bounded[Key, str] = Bounded(_PINS)

    def remembered_definition(self, key: str) -> Desired | None:
        """The definition of a spec with this key, if it was built. Safe from any thread."""
        return self._definitions.get(key)

    async def definition(self, key: str, spec: DefinitionSpec) -> Desired:
        """The definition of a configuration, built once.

        Raises:
            ConfigurationError: It can not become one.
        """
        if (desired := self._definitions.get(key)) is None:
            desired = make(spec)  # its fingerprint is computed, once, before others share it
            self._definitions[key] = desired
        return desired

    def remembered(self, desired: Desired) -> Pin | None:
        """The pin of a desired definition if it has been resolved. Safe from any thread."""
        return self._remembered(_key(desired))

    async def resolve(self, desired: Desired, may_register: bool = True) -> Pin:
        """The pin of a desired definition.

        Args:
            desired: What to run.
            may_register: Whether a revision may be made when none matches.

        Raises:
            RegistrationRefused: None matches, and none may be registered.
            PinnedECSError: AWS refused to describe or register, or could not be reached.
        """
        key = _key(desired)
        if (pin := self._remembered(key)) is not None:
            return pin
        resolved: list[Pin] = []

        async def ask() -> Pin:
            pin = await self._resolve(key, desired, may_register)
            resolved.append(pin)
            return replace(pin, how="remembered", changed=(), reason="")

        pin = await self._pins.get((key, may_register), ask)
        return resolved[0] if resolved else pin  # the first caller gets how it was resolved

    def _remembered(self, key: Key) -> Pin | None:
        return self._pins.peek((key, True)) or self._pins.peek((key, False))

    async def renew(self, desired: Desired, stale: str, may_register: bool = True) -> Pin:
        """The pin to continue with when RunTask calls a revision inactive or unknown.

        - **The revision is new**: this process has registered it, or has seen it described as
          ACTIVE for the first time, within the last `NEW_SECONDS`. RunTask may not know it yet, so
          nothing is registered: after a pause that grows from 1 to 8 s it is described again, and
          while ECS describes it as ACTIVE, or not yet, the answer is ``stale`` itself. The launch
          is to be repeated with it, and such an answer is not a renewal that a caller should count:
          there is an end to them after `NEW_SECONDS`.
        - **Otherwise**, or when ECS describes it as INACTIVE, it is never used again in this
          process, and the pin is resolved again.

        However many launches report one revision, they share the pause, the look and what is found:
        it is one incident.

        Raises:
            RegistrationRefused: None matches, and none may be registered.
            PinnedECSError: AWS refused to describe or register, or could not be reached.
        """
        key = _key(desired)
        pin = self._remembered(key)
        if pin is not None and pin.arn != stale:
            return pin  # somebody else has reported it before
        dead = self._revisions.dead
        if stale not in dead and await self._revisions.wait_for_new(stale):
            return Pin(stale, "remembered")
        if stale not in dead:
            dead[stale] = True
            family = self._family(desired.family)
            if stale in family.seen:  # what else was seen before may be gone as well
                self._families[desired.family] = family.afresh()
        for question in ((key, True), (key, False)):
            if (pin := self._pins.peek(question)) is not None and pin.arn == stale:
                self._pins.forget(question, pin)
                self._replaced[key] = stale
        return await self.resolve(desired, may_register)

    def remembered_link(self, identifier: str, tags: bool = False) -> LinkedRevision | None:
        """What `linked` would return immediately, if it would. Safe from any thread."""
        return self._links.remembered(identifier, tags)

    async def linked(self, identifier: str, tags: bool = False) -> LinkedRevision:
        """The revision that ``task_definition_arn`` names.

        Revisions never change, so one is described once; a bare family means its newest
        revision for a minute.

        Args:
            identifier: ARN, ``family:number`` or family.
            tags: With its tags: what is made of it is to keep them.

        Raises:
            TaskDefinitionNotFound: There is no such family or revision.
            PinnedECSError: AWS refused, or could not be reached.
        """
        return await self._links.read(identifier, tags)

    async def _resolve(self, key: Key, desired: Desired, may_register: bool) -> Pin:
        try:
            pin = await self._family(desired.family).resolve(desired, may_register)
        except Fault as fault:
            raise as_error(fault, f"cannot pin family {desired.family!r}") from fault
        if pin.differs:
            warn_of_difference(pin)
        stale = self._replaced.pop(key, "")
        self._emit_event(
            RevisionPinned(desired.family, pin.arn, pin.how, pin.reason, pin.changed, stale)
        )
        return pin

    def _family(self, name: str) -> Family:
        if name not in self._families:
            self._families[name] = Family(
                name, self._api, self._describing, self._revisions, self._clock, self._waits
            )
        return self._families[name]


def _key(desired: Desired) -> Key:
    return desired.family, desired.fingerprint
