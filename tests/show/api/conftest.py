"""The small world that the HTTP APIs are asked about."""

import pytest

from tests.show.api.client import apis
from tests.show.world import world_of_two


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    world = world_of_two(tmp_path_factory.mktemp("api"))
    yield world
    world.close()


@pytest.fixture
def world(stored):
    return stored.renewed()


@pytest.fixture
def written(tmp_path):
    """A world that a test may write series into."""
    world = world_of_two(tmp_path)
    yield world
    world.close()


@pytest.fixture
def context(world):
    return apis(world)
