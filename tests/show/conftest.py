"""What tests of the web side share: an incident, a server that has nothing yet, a browser and its tabs."""

import pytest

from observe.show.web import build_web
from tests.real.served import served
from tests.show.chromium import CHROMIUM, PATIENCE_MS
from tests.show.incident import incident
from tests.show.world import empty_world


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    world = incident(tmp_path_factory.mktemp("incident"))
    yield world
    world.close()


@pytest.fixture(scope="session")
def nothing_stored(tmp_path_factory):
    world = empty_world(tmp_path_factory.mktemp("empty"))
    yield world
    world.close()


@pytest.fixture
def quiet(nothing_stored):
    return nothing_stored.renewed()


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None, "chromium is missing; apt-get install chromium"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium):
    """A tab that remembers every complaint of its console."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, timezone_id="Europe/Berlin")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda m: page.complaints.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("pageerror", lambda e: page.complaints.append(str(e)))
    page.on("dialog", lambda d: (page.complaints.append("dialog"), d.dismiss()))
    yield page
    context.close()


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    world = incident(tmp_path_factory.mktemp("incident"))
    with served(build_web(world.context)) as url:
        yield world, url
    world.close()
