"""What the metrics of this process add up to, read through the SDK's in-memory reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

SDK = "opentelemetry.sdk.metrics"

#: The reader of the process's one provider.
_reader: list[Any] = []


class Readings:
    """What has been counted since this was made, by instrument and attributes."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._before = self._cumulated()

    def _points(self) -> Iterator[tuple[str, Any, Any]]:
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                assert scope.scope.name == "prefect_ecs_pinned"
                for metric in scope.metrics:
                    yield from ((metric.name, metric, p) for p in metric.data.data_points)

    def _cumulated(self) -> dict[tuple[str, frozenset[tuple[str, Any]]], tuple[Any, Any]]:
        return {
            (name, frozenset((point.attributes or {}).items())): (
                getattr(point, "count", None) or getattr(point, "value", 0),
                getattr(point, "sum", 0.0),
            )
            for name, _, point in self._points()
        }

    def all(self) -> dict[tuple[str, frozenset[tuple[str, Any]]], tuple[float, float]]:
        """(name, attributes) -> (sum of a counter or number of measurements, their sum)."""
        now = self._cumulated()
        none = (0.0, 0.0)
        grown = {
            key: (n - self._before.get(key, none)[0], s - self._before.get(key, none)[1])
            for key, (n, s) in now.items()
        }
        return {key: values for key, values in grown.items() if values[0]}

    def of(self, name: str, **_: Any) -> dict[frozenset[tuple[str, Any]], float]:
        """Of one instrument: attributes -> its sum, or how many measurements."""
        full = f"prefect_ecs_pinned.{name}"
        return {attributes: n for (one, attributes), (n, _) in self.all().items() if one == full}

    def total(self, name: str, where: Mapping[str, str] | None = None) -> float:
        """Over all attributes, or those that hold these."""
        wanted = set((where or {}).items())
        return sum(n for attributes, n in self.of(name).items() if wanted <= attributes)

    def sum(self, name: str) -> float:
        """The sum of a histogram's measurements."""
        full = f"prefect_ecs_pinned.{name}"
        return sum(s for (one, _), (_, s) in self.all().items() if one == full)

    def now(self, name: str) -> dict[frozenset[tuple[str, Any]], float]:
        """The values of an observed instrument at this moment."""
        full = f"prefect_ecs_pinned.{name}"
        return {a: n for (one, a), (n, _) in self._cumulated().items() if one == full}

    def exported(self) -> dict[str, Any]:
        """Name -> the metric as the SDK exports it."""
        return {name: metric for name, metric, _ in self._points()}


@pytest.fixture
def measured() -> Readings:
    """The readings of this test. A process has one provider; it is set up when asked for first."""
    sdk = pytest.importorskip(SDK)
    if not _reader:
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        _reader.append(InMemoryMetricReader())
        metrics.set_meter_provider(sdk.MeterProvider(metric_readers=_reader))
    return Readings(_reader[0])
