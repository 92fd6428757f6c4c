"""The board of logs and traces on a real Elasticsearch that our store filled: its searches, asked as Grafana asks."""

import json
import random
import urllib.request

import pytest

from observe.show import board_queries, boards
from observe.store.elastic import ElasticSettings, ElasticStore
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.real.elasticsearch_node import ElasticNode
from tests.show.incident_requests import request
from tests.show.world import NOW_MS

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("elasticsearch")]

BOARD = boards.build()["logs_traces"]
WINDOW = {"range": {"@timestamp": {"gte": NOW_MS - 3_600_000, "lte": NOW_MS, "format": "epoch_millis"}}}
TARGETS = [
    pytest.param(panel["title"], target, id=f"{panel['title']} {target['refId']}")
    for panel in board_queries.panels(BOARD) for target in panel["targets"]
]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A cluster with an hour of requests, every third of the last ones failed."""
    found = ElasticNode()
    try:
        found.start()
        settings = ElasticSettings(urls=(found.url,), replicas=0, flush_every_s=0.01)
        store = ElasticStore(tmp_path_factory.mktemp("queue"), settings, ManualClock(NOW_MS), Telemetry())
        try:
            dice, lines, spans = random.Random(7), [], []
            for number in range(60):
                at_ns = (NOW_MS - 3_500_000 + number * 58_000) * 1_000_000
                more, said = request(number, at_ns, dice, slow=number > 50, failed=number % 3 == 0 and number > 50)
                spans, lines = [*spans, *more], [*lines, *said]
            store.append(lines, spans)
            assert store.wait_indexed(300)
        finally:
            store.close()
        yield found
    finally:
        found.stop()


def ask(node, target):
    """What Grafana's Elasticsearch data source sends for a target."""
    index = {"${logs}": "observe-logs-*", "${spans}": "observe-spans-*"}[target["datasource"]["uid"]]
    query = {"bool": {"filter": [WINDOW, {"query_string": {"query": target["query"], "analyze_wildcard": True}}]}}
    body = {"size": 0 if target["bucketAggs"] else 200, "query": query}
    (metric,) = target["metrics"]
    within = body
    for bucket in target["bucketAggs"]:
        if bucket["type"] == "terms":
            inner = {"terms": {"field": bucket["field"], "size": int(bucket["settings"]["size"])}}
        else:
            every = bucket["settings"]["interval"].replace("auto", "1m")
            inner = {"date_histogram": {
                "field": bucket["field"], "fixed_interval": every,
                "min_doc_count": int(bucket["settings"]["min_doc_count"])}}
        within["aggs"] = {bucket["id"]: inner}
        within = inner
    if metric.get("field"):
        settings = {k: [float(p) for p in v] for k, v in metric.get("settings", {}).items()}
        within["aggs"] = {metric["id"]: {metric["type"]: {"field": metric["field"], **settings}}}
    asked = urllib.request.Request(
        f"{node.url}/{index}/_search", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.load(answer)


def numbers(target, found):
    """The figures in an answer, of whichever series: Grafana draws them."""
    (metric,) = target["metrics"]

    def leaves(part):
        buckets = [inner for name in ("3", "2") for inner in part.get(name, {}).get("buckets", ())]
        if buckets:
            return [leaf for inner in buckets for leaf in leaves(inner)]
        if metric["type"] == "count":
            return [part["doc_count"]]
        told = part[metric["id"]]
        return [value for value in (told.get("values") or {"": told.get("value")}).values() if value is not None]

    return leaves(found["aggregations"])


@pytest.mark.parametrize(("panel", "target"), TARGETS)
def test_every_panel_finds_something(node, panel, target):
    found = ask(node, target)

    if target["bucketAggs"]:
        assert max(numbers(target, found), default=0) > 0, panel
    else:
        assert found["hits"]["hits"], panel


def test_requests_are_counted_once_and_their_duration_is_that_of_the_call(node):
    by_title = dict(param.values for param in TARGETS)

    assert 60 == sum(numbers(by_title["Requests"], ask(node, by_title["Requests"])))
    slowest = max(numbers(by_title["Slowest endpoints"], ask(node, by_title["Slowest endpoints"])))
    assert 2_000_000 < slowest < 4_000_000
    (failed, *_) = ask(node, by_title["Failed spans"])["hits"]["hits"]
    assert {"trace_id", "service", "duration_us"} <= failed["_source"].keys()
