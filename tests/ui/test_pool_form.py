"""The form of a `pinned-ecs` work pool in the UI of a real Prefect 3 server.

Prefect 3 is in an environment of its own, ``.venv3``. Its UI offers only Prefect's own types when a
pool is created; the form is that of the page which edits one that a command has made.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from prefect_ecs_pinned.operations.demo.stage import Stage
from tests.ui.conftest import ROOT
from tests.ui.pool_form import PoolForm

#: The environment of Prefect 3; ``make test-ui`` makes it.
PREFECT_3 = Path(os.environ.get("PREFECT_3", ROOT / ".venv3")) / "bin"

POOL = "flows"

#: Seconds for three flow runs.
RUN_SECONDS = 120.0

FLOW = """
from prefect import flow
@flow(log_prints=True)
def hello(name: str = "world"):
    print(f"Hello {name}")
"""


class Server:
    """A Prefect 3 server and an embedded ECS, with a work pool."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        stage.start_servers()
        self.ui = stage.api_url.removesuffix("/api")
        stage.run("create", stage.prefect("work-pool", "create", POOL, "--type", "pinned-ecs"))

    @property
    def template(self) -> dict[str, Any]:
        """What the server holds of the pool."""
        template: dict[str, Any] = self.stage.api(f"work_pools/{POOL}")["base_job_template"]
        return template

    @property
    def properties(self) -> dict[str, dict[str, Any]]:
        """Its variables."""
        properties: dict[str, dict[str, Any]] = self.template["variables"]["properties"]
        return properties

    def restore(self, template: Mapping[str, Any]) -> None:
        """Give the pool a template."""
        request = urllib.request.Request(
            f"{self.stage.api_url}/work_pools/{POOL}",
            data=json.dumps({"base_job_template": template}).encode(),
            headers={"Content-Type": "application/json"},
            method="PATCH",
        )
        urllib.request.urlopen(request, timeout=30).close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    assert PREFECT_3.exists(), f"{PREFECT_3} is missing: make test-ui makes it"
    with Stage(PREFECT_3) as stage:
        yield Server(stage)


@pytest.fixture
def ui(server: Server) -> str:
    """Where Prefect 3's UI is: of the fixture `page` too."""
    return server.ui


@pytest.fixture
def form(page: Page, server: Server) -> Iterator[PoolForm]:
    before = server.template
    page.goto(f"{server.ui}/work-pools/work-pool/{POOL}/edit")
    form = PoolForm(page)
    expect(form.variable("Cluster")).to_be_visible()
    yield form
    server.restore(before)


def test_every_variable_is_shown_with_its_title_and_description(
    form: PoolForm, server: Server, picture: Callable[[str], None]
) -> None:
    """In the order of the template, and as it is meant to be read: no Markdown is shown raw."""
    shown = form.variables()
    properties = server.properties
    assert len(properties) > 30
    for text, (name, variable) in zip(shown, properties.items(), strict=True):
        assert text.splitlines()[0].removesuffix(" (Optional)") == variable["title"], name
        plain = "".join(variable["description"].replace("`", "").split())
        assert plain in "".join(text.split()), name
        assert "`" not in text, name
    form.variable("Cluster").evaluate("variable => variable.scrollIntoView()")
    picture("pool-form")


def test_the_newer_ui_shows_the_same_variables(page: Page, server: Server) -> None:
    """Prefect 3.9 has two; a switch leads from one to the other."""
    page.goto(f"{server.ui}/v2/work-pools/work-pool/{POOL}/edit")
    expect(page.get_by_text("Cluster (Optional)", exact=True)).to_be_visible()
    labels = page.locator("label").all_inner_texts()
    titles = [f"{variable['title']} (Optional)" for variable in server.properties.values()]
    assert labels[-len(titles) :] == titles
    shown = "".join(page.locator("main").inner_text().replace("`", "").split())
    for name, variable in server.properties.items():
        assert "".join(variable["description"].replace("`", "").split()) in shown, name


def test_saving_without_a_change_changes_nothing(form: PoolForm, server: Server) -> None:
    before = server.template
    form.press("Save")
    form.page.wait_for_url(f"**/work-pool/{POOL}")
    assert server.template == before


def test_what_is_written_is_saved_and_shown_again(form: PoolForm, server: Server) -> None:
    """The saved template is the one that the page sent: the former one with the new defaults."""
    before = server.template
    form.write("Cluster", "etl")
    form.write("CPU", "2048")
    form.write("Launch Timeout Seconds", "60")
    form.write_json("Subnets", '["subnet-1"]')
    form.write_json("Secrets", f'{{"TOKEN": "{SECRET}"}}')
    with form.page.expect_request(lambda request: request.method == "PATCH") as sent:
        form.press("Save")
    form.page.wait_for_url(f"**/work-pool/{POOL}")
    assert json.loads(sent.value.post_data or "{}")["base_job_template"] == server.template

    written = {
        "cluster": "etl",
        "cpu": 2048,
        "launch_timeout_seconds": 60,
        "subnets": ["subnet-1"],
        "secrets": {"TOKEN": SECRET},
    }
    assert without_null(server.template) == without_null(with_defaults(before, written))

    form.page.goto(f"{server.ui}/work-pools/work-pool/{POOL}/edit")
    expect(form.variable("Cluster")).to_be_visible()
    assert form.value("Cluster") == "etl"
    assert form.value("CPU") == "2048"
    assert form.value("Launch Timeout Seconds") == "60"


def test_an_empty_json_editor_shows_an_example(form: PoolForm, server: Server) -> None:
    shown = {
        name: form.example(variable["title"])
        for name, variable in server.properties.items()
        if variable.get("type") in ("array", "object")
    }
    assert len(shown) == 8
    assert all(isinstance(json.loads(text), dict | list) for text in shown.values()), shown


def test_a_number_out_of_bounds_is_not_saved(form: PoolForm, server: Server) -> None:
    before = server.template
    form.write("Launch Timeout Seconds", "-1")
    form.press("Save")
    message = form.variable("Launch Timeout Seconds").locator(".p-label__message")
    expect(message).to_be_visible()
    assert server.template == before


def test_job_variables_of_a_deployment_can_be_edited(page: Page, server: Server) -> None:
    flow = server.stage.api("flows/", {"name": "hello"})
    deployment = server.stage.api(
        "deployments/",
        {
            "name": "prod",
            "flow_id": flow["id"],
            "work_pool_name": POOL,
            "entrypoint": "hello.py:hello",
            "job_variables": {"image": "flows:1"},
        },
    )
    page.goto(f"{server.ui}/deployments/deployment/{deployment['id']}/edit")
    form = PoolForm(page)
    editor = form.variable("Job Variables")
    expect(editor).to_contain_text('"flows:1"')
    form.write_json("Job Variables", '{"image": "flows:2", "max_live_tasks": 5}')
    form.press("Save")
    page.wait_for_url(f"**/deployment/{deployment['id']}*")
    saved = server.stage.api(f"deployments/{deployment['id']}")["job_variables"]
    assert saved == {"image": "flows:2", "max_live_tasks": 5}


def test_runs_of_the_quick_start_are_seen_completed(
    page: Page, server: Server, picture: Callable[[str], None]
) -> None:
    """The end state of the page: three flow runs, by a worker, from the pool's own form."""
    stage = server.stage
    (stage.flows / "hello.py").write_text(FLOW)
    stage.run(
        "deploy",
        stage.prefect("--no-prompt", "deploy", "hello.py:hello", "--name", "here", "--pool", POOL),
    )
    deployment = stage.api("deployments/name/hello/here")["id"]
    state = {"state": {"type": "SCHEDULED"}}
    runs = [
        stage.api(
            f"deployments/{deployment}/create_flow_run", {**state, "parameters": {"name": name}}
        )["id"]
        for name in ("Ada", "Grace", "Barbara")
    ]
    stage.start("worker", stage.prefect("worker", "start", "--pool", POOL, "--name", "here"))
    deadline = time.monotonic() + RUN_SECONDS
    while not all(stage.api(f"flow_runs/{run}")["state"]["type"] == "COMPLETED" for run in runs):
        assert time.monotonic() < deadline, stage.log_tail("worker")
        time.sleep(0.5)
    page.goto(f"{server.ui}/runs")
    expect(page.get_by_text("Completed", exact=True).nth(2)).to_be_visible()
    picture("runs")
    page.goto(f"{server.ui}/runs/flow-run/{runs[0]}")
    expect(page.get_by_text("Hello Ada")).to_be_visible()
    picture("run")


SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:token"


def with_defaults(template: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A template with other defaults."""
    changed: dict[str, Any] = json.loads(json.dumps(template))
    for name, default in defaults.items():
        changed["variables"]["properties"][name]["default"] = default
    return changed


def without_null(template: Mapping[str, Any]) -> dict[str, Any]:
    """A template without defaults that are null: the UI drops them, and they mean the same."""
    changed: dict[str, Any] = json.loads(json.dumps(template))
    for variable in changed["variables"]["properties"].values():
        if variable.get("default", ...) is None:
            del variable["default"]
    return changed
