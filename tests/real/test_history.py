"""What a real Prometheus knows from before: rules replayed over it, and bands that start from it."""

import json
import math
import random
import re
import time
from datetime import UTC, datetime

import pytest

from observe.cli import main
from observe.model import Labels
from observe.testing import FakeTarget
from tests.e2e.product import Product
from tests.real.metrics_servers import prometheus
from tests.real.process import wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

MINUTE_MS = 60_000
DAYS = 3
FAULT = range(3000, 3040)
"""Minutes after the begin at which web is slow."""
RULES = """
groups:
- name: demo
  interval: 1m
  rules:
  - alert: Slow
    expr: latency
    band: {detector: auto, direction: above, min_abs: 0.1}
  - alert: High
    expr: latency > 0.5
    for: 5m
  - alert: Nothing
    expr: nobody_knows_this
    band: {detector: rolling}
"""


def iso(time_ms):
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(address, begin): three days of two latencies, one of which had a bad half hour."""
    folder = tmp_path_factory.mktemp("prometheus")
    begin = int(time.time() * 1000) // MINUTE_MS * MINUTE_MS - DAYS * 1440 * MINUTE_MS
    chance = random.Random(1)
    points = {
        Labels({"__name__": "latency", "service": name}): [
            (begin + n * MINUTE_MS, 0.2 + 0.05 * math.sin(2 * math.pi * n / 1440) + chance.gauss(0, 0.01)
             + (0.5 if name == "web" and n in FAULT else 0.0))
            for n in range(DAYS * 1440)
        ]
        for name in ("web", "mail")
    }
    running, url = prometheus(folder, points)
    with running:
        yield url, begin


@pytest.fixture
def asked(server, tmp_path):
    """The command line of a replay over the last two days."""
    url, begin = server
    (tmp_path / "rules.yml").write_text(RULES)
    fault, other = begin + FAULT.start * MINUTE_MS, begin + 3600 * MINUTE_MS
    (tmp_path / "incidents.csv").write_text(
        f"start,end,service\n{iso(fault)},{iso(fault + 40 * MINUTE_MS)},web\n"
        f"{iso(other)},{iso(other + 40 * MINUTE_MS)},mail\n")
    return ["backtest", "--rules", tmp_path / "rules.yml", "--prometheus", url, "--from", iso(begin + 1440 * MINUTE_MS),
            "--to", iso(begin + DAYS * 1440 * MINUTE_MS), "--labels", tmp_path / "incidents.csv"]


def run(words, capsys):
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_a_replay_says_what_would_have_fired_when_why_and_how_well(server, asked, capsys):
    began = server[1] + FAULT.start * MINUTE_MS

    said = run(asked, capsys)

    assert f'{iso(began)}  demo/Slow {{service="web"}}  for 4' in said
    assert re.search(r"the value was 0\.7\d+, outside its band: 0\.2\d* was expected, up to 0\.3\d* is usual", said)
    assert "What made it unusual: the step away from the baseline" in said
    assert f'{iso(began + 5 * MINUTE_MS)}  demo/High {{service="web"}}  for 35m, condition cleared' in said
    assert re.search(r"demo/Slow +1 +3\.5  2, learned from 1d", said)
    assert re.search(r"demo/Nothing +0 +0  none: its expression had no result", said)
    assert "missed: " in said
    assert "incidents found: 1 of 2; false alarms: 0; precision 1.00, recall 0.50, median delay 0s" in said


def test_a_replay_as_json_and_from_nothing(server, asked, capsys):
    began = server[1] + FAULT.start * MINUTE_MS

    told = json.loads(run([*asked, "--json", "--cold"], capsys))

    slow, high = sorted(told["firings"], key=lambda one: one["rule"], reverse=True)
    assert (slow["fired_at_ms"], slow["labels"]["service"]) == (began, "web")
    assert (high["ended"], high["resolved_at_ms"]) == ("condition cleared", began + 40 * MINUTE_MS)
    assert [one["history_ms"] for one in told["rules"]] == [0, 0, 0]
    assert (told["verdict"]["precision"], told["verdict"]["recall"]) == (1.0, 0.5)
    assert told["verdict"]["missed"][0]["labels"] == {"service": "mail"}


STORES = {
    "attached": "attach: {prometheus: {url: 'URL', query_offset: 1s}}\nhistory: {reach: 1d}\n",
    "embedded": "history: {url: 'URL', reach: 1d}\nscrape: {interval: 1s, targets: [{job: web, url: 'PAGE'}]}\n",
}


@pytest.mark.parametrize("store", STORES)
def test_a_new_install_beside_an_old_prometheus_has_its_bands_at_once(server, tmp_path, store):
    """On the old server itself, and with a store of its own that knows nothing yet but what it scrapes now."""
    quick = RULES.replace("interval: 1m", "interval: 1s")
    quick = quick.replace("expr: latency\n", "expr: max by (service) (max_over_time(latency[1h]))\n")
    (tmp_path / "rules.yml").write_text(quick)
    with FakeTarget('latency{service="web"} 0.21\nlatency{service="mail"} 0.22\n') as target:
        config = STORES[store].replace("URL", server[0]).replace("PAGE", f"http://{target.address}/metrics")
        (tmp_path / "observe.yml").write_text("rules: [rules.yml]\nexporters: []\n" + config)

        def slow():
            groups = product.get("/api/v1/rules")["data"]["groups"]
            return next(rule for group in groups for rule in group["rules"] if rule["name"] == "Slow")

        with Product(tmp_path / "data", "--config", tmp_path / "observe.yml") as product:
            wait_until(lambda: slow().get("start", {}).get("state") == "learned", "the history is learned", 90)
            wait_until(lambda: slow()["seriesReady"] == 2, "both series are ready", 30)
            explained = product.get("/api/v1/explain?rule=Slow&service=web")["data"][0]["words"]
            assert product.interrupt() == 0, "\n".join(product.lines)

    points = int(re.search(r"It stands on (\d+) points", " ".join(explained))[1])
    assert points > 80_000, explained
