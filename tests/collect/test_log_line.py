"""What one log line becomes: the users' own JSON, other libraries' JSON, and what is no JSON."""

import json

import pytest

from observe.collect.log_line import read_line, read_time_ns

TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
NOW = 1_800_000_000_000_000_000
AT = 1_700_000_000_123_456_789


def read(line):
    raw = line if isinstance(line, bytes) else json.dumps(line).encode()
    return read_line(raw, service="file", uid="u", now_ns=NOW)


def test_the_users_line_fills_every_column():
    record, is_json = read({
        "timestamp": 1_700_000_000.5, "service": "gateway", "endpoint": "/v1/generate", "latency": 812.5,
        "status": "ERROR", "error_msg": "queue full", "trace_id": TRACE, "span_id": SPAN, "level": "ERROR",
        "message": "refused", "queue": {"depth": 7}, "n": 1,
    })

    assert is_json
    assert (1_700_000_000_500_000_000, "gateway", "/v1/generate", 812.5, "ERROR", "queue full", TRACE, SPAN, "error",
            "refused", {"queue": {"depth": 7}, "n": 1}, "u") == (
        record.timestamp_ns, record.service, record.endpoint, record.latency_ms, record.status, record.error_msg,
        record.trace_id, record.span_id, record.level, record.message, record.fields, record.uid)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_700_000_000, 1_700_000_000_000_000_000),
        (1_700_000_000.25, 1_700_000_000_250_000_000),
        (1_700_000_000_123, 1_700_000_000_123_000_000),
        (1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (AT, AT),
        (str(AT), AT),
        ("1700000000.5", 1_700_000_000_500_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000_000_000),
        ("2023-11-14T22:13:20.123456789Z", AT),
        ("2023-11-14T23:13:20.5+01:00", 1_700_000_000_500_000_000),
        ("2023-11-14T23:13:20.5+0100", 1_700_000_000_500_000_000),
        ("2023-11-14 22:13:20,123", 1_700_000_000_123_000_000),
        ("2023-11-14 22:13:20 UTC", 1_700_000_000_000_000_000),
        ("2023-11-14T22:13", 1_699_999_980_000_000_000),
        ("yesterday", None), ("2023-13-14T22:13:20Z", None), (0, None), (-5, None), (True, None), (1e300, None),
        (None, None), ([], None), ("9" * 60, None), (float("nan"), None),
    ],
)
def test_a_time_is_told_by_its_magnitude_or_its_form(value, expected):
    assert expected == read_time_ns(value)


@pytest.mark.parametrize(
    ("line", "column", "expected"),
    [
        ({"@timestamp": "2023-11-14T22:13:20Z"}, "timestamp_ns", 1_700_000_000_000_000_000),
        ({"time": 1_700_000_000_123}, "timestamp_ns", 1_700_000_000_123_000_000),
        ({"timestamp": "soon", "ts": 1_700_000_000}, "timestamp_ns", 1_700_000_000_000_000_000),
        ({"timestamp": "soon"}, "timestamp_ns", NOW),
        ({"msg": "hello"}, "message", "hello"),
        ({"event": "hello"}, "message", "hello"),
        ({"message": {"a": 1}, "msg": "hello"}, "message", "hello"),
        ({"error": "bad"}, "message", "bad"),
        ({"severity": "WARNING"}, "level", "warn"),
        ({"levelname": "CRITICAL"}, "level", "fatal"),
        ({"level": 50}, "level", "error"),
        ({"log.level": "info"}, "level", "info"),
        ({"log": {"level": "info", "logger": "x"}}, "level", "info"),
        ({"level": "loud"}, "level", ""),
        ({"otelTraceID": TRACE}, "trace_id", TRACE),
        ({"traceID": TRACE.upper()}, "trace_id", TRACE),
        ({"trace": {"id": TRACE}}, "trace_id", TRACE),
        ({"trace.id": TRACE}, "trace_id", TRACE),
        ({"traceparent": f"00-{TRACE}-{SPAN}-01"}, "trace_id", TRACE),
        ({"traceparent": f"00-{TRACE}-{SPAN}-01"}, "span_id", SPAN),
        ({"trace_id": "0" * 32}, "trace_id", None),
        ({"trace_id": "0"}, "trace_id", None),
        ({"trace_id": 7}, "trace_id", None),
        ({"service": {"name": "gateway"}}, "service", "gateway"),
        ({"service": ""}, "service", "file"),
        ({"status": 200}, "status", "200"),
        ({"status": 200.0}, "status", "200"),
        ({"http.status_code": 503}, "status", "503"),
        ({"latency": "12.5"}, "latency_ms", 12.5),
        ({"latency": "slow"}, "latency_ms", None),
        ({"latency": float("inf")}, "latency_ms", None),
        ({"duration_ms": 3}, "latency_ms", 3.0),
        ({"route": "/x"}, "endpoint", "/x"),
        ({}, "message", ""),
    ],
)
def test_other_names_mean_the_same(line, column, expected):
    record, is_json = read(line)

    assert (True, expected) == (is_json, getattr(record, column))


def test_what_cannot_be_read_as_its_column_stays_a_field():
    record, _ = read({"trace_id": "abc", "latency": "slow", "log": {"level": "info", "logger": "x"}})

    assert {"trace_id": "abc", "latency": "slow", "log": {"logger": "x"}} == record.fields


@pytest.mark.parametrize(
    "line",
    [b"plain words", b'{"cut": ', b"[1, 2]", b"42", b'{"a": 1} trailing', b"\xff\xfe\x00", b"{" * 100_000,
     b'{"a":' * 5000 + b"1" + b"}" * 5000],
)
def test_what_is_no_json_object_is_kept_whole(line):
    record, is_json = read(line)

    assert (False, line.decode(errors="replace"), NOW, "file") == (
        is_json, record.message, record.timestamp_ns, record.service)


def test_values_stay_within_what_every_store_can_keep():
    deep = inner = {}
    for _ in range(40):
        inner["x"] = inner = {}
    record, is_json = read(json.dumps({"big": 10**30, "nan": float("nan"), "half": "\ud800", "deep": deep,
                                       "\udfff": 1}).encode())

    assert is_json
    assert ("1" + "0" * 30, "nan", "?", 1) == tuple(record.fields[name] for name in ("big", "nan", "half", "?"))
    assert len(json.dumps(record.fields["deep"])) < 200
