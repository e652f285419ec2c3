"""Register what a saved block or a pool needs, so that no launch has to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_ecs_pinned.aws.pinning.resolving import Pin
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.plan import GIVEN, Target, targets
from prefect_ecs_pinned.operations.sources import Holder, configurations


@dataclass(frozen=True)
class Pinned:
    """A revision that there is now.

    Attributes:
        used_by: Names of the block or the deployments that run from it.
        arn: The revision.
        how: ``given``, ``found``, ``adopted`` or ``registered``.
        reason: For a registration, why.
        family: Its family.
        fingerprint: Of its definition.
        image: Image of the Prefect container.
        image_unset: Names of those that leave the image open: it follows the Prefect version of
            anyone who loads the block.
        differs: Members that ECS describes differently; see `aws.pinning.resolving.Pin`.
        added: See `containers.added`.
    """

    used_by: tuple[str, ...]
    arn: str
    how: str
    reason: str
    family: str
    fingerprint: str
    image: str
    image_unset: tuple[str, ...]
    differs: tuple[str, ...] = ()
    added: str = ""


async def pin(
    reference: Holder,
    deployment: str | None = None,
    every: bool = False,
    more: Mapping[str, Any] | None = None,
) -> list[Pinned]:
    """Make the revisions of a saved block or a pool; see `sources.Source.configurations`.

    It registers whatever its ``registration`` says: that is for launches. All
    configurations are checked before anything is registered.

    Raises:
        ConfigurationError: It, or a deployment on it, can not be launched as it is.
        PinnedECSError: AWS or Prefect refused, or could not be reached.
    """
    return await pin_for(await configurations(reference, deployment, every, more))


async def pin_for(wanted: Sequence[Configuration]) -> list[Pinned]:
    """As `pin`, for configurations that have been read."""
    async with targets(wanted) as found:
        return [await _pinned(target) for target in found]


async def _pinned(target: Target) -> Pinned:
    desired = target.prepared.desired
    pin = Pin(target.prepared.revision or "", GIVEN)
    if not pin.arn:
        pin = await target.plane.pin(desired, may_register=True)
    return Pinned(
        used_by=target.used_by,
        arn=pin.arn,
        how=pin.how,
        reason=pin.reason,
        family=desired.family,
        fingerprint=desired.fingerprint,
        image=desired.image,
        image_unset=target.image_unset,
        differs=pin.differs,
        added=target.added,
    )
