"""A Prefect server with the block, and headless Chromium (Debian's: no browser is downloaded)."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from prefect_ecs_pinned.operations.demo.stage import Stage

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"

#: Debian's name and others' for the browser.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

#: Without the last three, Chromium calls its maker's hosts at every start.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

#: Milliseconds for anything to appear.
PATIENCE = 30_000

_SAVE_CREDENTIALS = """
import os
import sys
from prefect_aws import AwsCredentials
AwsCredentials(
    aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
    aws_secret_access_key="local",
    region_name="us-east-1",
    aws_client_parameters={"endpoint_url": sys.argv[1]},
).save("local")
"""


def pytest_configure() -> None:
    """Let SIGTERM end the tests as Ctrl-C does, so that no server is left behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        stage.start_servers()
        stage.run("register", stage.prefect("block", "register", "-m", "prefect_ecs_pinned"))
        stage.run("save", [sys.executable, "-c", _SAVE_CREDENTIALS, stage.ecs_url])
        yield stage


@pytest.fixture
def ui(stage: Stage) -> str:
    """Where Prefect's UI is."""
    return stage.api_url.removesuffix("/api")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    assert browser, f"none of {', '.join(BROWSERS)} is installed: make test-ui installs one"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def page(ui: str, chromium: Browser) -> Iterator[Page]:
    """A page whose browser reaches nothing but the Prefect server.

    Emblems come from Prefect's CDN; here each is our own.
    """

    def reach(route: Route) -> None:
        if route.request.url.startswith(ui):
            route.continue_()
        elif route.request.resource_type == "image":
            route.fulfill(path=IMAGES / "emblem.svg", content_type="image/svg+xml")
        else:
            route.abort()

    page = chromium.new_page(viewport={"width": 1100, "height": 900}, color_scheme="light")
    page.set_default_timeout(PATIENCE)
    page.route("**/*", reach)
    yield page
    page.close()


@pytest.fixture
def picture(page: Page, tmp_path: Path) -> Callable[[str], None]:
    """Take a screenshot; with SCREENSHOTS=1, the one that stands in the documentation."""
    folder = IMAGES if os.environ.get("SCREENSHOTS") else tmp_path

    def take(name: str) -> None:
        path = folder / f"{name}.png"
        page.wait_for_timeout(500)  # for pictures only: animations end
        page.screenshot(path=path)
        assert path.stat().st_size > 10_000

    return take
