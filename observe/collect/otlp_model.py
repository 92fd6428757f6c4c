"""From OTLP's spans and log records to ours.

Both encodings reach this module as one record a time: a mapping with JSON's names, attributes and body as plain values
(`otlp_wire`). Ids are hex or bytes; a span without valid ids is refused, a log line without them is simply not joined.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from observe.collect.otlp_wire import MAX_TEXT, integer, mapping, text
from observe.model import LogRecord, Span, SpanEvent, SpanKind, SpanStatus, valid_span_id, valid_trace_id

_KINDS: Final[tuple[SpanKind, ...]] = ("internal", "internal", "server", "client", "producer", "consumer")
_STATUSES: Final[tuple[SpanStatus, ...]] = ("unset", "ok", "error")
_LEVELS: Final = ("trace", "debug", "info", "warn", "error", "fatal")
_LEVEL_WORDS: Final = {
    "warning": "warn", "err": "error", "critical": "fatal", "crit": "fatal", "emerg": "fatal", "alert": "fatal",
    "panic": "fatal", "severe": "error", "notice": "info", "information": "info", "verbose": "trace", "fine": "debug",
}
UNKNOWN_SERVICE: Final = "unknown_service"


def level_of(word: str, number: int = 0) -> str:
    """The level's one spelling.

    >>> level_of("WARNING"), level_of("", 17)
    ('warn', 'error')
    """
    word = word.strip().lower()
    word = _LEVEL_WORDS.get(word, word)
    if word in _LEVELS:
        return word
    return _LEVELS[(number - 1) // 4] if 1 <= number <= 24 else ""


def spans_of(resource: Mapping[str, Any], records: Iterable[Mapping[str, Any]]) -> tuple[list[Span], int]:
    """Spans of one resource, and how many were refused for their ids."""
    service = str(resource.get("service.name") or UNKNOWN_SERVICE)
    spans = []
    refused = 0
    for record in records:
        trace_id, span_id = valid_trace_id(_id(record, "traceId")), valid_span_id(_id(record, "spanId"))
        if trace_id is None or span_id is None:
            refused += 1
            continue
        status = mapping(record.get("status"))
        start_ns, kind, code = integer(record, "startTimeUnixNano"), integer(record, "kind"), integer(status, "code")
        spans.append(Span(
            trace_id=trace_id, span_id=span_id, parent_span_id=valid_span_id(_id(record, "parentSpanId")),
            name=text(record.get("name")), service=service, kind=_KINDS[kind] if 0 <= kind < 6 else "internal",
            start_ns=start_ns, end_ns=max(start_ns, integer(record, "endTimeUnixNano")),
            status=_STATUSES[code] if 0 <= code < 3 else "unset", status_message=text(status.get("message")),
            attributes=record.get("attributes") or {}, resource=resource,
            events=tuple(
                SpanEvent(integer(event, "timeUnixNano"), text(event.get("name")),
                          event.get("attributes") or {})
                for event in record.get("events") or ()
            ),
        ))
    return spans, refused


def log_of(resource: Mapping[str, Any], record: Mapping[str, Any], uid: str, now_ns: int) -> LogRecord:
    """One log record. Known attributes become columns, all others fields; the resource's come under ``resource.``."""
    said = dict(record.get("attributes") or {})
    body = record.get("body")
    message = body if isinstance(body, str) else "" if body is None else json.dumps(body, ensure_ascii=False)
    fields = {f"resource.{name}": value for name, value in resource.items() if name != "service.name"}
    service = resource.get("service.name") or said.get("service") or UNKNOWN_SERVICE
    status = _first(said, "status", "http.response.status_code", "http.status_code")
    error = _first(said, "error_msg", "exception.message")
    endpoint = _first(said, "endpoint", "http.route")
    latency = next((name for name in ("latency", "latency_ms") if _number(said.get(name)) is not None), None)
    latency_ms = None if latency is None else _number(said.pop(latency))
    fields.update(said)
    return LogRecord(
        timestamp_ns=integer(record, "timeUnixNano") or integer(record, "observedTimeUnixNano") or now_ns,
        service=str(service), level=level_of(text(record.get("severityText")), integer(record, "severityNumber")),
        message=message[:MAX_TEXT], trace_id=valid_trace_id(_id(record, "traceId")),
        span_id=valid_span_id(_id(record, "spanId")), endpoint=None if endpoint is None else str(endpoint),
        latency_ms=latency_ms, status=None if status is None else str(status),
        error_msg=None if error is None else str(error), fields=fields, uid=uid,
    )


class ContentUids:
    """Uids by content: a request that is sent again has the same ones, twins within it are told apart by a count."""

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}

    def uid(self, resource: bytes, record: bytes) -> str:
        digest = hashlib.blake2b(len(resource).to_bytes(8, "big") + resource + record, digest_size=16).digest()
        count = self._seen[digest] = self._seen.get(digest, 0) + 1
        return f"otlp:{digest.hex()}:{count}"


def _id(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return value.hex() if isinstance(value, bytes) else text(value)


def _first(said: dict[str, Any], *names: str) -> Any:
    """The value of the first of `names` that is there, taken out."""
    found = None
    for name in names:
        value = said.get(name)
        if found is None and value is not None and isinstance(value, str | int | float):
            found = value
            del said[name]
    return found


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
