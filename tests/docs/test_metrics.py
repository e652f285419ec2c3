"""The page about metrics, the dashboard and the example agree with the instruments there are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefect_ecs_pinned.metrics import TABLE, Instrument, Kind

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guides" / "metrics.md"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "prefect-ecs-pinned.json").read_text())
EXAMPLE = ROOT / "deploy" / "print_metrics.py"

#: How OpenTelemetry's exporters for Prometheus write units.
#: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
SUFFIXES = {"s": "_seconds", "{call}/s": "_per_second"}


def prometheus_names(one: Instrument) -> set[str]:
    """The names of an instrument's time series in Prometheus."""
    name = one.full_name.replace(".", "_") + SUFFIXES.get(one.unit, "")
    if one.kind is Kind.COUNTER:
        return {f"{name}_total"}
    if one.kind is Kind.HISTOGRAM:
        return {f"{name}_bucket", f"{name}_count", f"{name}_sum"}
    return {name}


def queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def test_the_table_of_the_page_is_the_table_of_the_code():
    rows = re.findall(r"^\| `(prefect_ecs_pinned\.[^`]+)` (.*)$", PAGE.read_text(), re.M)
    expected = [
        (
            one.full_name,
            f"| {one.kind.value} | `{one.unit}` | {one.description} | "
            f"{', '.join(f'`{name}`' for name in one.attributes) or 'none'} |",
        )
        for one in TABLE
    ]
    assert rows == expected


@pytest.mark.parametrize("one", TABLE, ids=lambda one: one.name)
def test_names_and_units_follow_the_conventions(one: Instrument):
    """Lower case, dots between names; UCUM: seconds, or a singular in braces."""
    assert re.fullmatch(r"[a-z][a-z_]*(\.[a-z][a-z_]*)*", one.full_name)
    assert one.unit == "s" or re.fullmatch(r"\{[a-z]+\}(/s)?", one.unit)
    assert not one.unit.rstrip("}/s").endswith("ss")
    assert not one.full_name.endswith(("_total", "_seconds", ".total", ".seconds"))
    assert all(re.fullmatch(r"[a-z][a-z_]*(\.[a-z_]+)+", name) for name in one.attributes)


def test_every_query_of_the_dashboard_names_what_is_exported():
    names = {name for one in TABLE for name in prometheus_names(one)}
    labels = {name.replace(".", "_") for one in TABLE for name in one.attributes} | {"le"}
    for query in queries():
        asked = set(re.findall(r"\bprefect_ecs_pinned_[a-z_]+", query)) - labels
        assert asked, query
        assert asked <= names, query
        by = re.findall(r"by \(([^)]*)\)", query)
        used = {word for words in by for word in re.findall(r"[a-z_]+", words)}
        used |= set(re.findall(r"([a-z_]+)(?:=~|!=|=)\"", query))
        assert used <= labels, query


def test_each_instrument_is_on_the_dashboard():
    text = "\n".join(queries())
    missing = [one.name for one in TABLE if not any(n in text for n in prometheus_names(one))]
    assert missing == []


def test_the_dashboard_is_one_that_grafana_imports():
    """Panels have a place of their own, a type, a data source and targets with letters."""
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time"} <= DASHBOARD.keys()
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] in ("timeseries", "stat")
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == [chr(ord("A") + n) for n in range(len(letters))]
        for target in panel["targets"]:
            assert target["expr"].count("(") == target["expr"].count(")")
            assert target["expr"].count("{") == target["expr"].count("}")


def test_the_names_are_those_that_the_exporter_writes():
    """The output of OpenTelemetry's exporter for Prometheus."""
    code = (
        "from opentelemetry import metrics as api\n"
        "from opentelemetry.sdk.metrics import MeterProvider\n"
        "from opentelemetry.exporter.prometheus import PrometheusMetricReader\n"
        "import prometheus_client\n"
        "from prefect_ecs_pinned import metrics\n"
        "api.set_meter_provider(MeterProvider([PrometheusMetricReader()]))\n"
        "observed = [one for one in metrics.TABLE if 'observable' in one.kind.value]\n"
        "metrics.observe(0, {one: (lambda: [(1.0, {})]) for one in observed})\n"
        "for one in metrics.TABLE: metrics.record(one, 1, {})\n"
        "print(prometheus_client.generate_latest().decode())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    written = set(re.findall(r"^(prefect_ecs_pinned_\w+)", done.stdout, re.M))
    expected = {name for one in TABLE for name in prometheus_names(one)}
    assert {name for name in written if not name.endswith("_created")} == expected


def test_the_example_prints_what_it_has_done():
    """Ten launches, one registration."""
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=True)
    [scope] = json.loads(done.stdout)["resource_metrics"][0]["scope_metrics"]
    points = {metric["name"]: metric["data"]["data_points"] for metric in scope["metrics"]}
    counted = {
        name: sum(point["value"] for point in points[f"prefect_ecs_pinned.{name}"])
        for name in ("launches", "registrations", "tasks")
    }
    assert counted == {"launches": 10, "registrations": 1, "tasks": 10}
