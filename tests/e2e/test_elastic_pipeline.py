"""The demo's log file and its OTLP spans, through observe, into a real Elasticsearch, and back out of the API.

Elasticsearch and then observe are killed with -9 in the middle: every line of the file is there once.
"""

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.e2e.product import ROOT, Product
from tests.real.elasticsearch_node import ElasticNode
from tests.real.process import free_port, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.real, pytest.mark.timeout(1200), pytest.mark.xdist_group("elasticsearch")]


@pytest.fixture
def node():
    found = ElasticNode()
    try:
        yield found.start()
    finally:
        found.stop()


@pytest.fixture
def demo(tmp_path):
    """Starts the watched service alone, as a team runs theirs."""
    started = []

    def start(otlp, log):
        started.append(subprocess.Popen(
            [sys.executable, "-m", "observe", "demo", "--port", str(free_port()), "--rate", "12", "--otlp", otlp,
             "--log", str(log)], cwd=ROOT, stdout=subprocess.DEVNULL))
        return started[-1]

    yield start
    for child in started:
        stop(child)


def stop(child):
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        child.wait(120)


def lines_of(log):
    return log.read_text().splitlines() if log.exists() else []


def found(product, start_ms, **parameters):
    asked = "".join(f"&{name}={value}" for name, value in parameters.items())
    return product.get(f"/api/logs/search?start={start_ms / 1000}&end={time.time() + 60}&service=gateway{asked}")


def everything(product, start_ms):
    """How many lines are said to be there, and all of them, page by page: a slow machine takes its time to write."""
    lines, page = [], {"cursor": ""}
    while page["cursor"] is not None:
        page = found(product, start_ms, limit=10_000, **({"cursor": page["cursor"]} if page["cursor"] else {}))
        lines += page["lines"]
    return page["total"], lines


def test_lines_and_spans_survive_both_sides_being_killed(tmp_path, node, demo):
    log = tmp_path / "gateway.jsonl"
    config = tmp_path / "observe.yml"
    config.write_text(
        f"exporters: []\nlogs:\n  files:\n    - path: {log}\n      service: gateway\n"
        f"attach:\n  elasticsearch:\n    urls: ['{node.url}']\n    replicas: 0\n")
    start_ms = time.time() * 1000 - 60_000
    with Product(tmp_path / "data", "--config", config) as product:
        watched = demo(product.url, log)
        wait_until(lambda: found(product, start_ms).get("total", 0) > 20, "lines are found in Elasticsearch", 90, 0.5)

        node.kill()
        down = len(lines_of(log))
        wait_until(lambda: len(lines_of(log)) > down + 50, "lines are written while Elasticsearch is down", 60, 0.5)
        product.kill()
        down = len(lines_of(log))
        wait_until(lambda: len(lines_of(log)) > down + 20, "lines are written while observe is down", 60, 0.5)
        node.start()
        product.start()
        back = len(lines_of(log))
        wait_until(lambda: len(lines_of(log)) > back + 20, "lines are written when both are back", 60, 0.5)
        stop(watched)

        written = [json.loads(line) for line in lines_of(log)]
        wait_until(lambda: found(product, start_ms).get("total", 0) >= len(written), "every line is found", 90, 0.5)
        total, stored = everything(product, start_ms)
        assert total == len(written)
        assert len({line["uid"] for line in stored}) == len(written)
        assert sorted(line["trace_id"] or "" for line in stored) == sorted(
            line.get("trace_id") or "" for line in written)

        # A finished request, with its spans (an exporter's own retries may have lost spans of the outage).
        traced = [line["trace_id"] for line in stored if line["trace_id"]][:5]

        def whole_trace():
            views = (product.get(f"/api/traces/{one}") for one in traced)
            return next((view for view in views if view.get("span_count", 0) >= 4), None)

        view = wait_until(whole_trace, "a trace with its spans", 60, 0.5)
        its_lines = found(product, start_ms, trace_id=view["trace_id"])["lines"]
        assert view["logs"]
        assert [line["uid"] for line in reversed(its_lines)] == [line["uid"] for line in view["logs"]]
        assert product.interrupt() == 0, "\n".join(product.lines)
