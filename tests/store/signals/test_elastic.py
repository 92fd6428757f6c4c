"""The attached store on a real Elasticsearch: the common scenario, rejections, outages, kills, retention."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from observe.errors import LimitExceeded, Unavailable
from observe.store import elastic_setup
from observe.store.elastic import ElasticSettings, ElasticStore
from observe.store.spool_settings import SpoolSettings
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.real.elasticsearch_node import ElasticNode
from tests.real.process import free_port, wait_until
from tests.store.signals import scenario
from tests.store.signals.scenario import LINES, SPANS, START_MS, every_number, line, span, trace_id, whole

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("elasticsearch")]
_PREFIXES = (f"t{number}" for number in itertools.count())
ROOT = Path(__file__).parents[3]
QUEUE = SpoolSettings(when_full="refuse", max_age_ms=0, sync_every_s=0)


@pytest.fixture(scope="module")
def node():
    found = ElasticNode()
    try:
        yield found.start()
    finally:
        found.stop()


class Opened:
    def __init__(self, folder, node):
        self.folder, self.node = folder, node
        self.prefix = next(_PREFIXES)
        self.clock = ManualClock(START_MS)
        self.telemetry = Telemetry()
        self.stores = []

    def __call__(self, **columns):
        self.close()
        known = {"urls": (self.node.url,), "prefix": self.prefix, "replicas": 0, "logs_queue": QUEUE,
                 "spans_queue": QUEUE, "flush_every_s": 0.01, "longest_pause_s": 0.5}
        settings = ElasticSettings(**(known | columns))
        self.stores.append(ElasticStore(self.folder, settings, self.clock, self.telemetry))
        return self.stores[-1]

    def close(self):
        for store in self.stores:
            store.close()
        self.stores.clear()

    def counted(self, name, **labels):
        return sum(sample.value for metric in self.telemetry.registry.collect() for sample in metric.samples
                   if sample.name == name and labels.items() <= sample.labels.items())


@pytest.fixture
def opened(tmp_path, node):
    made = Opened(tmp_path, node)
    yield made
    made.close()


def everything(store):
    assert store.wait_indexed(300)
    return sorted(every_number(store))


@pytest.fixture(scope="module")
def filled(tmp_path_factory, node):
    made = Opened(tmp_path_factory.mktemp("filled"), node)
    store = made()
    scenario.fill(store)
    assert store.wait_indexed(300)
    yield store
    made.close()


@pytest.mark.parametrize("check", scenario.CHECKS, ids=lambda check: check.__name__)
def test_the_common_scenario(filled, check):
    check(filled)


def test_the_index_has_the_users_fields_as_their_types(filled, node):
    """What a person filters by is a keyword, what a person reads is text; nobody's own field makes a mapping."""
    prefix = filled.settings.prefix

    def types(kind):
        (index,) = node.call("GET", f"/{prefix}-{kind}-*/_mapping").values()
        return {name: of["type"] for name, of in index["mappings"]["properties"].items()}

    logs, spans = types("logs"), types("spans")
    assert {logs[name] for name in ("trace_id", "span_id", "service", "level", "endpoint", "status")} == {"keyword"}
    assert {logs[name] for name in ("message", "error_msg")} == {"text"}
    assert (logs["@timestamp"], logs["latency_ms"], logs["fields"]) == ("date", "double", "flattened")
    assert {spans[name] for name in ("trace_id", "span_id", "parent_span_id", "service", "name")} == {"keyword"}
    assert (spans["@timestamp"], spans["attributes"]) == ("date", "flattened")
    assert {"model", "tokens"} & logs.keys() == set()


def test_nothing_stored_answers_nothing(opened):
    store = opened()
    assert store.search(whole(text="a")).total == 0
    assert store.histogram(whole(), 5).counts == {}
    assert store.trace(trace_id(1)).spans == ()
    assert store.traces(scenario.TraceQuery(0, 2**62)) == []
    assert store.services(0, 2**62) == []


class TestExactlyOnce:
    def test_what_is_delivered_twice_is_stored_once(self, opened):
        store = opened()
        store.append(LINES, SPANS)
        store.append(LINES[3:], SPANS[2:])
        assert everything(store) == list(range(1, 15))
        assert len(store.trace(trace_id(1)).spans) == 4

    def test_a_second_sender_of_the_same_file_adds_nothing(self, opened, tmp_path):
        opened().append(LINES, SPANS)
        assert everything(opened.stores[0]) == list(range(1, 15))
        opened.folder = tmp_path / "other"
        store = opened()
        store.append(LINES, SPANS)
        assert everything(store) == list(range(1, 15))
        assert opened.counted("observe_elastic_documents_total", kind="logs", outcome="repeat") == 14

    def test_lines_without_an_identity_are_all_kept(self, opened):
        store = opened()
        store.append([replace(LINES[0], uid=""), replace(LINES[0], uid="")], [])
        assert store.wait_indexed(300)
        assert store.search(whole()).total == 2

    def test_a_lost_position_sends_all_again_and_adds_nothing(self, opened):
        store = opened()
        store.append(LINES, [])
        assert everything(store) == list(range(1, 15))
        opened.close()
        (opened.folder / "logs/position").unlink()
        assert everything(opened()) == list(range(1, 15))

    def test_the_index_follows_the_date_of_the_event(self, opened, node):
        store = opened()
        day = 86_400
        store.append([line(1, "today"), line(2, "yesterday", -day), line(3, "a month ago", -30 * day),
                      line(4, "in the year 1900", -4e9)], [])
        assert store.wait_indexed(300)
        assert sorted(node.call("GET", f"/{opened.prefix}-logs-*/_settings")) == [
            f"{opened.prefix}-logs-2025.10.22", f"{opened.prefix}-logs-2025.11.20", f"{opened.prefix}-logs-2025.11.21",
            f"{opened.prefix}-logs-outside"]


class TestRejections:
    def test_a_document_that_the_cluster_never_takes_is_set_aside_with_the_reason(self, opened, node):
        store = opened()
        store.append(LINES[:1], [])
        assert store.wait_indexed(300)
        name = next(iter(node.call("GET", f"/{opened.prefix}-logs-*/_settings")))
        node.call("PUT", f"/{name}/_mapping", {"dynamic": "strict"})
        store.append(LINES, [])  # fits the mapping all the same
        node.call("PUT", f"/{name}/_mapping", {"properties": {"fields": {"type": "flattened", "depth_limit": 2}}})
        store.append([line(50, "deep", fields={"a": {"b": {"c": {"d": 1}}}}), line(51, "after it")], [])
        assert everything(store) == [*range(1, 15), 51]
        kept = [json.loads(row) for row in (opened.folder / "logs/rejected.ndjson").read_text().splitlines()]
        assert [(one["status"], one["document"]["message"]) for one in kept] == [(400, "deep")]
        assert "depth" in kept[0]["reason"]
        assert opened.counted("observe_dropped_total", stage="elastic logs", reason="rejected 400") == 1

    def test_a_cluster_that_may_not_create_an_index_rejects_no_document(self, opened, node):
        """Too many shards, a full disk: not the document's fault, so it waits."""
        node.call("PUT", f"/{opened.prefix}-takes-the-one-place", {"settings": {"number_of_replicas": 0}})
        node.call("PUT", "/_cluster/settings", {"persistent": {"cluster.max_shards_per_node": 1}})
        try:
            store = opened()
            store.append(LINES, [])
            wait_until(lambda: opened.counted("observe_elastic_retries_total") >= 2, "it is tried again")
            assert not (opened.folder / "logs/rejected.ndjson").exists()
        finally:
            node.call("PUT", "/_cluster/settings", {"persistent": {"cluster.max_shards_per_node": None}})
        assert everything(store) == list(range(1, 15))

    def test_a_blocked_index_is_tried_until_it_opens(self, opened, node):
        store = opened()
        store.append(LINES[:1], [])
        assert store.wait_indexed(300)
        name = next(iter(node.call("GET", f"/{opened.prefix}-logs-*/_settings")))
        block = "index.blocks.read_only_allow_delete"
        node.call("PUT", f"/{name}/_settings", {block: True})  # as the cluster does when its disk is full: 429
        store.append(LINES, [])
        wait_until(lambda: opened.counted("observe_elastic_retries_total") >= 2, "it is tried again")
        node.call("PUT", f"/{name}/_settings", {block: None})
        assert everything(store) == list(range(1, 15))

    @pytest.mark.parametrize("record", [
        line(1, "lone \ud800 surrogate", service="\udfff"),
        line(1, "nul \x00 byte", fields={"\x00": "\x00", "": "empty name", "a..b.": 1, ".": {"": 2}}),
        line(1, "deep", fields={"a": __import__("functools").reduce(lambda inner, _: {"a": inner}, range(900), 1)}),
        line(1, "big", fields={"n": 10**40, "nan": float("nan"), "x" * 5000: "y" * 50_000}, service="s" * 40_000),
        line(1, "m" * 2_000_000), line(1, "w " * 100_000),
        line(1, "mixed", fields={"a": [1, "x", {"b": [None, 2.5]}], "c": None}),
        line(1, "nan", latency_ms=float("nan"), status="s" * 50_000, endpoint="/" + "é" * 40_000),
        replace(line(1, "far"), timestamp_ns=10**30),
    ], ids=["surrogate", "nul", "deep", "numbers", "long", "words", "mixed", "nan", "far future"])
    def test_a_strange_line_is_stored_and_does_not_stop_the_others(self, opened, record):
        store = opened()
        store.append([record, line(2, "after it")], [])
        assert store.wait_indexed(300)
        assert not (opened.folder / "logs/rejected.ndjson").exists()
        assert store.search(replace(whole(), end_ns=2**63 - 1)).total == 2


class TestOutage:
    def test_lines_wait_on_the_disk_while_nothing_answers(self, opened, node):
        nobody = f"http://127.0.0.1:{free_port()}"
        store = opened(urls=(nobody,))
        store.append(LINES, SPANS)
        with pytest.raises(Unavailable, match="does not answer"):
            store.search(whole())
        retries = "observe_elastic_retries_total"
        wait_until(lambda: opened.counted(retries, reason="unreachable") >= 2, "it is tried again")
        assert opened.counted("observe_elastic_up") == 0
        store = opened()
        assert everything(store) == list(range(1, 15))
        assert opened.counted("observe_elastic_up", kind="logs") == 1

    def test_a_full_queue_refuses(self, opened):
        small = replace(QUEUE, max_bytes=3000)
        store = opened(urls=(f"http://127.0.0.1:{free_port()}",), logs_queue=small)
        store.append([line(1, "w" * 1000)], [])
        with pytest.raises(LimitExceeded, match="nothing takes from it"):
            store.append([line(2, "w" * 4000)], [])

    def test_what_is_sent_leaves_the_disk(self, opened):
        store = opened(logs_queue=replace(QUEUE, segment_bytes=2000))
        for number in range(60):
            store.append([line(number, f"line {number}")], [])
        assert everything(store) == list(range(60))
        wait_until(lambda: len(store._logs.spool.segments) <= 2, "sent segments are gone")

    def test_something_else_on_the_port_is_named(self, opened):
        from observe.testing import WebhookSink

        with WebhookSink() as sink:
            store = opened(urls=(sink.url.removesuffix("/hook"),))
            with pytest.raises(Unavailable):
                store.search(whole())
            store.append(LINES[:1], [])
            wait_until(lambda: opened.counted("observe_elastic_retries_total") >= 1, "it is tried again")

    def test_old_days_are_deleted_without_lifecycle_management(self, opened, node):
        store = opened(logs_days=3)
        store.append([line(1, "today"), line(2, "old", -10 * 86_400)], [])
        assert store.wait_indexed(300)
        gone = elastic_setup.sweep(store._client, store.settings, "logs", START_MS)
        assert gone == [f"{opened.prefix}-logs-2025.11.11"]
        assert everything(store) == [1]


def child(folder, url, prefix, first):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.signals.elastic_writer", str(folder), url, prefix, str(first)], cwd=ROOT,
        stdout=subprocess.PIPE, text=True)


def test_elasticsearch_and_the_writer_are_killed_in_the_middle(opened, node):
    """Sequence numbers: every acknowledged line is in the cluster once, after kill -9 of both sides."""
    last = -1
    with child(opened.folder, node.url, opened.prefix, 0) as writer:
        assert writer.stdout.readline() == "open\n"
        for _ in range(20):
            last = int(writer.stdout.readline())
        node.kill()
        for _ in range(20):  # taken while the cluster is down
            last = int(writer.stdout.readline())
        node.start(wait=False)
        for _ in range(10):
            last = int(writer.stdout.readline())
        writer.kill()
        for said in writer.stdout:
            last = int(said) if said.endswith("\n") else last
    with child(opened.folder, node.url, opened.prefix, last - 20) as writer:  # delivers the end again
        assert writer.stdout.readline() == "open\n"
        for _ in range(10):
            last = max(last, int(writer.stdout.readline()))
        node.wait()
        for _ in range(10):
            last = max(last, int(writer.stdout.readline()))
        writer.kill()
        for said in writer.stdout:
            last = max(last, int(said)) if said.endswith("\n") else last
    store = opened()
    found = everything(store)
    assert found[: last + 1] == list(range(last + 1))
    assert len(found) == len(set(found))
    assert store.trace(trace_id(last + 1)).spans == (span(last + 1, last + 1, None, 0, 1),)
