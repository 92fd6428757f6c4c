"""How lines and spans lie in Elasticsearch: index names, templates, documents and the way back.

Names follow OpenTelemetry where it has one and the user's log line otherwise. `words`, `error_words` and `numbers` are
what our own search needs to answer as the embedded store does (`observe.store.words`); they are indexed and left out of
``_source``. Everything else is there for whoever looks with Kibana.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from observe.model import LogRecord, Span, SpanEvent, SpanKind, SpanStatus
from observe.store.records import plain
from observe.store.signal_tags import span_duration_us, span_endpoint, span_rank, span_tags
from observe.store.words import VALUE_CHARS, leaves, number_of, sortable, words

LAYOUT: Final = 1
"""Of the mappings; written into the templates so that a newer program replaces an older one's."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_NS: Final = 86_400_000_000_000
_LONGEST_PAST_DAYS: Final = 400
_LONGEST_FUTURE_DAYS: Final = 2


def index_name(prefix: str, kind: str, time_ns: int, now_ms: int) -> str:
    """The daily index of an event, by its own date: a line that comes again comes to the same index.

    A time more than 400 days ago or two days ahead cannot be right, and must not make an index each: those share one.

    >>> index_name("observe", "logs", 1_700_000_000_000_000_000, 1_700_000_000_000)
    'observe-logs-2023.11.14'
    """
    day, today = time_ns // _DAY_NS, now_ms // 86_400_000
    if not today - _LONGEST_PAST_DAYS <= day <= today + _LONGEST_FUTURE_DAYS:
        return f"{prefix}-{kind}-outside"
    return f"{prefix}-{kind}-{(_EPOCH + timedelta(days=day)):%Y.%m.%d}"


def day_of(prefix: str, kind: str, index: str) -> datetime | None:
    """The date in an index's name, or None for one that is not ours or has none."""
    try:
        return datetime.strptime(index.removeprefix(f"{prefix}-{kind}-"), "%Y.%m.%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def document_id(*identity: str) -> str:
    """The same id for the same thing, however often it is sent."""
    return hashlib.blake2b("\x00".join(identity).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def span_document_id(span: Span) -> str:
    return document_id(span.trace_id, span.span_id, str(span.start_ns), span.name)


# ---------------------------------------------------------------- documents


def log_document(record: LogRecord, seq: int, ident: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "@timestamp": _millis(record.timestamp_ns), "time_ns": record.timestamp_ns,
        "time_ms": record.timestamp_ns // 1_000_000, "seq": seq, "id": ident, "service": record.service,
        "level": record.level, "message": record.message, "uid": record.uid,
    }
    for name in ("trace_id", "span_id", "endpoint", "status", "error_msg"):
        value = getattr(record, name)
        if value is not None:
            document[name] = value
    if record.latency_ms is not None and math.isfinite(record.latency_ms):
        document["latency_ms"] = record.latency_ms
    numbers = []
    if (status := number_of(record.status)) is not None:
        numbers.append(f"status#{sortable(status)}")
    if record.fields:
        document["fields"] = carried(record.fields)
        numbers += [
            f"fields.{name}#{sortable(number)}" for name, leaf in leaves(record.fields)
            if (number := number_of(leaf)) is not None and len(name) <= VALUE_CHARS
        ]
    if numbers:
        document["numbers"] = numbers
    if cut := " ".join(words(record.message)):
        document["words"] = cut
    if record.error_msg and (cut := " ".join(words(record.error_msg))):
        document["error_words"] = cut
    return document


def log_of(source: Mapping[str, Any]) -> LogRecord:
    return LogRecord(
        source["time_ns"], source["service"], source["level"], source["message"], source.get("trace_id"),
        source.get("span_id"), source.get("endpoint"), source.get("latency_ms"), source.get("status"),
        source.get("error_msg"), source.get("fields", {}), source["uid"],
    )


def span_document(span: Span, seq: int, ident: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "@timestamp": _millis(span.start_ns), "trace_id": span.trace_id, "span_id": span.span_id, "name": span.name,
        "service": span.service, "kind": span.kind, "start_ns": span.start_ns, "end_ns": span.end_ns,
        "status": span.status, "status_message": span.status_message, "rank": span_rank(span),
        "duration_us": span_duration_us(span), "tags": span_tags(span), "seq": seq, "id": ident,
    }
    if span.parent_span_id is not None:
        document["parent_span_id"] = span.parent_span_id
    if endpoint := span_endpoint(span):
        document["endpoint"] = endpoint
    for name in ("attributes", "resource"):
        if value := getattr(span, name):
            document[name] = carried(value)
    if span.events:
        document["events"] = [[one.timestamp_ns, one.name, carried(one.attributes)] for one in span.events]
    return document


def span_of(source: Mapping[str, Any]) -> Span:
    return Span(
        source["trace_id"], source["span_id"], source.get("parent_span_id"), source["name"], source["service"],
        cast("SpanKind", source["kind"]), source["start_ns"], source["end_ns"], cast("SpanStatus", source["status"]),
        source["status_message"], source.get("attributes", {}), source.get("resource", {}),
        tuple(SpanEvent(*event) for event in source.get("events", ())),
    )


def carried(value: Any) -> Any:
    """A value as JSON and a flattened field both take it: no NaN, no NUL in a name, no empty name."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name).replace("\x00", " ") or " ": carried(leaf) for name, leaf in value.items()}
    if isinstance(value, list | tuple):
        return [carried(leaf) for leaf in value]
    return value


_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def encoded(document: Mapping[str, Any]) -> bytes:
    """A document as one line of JSON."""
    try:
        return _encode(document).encode()
    except UnicodeEncodeError:
        return _encode(plain(dict(document))).encode()


def _millis(time_ns: int) -> int:
    """Kibana's time; far outside of any calendar, its edge."""
    return max(-62_135_596_800_000, min(time_ns // 1_000_000, 253_402_300_799_999))


# ---------------------------------------------------------------- templates

_KEYWORD: Final = {"type": "keyword", "ignore_above": VALUE_CHARS}
_LONG: Final = {"type": "long"}
_KEPT: Final = {"type": "keyword", "index": False, "doc_values": False}
_WORDS: Final = {"type": "text", "norms": False}

_LOG_FIELDS: Final[dict[str, Any]] = {
    "@timestamp": {"type": "date", "format": "epoch_millis||strict_date_optional_time"}, "time_ns": _LONG,
    "time_ms": _LONG, "seq": _LONG, "id": _KEYWORD, "service": _KEYWORD, "level": _KEYWORD, "message": {"type": "text"},
    "uid": _KEPT, "trace_id": _KEYWORD, "span_id": _KEYWORD, "endpoint": _KEYWORD, "status": _KEYWORD,
    "error_msg": {"type": "text"}, "latency_ms": {"type": "double"}, "numbers": {"type": "keyword"},
    "fields": {"type": "flattened", "ignore_above": VALUE_CHARS, "depth_limit": 30}, "words": _WORDS,
    "error_words": _WORDS,
}
_SPAN_FIELDS: Final[dict[str, Any]] = {
    "@timestamp": {"type": "date", "format": "epoch_millis||strict_date_optional_time"}, "trace_id": _KEYWORD,
    "span_id": _KEYWORD, "parent_span_id": _KEYWORD, "name": _KEYWORD, "service": _KEYWORD, "kind": _KEYWORD,
    "start_ns": _LONG, "end_ns": _LONG, "status": _KEYWORD, "status_message": {"type": "text"}, "rank": _LONG,
    "duration_us": _LONG, "tags": _KEYWORD, "endpoint": _KEYWORD, "seq": _LONG, "id": _KEYWORD,
    "attributes": {"type": "flattened", "ignore_above": VALUE_CHARS, "depth_limit": 30},
    "resource": {"type": "flattened", "ignore_above": VALUE_CHARS, "depth_limit": 30},
    "events": {"type": "object", "enabled": False},
}
KINDS: Final = {"logs": _LOG_FIELDS, "spans": _SPAN_FIELDS}


def template(prefix: str, kind: str, *, shards: int, replicas: int, lifecycle: str | None) -> dict[str, Any]:
    """The body of a composable index template."""
    settings: dict[str, Any] = {
        "number_of_shards": shards, "number_of_replicas": replicas, "refresh_interval": "1s",
        "codec": "best_compression",
    }
    if lifecycle is not None:
        settings["lifecycle.name"] = lifecycle
    return {
        "index_patterns": [f"{prefix}-{kind}-*"],
        "priority": 200,
        "version": LAYOUT,
        "_meta": {"description": f"observe: {kind}, one index a day of the events", "layout": LAYOUT},
        "template": {
            "settings": {"index": settings},
            "mappings": {
                "dynamic": False,
                "_source": {"excludes": ["words", "error_words", "numbers"]},
                "properties": KINDS[kind],
            },
        },
    }
