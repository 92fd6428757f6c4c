"""Taking in logs, spans and remote writes: against the obvious way in Python, in the same run."""

import json
import random
import struct

import numpy as np
import pytest

from benchmarks.timing import best
from observe.clock import SystemClock
from observe.collect import otlp, remote_write
from observe.collect.protobuf import block, varint
from observe.collect.tail import FileTail
from observe.collect.tail_settings import TailSettings
from observe.telemetry import Telemetry

LINES = 20_000


class Nowhere:
    """A sink that only counts."""

    def __init__(self):
        self.count = 0

    def append(self, logs, spans):
        self.count += len(logs) + len(spans)


def log_line(n):
    return json.dumps({
        "timestamp": 1_700_000_000 + n, "service": "gateway", "endpoint": "/v1/generate", "latency": n % 900,
        "status": "200", "level": "info", "message": f"request {n} done", "trace_id": f"{n + 1:032x}",
        "span_id": f"{n + 1:016x}", "tokens": n % 512,
    })


def test_tailing_a_file_against_parsing_its_json(benchmark, tmp_path):
    """The floor is `json.loads` of each line: all else together may cost a few times that."""
    path = tmp_path / "app.log"
    path.write_text("".join(log_line(n) + "\n" for n in range(LINES)))
    turns = iter(range(1_000_000))

    def ours():
        sink = Nowhere()
        tail = FileTail(TailSettings((str(path),)), sink, tmp_path / f"state{next(turns)}", SystemClock(), Telemetry())
        while tail.poll():
            pass
        tail.close()
        assert sink.count == LINES

    def floor():
        with path.open("rb") as file:
            for line in file:
                json.loads(line)

    ours_s, floor_s = best(ours), best(floor)
    benchmark.extra_info.update(lines_per_s=round(LINES / ours_s), ratio_to_json_loads=round(ours_s / floor_s, 2))
    benchmark.pedantic(ours, rounds=2)


@pytest.mark.parametrize("is_json", [False, True], ids=["protobuf", "json"])
def test_decoding_spans_against_protobufs_own_reading(benchmark, is_json):
    """The floor is the generated classes' `FromString` alone, which leaves nothing in our shape yet."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    rng = random.Random(1)
    spans = [{
        "traceId": f"{rng.getrandbits(127) + 1:032x}", "spanId": f"{n + 1:016x}", "name": "decode", "kind": 1,
        "startTimeUnixNano": "1700000000000000001", "endTimeUnixNano": "1700000000250000001",
        "attributes": [{"key": f"k{i}", "value": {"stringValue": "v" * 10}} for i in range(6)],
    } for n in range(1000)]
    request = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": spans}]}]}
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    for each in spans:
        span = scope.spans.add(name=each["name"], kind=1, trace_id=bytes.fromhex(each["traceId"]),
                               span_id=bytes.fromhex(each["spanId"]), start_time_unix_nano=1, end_time_unix_nano=2)
        for pair in each["attributes"]:
            span.attributes.add(key=pair["key"]).value.string_value = pair["value"]["stringValue"]
    binary = message.SerializeToString()
    body = json.dumps(request).encode() if is_json else binary

    def ours():
        assert len(otlp.decode(body, "traces", is_json=is_json, now_ns=0).spans) == len(spans)

    ours_s, floor_s = best(ours), best(lambda: ExportTraceServiceRequest.FromString(binary))
    benchmark.extra_info.update(spans_per_s=round(len(spans) / ours_s), ratio_to_from_string=round(ours_s / floor_s, 1))
    benchmark(ours)


def test_decoding_remote_write_against_reading_it_field_by_field(benchmark):
    """A request of 2000 series with one sample each, as a Prometheus sends them."""
    body = b"".join(
        block(1, block(1, block(1, b"__name__") + block(2, b"m%d" % n)) + block(1, block(1, b"job") + block(2, b"x"))
              + block(2, b"\x09" + struct.pack("<d", n * 0.5) + b"\x10" + varint(1_700_000_000_000 + n % 3)))
        for n in range(2000)
    )
    ids = np.arange(2000, dtype=np.uint32)

    def ours():
        columns = remote_write.decode(body)
        assert sum(frame.values.size for frame in remote_write.frames(columns, ids)) == 2000

    def peer():
        from observe.collect.protobuf import fields

        for _, series in fields(body):
            for number, part in fields(series):
                if number == 2:
                    dict(fields(part))

    ours_s, peer_s = best(ours), best(peer)
    benchmark.extra_info.update(ns_a_sample=round(ours_s / 2000 * 1e9), ratio=round(peer_s / ours_s, 1))
    benchmark(ours)

    assert peer_s / ours_s > 5
