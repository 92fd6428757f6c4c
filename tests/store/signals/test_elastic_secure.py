"""TLS, users and keys: on a real Elasticsearch with security on, and against a TLS server of our own."""

import http.server
import shutil
import ssl
import threading

import pytest

from observe.errors import Unavailable
from observe.store.elastic import ElasticSettings, ElasticStore
from observe.store.spool_settings import SpoolSettings
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.real import certificates
from tests.real.elasticsearch_node import ElasticNode
from tests.real.process import wait_until
from tests.store.signals import scenario
from tests.store.signals.scenario import LINES, START_MS, whole

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("elasticsearch")]
QUEUE = SpoolSettings(when_full="refuse", max_age_ms=0, sync_every_s=0)

_SECURITY = """
xpack.security.enabled: true
xpack.security.autoconfiguration.enabled: false
xpack.security.http.ssl.enabled: true
xpack.security.http.ssl.key: certs/node.key
xpack.security.http.ssl.certificate: certs/node.crt
xpack.security.http.ssl.certificate_authorities: certs/node-ca.crt
"""
_ROLES = """
observer:
  cluster: [manage_index_templates, monitor]
  indices: [{names: ['observe-*'], privileges: [create_index, write, read, manage]}]
looker:
  cluster: [monitor]
  indices: [{names: ['observe-*'], privileges: [read]}]
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def node(authority):
    found = ElasticNode(_SECURITY, "https")
    try:
        config = found.folder / "config"
        (config / "certs").mkdir()
        for path in (authority.authority, authority.certificate, authority.key):
            shutil.copy(path, config / "certs")
        with (config / "roles.yml").open("a") as roles:
            roles.write(_ROLES)
        for user, role in (("writer", "observer"), ("reader", "looker")):
            found.run_tool("elasticsearch-users", "useradd", user, "-p", f"{user}-secret", "-r", role)
        yield found.start()
    finally:
        found.stop()


@pytest.fixture
def opened(tmp_path):
    stores = []
    telemetry = Telemetry()

    def open_store(**columns):
        for store in stores:
            store.close()
        stores.clear()
        known = {"replicas": 0, "flush_every_s": 0.01, "longest_pause_s": 0.5,
                 "logs_queue": QUEUE, "spans_queue": QUEUE}
        stores.append(ElasticStore(tmp_path, ElasticSettings(**(known | columns)), ManualClock(START_MS), telemetry))
        return stores[-1]

    open_store.retries = lambda reason: telemetry.counter(
        "observe_elastic_retries_total", "", ("kind", "reason")).labels("logs", reason)._value.get()
    yield open_store
    for store in stores:
        store.close()


def test_with_wrong_credentials_lines_wait_and_with_the_right_ones_they_arrive(opened, node, authority):
    wrong = {"urls": (node.url,), "ca_file": authority.authority, "username": "writer", "password": "no"}
    store = opened(**wrong)
    store.append(LINES, scenario.SPANS)
    wait_until(lambda: opened.retries("credentials") >= 2, "it is tried again")
    with pytest.raises(Unavailable, match="does not accept our credentials") as caught:
        store.search(whole())
    assert not caught.value.retryable

    store = opened(**(wrong | {"username": "reader", "password": "reader-secret"}))
    wait_until(lambda: opened.retries("forbidden") >= 1, "it is tried again")

    store = opened(**(wrong | {"password": "writer-secret"}))
    assert store.wait_indexed(300)
    scenario.check_searches(store)
    scenario.check_traces(store)

    reader = opened(**(wrong | {"username": "reader", "password": "reader-secret"}))
    assert reader.search(whole()).total == len(LINES)


def test_a_server_of_another_authority_is_not_trusted(opened, node, tmp_path):
    other = certificates.make(tmp_path, "other")
    store = opened(urls=(node.url,), ca_file=other.authority, username="writer", password="writer-secret")
    with pytest.raises(Unavailable, match="is `ca_file` the authority that signed its certificate"):
        store.search(whole())


def test_an_api_key_is_sent_over_tls(opened, authority):
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            seen.append(self.headers["Authorization"])
            body = b'{"hits":{"hits":[],"total":{"value":0,"relation":"eq"}},"_shards":{"failed":0},"timed_out":false}'
            self.send_response(200)
            for name, value in (("X-Elastic-Product", "Elasticsearch"), ("Content-Length", str(len(body))),
                                ("Content-Type", "application/vnd.elasticsearch+json;compatible-with=8")):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.key)
    # The handshake waits for the first read, in the connection's own thread: no client holds up the others and the end.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        store = opened(urls=(f"https://127.0.0.1:{server.server_address[1]}",), api_key="a2V5OnNlY3JldA==",
                       ca_file=authority.authority)
        assert store.search(whole()).total == 0
        assert seen == ["ApiKey a2V5OnNlY3JldA=="]
        assert "a2V5" not in repr(store.settings)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
