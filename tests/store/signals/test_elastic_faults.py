"""A cluster that is slow, wrong or half there: told by its name and counted, no line lost, and tried with pauses.

Answers that a real node gives only in trouble are written down here (shapes of Elasticsearch 8.19's and 7.17's); what a
real node does when it is down, full, killed or refuses us is in the tests beside this one.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from observe.errors import Unavailable
from observe.store.elastic import ElasticSettings, ElasticStore
from observe.store.spool_settings import SpoolSettings
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.real.process import wait_until
from tests.store.signals.scenario import LINES, START_MS, whole

QUEUE = SpoolSettings(when_full="refuse", max_age_ms=0, sync_every_s=0)
PRODUCT = {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/vnd.elasticsearch+json;compatible-with=8"}
PAGE = {"Content-Type": "text/html"}
OTHER_VERSION = {"error": {"type": "media_type_header_exception", "reason": "Invalid media-type value on headers "
                           "[Accept, Content-Type]"}, "status": 400}
BUSY = {"error": {"type": "circuit_breaking_exception", "reason": "Data too large"}, "status": 429}


class Cluster:
    """Takes bulks as told: `answers` one after another to writing and searching, then as it should be."""

    def __init__(self) -> None:
        self.answers = []
        self.kept: list[str] = []
        self.bulks = 0
        self.over = threading.Event()

    def bulk(self, body: bytes) -> dict:
        rows = body.splitlines()
        items = []
        for action in rows[::2]:
            ident = json.loads(action)["create"]["_id"]
            items.append({"create": {"status": 409 if ident in self.kept else 201}})
            self.kept += [] if ident in self.kept else [ident]
        return {"errors": any(item["create"]["status"] == 409 for item in items), "items": items}


def say(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers=PRODUCT, length: int | None = None) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)
    handler.wfile.flush()


def silent(cluster, handler, body):
    cluster.over.wait(120)
    handler.close_connection = True


def cut_off(cluster, handler, body):
    say(handler, 200, b'{"errors":false,"it', length=400)
    handler.close_connection = True


def answers(status, told, headers=PRODUCT):
    raw = told if isinstance(told, bytes) else json.dumps(told).encode()
    return lambda cluster, handler, body: say(handler, status, raw, headers)


def one_busy(cluster, handler, body):
    """The second document is refused for now, the others are taken."""
    rows = body.splitlines(keepends=True)
    told = cluster.bulk(b"".join(rows[:2] + rows[4:]))
    told["items"].insert(1, {"create": BUSY})
    say(handler, 200, json.dumps(told | {"errors": True}).encode())


FAULTS = {
    "slow": (silent, "unreachable", "does not answer"),
    "cut off": (cut_off, "unreachable", "does not answer"),
    "half a JSON": (answers(200, b'{"errors":false,"it'), "malformed", "half an answer"),
    "an empty object": (answers(200, {}), "malformed", "not whole"),
    "a list": (answers(200, []), "malformed", "not whole"),
    "fewer items": (answers(200, {"errors": True, "items": []}), "malformed", "not whole"),
    "busy": (answers(429, BUSY), "status 429", "answered 429: Data too large"),
    "broken": (answers(503, b"upstream is away", PAGE), "status 503", "answered 503"),
    "credentials": (answers(401, {"error": {"type": "security_exception", "reason": "unable to authenticate"}}),
                    "credentials", "correct the API key"),
    "version 7": (answers(400, OTHER_VERSION), "version", "of a version that we do not speak"),
    "a web page": (answers(200, b"<html>log in</html>", PAGE), "malformed", "not whole|is not Elasticsearch"),
}


@pytest.fixture
def cluster():
    made = Cluster()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if "_bulk" in self.path or "_search" in self.path:
                made.bulks += "_bulk" in self.path
                if made.answers:
                    made.answers.pop(0)(made, self, body)
                elif "_bulk" in self.path:
                    say(self, 200, json.dumps(made.bulk(body)).encode())
                else:
                    say(self, 200, b'{"hits":{"hits":[],"total":{"value":0,"relation":"eq"}},"_shards":{"failed":0}}')
            elif self.command == "GET":
                say(self, 400 if "_ilm" in self.path else 200, b"{}")
            else:
                say(self, 200, b'{"acknowledged":true}')

        def do_GET(self):
            self._answer()

        def do_PUT(self):
            self._answer()

        def do_POST(self):
            self._answer()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield made
    made.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def opened(tmp_path, cluster, telemetry, **columns):
    """Whoever answers at all is not late, however busy the machine; the one that says nothing is waited for longer."""
    late_s = 3.0 if silent in cluster.answers else 60.0
    settings = ElasticSettings((cluster.url,), logs_queue=QUEUE, spans_queue=QUEUE, timeout_s=late_s,
                               flush_every_s=0.01, longest_pause_s=0.05, **columns)
    return ElasticStore(tmp_path, settings, ManualClock(START_MS), telemetry)


def counted(telemetry, name: str, **labels: str) -> float:
    return sum(sample.value for metric in telemetry.registry.collect() for sample in metric.samples
               if sample.name == name and labels.items() <= sample.labels.items())


@pytest.mark.parametrize(("fault", "reason"), [(fault, reason) for fault, reason, _ in FAULTS.values()], ids=FAULTS)
def test_lines_wait_and_arrive_once_when_the_cluster_is_itself_again(tmp_path, cluster, fault, reason):
    telemetry = Telemetry()
    cluster.answers = [fault, fault]
    store = opened(tmp_path, cluster, telemetry)
    try:
        store.append(LINES, [])
        assert store._logs.wait_sent(300)
    finally:
        store.close()

    assert len(LINES) == len(cluster.kept)
    assert counted(telemetry, "observe_elastic_retries_total", kind="logs", reason=reason) == 2
    assert counted(telemetry, "observe_elastic_documents_total", kind="logs", outcome="stored") == len(LINES)
    assert counted(telemetry, "observe_dropped_total") == 0


@pytest.mark.parametrize(("fault", "words"), [(fault, words) for fault, _, words in FAULTS.values()], ids=FAULTS)
def test_a_search_says_what_is_wrong_with_the_cluster(tmp_path, cluster, fault, words):
    cluster.answers = [fault]
    store = opened(tmp_path, cluster, Telemetry())
    try:
        with pytest.raises(Unavailable, match=words):
            store.search(whole())
        assert store.search(whole()).total == 0
    finally:
        store.close()


def test_only_the_documents_that_were_refused_for_now_are_sent_again(tmp_path, cluster):
    telemetry = Telemetry()
    cluster.answers = [one_busy]
    store = opened(tmp_path, cluster, telemetry)
    try:
        store.append(LINES, [])
        assert store._logs.wait_sent(300)
    finally:
        store.close()

    assert (len(LINES), 2) == (len(cluster.kept), cluster.bulks)
    assert counted(telemetry, "observe_elastic_documents_total", outcome="repeat") == 0
    assert counted(telemetry, "observe_elastic_retries_total", reason="busy") == 1


def test_a_disk_of_our_own_that_refuses_is_told_and_loses_and_doubles_nothing(tmp_path, cluster, caplog):
    """What the cluster took cannot be noted: it is sent again, known there, and noted once the disk takes it."""
    in_the_way = tmp_path / "logs" / "position" / "of another"
    in_the_way.mkdir(parents=True)  # a file cannot be renamed onto this
    telemetry = Telemetry()
    store = opened(tmp_path, cluster, telemetry)
    try:
        store.append(LINES, [])
        wait_until(lambda: counted(telemetry, "observe_elastic_retries_total", reason="disk") >= 2, "it is tried again")
        assert "make room on that disk" in caplog.text
        assert not store._logs.wait_sent(0)
        in_the_way.rmdir()
        in_the_way.parent.rmdir()
        assert store._logs.wait_sent(300)
    finally:
        store.close()

    assert len(LINES) == len(cluster.kept)
    assert counted(telemetry, "observe_elastic_documents_total", outcome="stored") == len(LINES)
    assert counted(telemetry, "observe_elastic_documents_total", outcome="repeat") >= len(LINES)


def test_a_bulk_that_is_too_large_for_a_proxy_is_halved(tmp_path, cluster):
    cluster.answers = [answers(413, b"Request Entity Too Large", PAGE)]
    store = opened(tmp_path, cluster, Telemetry())
    try:
        store.append(LINES, [])
        assert store._logs.wait_sent(300)
    finally:
        store.close()

    assert (len(LINES), 3) == (len(cluster.kept), cluster.bulks)


def test_a_cluster_of_another_version_is_told_before_anything_is_sent(tmp_path, cluster, caplog):
    """Its lifecycle API refuses us as it would refuse everything: no reason to think that it only lacks that."""
    from observe.store.elastic_link import connect
    from observe.store.elastic_setup import prepare

    settings = ElasticSettings((cluster.url + "/_search",))  # every answer as told
    cluster.answers = [answers(400, OTHER_VERSION)]
    client = connect(settings)
    with pytest.raises(Unavailable, match="of a version that we do not speak"):
        prepare(client, settings, "logs")
    client.close()
