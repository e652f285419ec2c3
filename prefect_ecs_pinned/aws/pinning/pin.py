"""A pin, and what is said of one."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from prefect_ecs_pinned.aws.calls.faults import Fault, as_error
from prefect_ecs_pinned.core.plan import Desired, Register
from prefect_ecs_pinned.errors import PinnedECSError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pin:
    """The revision that runs of one family and fingerprint are launched from.

    Attributes:
        arn: The revision.
        how: ``remembered``, ``found``, ``adopted`` or ``registered``.
        changed: For a registration, the members that differ from the newest revision before.
        reason: For a registration, why.
        differs: Members that ECS describes differently, and that are accepted
            anyway: ECS answered so to our own registration, or the caller's own principal has
            registered it and it is unknown how ECS describes these members.
    """

    arn: str
    how: str
    changed: tuple[str, ...] = ()
    reason: str = ""
    differs: tuple[str, ...] = ()


def warn_of_difference(pin: Pin) -> None:
    """Say that a revision is used although ECS describes it differently."""
    why = (
        "so it is the answer to this registration"
        if pin.how == "registered"
        else "the principal of these credentials has registered it"
    )
    logger.warning(
        "%s is used although ECS describes %s differently, or not at all: %s",
        pin.arn,
        ", ".join(pin.differs),
        why,
    )


def hint_of_former(family: str, former: str) -> str:
    """What to do about a family whose revisions have the name that it had before."""
    return (
        f"{former!r} has revisions: earlier versions changed the name {family!r} to it. To keep "
        f"using them, set family to {former!r}"
    )


def registration_denied(
    fault: Fault, desired: Desired, decision: Register, former: str = ""
) -> PinnedECSError:
    """The error of a launch that needs a revision which its role may not register.

    Args:
        fault: What AWS answered.
        desired: What was to be registered.
        decision: Why.
        former: `hint_of_former`, where it applies: policies may allow the former name only.
    """
    allow = (
        "allow ecs:RegisterTaskDefinition and iam:PassRole, or register it elsewhere with "
        "`pinned-ecs pin BLOCK` and set registration to 'never'"
    )
    return as_error(
        fault,
        f"cannot register a revision of {desired.family!r} ({decision.reason})",
        allow=f"{former}; otherwise {allow}" if former else allow,
    )
