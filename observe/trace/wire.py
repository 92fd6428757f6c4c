"""Log lines, spans and traces as JSON: one shape for the API, the console and the command line.

Nanoseconds are strings, because a JavaScript number cannot hold them; times also stand as ISO 8601.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from observe.model import Alert, LogRecord
from observe.protocols import LogHistogram, LogPage, TraceSummary
from observe.trace.view import LogView, SpanView, TraceView

TREE_DEPTH: Final = 100
"""Deeper spans hang on their ancestor at this depth: JSON readers have a stack."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def iso(time_ns: int) -> str:
    """RFC 3339 with nine digits, UTC; a time that no calendar has is given as it is.

    >>> iso(1_700_000_000_123_456_789)
    '2023-11-14T22:13:20.123456789Z'
    """
    seconds, rest = divmod(time_ns, 1_000_000_000)
    try:
        return f"{_second(seconds)}.{rest:09d}Z"
    except OverflowError:
        return str(time_ns)


@lru_cache(maxsize=1024)  # the spans of a trace lie in a few seconds
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat(timespec="seconds").removesuffix("+00:00")


def log_json(record: LogRecord) -> dict[str, Any]:
    return {
        "timestamp": iso(record.timestamp_ns), "timestamp_ns": str(record.timestamp_ns), "service": record.service,
        "level": record.level, "message": record.message, "trace_id": record.trace_id, "span_id": record.span_id,
        "endpoint": record.endpoint, "latency_ms": finite(record.latency_ms), "status": record.status,
        "error_msg": record.error_msg, "fields": _finite_map(record.fields), "uid": record.uid,
    }


def page_json(page: LogPage) -> dict[str, Any]:
    return {
        "lines": [log_json(record) for record in page.lines], "total": page.total,
        "total_is_exact": page.total_is_exact, "cursor": page.cursor,
    }


def histogram_json(found: LogHistogram) -> dict[str, Any]:
    return {
        "starts": [iso(int(start)) for start in found.starts_ns],
        "starts_ns": [str(int(start)) for start in found.starts_ns],
        "counts": {level: row.tolist() for level, row in found.counts.items()},
    }


def summary_json(one: TraceSummary) -> dict[str, Any]:
    return {
        "trace_id": one.trace_id, "service": one.service, "name": one.name, "endpoint": one.endpoint,
        "start": iso(one.start_ns), "start_ns": str(one.start_ns), "duration_ms": one.duration_ms, "failed": one.failed,
        "status": one.status,
    }


def alert_json(alert: Alert) -> dict[str, Any]:
    return {
        "fingerprint": alert.fingerprint, "name": alert.name, "labels": dict(alert.labels),
        "annotations": dict(alert.annotations), "state": str(alert.state),
        "starts_at": iso(alert.starts_at_ms * 1_000_000),
        "ends_at": None if alert.ends_at_ms is None else iso(alert.ends_at_ms * 1_000_000), "reason": str(alert.reason),
        **{name: finite(getattr(alert, name)) for name in ("value", "baseline", "lower", "upper", "score")},
    }


def trace_json(view: TraceView) -> dict[str, Any]:
    """``spans`` is a tree by ``children``; a trace known only from its logs has ``spans: []``."""
    start_ns = view.start_ns
    return {
        "trace_id": view.trace_id, "headline": view.headline, "start": iso(start_ns),
        "start_ns": str(start_ns), "duration_ms": (view.end_ns - start_ns) / 1e6,
        "services": list(view.services), "span_count": sum(not row.gap for row in view.rows), "spans": _tree(view),
        "logs": [_trace_log(one, start_ns) for one in view.logs],
        "alerts": [alert_json(alert) for alert in view.alerts],
        "notes": list(view.notes),
    }


def _tree(view: TraceView) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = []
    tops: list[dict[str, Any]] = []
    start_ns = view.start_ns
    holders: list[dict[str, Any]] = []  # by row: where its children go
    for row in view.rows:
        node = _span(row, start_ns)
        nodes.append(node)
        if row.parent is None:
            tops.append(node)
        else:
            holders[row.parent]["children"].append(node)
        holders.append(node if row.depth < TREE_DEPTH else holders[row.parent or 0])
    return tops


def _span(row: SpanView, start_ns: int) -> dict[str, Any]:
    span, begun, over = row.span, row.start_ns, row.end_ns
    return {
        "span_id": span.span_id, "parent_span_id": span.parent_span_id, "name": span.name, "service": span.service,
        "kind": span.kind, "start": iso(begun), "start_ns": str(begun), "end": iso(over),
        "offset_ms": (begun - start_ns) / 1e6, "duration_ms": (over - begun) / 1e6,
        "self_ms": row.self_ns / 1e6, "critical_ms": row.critical_ns / 1e6, "skew_ms": row.skew_ns / 1e6,
        "status": span.status, "status_message": span.status_message, "gap": row.gap, "depth": row.depth,
        "attributes": _finite_map(span.attributes), "resource": _finite_map(span.resource),
        "events": [
            {"timestamp": iso(event.timestamp_ns), "offset_ms": (event.timestamp_ns + row.skew_ns - start_ns) / 1e6,
             "name": event.name, "attributes": _finite_map(event.attributes)}
            for event in span.events
        ],
        "logs": list(row.logs), "children": [],
    }


def _trace_log(one: LogView, start_ns: int) -> dict[str, Any]:
    offset_ms = (one.record.timestamp_ns - start_ns) / 1e6
    return log_json(one.record) | {"row": one.row, "offset_ms": offset_ms}


_PLAIN: Final = frozenset({str, int, bool, type(None)})


def _finite_map(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """As `finite`; what JSON carries as it is, nearly always, is not copied."""
    for value in values.values():
        if type(value) not in _PLAIN and not (type(value) is float and math.isfinite(value)):
            return {str(name): finite(leaf) for name, leaf in values.items()}
    return values


def finite(value: Any) -> Any:
    """A value that JSON can carry: NaN and infinities are null, foreign types text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, dict):
        return {str(name): finite(leaf) for name, leaf in value.items()}
    if isinstance(value, list | tuple):
        return [finite(leaf) for leaf in value]
    return str(value)
