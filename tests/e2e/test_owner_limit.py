"""A target whose labels explode stays within its limit, whatever becomes of the process."""

import itertools

import pytest

from observe.testing import FakeTarget
from tests.e2e.product import Product
from tests.real.process import wait_until

pytestmark = pytest.mark.e2e

LIMIT = 40
OWN = 5
"""Series about the scrape itself count too."""


class Exploding(FakeTarget):
    """Ten series at each request that were never there before."""

    numbers = itertools.count()

    @property
    def page(self):
        return "".join(f'boom{{request="{next(self.numbers)}"}} 1\n' for _ in range(10))

    @page.setter
    def page(self, _):
        pass


@pytest.mark.parametrize("stop", [Product.kill, Product.interrupt], ids=["kill -9", "ctrl-c"])
def test_a_restart_gives_a_target_no_second_room(tmp_path, stop):
    with Exploding() as target:
        config = tmp_path / "observe.yml"
        config.write_text(
            f"scrape: {{interval: 1s, targets: [{{job: fake, url: 'http://{target.address}/metrics'}}]}}\n"
            f"storage: {{owner_limit: {LIMIT}}}\nrules: []\nexporters: []\n")
        with Product(tmp_path / "data", "--config", config) as product:
            wait_until(lambda: kept(product) == LIMIT - OWN, "the target has as many series as it may", 60)
            stop(product)
            asked = len(target.requests)
            product.start()
            wait_until(lambda: len(target.requests) > asked + 3, "more scrapes", 60)

            assert LIMIT - OWN == kept(product)


def kept(product):
    found = product.query("count(last_over_time(boom[30m]))")
    return found[0][1] if found else 0
