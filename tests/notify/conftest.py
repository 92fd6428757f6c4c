"""What a test of paging opens ends with it."""

from collections.abc import Iterator

import pytest

from tests.notify.desk import close_all


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()
