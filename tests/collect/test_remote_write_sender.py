"""Sending by remote write: what is sent, tried again, given up and pushed out; and a real Prometheus that takes it."""

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from observe.clock import SystemClock
from observe.collect.remote_write import RemoteWriteSettings, RemoteWriteStore
from observe.collect.remote_write_sender import RemoteWriteSenderSettings, RemoteWriteSink
from observe.collect.target import Credentials
from observe.model import ABSENT_NAN, STALE_NAN, Frame, Labels
from observe.telemetry import Telemetry
from observe.testing import WebhookSink
from tests.collect.sinks import KeptSamples


class Sender:
    """A sink towards a receiver, and what it counts."""

    def __init__(self, url, **settings):
        self.telemetry = Telemetry()
        bounds = {"linger_ms": 5, "first_backoff_ms": 5, **settings}
        self.sink = RemoteWriteSink(RemoteWriteSenderSettings(url, **bounds), SystemClock(), self.telemetry)

    def put(self, time_ms, **values):
        ids = self.sink.series_ids([Labels({"__name__": name}) for name in values])
        return self.sink.append(Frame(np.array([time_ms]), ids, np.array([list(values.values())])))

    def value(self, name, **labels):
        return self.telemetry.registry.get_sample_value(name, labels) or 0

    def dropped(self, reason):
        return self.value("observe_dropped_total", stage="remote write out", reason=reason)

    def wait(self, name, least):
        deadline = time.monotonic() + 15
        while self.value(name) < least:
            assert time.monotonic() < deadline, self.sink.last_error
            time.sleep(0.005)


@contextmanager
def sending(url, **settings):
    sender = Sender(url, **settings)
    sender.sink.start()
    yield sender
    sender.sink.stop()


def stored(webhook):
    """What a receiver that took the requests has."""
    kept = KeptSamples()
    store = RemoteWriteStore(kept, RemoteWriteSettings(), Telemetry())
    for request in webhook.received:
        store.keep(request.body)
    return kept


def test_samples_arrive_with_all_their_bits_and_labels():
    with WebhookSink() as webhook, sending(
        webhook.url, extra_labels={"replica": "r1"}, credentials=Credentials(secret="s3cret"), headers={"X-Scope": "t"},
    ) as sender:
        sender.put(1000, a=1.5, b=ABSENT_NAN)
        sender.put(2000, a=STALE_NAN, b=2.0)
        sender.wait("observe_remote_write_sent_samples_total", 3)
    kept = stored(webhook)

    assert [(1000, 1.5), (2000, "stale")] == kept.of(__name__="a", replica="r1")
    assert [(2000, 2.0)] == kept.of(__name__="b", replica="r1")
    headers = webhook.received[0].headers
    assert ("Bearer s3cret", "t", "snappy") == (
        headers["Authorization"], headers["X-Scope"], headers["Content-Encoding"])


def test_what_may_succeed_later_is_sent_again_in_order():
    with WebhookSink(answers=[500, 429, 503, 200]) as webhook, sending(webhook.url, batch_samples=2) as sender:
        for n in range(6):
            sender.put(1000 + n, a=float(n))
        sender.wait("observe_remote_write_sent_samples_total", 6)

    assert 3 == sender.value("observe_remote_write_retries_total")
    assert [(1000 + n, float(n)) for n in range(6)] == sorted(set(stored(webhook).of(__name__="a")))
    assert webhook.received[0].body == webhook.received[3].body


def test_what_never_will_is_dropped_and_counted_and_the_next_goes_on():
    with WebhookSink(answers=[400, 200]) as webhook, sending(webhook.url) as sender:
        sender.put(1000, a=1.0)
        deadline = time.monotonic() + 15
        while not sender.dropped("answered 400"):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        sender.put(2000, a=2.0)
        sender.wait("observe_remote_write_sent_samples_total", 1)

    assert 2 == len(webhook.received)


def test_the_oldest_are_pushed_out_of_a_full_queue_and_counted():
    sender = Sender("http://127.0.0.1:9/", queue_samples=10)
    for n in range(25):
        sender.put(n, a=float(n))

    assert (15, 10) == (sender.dropped("queue full"), sender.value("observe_remote_write_queued_samples"))


def test_nobody_there_is_said_and_stopping_does_not_wait_for_them():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    with sending(url) as sender:
        sender.put(1000, a=1.0)
        sender.wait("observe_remote_write_retries_total", 2)
        assert "cannot be reached" in sender.sink.last_error

    assert 1 == sender.dropped("not sent before the end")


def test_stopping_sends_what_is_queued():
    with WebhookSink() as webhook:
        with sending(webhook.url, linger_ms=60_000) as sender:
            sender.put(1000, a=1.0)
        assert [(1000, 1.0)] == stored(webhook).of(__name__="a")


def test_series_beyond_the_limit_are_refused():
    sender = Sender("http://127.0.0.1:9/", max_series=1)

    assert (1, 1) == ((done := sender.put(1, a=1.0, b=2.0)).stored, done.over_limit)


@pytest.mark.real
def test_a_real_prometheus_takes_it(tmp_path):
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed")
    (tmp_path / "prometheus.yml").write_text("global: {}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{free.getsockname()[1]}"
    child = subprocess.Popen(
        [binary, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
         f"--web.listen-address={base[7:]}", "--web.enable-remote-write-receiver"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    now_ms = SystemClock().now_ms()
    try:
        with sending(f"{base}/api/v1/write") as sender:  # it may not be up yet: then it is tried again
            for n in range(5):
                sender.put(now_ms - 5000 + n * 1000, band=float(n))
            sender.wait("observe_remote_write_sent_samples_total", 5)
        found = httpx.get(f"{base}/api/v1/query", params={"query": "band[1m]"}).json()["data"]["result"]
    finally:
        child.terminate()
        child.wait()

    assert [[str(n) for n in range(5)]] == [[value for _, value in one["values"]] for one in found]
