"""What goes on behind the runs, told as log lines and as Prefect events.

Prefect sends events to Prefect Cloud, and to a server of one's own when
`PREFECT_EXPERIMENTAL_EVENTS` is on; automations can act on them. Names and payloads:

- ``prefect-ecs-pinned.revision.registered`` and ``.adopted``: family, arn, reason, changed
- ``prefect-ecs-pinned.launches.throttled``: quota, throttles, queued, pace

No value of a definition is among them, only the names of its members.
"""

from __future__ import annotations

from dataclasses import asdict

from prefect.events.utilities import emit_event
from prefect.logging.loggers import get_logger

from prefect_ecs_pinned.aws.events import (
    LaunchesQueued,
    LaunchesThrottled,
    Notice,
    RevisionPinned,
)

#: How the names of our events and resources begin.
_PREFIX = "prefect-ecs-pinned"

logger = get_logger("prefect.infrastructure.pinned-ecs-task")


def tell(notice: Notice) -> None:
    """Log a notice, and emit it as an event if it is one to act on."""
    try:
        if isinstance(notice, RevisionPinned):
            _tell_of_revision(notice)
        elif isinstance(notice, LaunchesThrottled):
            _emit("launches.throttled", f"quota.{notice.quota}", notice)
        else:
            logger.info(_progress(notice))
    except Exception as exception:  # telling never ends what it tells of
        logger.warning("Could not tell of %s: %s", type(notice).__name__, exception)


def _tell_of_revision(notice: RevisionPinned) -> None:
    if notice.instead_of:
        # The runs that asked first have logged what they found; nobody asked for this one.
        why = f": {notice.reason}" if notice.reason else ""
        logger.info(
            f"{notice.instead_of} is inactive; its runs are launched from {notice.arn} "
            f"({notice.how}{why})"
        )
    if notice.how in ("registered", "adopted"):
        _emit(f"revision.{notice.how}", f"family.{notice.family}", notice)


def _emit(event: str, resource: str, notice: RevisionPinned | LaunchesThrottled) -> None:
    emit_event(
        event=f"{_PREFIX}.{event}",
        resource={"prefect.resource.id": f"{_PREFIX}.{resource}"},
        payload=asdict(notice),
    )


def _progress(notice: LaunchesQueued) -> str:
    return (
        f"Launching on {notice.quota}: {notice.queued} queued, {notice.launched} launched, "
        f"{notice.live} live; {notice.pace:.1f} calls/s, {notice.throttles} throttled"
    )
