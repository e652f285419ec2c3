"""Telling: what stands in the logs, on a run's page, in Prefect's events and in a snapshot."""

from __future__ import annotations

import logging
from typing import Any
from uuid import uuid4

import pytest
from prefect.events import worker
from prefect.events.clients import AssertingEventsClient
from prefect.settings import PREFECT_API_URL, PREFECT_EXPERIMENTAL_EVENTS, temporary_settings

from prefect_ecs_pinned.aws import control_plane
from prefect_ecs_pinned.aws.events import LaunchesQueued, LaunchesThrottled, RevisionPinned
from prefect_ecs_pinned.faces import events
from prefect_ecs_pinned.faces.access import access_of
from tests.block.conftest import EXECUTION_ROLE, World, messages

REGISTERED = RevisionPinned(
    "f", "arn:f:2", "registered", "changed: image", ("containerDefinitions.prefect.image",)
)
ADOPTED = RevisionPinned("f", "arn:f:1", "adopted")
FOUND = RevisionPinned("f", "arn:f:1", "found")
THROTTLED = LaunchesThrottled("FARGATE", throttles=7, queued=812, pace=19.6)
QUEUED = LaunchesQueued("FARGATE", 812, 188, 150, 19.6, 7)


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch):
    """Drains Prefect's own events worker, whose client records instead of connecting."""
    monkeypatch.setattr(worker, "PrefectEventsClient", AssertingEventsClient)
    AssertingEventsClient.reset()

    def drain() -> list[Any]:
        worker.EventsWorker.drain_all()
        return [event for client in AssertingEventsClient.all for event in client.events]

    on: dict[Any, Any] = {
        PREFECT_API_URL: "http://127.0.0.1:1/api",
        PREFECT_EXPERIMENTAL_EVENTS: True,
    }
    with temporary_settings(on):
        yield drain
        worker.EventsWorker.drain_all()
    AssertingEventsClient.reset()


def test_events_go_through_prefect(emitted):
    """Their names, their resources, and what an automation can read of them."""
    for event in (REGISTERED, ADOPTED, FOUND, THROTTLED, QUEUED):
        events.emit(event)
    registered, adopted, throttled = emitted()
    assert registered.event == "prefect-ecs-pinned.revision.registered"
    assert registered.resource.id == "prefect-ecs-pinned.family.f"
    assert registered.payload["arn"] == "arn:f:2"
    assert list(registered.payload["changed"]) == ["containerDefinitions.prefect.image"]
    assert adopted.event == "prefect-ecs-pinned.revision.adopted"
    assert throttled.event == "prefect-ecs-pinned.launches.throttled"
    assert throttled.resource.id == "prefect-ecs-pinned.quota.FARGATE"
    assert throttled.payload == {
        "quota": "FARGATE",
        "throttles": 7,
        "queued": 812,
        "pace": 19.6,
    }


def test_without_a_server_for_events_there_are_none(monkeypatch):
    """Prefect's own setting decides, and nothing is connected to."""
    monkeypatch.setattr(worker, "PrefectEventsClient", AssertingEventsClient)
    AssertingEventsClient.reset()
    with temporary_settings({PREFECT_EXPERIMENTAL_EVENTS: False}):
        events.emit(REGISTERED)
        worker.EventsWorker.drain_all()
    assert AssertingEventsClient.all == []


def test_a_queue_is_one_line(log):
    """Queued, launched, live, pace, throttles."""
    events.emit(QUEUED)
    assert messages(log) == [
        "Launching on FARGATE: 812 queued, 188 launched, 150 live; 19.6 calls/s, 7 throttled"
    ]


def test_a_revision_that_was_replaced_is_one_line(log):
    """No run has asked for it, so no run has logged it."""
    events.emit(RevisionPinned("f", "arn:f:3", "registered", "why", (), instead_of="arn:f:2"))
    events.emit(REGISTERED)
    assert messages(log) == [
        "arn:f:2 is inactive; its runs are launched from arn:f:3 (registered: why)"
    ]


def test_what_cannot_be_emitted_ends_nothing(monkeypatch, log):
    """An event is no reason for a launch to fail."""

    def broken(**_):
        raise RuntimeError("no connection")

    monkeypatch.setattr(events, "emit_event", broken)
    events.emit(REGISTERED)
    assert messages(log, logging.WARNING) == ["Could not report RevisionPinned: no connection"]


async def test_a_registration_says_what_has_changed(world: World, log):
    """At INFO, with the members by name and no value of them."""
    block = world.block()
    await world.run(block)
    log.clear()
    changed = world.block(block._block_document_name, image="flows:2", execution_role_arn=None)
    await world.run(changed)
    (line,) = [m for m in messages(log) if "Registering task definition" in m]
    assert f"{world.family(block)}:2" in line
    assert "containerDefinitions.prefect.image" in line
    assert "flows:2" not in line
    log.clear()
    await world.run(changed)
    assert not [m for m in messages(log) if "Registering" in m or "Pinned" in m]


async def test_the_control_plane_emits_to_the_block(world: World, fresh, monkeypatch):
    """One registration, emitted once, through the listener that the block hands over."""
    emitted: list[Any] = []
    monkeypatch.setattr(events, "emit", emitted.append)
    block = world.block()
    await world.run(block)
    await world.run(block)
    (event,) = emitted
    assert isinstance(event, RevisionPinned)
    assert (event.family, event.how) == (world.family(block), "registered")


async def test_a_runs_own_log_says_where_its_task_is(world: World, caplog):
    """ARN, console link and log stream, on the flow run's page."""
    caplog.set_level(logging.INFO, "prefect.flow_runs")
    flow_run_id = str(uuid4())
    block = world.block(
        env={"PREFECT__FLOW_RUN_ID": flow_run_id},
        configure_cloudwatch_logs=True,
        execution_role_arn=EXECUTION_ROLE,
    )
    launched = await world.run(block)
    arn = launched.result.identifier.split("::")[1]
    (record,) = [r for r in caplog.records if r.name == "prefect.flow_runs"]
    line = record.getMessage()
    assert record.flow_run_id == flow_run_id
    assert arn in line
    assert (
        f"https://us-east-1.console.aws.amazon.com/ecs/v2/clusters/default/tasks/{arn[-32:]}"
        in line
    )
    assert f"prefect {world.family(block)}/prefect/{arn[-32:]}" in line


async def test_a_snapshot_gives_the_numbers(world: World, fresh):
    """To a program, by quota."""
    block = world.block()
    await world.run(block)
    await world.run(block)
    plane = control_plane.shared(access_of(block.aws_credentials))
    snapshot = await plane.snapshot()
    assert snapshot["watching"] == 0
    assert set(snapshot["launching"]) == {"FARGATE"}
    numbers = snapshot["launching"]["FARGATE"]
    expected = {"queued", "calling", "launched", "live", "rate", "throttles", "oldest"}
    assert set(numbers) == expected
    assert (numbers["queued"], numbers["launched"], numbers["live"]) == (0, 2, 0)
    assert numbers["rate"] >= 20.0
