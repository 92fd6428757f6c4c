"""Lifecycle management is probed: answers as a full distribution gives them, and as others do.

The reduced distribution that the other tests run on has no lifecycle management, so its answers are written down here
(shapes of Elasticsearch 8.19's documentation).
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from observe.errors import Unavailable
from observe.store.elastic_link import ElasticSettings, connect
from observe.store.elastic_setup import prepare

MISSING = (404, {"error": {"type": "resource_not_found_exception", "reason": "policy not found"}, "status": 404})
NO_HANDLER = (400, {"error": "no handler found for uri [/_ilm/policy/observe-logs] and method [GET]"})
FORBIDDEN = (403, {"error": {"type": "security_exception", "reason": "action is unauthorized"}, "status": 403})
THERE = (200, {"observe-logs": {"version": 1, "policy": {"phases": {}}}})
BROKEN = (500, {"error": {"type": "exception", "reason": "out of luck"}, "status": 500})


@pytest.fixture
def cluster():
    """A server that answers the probe as told and keeps what it is sent."""
    answers, sent = [THERE], []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sent.append((self.command, self.path, json.loads(body) if body else None))
            status, told = answers[0] if self.command == "GET" else (200, {"acknowledged": True})
            raw = json.dumps(told).encode()
            self.send_response(status)
            for name, value in (("X-Elastic-Product", "Elasticsearch"), ("Content-Length", str(len(raw))),
                                ("Content-Type", "application/vnd.elasticsearch+json;compatible-with=8")):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def do_GET(self):
            self._answer()

        def do_PUT(self):
            self._answer()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    settings = ElasticSettings((f"http://127.0.0.1:{server.server_address[1]}",), logs_days=9)
    client = connect(settings)
    yield settings, client, answers, sent
    client.close()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("answer", "in_force"), [
    (THERE, True), (MISSING, True), (NO_HANDLER, False), (FORBIDDEN, False),
], ids=["there", "not yet", "no such feature", "no right"])
def test_a_policy_is_used_where_the_cluster_has_them(cluster, answer, in_force):
    settings, client, answers, sent = cluster
    answers[0] = answer

    assert prepare(client, settings, "logs") == in_force

    put = {path: body for method, path, body in sent if method == "PUT"}
    assert ("/_ilm/policy/observe-logs" in put) == in_force
    template = put["/_index_template/observe-logs"]["template"]
    assert template["settings"]["index"].get("lifecycle.name") == ("observe-logs" if in_force else None)
    if in_force:
        phases = put["/_ilm/policy/observe-logs"]["policy"]["phases"]
        assert phases["delete"] == {"min_age": "9d", "actions": {"delete": {}}}


def test_a_cluster_in_trouble_is_not_taken_for_one_without_the_feature(cluster):
    settings, client, answers, _ = cluster
    answers[0] = BROKEN

    with pytest.raises(Unavailable, match="answered 500: out of luck"):
        prepare(client, settings, "logs")
