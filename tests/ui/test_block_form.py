"""The block's form, from the catalog to a flow that runs with what was saved."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from prefect_ecs_pinned.block.form import FIELDS
from prefect_ecs_pinned.block.form_texts import SECTIONS
from prefect_ecs_pinned.operations.demo.stage import Stage
from tests.ui.form import Form

CREATE = "/blocks/catalog/pinned-ecs-task/create"
LOGS_ROLE = "arn:aws:iam::123456789012:role/ecsTaskExecutionRole"

#: A page that shows a saved block.
SAVED = re.compile(r"/blocks/block/[0-9a-f-]{36}$")


#: Every title of the form, top down.
TITLES = [
    "Block Name",
    *(
        title
        for section in SECTIONS
        for title in (
            f"━━━ {section.title.upper()} ━━━",
            *(f"{shown.title} (Optional)" for shown in section.fields.values()),
        )
    ),
]


def titled(name: str) -> str:
    """A field's title as the UI writes it."""
    return f"{FIELDS[name].title} (Optional)"


@pytest.fixture
def create(page: Page, ui: str) -> Form:
    page.goto(ui + CREATE)
    form = Form(page)
    expect(form.field(titled("name"))).to_be_visible()
    return form


def documents(stage: Stage) -> dict[str, Any]:
    """Name -> what the server holds of each saved block of this type."""
    saved = stage.api("block_types/slug/pinned-ecs-task/block_documents")
    return {document["name"]: document for document in saved}


def test_the_catalog_shows_the_block(page: Page, ui: str, picture: Callable[[str], None]) -> None:
    page.goto(ui + "/blocks/catalog")
    page.get_by_placeholder("Search blocks").fill("pinned")
    expect(page.get_by_text("1 Block", exact=False).first).to_be_visible()
    card = page.locator(".p-card").filter(has=page.get_by_role("link", name="Pinned ECS Task"))
    expect(card).to_have_count(1)
    expect(card).to_contain_text("from one pinned task-definition revision")
    assert card.locator("img").evaluate("image => image.naturalWidth") > 0
    picture("catalog")
    page.goto(ui + "/blocks/catalog/pinned-ecs-task")
    expect(page.locator("code").first).to_contain_text("PinnedECSTask.load(")


def test_fields_come_in_the_order_in_which_a_person_thinks(create: Form) -> None:
    assert create.titles() == TITLES


def test_every_field_explains_itself_once(create: Form) -> None:
    shown = create.page.locator(".schema-form-property").all_inner_texts()
    headings = [text for text in shown if text.startswith("━━━")]
    assert [text.splitlines()[-1] for text in headings] == [s.description for s in SECTIONS]
    fields = [text for text in shown if text not in headings]
    for text, (name, field) in zip(fields, FIELDS.items(), strict=True):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", field.description)
        assert "".join(plain.split())[:60] in "".join(text.split()), name
        for raw in ("**", "`", "]("):
            assert raw not in text, f"{name} shows {raw!r} instead of what it means"


def test_every_switch_can_be_switched_on(create: Form, stage: Stage) -> None:
    switches = create.page.get_by_role("switch")
    for switch in switches.all():
        switch.click()
    create.write("Block Name", "all-on")
    create.write(titled("execution_role_arn"), LOGS_ROLE)
    create.press("Create")
    create.page.wait_for_url(SAVED)
    data = documents(stage)["all-on"]["data"]
    on = {name: True for name, value in data.items() if isinstance(value, bool)}
    assert len(on) == 4
    assert not {name for name in data if name.startswith("section-")}
    assert _load(stage, "all-on", on) == on


def test_every_json_editor_has_a_placeholder(create: Form) -> None:
    editors = create.page.locator("textarea")
    assert editors.count() == 11
    for editor in editors.all():
        assert (editor.get_attribute("placeholder") or "")[:1] in ("[", "{")


def test_choices_are_selects(create: Form) -> None:
    selects = ("launch_type", "registration")
    offered = {name: create.options(titled(name)) for name in selects}
    assert offered == {
        "launch_type": [
            *("FARGATE", "EC2", "EXTERNAL", "FARGATE_SPOT", "MANAGED_INSTANCES", "None")
        ],
        "registration": ["on-change", "never"],
    }
    assert create.options(titled("assign_public_ip")) == ["None", "ENABLED", "DISABLED"]
    assert create.options(titled("propagate_tags")) == ["None", "TASK_DEFINITION", "NONE"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cpu", "0"),
        ("ephemeral_storage", "20"),
        ("ephemeral_storage", "201"),
        ("capacity_provider_strategy", '[{"capacityProvider'),
        ("task_definition_tags", "{team: data}"),
        ("memory", "5"),
        ("launch_timeout_seconds", "-1"),
        ("task_start_timeout_seconds", "0"),
        ("task_watch_poll_interval", "601"),
        ("subnets", '["subnet-0'),
        ("env", "{A: 1}"),
    ],
)
def test_the_browser_refuses_what_cannot_work(
    create: Form, stage: Stage, name: str, text: str
) -> None:
    create.write("Block Name", "refused")
    create.write(titled(name), text)
    create.press("Create")
    expect(create.field(titled(name)).locator(".p-label__message")).to_be_visible()
    assert create.page.url.endswith(CREATE)
    assert "refused" not in documents(stage)


def test_a_block_is_made_changed_loaded_and_runs_a_flow(
    create: Form, stage: Stage, ui: str, picture: Callable[[str], None]
) -> None:
    page = create.page
    picture("form")
    create.write("Block Name", "from-the-form")
    create.choose(titled("aws_credentials"), "local")
    create.write(titled("image"), "prefecthq/prefect:2-latest")
    create.write(titled("cpu"), "512")
    create.write(titled("execution_role_arn"), LOGS_ROLE)
    create.switch(titled("configure_cloudwatch_logs"))
    create.write(titled("env"), '{"GREETING": "hello from the form"}')
    create.write(titled("launch_timeout_seconds"), "60")
    create.write(titled("task_watch_poll_interval"), "1")
    picture("form-filled")
    create.press("Create")
    page.wait_for_url(SAVED)
    expect(page.get_by_text("hello from the form")).to_be_visible()
    picture("saved")
    data = documents(stage)["from-the-form"]["data"]
    assert data["launch_timeout_seconds"] == 60
    assert data["env"] == {"GREETING": "hello from the form"}

    page.goto(page.url + "/edit")
    edit = Form(page)
    expect(edit.field(titled("name"))).to_be_visible()
    assert edit.titles() == TITLES
    assert edit.value(titled("cpu")) == "512"
    assert edit.chosen(titled("aws_credentials")) == "local"
    edit.write(titled("launch_timeout_seconds"), "")
    edit.write(titled("cpu"), "")
    edit.write(titled("labels"), '{"team": "data"}')
    edit.press("Save")
    page.wait_for_url(SAVED)
    document = documents(stage)["from-the-form"]
    assert document["data"]["labels"] == {"team": "data"}
    assert document["block_document_references"]["aws_credentials"]["block_document"]["name"] == (
        "local"
    )

    expected = {
        "launch_timeout_seconds": 900,  # cleared: back to its default
        "cpu": None,
        "labels": {"team": "data"},
        "configure_cloudwatch_logs": True,
        "task_watch_poll_interval": 1.0,
    }
    key = stage.environment["AWS_ACCESS_KEY_ID"]
    assert _load(stage, "from-the-form", expected) == {**expected, "key": key}
    assert _run_a_flow(stage) == "COMPLETED"
    page.goto(ui + "/flow-runs")
    page.get_by_text("greet", exact=True).first.wait_for()
    page.locator(".flow-run-list-item, .state-list-item").get_by_role("link").nth(1).click()
    page.get_by_text("Finished in state Completed()").wait_for()
    picture("run-prefect2")
    (revision,) = stage.ecs("revisions")
    assert revision["family"] == "prefect-from-the-form"


def test_a_strategy_takes_the_place_of_the_launch_type(create: Form, stage: Stage) -> None:
    """Which has a default, and can be cleared in the form all the same; also when edited."""
    strategy = [{"capacityProvider": "etl", "weight": 1}]
    create.write("Block Name", "on-instances")
    create.choose(titled("launch_type"), "None")
    create.write(titled("capacity_provider_strategy"), json.dumps(strategy))
    create.press("Create")
    create.page.wait_for_url(SAVED)
    expected: dict[str, Any] = {"launch_type": None, "capacity_provider_strategy": strategy}
    assert _load(stage, "on-instances", expected) == expected

    create.page.goto(create.page.url + "/edit")
    edit = Form(create.page)
    expect(edit.field(titled("launch_type"))).to_be_visible()
    assert edit.chosen(titled("launch_type")) == "None"
    edit.choose(titled("launch_type"), "EC2")
    edit.write(titled("capacity_provider_strategy"), "")
    edit.press("Save")
    create.page.wait_for_url(SAVED)
    expected = {"launch_type": "EC2", "capacity_provider_strategy": None}
    assert _load(stage, "on-instances", expected) == expected


_LOAD = """
import json, sys
from prefect_ecs_pinned import PinnedECSTask
path, block, *names = sys.argv[1:]
block = PinnedECSTask.load(block)
found = {name: getattr(block, name) for name in names}
if block.aws_credentials.aws_access_key_id is not None:
    found["key"] = block.aws_credentials.aws_access_key_id
open(path, "w").write(json.dumps(found))
"""

_FLOW = """
import os
from prefect import flow
@flow
def greet():
    assert os.environ["GREETING"] == "hello from the form"
"""


def _load(stage: Stage, block: str, names: Iterable[str]) -> Any:
    """Fields of a saved block, as a process of its own loads it; and its access key, if any."""
    path = stage.home / "loaded.json"
    stage.run("load", [sys.executable, "-c", _LOAD, str(path), block, *names])
    return json.loads(path.read_text())


def _run_a_flow(stage: Stage) -> str:
    """The final state of a flow run that an agent gave to the block."""
    (stage.flows / "greet.py").write_text(_FLOW)
    command = stage.prefect(
        *("deployment", "build", "greet.py:greet", "-n", "prod", "-q", "prod", "-a"),
        *("-ib", "pinned-ecs-task/from-the-form", "--path", str(stage.flows), "--skip-upload"),
    )
    stage.run("build", command)
    id_ = stage.api("deployments/name/greet/prod")["id"]
    run = stage.api(f"deployments/{id_}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    stage.start_agent()
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        state: str = stage.api(f"flow_runs/{run['id']}")["state"]["type"]
        if state in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return state
        time.sleep(0.5)
    raise AssertionError(f"the flow run is {state} still: {stage.log_tail('agent')}")
