"""Worlds that tests of the web side share: an incident, and a server that has nothing yet."""

import pytest

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
