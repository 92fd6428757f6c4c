"""Scraping over TLS, and scraping real servers: every series that prometheus-client reads of them is stored."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
from dataclasses import replace

import httpx
import pytest
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from observe.collect.target import Tls, static_target
from observe.testing import FakeTarget
from tests.collect.test_scrape import INTERVAL_MS, TIMEOUT_MS, scraping
from tests.real.process import RealProcess, free_port, http_get, require


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for localhost, and its key."""
    require("openssl")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_target_speaks_tls_and_its_certificate_is_checked(certificate, factory):
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def story():
        with FakeTarget("a 1\n" * 5000, tls=context) as exporter:
            url = f"https://{exporter.address}/metrics"
            plain = replace(static_target("unverified", url, interval_ms=INTERVAL_MS), timeout_ms=TIMEOUT_MS)
            targets = [
                plain,
                replace(plain, job="verified", tls=Tls(cert, server_name="localhost")),
                replace(plain, job="skipping", tls=Tls(verify=False)),
            ]
            async with scraping(*targets) as bench:
                for job in ("unverified", "verified", "skipping"):
                    await bench.scraped(job, 2)
            assert [False, True, True] == [bench.health(job).up for job in ("unverified", "verified", "skipping")]
            assert "certificate verify failed" in bench.health("unverified").last_error

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(story())


def test_a_target_may_ask_for_a_certificate_of_ours(certificate):
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(cert)
    context.verify_mode = ssl.CERT_REQUIRED

    async def story():
        with FakeTarget("a 1\n", tls=context) as exporter:
            stranger = replace(
                static_target("stranger", f"https://{exporter.address}/metrics", interval_ms=INTERVAL_MS),
                timeout_ms=TIMEOUT_MS, tls=Tls(cert, server_name="localhost"))
            known = replace(stranger, job="known", tls=Tls(cert, cert, key, "localhost"))
            async with scraping(stranger, known) as bench:
                for job in ("stranger", "known"):
                    await bench.scraped(job, 2)
            assert [False, True] == [bench.health(job).up for job in ("stranger", "known")]

    asyncio.run(story())


def test_a_client_that_says_nothing_holds_up_neither_others_nor_the_end_of_a_fake_target(certificate):
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    trusting = ssl.create_default_context(cafile=cert)
    trusting.check_hostname = False

    with contextlib.ExitStack() as clients, FakeTarget("a 1\n", tls=context) as exporter:
        host, port = exporter.address.split(":")
        clients.enter_context(socket.create_connection((host, int(port))))
        assert httpx.get(f"https://{exporter.address}/metrics", verify=trusting, timeout=60).text == "a 1\n"


@pytest.mark.real
@pytest.mark.parametrize("name", ["prometheus-node-exporter", "prometheus"])
def test_a_real_server_is_scraped_whole(tmp_path, name):
    binary = require(name)
    port = free_port()
    arguments = [f"--web.listen-address=127.0.0.1:{port}"]
    if name == "prometheus":
        (tmp_path / "p.yml").write_text("global: {}\n")
        arguments += [f"--config.file={tmp_path}/p.yml", f"--storage.tsdb.path={tmp_path}/data"]
    url = f"http://127.0.0.1:{port}/metrics"

    async def story():
        target = replace(static_target("real", f"127.0.0.1:{port}", interval_ms=200), timeout_ms=TIMEOUT_MS)
        async with scraping(target) as bench:
            await bench.until(lambda: bench.outcome("ok") >= 3)
        return bench

    with RealProcess(name, [binary, *arguments], tmp_path) as child:
        child.wait_healthy(lambda: http_get(url))
        before = _series(http_get(url))
        bench = asyncio.run(story())
        # What came or went meanwhile (a file system that another test mounts) may have been there between two scrapes.
        expected = before & _series(http_get(url))
    stored = {
        (labels.name, *sorted((n, v) for n, v in labels.pairs if n not in {"__name__", "job", "instance"}))
        for labels in bench.sink.ids
    }

    assert len(expected) > 200
    # A page of OpenMetrics says +Inf and 1.0 where the text format says +Inf and 1; bounds are compared as numbers.
    assert set() == {_plain(one) for one in expected} - {_plain(one) for one in stored}


def _series(page):
    return {
        (sample.name, *sorted(sample.labels.items()))
        for family in text_string_to_metric_families(page.decode()) for sample in family.samples
    }


def _plain(series):
    name, *pairs = series
    return name, *((n, str(float(v)) if n in {"le", "quantile"} else v) for n, v in pairs if v)
