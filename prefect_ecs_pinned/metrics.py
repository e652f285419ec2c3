"""Metrics, by OpenTelemetry's API: the table of the instruments, and how they are made.

Nothing is measured until the process has an OpenTelemetry SDK: with `opentelemetry-api` alone each
instrument does nothing, and without that package (the extra ``metrics`` of this one; Prefect 3
needs it anyway) there are no instruments.

Names, units and attributes follow OpenTelemetry's conventions: a namespace of this package's own,
units in UCUM, ``error.type`` only where something failed, and the attributes of its registry where
that has one. Attributes have few values: no task, flow run, deployment or revision is among them.

Sources: https://opentelemetry.io/docs/specs/semconv/general/metrics/,
https://opentelemetry.io/docs/specs/semconv/general/recording-errors/,
https://opentelemetry.io/docs/specs/semconv/registry/attributes/aws/
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from prefect_ecs_pinned.core.arn import region_of

#: Name of the meter: the instrumentation scope.
METER = "prefect_ecs_pinned"

CLUSTER = "aws.ecs.cluster.arn"
FAMILY = "aws.ecs.task.family"
REGION = "cloud.region"
ERROR = "error.type"
METHOD = "rpc.method"
SERVICE = "rpc.service"
QUOTA = f"{METER}.quota"
OUTCOME = f"{METER}.task.outcome"

Attributes = Mapping[str, str]
Value = tuple[float, Attributes]

#: Bounds of histograms, in seconds. Those of SDKs are for milliseconds.
_CALL_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_WAIT_SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600)


class Kind(Enum):
    """What an instrument is; the words of OpenTelemetry."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "observable gauge"
    UP_DOWN_COUNTER = "observable up-down counter"


@dataclass(frozen=True)
class Instrument:
    """One of the table.

    Attributes:
        name: After ``prefect_ecs_pinned.``.
        kind: What it is.
        unit: In UCUM.
        description: What is counted or measured.
        attributes: Those it may have.
        bounds: Of a histogram's buckets.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...]
    bounds: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """As it is exported."""
        return f"{METER}.{self.name}"


LAUNCHES = Instrument(
    *("launches", Kind.COUNTER, "{task}"),
    "Launches that have ended: with a task, or with an error",
    (CLUSTER, FAMILY, QUOTA, REGION, ERROR),
)
LAUNCH_DURATION = Instrument(
    *("launch.duration", Kind.HISTOGRAM, "s"),
    "Time from when a launch is queued until ECS has accepted its task, or it has failed",
    (CLUSTER, FAMILY, QUOTA, REGION, ERROR),
    _WAIT_SECONDS,
)
CALL_DURATION = Instrument(
    *("call.duration", Kind.HISTOGRAM, "s"),
    "Time that a call of AWS's API took, RunTask among them",
    (SERVICE, METHOD, REGION, ERROR),
    _CALL_SECONDS,
)
THROTTLES = Instrument(
    *("throttles", Kind.COUNTER, "{call}"),
    "Calls that AWS has throttled",
    (SERVICE, METHOD, REGION),
)
REGISTRATIONS = Instrument(
    *("registrations", Kind.COUNTER, "{revision}"),
    "Task-definition revisions that this process has registered",
    (FAMILY, REGION),
)
TASKS = Instrument(
    *("tasks", Kind.COUNTER, "{task}"),
    "Watched tasks that have ended",
    (CLUSTER, OUTCOME, REGION, ERROR),
)
WATCH_LAG = Instrument(
    *("watch.lag", Kind.HISTOGRAM, "s"),
    "Time between the end of a task, by the clock of ECS, and when its run learns of it",
    (CLUSTER, REGION),
    _WAIT_SECONDS,
)
ADOPTED = Instrument(
    *("worker.adopted", Kind.COUNTER, "{task}"),
    "Tasks launched by another process that the worker has begun to follow",
    (CLUSTER, REGION),
)
HANDED_BACK = Instrument(
    *("worker.handed_back", Kind.COUNTER, "{run}"),
    "Flow runs that the worker had taken and has reset to Scheduled",
    (),
)
LIVE_TASKS = Instrument(
    *("live_tasks", Kind.UP_DOWN_COUNTER, "{task}"),
    "Tasks that this process watches",
    (CLUSTER, REGION),
)
QUEUED_RUNS = Instrument(
    *("queued_runs", Kind.UP_DOWN_COUNTER, "{run}"),
    "Flow runs whose launch waits for its turn, or for the answer to its call",
    (QUOTA, REGION),
)
QUEUE_AGE = Instrument(
    *("queue.age", Kind.GAUGE, "s"),
    "Time for which the oldest of the queued launches has waited; 0 without one",
    (QUOTA, REGION),
)
PACE = Instrument(
    *("pace", Kind.GAUGE, "{call}/s"),
    "RunTask calls a second that are made at most at present",
    (QUOTA, REGION),
)

#: All there are, in the order of docs/guides/metrics.md.
TABLE = (
    *(LAUNCHES, LAUNCH_DURATION, QUEUED_RUNS, QUEUE_AGE, PACE, THROTTLES, CALL_DURATION),
    *(REGISTRATIONS, LIVE_TASKS, TASKS, WATCH_LAG, ADOPTED, HANDED_BACK),
)


def of_cluster(arn: str, region: str = "") -> dict[str, str]:
    """The attributes of a cluster; without those that are not known.

    Args:
        arn: Its ARN; a name is not an attribute.
        region: Its Region, if there is no ARN.
    """
    if of_arn := region_of(arn):
        return {CLUSTER: arn, REGION: of_arn}
    return {REGION: region} if region else {}


#: Takes a value and its attributes.
Recorder = Callable[[float, Attributes], None]

#: Gives the values of the moment.
Source = Callable[[], Iterable[Value]]

#: Guards the making of `_recorders`, and `_observed`.
_lock = threading.Lock()

#: What takes the values of counters and histograms; None until they are made.
_recorders: dict[Instrument, Recorder] | None = None

#: Observed instrument -> what gives its values, by whom they are of.
_observed: dict[Instrument, dict[object, Source]] = {}


def record(instrument: Instrument, value: float, attributes: Attributes) -> None:
    """Add to a counter, or to a histogram. Safe from any thread."""
    recorders = _recorders if _recorders is not None else _make()
    if (take := recorders.get(instrument)) is not None:
        take(value, attributes)


def observe(owner: object, sources: Mapping[Instrument, Source]) -> Callable[[], None]:
    """Have instruments observed, until what is returned is called.

    Args:
        owner: Any object that is this caller's own.
        sources: What gives the values, on the thread of the SDK: it may not wait. Values of
            several owners with the same attributes are added up; of gauges the largest counts.
    """
    _make()
    with _lock:
        for instrument, source in sources.items():
            _observed.setdefault(instrument, {})[owner] = source

    def end() -> None:
        with _lock:
            for instrument in sources:
                _observed.get(instrument, {}).pop(owner, None)

    return end


def observed(instrument: Instrument) -> dict[tuple[tuple[str, str], ...], float]:
    """The values of an observed instrument at this moment, by their attributes."""
    with _lock:
        sources = list(_observed.get(instrument, {}).values())
    together: dict[tuple[tuple[str, str], ...], float] = {}
    for source in sources:
        for value, attributes in source():
            key = tuple(sorted(attributes.items()))
            if instrument.kind is Kind.GAUGE:
                together[key] = max(value, together.get(key, value))
            else:
                together[key] = together.get(key, 0) + value
    return together


def _make() -> dict[Instrument, Recorder]:
    """Make all instruments, once in a process.

    The API's instruments pass values on to an SDK, also to one that is set up later.
    """
    global _recorders
    with _lock:
        if _recorders is None:
            try:
                # Imported here: a command that makes no call has no use of it.
                from opentelemetry import metrics as api
            except ImportError:  # Prefect 2 does not need it
                _recorders = {}
            else:
                _recorders = _made_by(api)
        return _recorders


def _made_by(api: Any) -> dict[Instrument, Recorder]:
    meter = api.get_meter(METER, _own_version())
    recorders: dict[Instrument, Recorder] = {}
    for one in TABLE:
        what = (one.unit, one.description)
        if one.kind is Kind.COUNTER:
            recorders[one] = meter.create_counter(one.full_name, *what).add
        elif one.kind is Kind.HISTOGRAM:
            recorders[one] = _histogram(meter, one).record
        elif one.kind is Kind.GAUGE:
            meter.create_observable_gauge(one.full_name, [_observer(api, one)], *what)
        else:
            meter.create_observable_up_down_counter(one.full_name, [_observer(api, one)], *what)
    return recorders


def _own_version() -> str:
    try:
        return version("prefect-ecs-pinned")
    except PackageNotFoundError:  # a checkout on the path
        return ""


def _histogram(meter: Any, one: Instrument) -> Any:
    what = (one.full_name, one.unit, one.description)
    try:
        return meter.create_histogram(*what, explicit_bucket_boundaries_advisory=one.bounds)
    except TypeError:  # before opentelemetry-api 1.30; Prefect 3 takes 1.27
        return meter.create_histogram(*what)


def _observer(api: Any, instrument: Instrument) -> Callable[[Any], Iterable[Any]]:
    def observe_now(_: Any) -> Iterable[Any]:
        return [api.Observation(value, dict(key)) for key, value in observed(instrument).items()]

    return observe_now


def _begin_afresh() -> None:
    """In a forked child: what was observed is its parent's."""
    global _lock
    _lock = threading.Lock()
    _observed.clear()


os.register_at_fork(after_in_child=_begin_afresh)
