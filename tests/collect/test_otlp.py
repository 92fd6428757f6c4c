"""OTLP: what spans and log records become, in either encoding, and what is answered when they are broken."""

import asyncio
import base64
import gzip
import json
import socket
import zlib

import httpx
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.applications import Starlette

from observe.collect.otlp import OtlpSettings, decode, otlp_routes
from observe.errors import LimitExceeded, MalformedData, StorageError, Unavailable
from observe.model import SpanEvent
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.collect.sinks import KeptSignals
from tests.real.process import wait_until
from tests.real.served import served as serving

TRACE, SPAN, PARENT = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", "00f067aa0ba902b7"
ATTRIBUTES = [
    {"key": "http.route", "value": {"stringValue": "/v1/generate"}},
    {"key": "http.response.status_code", "value": {"intValue": "503"}},
    {"key": "ratio", "value": {"doubleValue": 0.5}},
    {"key": "ok", "value": {"boolValue": False}},
    {"key": "raw", "value": {"bytesValue": base64.b64encode(b"\x00\xff").decode()}},
    {"key": "list", "value": {"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "b"}]}}},
    {"key": "map", "value": {"kvlistValue": {"values": [{"key": "x", "value": {"intValue": "2"}}]}}},
    {"key": "none", "value": {}},
]
PLAIN = {
    "http.route": "/v1/generate", "http.response.status_code": 503, "ratio": 0.5, "ok": False, "raw": "AP8=",
    "list": [1, "b"], "map": {"x": 2}, "none": None,
}
RESOURCE = {"attributes": [{"key": "service.name", "value": {"stringValue": "gateway"}},
                           {"key": "host.name", "value": {"stringValue": "h1"}}]}
TRACES = {"resourceSpans": [{"resource": RESOURCE, "scopeSpans": [{"scope": {"name": "s"}, "unknown": 1, "spans": [{
    "traceId": TRACE.upper(), "spanId": SPAN, "parentSpanId": PARENT, "name": "decode", "kind": 2,
    "startTimeUnixNano": "1700000000000000001", "endTimeUnixNano": "1700000000250000001",
    "attributes": ATTRIBUTES, "status": {"code": 2, "message": "boom"},
    "events": [{"timeUnixNano": "1700000000000000005", "name": "exception", "attributes": ATTRIBUTES[:1]}],
}]}]}]}
LOGS = {"resourceLogs": [{"resource": RESOURCE, "scopeLogs": [{"logRecords": [
    {"timeUnixNano": "1700000000000000001", "severityText": "WARNING", "severityNumber": 13, "traceId": TRACE,
     "spanId": SPAN, "body": {"stringValue": "queue is long"},
     "attributes": [*ATTRIBUTES, {"key": "latency", "value": {"doubleValue": 12.5}},
                    {"key": "error_msg", "value": {"stringValue": "late"}}]},
    {"observedTimeUnixNano": "7", "severityNumber": 17, "traceId": "0" * 32,
     "body": {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}]}}},
]}]}]}


def binary(value):
    """OTLP's JSON as protobuf's own JSON wants it: ids in base64."""
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(inner)).decode() if key in {"traceId", "spanId", "parentSpanId"}
            else binary(inner) for key, inner in value.items() if key != "unknown"
        }
    return [binary(item) for item in value] if isinstance(value, list) else value


def protobuf(request, kind):
    from google.protobuf.json_format import ParseDict

    return ParseDict(binary(request), kind()).SerializeToString()


BODIES = [
    pytest.param(json.dumps(TRACES).encode(), json.dumps(LOGS).encode(), True, id="json"),
    pytest.param(protobuf(TRACES, ExportTraceServiceRequest), protobuf(LOGS, ExportLogsServiceRequest), False,
                 id="protobuf"),
]


@pytest.mark.parametrize(("traces", "logs", "is_json"), BODIES)
def test_a_span_keeps_all_it_says(traces, logs, is_json):
    (span,) = decode(traces, "traces", is_json=is_json, now_ns=0).spans

    assert (TRACE, SPAN, PARENT, "decode", "gateway", "server", "error", "boom") == (
        span.trace_id, span.span_id, span.parent_span_id, span.name, span.service, span.kind, span.status,
        span.status_message,
    )
    assert (1_700_000_000_000_000_001, 250.0) == (span.start_ns, span.duration_ms)
    assert PLAIN == span.attributes
    assert {"service.name": "gateway", "host.name": "h1"} == span.resource
    assert (SpanEvent(1_700_000_000_000_000_005, "exception", {"http.route": "/v1/generate"}),) == span.events


@pytest.mark.parametrize(("traces", "logs", "is_json"), BODIES)
def test_a_log_record_gives_the_users_columns_and_keeps_the_rest_as_fields(traces, logs, is_json):
    first, second = decode(logs, "logs", is_json=is_json, now_ns=99).logs

    assert (1_700_000_000_000_000_001, "gateway", "warn", "queue is long", TRACE, SPAN) == (
        first.timestamp_ns, first.service, first.level, first.message, first.trace_id, first.span_id)
    assert ("/v1/generate", 12.5, "503", "late") == (first.endpoint, first.latency_ms, first.status, first.error_msg)
    rest = {name: value for name, value in PLAIN.items() if not name.startswith("http.")}
    assert {"resource.host.name": "h1", **rest} == first.fields
    assert (7, "error", '{"a": 1}', None, None) == (
        second.timestamp_ns, second.level, second.message, second.trace_id, second.span_id)


@pytest.mark.parametrize(("traces", "logs", "is_json"), BODIES)
def test_a_request_sent_again_has_the_same_uids_and_twins_in_it_do_not(traces, logs, is_json):
    once = decode(logs, "logs", is_json=is_json, now_ns=1)
    again = decode(logs, "logs", is_json=is_json, now_ns=2)
    record = LOGS["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    twins = {"resourceLogs": [{"resource": RESOURCE, "scopeLogs": [{"logRecords": [record, record]}]}]}
    body = json.dumps(twins).encode() if is_json else protobuf(twins, ExportLogsServiceRequest)

    assert [log.uid for log in once.logs] == [log.uid for log in again.logs]
    assert 2 == len({log.uid for log in decode(body, "logs", is_json=is_json, now_ns=1).logs})


@pytest.mark.parametrize(
    ("body", "signal", "words"),
    [
        (b"{", "traces", "not JSON"),
        (b"[1]", "traces", "an object is wanted where '[1]' stands"),
        (b'{"resourceSpans": {}}', "traces", "a list is wanted"),
        (b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [7]}]}]}', "logs", "an object is wanted where '7' stands"),
        (b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "soon"}]}]}]}', "logs", "no integer"),
        (b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "99999999999999999999"}]}]}]}', "logs",
         "beyond a signed 64-bit"),
        (b"[" * 100_000, "logs", "not JSON"),
        (b"\xff\xfe", "logs", "not JSON"),
    ],
)
def test_broken_json_is_named(body, signal, words):
    with pytest.raises(MalformedData) as caught:
        decode(body, signal, is_json=True, now_ns=0)

    assert words in str(caught.value)


def test_every_cut_of_a_protobuf_body_is_an_error():
    body = protobuf(TRACES, ExportTraceServiceRequest)

    assert () == decode(b"", "traces", is_json=False, now_ns=0).spans, "only the empty one is a message"
    for end in range(1, len(body)):
        with pytest.raises(MalformedData, match="cut short"):
            decode(body[:end], "traces", is_json=False, now_ns=0)


class Service:
    """The routes in an app, asked in process."""

    def __init__(self, settings=None, refuse=None):
        self.sink = KeptSignals(refuse=refuse)
        self.telemetry = Telemetry()
        self.app = Starlette(routes=otlp_routes(self.sink, settings or OtlpSettings(), self.telemetry,
                                                clock=ManualClock()))

    def post(self, path, body, content_type="application/x-protobuf", **headers):
        async def ask():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.post(path, content=body, headers={"Content-Type": content_type, **headers})

        return asyncio.run(ask())

    def outcome(self, signal, outcome):
        return self.telemetry.registry.get_sample_value(
            "observe_otlp_requests_total", {"signal": signal, "outcome": outcome})


@pytest.mark.parametrize(
    ("squeeze", "encoding"), [(bytes, "identity"), (gzip.compress, "gzip"), (zlib.compress, "deflate")])
@pytest.mark.parametrize(("traces", "logs", "is_json"), BODIES)
def test_what_is_accepted_is_stored_before_the_answer(traces, logs, is_json, squeeze, encoding):
    service = Service()
    kind = "application/json; charset=utf-8" if is_json else "application/x-protobuf"
    headers = {"Content-Encoding": encoding}

    answers = [service.post("/v1/traces", squeeze(traces), kind, **headers),
               service.post("/v1/logs", squeeze(logs), kind, **headers)]

    assert [200, 200] == [answer.status_code for answer in answers]
    assert {kind.partition(";")[0]} == {answer.headers["content-type"] for answer in answers}
    assert [b"{}", b"{}"] if is_json else [b"", b""] == [answer.content for answer in answers]
    assert (2, 1) == (len(service.sink.logs), len(service.sink.spans))
    assert (1.0, 1.0) == (service.outcome("traces", "ok"), service.outcome("logs", "ok"))


@pytest.mark.parametrize("is_json", [True, False])
def test_spans_without_ids_are_refused_one_by_one_and_the_sender_is_told(is_json):
    spans = [{"traceId": TRACE, "spanId": SPAN}, {"traceId": "0" * 32, "spanId": SPAN}, {"traceId": TRACE}]
    request = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    service = Service()

    if is_json:
        answer = service.post("/v1/traces", json.dumps(request).encode(), "application/json")
        told = answer.json()["partialSuccess"]["rejectedSpans"]
    else:
        answer = service.post("/v1/traces", protobuf(request, ExportTraceServiceRequest))
        told = str(ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans)

    assert (200, "2", 1) == (answer.status_code, told, len(service.sink.spans))
    assert "unknown_service" == service.sink.spans[0].service
    assert 2.0 == service.telemetry.registry.get_sample_value(
        "observe_dropped_total", {"stage": "otlp", "reason": "invalid ids"})


BODY = protobuf(TRACES, ExportTraceServiceRequest)


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "settings", "status", "outcome", "words"),
    [
        (BODY[:-1], None, {}, {}, 400, "malformed", "cut short"),
        (gzip.compress(BODY)[:-9], None, {"Content-Encoding": "gzip"}, {}, 400, "truncated", "cut short"),
        (b"no gzip", None, {"Content-Encoding": "gzip"}, {}, 400, "encoding", "not valid gzip"),
        (BODY, None, {"Content-Encoding": "zstd"}, {}, 400, "encoding", "send gzip or nothing"),
        (BODY, "text/plain", {}, {}, 415, "content_type", "text/plain"),
        (BODY, None, {}, {"max_body_bytes": 100}, 413, "max_body_bytes", "smaller batches"),
        (gzip.compress(BODY * 1000), None, {"Content-Encoding": "gzip"}, {"max_inflated_bytes": 10_000}, 413,
         "max_inflated_bytes", "once decompressed"),
        (BODY, None, {}, {"max_waiting": 0}, 429, "overloaded", "waiting already"),
    ],
)
def test_what_cannot_be_taken_is_answered_with_a_reason(body, content_type, headers, settings, status, outcome, words):
    service = Service(OtlpSettings(**settings))

    answer = service.post("/v1/traces", body, content_type or "application/x-protobuf", **headers)

    assert (status, 1.0) == (answer.status_code, service.outcome("traces", outcome))
    assert words in Status.FromString(answer.content).message
    assert [] == service.sink.spans


@pytest.mark.parametrize(
    ("refuse", "status"),
    [(LimitExceeded("the spool is full", "spool_bytes"), 429), (Unavailable("not now"), 503),
     (StorageError("the disk is full"), 503)],
)
def test_a_sink_that_cannot_take_it_asks_the_sender_to_come_back(refuse, status):
    answer = Service(refuse=refuse).post("/v1/traces", json.dumps(TRACES).encode(), "application/json")

    assert (status, "2", str(refuse)) == (answer.status_code, answer.headers["retry-after"], answer.json()["message"])


@pytest.fixture
def served():
    """The receiver behind a real server on loopback."""
    service = Service()
    with serving(service.app) as url:
        yield service, url


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_opentelemetrys_own_exporter_is_understood(served, compression):
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    service, url = served
    provider = TracerProvider(resource=Resource({"service.name": "real"}))
    exporter = OTLPSpanExporter(f"{url}/v1/traces", compression=Compression(compression), timeout=60)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("t")
    with tracer.start_as_current_span("outer") as outer:
        tracer.start_span("inner", attributes={"n": [1, 2]}).end()
    provider.shutdown()

    inner, outer_stored = service.sink.spans
    assert ("inner", "real", [1, 2]) == (inner.name, inner.service, inner.attributes["n"])
    assert f"{outer.get_span_context().trace_id:032x}" == inner.trace_id == outer_stored.trace_id
    assert outer_stored.span_id == inner.parent_span_id


def test_a_sender_that_hangs_up_half_way_is_counted_and_the_next_is_served(served):
    service, url = served
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                       b"Content-Length: 1000\r\n\r\nhalf")
    wait_until(lambda: service.outcome("traces", "truncated"), "it is counted", every_s=0.005)

    async def ask():
        async def chunks():
            for at in range(0, len(BODY), 50):
                yield BODY[at : at + 50]

        async with httpx.AsyncClient(timeout=60) as client:
            return await client.post(f"{url}/v1/traces", content=chunks(),
                                     headers={"Content-Type": "application/x-protobuf"})

    assert 200 == asyncio.run(ask()).status_code
    assert 1 == len(service.sink.spans)
