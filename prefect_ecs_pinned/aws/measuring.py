"""From what a control plane reports to the instruments of `metrics`: one place for all of them.

Counters and histograms follow from events, on the control loop. What is observed is read on the
thread of an OpenTelemetry SDK, when that asks: from copies, and from clocks that any thread may
read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from time import time

from prefect_ecs_pinned import metrics
from prefect_ecs_pinned.aws.events import (
    CallEnded,
    LaunchEnded,
    Measured,
    RevisionPinned,
    TaskEnded,
)
from prefect_ecs_pinned.core.arn import cluster_arn, parse_revision, region_of

logger = logging.getLogger(__name__)

#: By quota: queued, calling, rate, oldest (`QuotaQueue.snapshot`).
Numbers = Mapping[str, Mapping[str, float]]


class Measuring:
    """Measures one control plane; called on its control loop, whatever it is called with.

    Args:
        wall: Seconds since 1970, by the clock that ECS has as well.
    """

    def __init__(self, wall: Callable[[], float] = time) -> None:
        self._wall = wall
        self._region = ""
        self._end: Callable[[], None] = lambda: None

    def __call__(self, event: Measured) -> None:
        """Record an event; it never raises."""
        try:
            if isinstance(event, CallEnded):
                self._call_ended(event)
            elif isinstance(event, LaunchEnded):
                self._launch_ended(event)
            elif isinstance(event, TaskEnded):
                self._task_ended(event)
            elif event.how == "registered":
                self._registered(event)
        except Exception as exception:  # noqa: BLE001 - a measurement never ends what it measures
            logger.debug("Could not measure %s: %r", type(event).__name__, exception)

    def observe(
        self, launching: Callable[[], Numbers], live: Callable[[], Mapping[str, int]]
    ) -> None:
        """Have queues and live tasks observed until `close`.

        Args:
            launching: `Launching.snapshot`.
            live: `Watching.live_by_cluster`.
        """

        def queued() -> Iterable[metrics.Value]:
            for quota, numbers in launching().items():
                yield numbers["queued"] + numbers["calling"], self._quota(quota)

        def age() -> Iterable[metrics.Value]:
            for quota, numbers in launching().items():
                yield numbers["oldest"], self._quota(quota)

        def pace() -> Iterable[metrics.Value]:
            for quota, numbers in launching().items():
                yield numbers["rate"], self._quota(quota)

        def tasks() -> Iterable[metrics.Value]:
            for cluster, count in live().items():
                yield count, metrics.of_cluster(cluster, self._region)

        self._end = metrics.observe(
            self,
            {
                metrics.QUEUED_RUNS: queued,
                metrics.QUEUE_AGE: age,
                metrics.PACE: pace,
                metrics.LIVE_TASKS: tasks,
            },
        )

    def close(self) -> None:
        """Nothing is observed any more."""
        self._end()

    def _call_ended(self, event: CallEnded) -> None:
        self._region = event.region or self._region
        attributes = {metrics.SERVICE: event.service, metrics.METHOD: event.operation}
        attributes = _stated({**attributes, metrics.REGION: event.region})
        if event.throttled:
            metrics.record(metrics.THROTTLES, 1, attributes)
        attributes |= _stated({metrics.ERROR: event.error})
        metrics.record(metrics.CALL_DURATION, event.seconds, attributes)

    def _launch_ended(self, event: LaunchEnded) -> None:
        arn = cluster_arn(event.cluster, event.revision)
        attributes = {
            **metrics.of_cluster(arn, self._region),
            metrics.QUOTA: event.quota,
            **_stated({metrics.FAMILY: _family(event.revision), metrics.ERROR: event.error}),
        }
        metrics.record(metrics.LAUNCHES, 1, attributes)
        metrics.record(metrics.LAUNCH_DURATION, event.seconds, attributes)

    def _task_ended(self, event: TaskEnded) -> None:
        attributes = metrics.of_cluster(event.cluster, self._region)
        if event.stopped_at is not None:
            lag = max(0.0, self._wall() - event.stopped_at)  # two clocks never agree
            metrics.record(metrics.WATCH_LAG, lag, attributes)
        ends = {metrics.OUTCOME: event.outcome, metrics.ERROR: event.error}
        metrics.record(metrics.TASKS, 1, {**attributes, **_stated(ends)})

    def _registered(self, event: RevisionPinned) -> None:
        attributes = {metrics.FAMILY: event.family, metrics.REGION: region_of(event.arn)}
        metrics.record(metrics.REGISTRATIONS, 1, _stated(attributes))

    def _quota(self, quota: str) -> dict[str, str]:
        return _stated({metrics.QUOTA: quota, metrics.REGION: self._region})


def _family(revision: str) -> str:
    try:
        return parse_revision(revision).family
    except ValueError:  # a patch may name anything
        return ""


def _stated(attributes: Mapping[str, str]) -> dict[str, str]:
    """Those that have a value."""
    return {name: value for name, value in attributes.items() if value}
