"""docs/api.md names every route, docs/console.md every page of the side bar."""

from pathlib import Path

import pytest

from observe.show.console.page import NAVIGATION
from observe.show.openapi import PLAIN_ROUTES
from observe.show.web import build_web
from tests.show.world import empty_world

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def paths(tmp_path):
    world = empty_world(tmp_path)
    yield list(build_web(world.context).openapi()["paths"])
    world.close()


def test_every_route_is_in_the_documentation(paths):
    told = (DOCS / "api.md").read_text("utf-8")

    missing = [path for path in paths if path.removeprefix("/api/v1/") not in told]

    assert [] == missing
    assert len(PLAIN_ROUTES) < len(paths)


def test_every_page_of_the_side_bar_is_in_the_documentation():
    told = (DOCS / "console.md").read_text("utf-8")

    assert [] == [name for name, _, _ in NAVIGATION if name not in told]
