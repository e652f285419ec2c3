"""The documentation's site, as people see it: at a desk and on a telephone, without a network."""

from __future__ import annotations

import functools
import html
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from prefect_ecs_pinned import errors
from tests.ui.conftest import PATIENCE, ROOT

#: Pixels.
WIDTHS = (1280, 390)

#: Pages of which screenshots are taken. On every page nothing is wider than the window.
SHOWN = {
    "home": "",
    "quick-start": "quickstart-prefect3/",
    "guide": "guides/pools/",
    "reference": "reference/fields/",
    "commands": "reference/commands/",
    "errors": "errors/",
    "error": "errors/AccessDenied/",
}

#: Seconds for a build; a busy machine needs a minute.
_BUILD_SECONDS = 300


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does; a build prints where it is, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_BUILD_SECONDS
    )
    assert (built.returncode, built.stderr) == (0, "")
    assert built.stdout.splitlines() == [str(folder / "index.html")]
    return folder


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(params=WIDTHS)
def window(request: pytest.FixtureRequest, chromium: Browser, address: str) -> Iterator[Page]:
    """A window of each width, which reaches the site and nothing else."""

    def reach(route: Route) -> None:
        here = route.request.url.startswith(address)
        route.continue_() if here else route.abort()

    page = chromium.new_page(viewport={"width": request.param, "height": 900}, color_scheme="light")
    page.set_default_timeout(PATIENCE)
    page.route("**/*", reach)
    yield page
    page.close()


def width(page: Page) -> int:
    size = page.viewport_size
    assert size is not None
    wide: int = size["width"]
    return wide


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_fits_the_window(name: str, window: Page, address: str) -> None:
    window.goto(address + SHOWN[name])
    expect(window.locator("h1").first).to_be_visible()
    scrolled = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert window.evaluate(scrolled) == 0
    sidebar = window.locator(".md-sidebar--primary").bounding_box()
    assert sidebar is not None
    assert (sidebar["x"] >= 0) is (width(window) == 1280), "on a telephone it is a drawer"
    folder = ROOT / "build" / "screenshots"
    if os.environ.get("SCREENSHOTS"):
        folder.mkdir(parents=True, exist_ok=True)
        window.wait_for_timeout(500)  # for pictures only: animations end
        window.screenshot(path=folder / f"{name}-{width(window)}.png", full_page=name == "home")


def test_no_page_is_wider_than_a_telephone(site: Path, chromium: Browser, address: str) -> None:
    page = chromium.new_page(viewport={"width": WIDTHS[-1], "height": 900})
    page.route("**/*", lambda r: r.continue_() if r.request.url.startswith(address) else r.abort())
    wide = []
    for found in sorted(site.rglob("index.html")):
        page.goto(address + found.parent.relative_to(site).as_posix() + "/")
        if page.evaluate("document.documentElement.scrollWidth") > WIDTHS[-1]:
            wide.append(found.parent.relative_to(site).as_posix())
    page.close()
    assert wide == []


def test_no_page_loads_anything_from_another_host(
    site: Path, chromium: Browser, address: str
) -> None:
    """Neither Mermaid nor fonts nor GitHub's stars; and diagrams are drawn all the same."""
    page = chromium.new_page(viewport={"width": WIDTHS[0], "height": 900})
    elsewhere, drawn = set(), {}

    def reach(route: Route) -> None:
        if route.request.url.startswith(address):
            route.continue_()
        else:
            elsewhere.add(route.request.url)
            route.abort()

    page.route("**/*", reach)
    page.goto(address, wait_until="networkidle")
    for found in sorted(site.rglob("index.html")):
        name = found.parent.relative_to(site).as_posix()
        diagrams = found.read_text().count('<pre class="mermaid">')
        page.goto(f"{address}{name}/")
        if diagrams:
            expect(page.locator("div.mermaid")).to_have_count(diagrams)
            drawn[name] = diagrams
    page.close()
    assert elsewhere == set()
    assert sum(drawn.values()) >= 4


#: Markup that was left as text: "{ .lead }", "!!! note", "=== "Prefect 3"", "- [ ] ".
_MARKUP = re.compile(r"\{:? ?[.#][\w-]+|(?m:^\s*(?:!!!|[?]{3}\+?|===) \S)|\[[ x]\] ")
_CODE = re.compile(r"(?s)<(pre|code|script|style|svg)\b.*?</\1>|<[^>]+>")


def test_no_page_shows_markup(site: Path) -> None:
    """In the text of a page, code apart."""
    shown = {}
    for found in sorted(site.rglob("index.html")):
        text = html.unescape(_CODE.sub("", found.read_text()))
        if marks := _MARKUP.findall(text):
            shown[found.parent.relative_to(site).as_posix()] = marks
    assert shown == {}


def test_the_home_page_has_a_way_for_each_reader(window: Page, address: str) -> None:
    window.goto(address)
    content = window.locator(".md-content")
    expect(content).to_contain_text("pip install prefect-ecs-pinned")
    for reader in ("I run flows", "I run agents or workers", "I write CI/CD"):
        door = content.locator(".grid > ul > li").filter(has_text=reader)
        expect(door).to_be_visible()
        assert door.get_by_role("link").count() >= 3
    picture = content.locator("img.picture")
    assert picture.evaluate("image => image.naturalWidth") > 0
    assert content.locator("button.md-code__button, .md-clipboard").count() >= 2, "copy buttons"


def test_search_finds_an_error(window: Page, address: str) -> None:
    """Also on a telephone, where the field is behind a button."""
    window.goto(address)
    if width(window) < 1280:
        window.locator("label.md-header__button[for=__search]").click()
    window.locator("input.md-search__input").press_sequentially("TaskFateUnknown")
    first = window.locator(".md-search-result__link").first
    expect(first).to_be_visible()
    assert "errors/TaskFateUnknown" in (first.get_attribute("href") or "")


def test_the_link_of_each_message_leads_to_a_page(site: Path) -> None:
    classes = [
        found
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, errors.PinnedECSError)
    ]
    assert len(classes) > 15
    for found in classes:
        page = found.page.fget(found.__new__(found))  # type: ignore[attr-defined]
        assert (site / page.removeprefix(errors.DOCS) / "index.html").is_file(), page


def test_versions_can_be_chosen(window: Page, address: str, site: Path) -> None:
    """Where `make publish-docs` has put versions beside each other."""
    versions = '[{"version": "0.2", "title": "0.2.0", "aliases": ["latest"]}]'
    window.route("**/versions.json", lambda route: route.fulfill(body=versions))
    window.goto(address)
    expect(window.locator(".md-version__current")).to_have_text("0.2.0")
