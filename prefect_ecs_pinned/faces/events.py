"""What happens to the runs, as log lines and as Prefect events.

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
    Event,
    LaunchesQueued,
    LaunchesThrottled,
    RevisionPinned,
)

#: How the names of our events and resources begin.
_PREFIX = "prefect-ecs-pinned"

logger = get_logger("prefect.infrastructure.pinned-ecs-task")


def emit(event: Event) -> None:
    """Log an event, and emit it to Prefect if it is one to act on."""
    try:
        if isinstance(event, RevisionPinned):
            _emit_revision(event)
        elif isinstance(event, LaunchesThrottled):
            _emit("launches.throttled", f"quota.{event.quota}", event)
        else:
            logger.info(_progress(event))
    except Exception as exception:  # noqa: BLE001 - a report never ends what it reports
        logger.warning("Could not report %s: %s", type(event).__name__, exception)


def _emit_revision(event: RevisionPinned) -> None:
    if event.instead_of:
        # The runs that asked first have logged what they found; nobody asked for this one.
        why = f": {event.reason}" if event.reason else ""
        logger.info(
            "%s is inactive; its runs are launched from %s (%s%s)",
            event.instead_of,
            event.arn,
            event.how,
            why,
        )
    if event.how in ("registered", "adopted"):
        _emit(f"revision.{event.how}", f"family.{event.family}", event)


def _emit(name: str, resource: str, event: RevisionPinned | LaunchesThrottled) -> None:
    emit_event(
        event=f"{_PREFIX}.{name}",
        resource={"prefect.resource.id": f"{_PREFIX}.{resource}"},
        payload=asdict(event),
    )


def _progress(event: LaunchesQueued) -> str:
    return (
        f"Launching on {event.quota}: {event.queued} queued, {event.launched} launched, "
        f"{event.live} live; {event.pace:.1f} calls/s, {event.throttles} throttled"
    )
