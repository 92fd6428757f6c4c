"""An exporter on a port: its addresses, its token, compression."""

import gzip
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from observe.errors import Unavailable, UsageError
from observe.exporters.collectors import Collector, Exporter
from observe.exporters.page import Metric
from observe.exporters.serve import ExporterServer, parse_address, serve
from tests.exporters.golden import no_time

DEPTH = Metric("queue_depth", "gauge", "", "Jobs.", ("queue",))


def _one(page):
    page.add(DEPTH, 1, "good")


@contextmanager
def _served(token: str = "", collectors: int = 1):
    exporter = Exporter("test", [Collector(f"c{n}", (DEPTH,), _one) for n in range(collectors)], timer=no_time)
    server = ExporterServer(exporter, "127.0.0.1", 0, token)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.address[1]}", exporter
    finally:
        server.stop()
        thread.join()


def _get(url: str, **headers: str):
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, answer.headers, answer.read()


def test_metrics_are_served_compressed_when_long_and_asked_for():
    with _served(collectors=100) as (url, exporter):
        _, plain_headers, plain = _get(f"{url}/metrics")
        _, zipped_headers, zipped = _get(f"{url}/metrics?x=1", Accept_Encoding="gzip")

    assert plain_headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert plain == exporter.exposition()
    assert (zipped_headers["Content-Encoding"], gzip.decompress(zipped)) == ("gzip", plain)


@pytest.mark.parametrize(("path", "header", "status"), [
    ("/metrics", "Bearer s3cret", 200), ("/metrics", "bearer  s3cret", 200), ("/metrics", "Bearer wrong", 401),
    ("/metrics", "Basic s3cret", 401), ("/metrics", "", 401), ("/-/healthy", "", 200), ("/etc/passwd", "", 404),
])
def test_a_token_guards_the_metrics(path, header, status):
    with _served(token="s3cret") as (url, _):
        try:
            got, _, _ = _get(url + path, Authorization=header)
        except urllib.error.HTTPError as error:
            got = error.code
            error.close()

    assert got == status


@pytest.mark.parametrize(("text", "expected"), [
    ("127.0.0.1:1", ("127.0.0.1", 1)), (":5", ("127.0.0.1", 5)), ("host", ("host", 9)), ("[::1]:7", ("::1", 7)),
    ("[::1]", ("::1", 9)),
])
def test_addresses(text, expected):
    assert parse_address(text, 9) == expected


@pytest.mark.parametrize("text", ["a:b", "a:70000", "a:-1"])
def test_bad_addresses_are_refused_with_what_to_write(text):
    with pytest.raises(UsageError, match=r"write HOST:PORT, such as 127\.0\.0\.1:9"):
        parse_address(text, 9)


def test_an_open_address_needs_a_token_or_the_wish_to_do_without():
    with pytest.raises(UsageError, match="is open to the network: give --serve-token-file"):
        serve(Exporter("test", []), "0.0.0.0", 0)


def test_a_taken_port_is_a_clear_error():
    with _served() as (url, exporter), pytest.raises(Unavailable, match="choose another address with --listen"):
        ExporterServer(exporter, "127.0.0.1", int(url.rpartition(":")[2]))
