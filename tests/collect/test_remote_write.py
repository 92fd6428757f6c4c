"""Remote write: what a request says, however its samples lie, what is answered, and a real Prometheus that sends."""

import asyncio
import random
import struct
from concurrent.futures import ThreadPoolExecutor

import cramjam
import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from observe.collect.protobuf import block, varint
from observe.collect.remote_write import RemoteWriteSettings, RemoteWriteStore, decode
from observe.collect.remote_write_api import remote_write_routes
from observe.errors import MalformedData, StorageError
from observe.model import STALE_NAN, STALE_NAN_BITS, Labels, MetricMetadata
from observe.protocols import Appended
from observe.telemetry import Telemetry
from observe.testing import FakeTarget
from tests.collect.sinks import KeptSamples
from tests.real.process import RealProcess, free_port, require, wait_until
from tests.real.served import served


def label(name, value):
    return block(1, block(1, name.encode()) + block(2, value.encode()))


def sample(time_ms, value):
    bits = struct.pack("<d", value)
    body = b"\x09" + bits if any(bits) else b""
    return block(2, body + (b"\x10" + varint(time_ms) if time_ms else b""))


def series(labels, samples, extra=b""):
    inner = b"".join(label(*pair) for pair in sorted(labels.items()))
    return block(1, inner + b"".join(sample(*each) for each in samples) + extra)


def squeeze(body):
    return bytes(cramjam.snappy.compress_raw(body))


def store(sink=None):
    sink = sink or KeptSamples()
    return sink, RemoteWriteStore(sink, RemoteWriteSettings(), Telemetry())


def test_samples_of_one_time_share_a_frame_and_bits_are_kept():
    sink, kept = store()
    request = b"".join(series({"__name__": "a", "n": str(n)}, [(1000, float(n))]) for n in range(3))
    request += series({"__name__": "b"}, [(2000, STALE_NAN)]) + series({"__name__": "zero"}, [(0, 0.0)])

    done = kept.keep(squeeze(request))

    assert 5 == done.stored
    assert [(1000, 2.0)] == sink.of(__name__="a", n="2")
    assert [(2000, "stale")] == sink.of(__name__="b")
    assert [(0, 0.0)] == sink.of(__name__="zero")
    assert [1, 3, 1] == [len(frame.ids) for frame in sorted(sink.frames, key=lambda frame: frame.timestamps[0])]


def test_histories_with_the_same_times_are_one_block():
    sink, kept = store()
    times = list(range(1000, 11_000, 1000))

    kept.keep(squeeze(b"".join(series({"__name__": f"s{n}"}, [(t, t + n) for t in times]) for n in range(50))))

    (frame,) = sink.frames
    assert ((10, 50), times) == (frame.values.shape, frame.timestamps.tolist())


def test_a_series_comes_by_its_bytes_the_second_time():
    sink, kept = store()
    asked = []
    original = sink.series_ids
    sink.series_ids = lambda labels, owner="": asked.extend(labels) or original(labels, owner)

    for time_ms in (1000, 2000):
        kept.keep(squeeze(series({"__name__": "a"}, [(time_ms, 1.0)])))

    assert [Labels({"__name__": "a"})] == asked
    assert [(1000, 1.0), (2000, 1.0)] == sink.of(__name__="a")


def test_ids_that_the_store_forgot_are_asked_for_again():
    class Forgetting(KeptSamples):
        forgotten = False

        def append(self, frame):
            if self.forgotten:
                self.forgotten = False
                return Appended(unknown=frame.values.size)
            return super().append(frame)

    sink, kept = store(Forgetting())
    kept.keep(squeeze(series({"__name__": "a"}, [(1000, 1.0)])))
    sink.forgotten = True

    assert 1 == kept.keep(squeeze(series({"__name__": "a"}, [(2000, 2.0)]))).stored
    assert [(1000, 1.0), (2000, 2.0)] == sink.of(__name__="a")


def test_exemplars_and_metadata_are_kept():
    sink, kept = store()
    exemplar = block(3, label("trace_id", "abc") + b"\x11" + struct.pack("<d", 0.5) + b"\x18" + varint(1234))
    metadata = block(3, b"\x08\x01" + block(2, b"a_total") + block(4, b"What it is.") + block(5, b"bytes"))

    kept.keep(squeeze(series({"__name__": "a_total"}, [(1000, 1.0)], exemplar) + metadata))

    (found,) = sink.exemplars
    assert ("a_total", {"trace_id": "abc"}, 0.5, 1234) == (
        str(found.series), dict(found.labels), found.value, found.timestamp_ms)
    assert {"a_total": MetricMetadata("counter", "What it is.", "bytes")} == sink.metadata


points = st.lists(st.tuples(st.integers(0, 2**45), st.floats()), max_size=6)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), points), max_size=10))
@settings(max_examples=120, deadline=None)
def test_every_sample_arrives_whatever_the_order_and_however_often_a_series_comes(rows):
    sink, kept = store()

    done = kept.keep(squeeze(b"".join(series({"__name__": name}, samples) for name, samples in rows)))

    expected = {}
    for name, samples in rows:
        expected.setdefault(name, []).extend((t, struct.pack("<d", v)) for t, v in samples)
    got = {
        labels.name: [(t, struct.pack("<d", v)) for t, v in sink.samples.get(number, [])]
        for labels, number in sink.ids.items()
    }
    assert {name: sorted(samples) for name, samples in expected.items()} == {
        name: sorted(samples) for name, samples in got.items()}
    assert sum(len(samples) for samples in expected.values()) == done.stored


@given(st.binary(max_size=40), st.integers(0, 200))
@settings(max_examples=250, deadline=None)
def test_no_bytes_do_more_than_fail_the_request(junk, at):
    good = series({"__name__": "a", "b": "c"}, [(1, 1.0), (2, 2.0)]) * 2
    for body in (good[:at] + junk + good[at:], good[:at], junk):
        try:
            store()[1].keep(squeeze(body))
        except MalformedData:
            continue


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (squeeze(series({"__name__": "a"}, [(1, 1.0)]))[:-3], "not a snappy block"),
        (squeeze(series({"__name__": "a"}, [(1, 1.0)])[:-3]), "cut short"),
        (squeeze(b"\x0f\x01"), "no WriteRequest"),
        (squeeze(block(1, sample(1, 1.0))), "a series has no labels"),
        (squeeze(block(1, label("a", "b") + sample(1, 1.0) + label("c", "d"))), "do not stand together"),
        (squeeze(block(1, label("a", "b") + label("a", "c") + sample(1, 1.0))), "given twice"),
        (squeeze(block(1, label("", "b") + sample(1, 1.0))), "no name"),
        (squeeze(block(1, block(1, block(1, b"\xff")) + sample(1, 1.0))), "not UTF-8"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(body, words):
    with pytest.raises(MalformedData, match=words):
        store()[1].keep(body)


class Service:
    """The route in an app."""

    def __init__(self, sink=None, **bounds):
        self.sink = sink or KeptSamples()
        self.telemetry = Telemetry()
        self.data = ThreadPoolExecutor(1)
        routes = remote_write_routes(self.sink, RemoteWriteSettings(**bounds), self.data, self.telemetry)
        self.app = Starlette(routes=routes)

    def post(self, body, **headers):
        async def ask():
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://test") as client:
                return await client.post("/api/v1/write", content=body, headers={
                    "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", **headers})

        return asyncio.run(ask())


BODY = squeeze(series({"__name__": "a"}, [(1000, 1.0)]) * 30)


class Refusing(KeptSamples):
    def append(self, frame):
        return Appended(too_old=1, stored=frame.values.size - 1)


class Broken(KeptSamples):
    def append(self, frame):
        raise StorageError("the disk is full")


@pytest.mark.parametrize(
    ("service", "body", "headers", "status", "words"),
    [
        (Service, BODY, {}, 204, ""),
        (Service, BODY[:-1], {}, 400, "not a snappy block"),
        (lambda: Service(max_body_bytes=10), BODY, {}, 413, "smaller batches"),
        (lambda: Service(max_inflated_bytes=10), BODY, {}, 413, "smaller batches"),
        (lambda: Service(max_waiting=0), BODY, {}, 503, "waiting already"),
        (Service, BODY, {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}, 415, "1.0"),
        (Service, BODY, {"Content-Encoding": "gzip"}, 415, "snappy"),
        (lambda: Service(Refusing()), BODY, {}, 400, "older than what is kept"),
        (lambda: Service(Broken()), BODY, {}, 503, "the disk is full"),
        (lambda: Service(KeptSamples(limit=0)), BODY, {}, 400, "30 samples are of new series"),
    ],
)
def test_the_answer_says_whether_to_send_it_again(service, body, headers, status, words):
    made = service()
    answer = made.post(body, **headers)
    made.data.shutdown()

    assert (status, True) == (answer.status_code, words in answer.text)


def test_decoding_is_exact_on_a_large_request():
    rng = random.Random(5)
    rows = [({"__name__": "m", "n": str(n)}, [(rng.randrange(2**43), rng.uniform(-1e9, 1e9)) for _ in range(n % 7)])
            for n in range(2000)]
    columns = decode(b"".join(series(*row) for row in rows))

    assert np.diff(columns.offsets).tolist() == [len(samples) for _, samples in rows]
    assert columns.times.tolist() == [t for _, samples in rows for t, _ in samples]
    assert columns.values.tolist() == [v for _, samples in rows for _, v in samples]


@pytest.mark.real
def test_a_real_prometheus_writes_into_it(tmp_path):
    binary = require("prometheus")
    service, port = Service(), free_port()
    name = {"__name__": "a_total", "x": "y", "job": "demo", "replica": "r1"}
    with (
        FakeTarget('# HELP a_total What.\n# TYPE a_total counter\na_total{x="y"} 7\nb 2\n') as exporter,
        served(service.app) as url,
    ):
        (tmp_path / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 200ms, scrape_timeout: 200ms, external_labels: {{replica: r1}}}}
scrape_configs: [{{job_name: demo, static_configs: [{{targets: ["{exporter.address}"]}}]}}]
remote_write:
  - url: {url}/api/v1/write
    queue_config: {{batch_send_deadline: 200ms}}
    metadata_config: {{send_interval: 500ms}}
""")
        with RealProcess("prometheus", [
            binary, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}", "--storage.remote.flush-deadline=1s",
        ], tmp_path):
            wait_until(lambda: len(service.sink.of(**name)) >= 5 and service.sink.metadata, "samples and metadata")
            exporter.page = "b 2\n"
            wait_until(lambda: "stale" in {value for _, value in service.sink.of(**name)}, "the end of the series")
    service.data.shutdown()
    assert {7.0, "stale"} == {value for _, value in service.sink.of(**name)}
    assert MetricMetadata("counter", "What.", "") == service.sink.metadata["a_total"]
    bits = [np.float64(value).view(np.uint64) for samples in service.sink.samples.values() for _, value in samples]
    assert STALE_NAN_BITS in bits
