"""One incident from end to end, and one across kill -9: the drama that is kept green always."""

import json
import math
import re

import pytest

from observe.show import board_queries
from observe.testing import WebhookSink
from tests.e2e.product import QUICK, ROOT, Product, alive, descendants, soon_over
from tests.real.process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.calm, pytest.mark.timeout(1500)]


@pytest.fixture
def sink():
    with WebhookSink() as sink:
        yield sink


CALM_S = 0.55
"""Upper edge of the latency's band below which the fault, 0.6 s and more, stands out."""


def pages(sink, status):
    """(alert, message) of every alert with this status that the webhook got, without test pages and the Watchdog."""
    return [
        (alert, received.json()) for received in list(sink.received) for alert in received.json()["alerts"]
        if alert["status"] == status and alert["labels"]["alertname"] != "Watchdog"
    ]


def latency_pages(sink, status):
    """Those that the fault must give. It may give more (tokens come slower, requests queue), in any order."""
    wanted = {"alertname": "LatencyOutsideBand", "endpoint": "/generate"}
    return [pair for pair in pages(sink, status) if wanted.items() <= pair[0]["labels"].items()]


def baselines_ready(product):
    rules = [
        rule for group in product.get("/api/v1/rules")["data"]["groups"] for rule in group["rules"]
        if rule["name"] == "LatencyOutsideBand"
    ]
    if not rules or not all(rule["seriesReady"] == rule["seriesTotal"] > 0 for rule in rules):
        return False
    # Where the machine starves, requests are as slow without the fault: then this waits until it is calm.
    upper = product.query('observe_band_upper{rule="inference/LatencyOutsideBand",endpoint="/generate"}')
    return upper and upper[0][1] < CALM_S


def spans_of(tree):
    for span in tree:
        yield span
        yield from spans_of(span["children"])


def check_page(product, alert):
    """The page says what is wrong, by how much, since when, and which requests show it."""
    labels, notes = alert["labels"], alert["annotations"]
    assert ("gateway", "/generate") == (labels["service"], labels["endpoint"])
    assert labels["severity"] in {"critical", "warning"}
    value, lower, upper = (float(notes[name]) for name in ("value", "lower", "upper"))
    assert value > upper > lower
    assert float(notes["score"]) > 1
    assert notes["expected"]
    assert notes["summary"]
    assert alert["generatorURL"].startswith(product.url)


def check_evidence(product, alert):
    """A trace of the page is found whole: four spans and the log lines that belong to it."""
    trace_ids = alert["annotations"]["trace_ids"].split(",")
    assert re.fullmatch(r"[0-9a-f]{32}", trace_ids[0]), alert["annotations"]

    def is_whole():
        spans = product.get(f"/api/traces/{trace_ids[0]}")["spans"]
        return {"POST /generate", "queue", "prefill", "decode"} <= {span["name"] for span in spans_of(spans)}

    wait_until(is_whole, "the trace with its four spans", 30)
    lines = wait_until(lambda: product.get(f"/api/traces/{trace_ids[0]}")["logs"], "the trace's log lines", 30)
    assert any("POST /generate answered" in line["message"] for line in lines)
    search = f"/api/logs/search?trace_id={trace_ids[0]}"
    wait_until(lambda: product.get(search)["total"] >= 1, "its lines by search", 30)


def check_board(product, name, **picked):
    """Every expression of a board gives a number that can be drawn, for who opens it and picks these values."""
    body = json.loads((ROOT / "dashboards" / "generated" / f"{name}.json").read_text())
    missing = board_queries.expressions(body, board_queries.chosen(body, product.label_values, picked))
    assert missing

    def all_drawn():
        missing[:] = [one for one in missing if not any(math.isfinite(v) for _, v in product.query(one.expr))]
        return not missing

    try:
        wait_until(all_drawn, f"data in every panel of {name}", 60, 1.0)
    except AssertionError as error:
        empty = "\n".join(f"{one.panel}: {one.expr}" for one in missing)
        raise AssertionError(f"these panels of the board {name} are empty:\n{empty}") from error


def test_a_fault_becomes_one_page_with_its_evidence_and_is_resolved(tmp_path, sink):
    config, rules = tmp_path / "observe.yml", tmp_path / "rules"
    rules.mkdir()
    config.write_text(f"{QUICK}rules: [{soon_over(rules)}]\n")
    options = ("--demo", "--no-incident", "--webhook", sink.url, "--config", config)
    with Product(tmp_path / "data", *options) as product:
        wait_until(lambda: baselines_ready(product), "the baselines of the latency rule, in calm", 150)
        assert [] == latency_pages(sink, "firing")  # others may be right: this machine is busy with tests

        product.fault("slow_decode", 900)
        alert, message = wait_until(lambda: latency_pages(sink, "firing"), "a page about latency", 90)[0]
        assert ("4", "firing") == (message["version"], message["status"])
        check_page(product, alert)
        check_evidence(product, alert)
        wait_until(lambda: [one["labels"] for one in product.alerts()].count(alert["labels"]) == 1, "it is listed", 30)

        check_board(product, "gateway", service="gateway", endpoint="/generate")

        # While the fault lasts the alert stays on: it is neither resolved nor sent anew.
        wait_until(lambda: evaluations(product, alert) >= 20, "twenty more evaluations", 60)
        assert [] == latency_pages(sink, "resolved")

        product.end_fault("slow_decode")
        resolved, _ = wait_until(lambda: latency_pages(sink, "resolved"), "the end of the alert", 150)[0]
        assert alert["labels"] == resolved["labels"]
        assert resolved["endsAt"] > resolved["startsAt"]

        for board in ("host", "python_runtime", "observe"):  # their bands are ready by now
            check_board(product, board)

        wait_until(lambda: any("RESOLVED" in line for line in product.lines), "the end is printed", 30)
        children = descendants(product.process.pid)
        assert len(children) >= 2
        assert 0 == product.interrupt(), "\n".join(product.lines)
        wait_until(lambda: not alive(children), "no child is left", 30)
        assert any("FIRING" in line for line in product.lines)


def evaluations(product, alert):
    """How many evaluations of the alert's rule came after it began to fire."""
    labels = ",".join(f'{name}="{value}"' for name, value in alert["labels"].items() if name != "severity")
    found = product.query(f'count_over_time(ALERTS{{alertstate="firing",{labels}}}[10m])')
    return found[0][1] if found else 0


def test_a_page_that_could_not_be_delivered_arrives_after_kill_9_and_no_line_is_lost(tmp_path, sink):
    sink.answers = [503]
    config = tmp_path / "observe.yml"
    config.write_text(QUICK)
    product = Product(tmp_path / "data", "--demo", "--no-incident", "--webhook", sink.url, "--config", config)
    with product:
        wait_until(lambda: baselines_ready(product), "the baselines of the latency rule, in calm", 150)
        product.fault("slow_decode", 900)
        wait_until(lambda: latency_pages(sink, "firing"), "an attempt to page", 90)
        wait_until(lambda: product.get("/api/logs/search?limit=1")["total"] > 50, "lines are stored", 20)
        before = accepted(product)
        children = descendants(product.process.pid)
        product.kill()
        wait_until(lambda: not alive(children), "no child outlives kill -9", 30)

        sink.received.clear()
        sink.answers = [200]
        product.start()
        alert, _ = wait_until(lambda: latency_pages(sink, "firing"), "the page, after the restart", 60)[0]
        check_page(product, alert)
        wait_until(lambda: before <= accepted(product), "every line is back", 60)
        assert 0 == product.interrupt(), "\n".join(product.lines)


def accepted(product):
    """Sequence numbers of the gateway's first run that are stored (each page is asked to its end)."""
    found, cursor = set(), None
    while True:
        further = f"&cursor={cursor}" if cursor else ""
        page = product.get(f"/api/logs/search?service=gateway&limit=1000&order=oldest{further}")
        found |= {(line["fields"]["seq"], line["timestamp_ns"]) for line in page["lines"]}
        cursor = page.get("cursor")
        if not cursor:
            return found
