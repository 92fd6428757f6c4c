"""Log lines, spans and traces as JSON values. Times are RFC 3339 with nanoseconds; durations milliseconds."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from observe.model import Alert, LogRecord, Span
from observe.protocols import TraceSignals, TraceSummary
from observe.show.prometheus_status import rfc3339


def time_ns_text(time_ns: int) -> str:
    """RFC 3339 with nine digits.

    >>> time_ns_text(1_700_000_000_000_000_001)
    '2023-11-14T22:13:20.000000001Z'
    """
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%dT%H:%M:%S')}.{rest:09d}Z"


def log_json(line: LogRecord) -> dict[str, Any]:
    """The columns that are there, and `fields` for the rest."""
    known = {
        "timestamp": time_ns_text(line.timestamp_ns), "service": line.service, "level": line.level,
        "message": line.message, "trace_id": line.trace_id, "span_id": line.span_id, "endpoint": line.endpoint,
        "latency_ms": line.latency_ms,
        "status": line.status, "error_msg": line.error_msg, "fields": plain(line.fields) or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def span_json(span: Span) -> dict[str, Any]:
    return {
        "span_id": span.span_id,
        "parent_span_id": span.parent_span_id,
        "name": span.name,
        "service": span.service,
        "kind": span.kind,
        "start": time_ns_text(span.start_ns),
        "end": time_ns_text(span.end_ns),
        "duration_ms": span.duration_ms,
        "status": span.status,
        "status_message": span.status_message,
        "attributes": plain(span.attributes),
        "resource": plain(span.resource),
        "events": [
            {"timestamp": time_ns_text(e.timestamp_ns), "name": e.name, "attributes": plain(e.attributes)}
            for e in span.events
        ],
    }


def summary_json(found: TraceSummary) -> dict[str, Any]:
    return {
        "trace_id": found.trace_id, "service": found.service, "name": found.name, "endpoint": found.endpoint,
        "start": time_ns_text(found.start_ns), "duration_ms": found.duration_ms, "failed": found.failed,
        "status": found.status,
    }


def alert_json(alert: Alert) -> dict[str, Any]:
    return {
        "fingerprint": alert.fingerprint, "labels": dict(alert.labels.pairs), "annotations": dict(alert.annotations),
        "state": alert.state.value, "starts_at": rfc3339(alert.starts_at_ms),
        "ends_at": None if alert.ends_at_ms is None else rfc3339(alert.ends_at_ms),
        **{name: plain(getattr(alert, name)) for name in ("value", "baseline", "lower", "upper", "score")},
    }


def trace_json(trace_id: str, signals: TraceSignals, alerts: Sequence[Alert]) -> dict[str, Any]:
    """Spans as a tree (each with its `children`), logs in the order of time, the alerts that overlap."""
    nodes = {span.span_id: {**span_json(span), "children": []} for span in by_start(signals.spans)}
    roots: list[dict[str, Any]] = []
    for span_id, node in nodes.items():
        parent = nodes.get(node["parent_span_id"] or "")
        inside = parent is not None and not _is_under(nodes, node["parent_span_id"], span_id)
        (parent["children"] if parent is not None and inside else roots).append(node)
    return {
        "trace_id": trace_id,
        "spans": roots,
        "logs": [log_json(line) for line in sorted(signals.logs, key=lambda line: line.timestamp_ns)],
        "alerts": [alert_json(alert) for alert in alerts],
    }


def by_start(spans: Sequence[Span]) -> list[Span]:
    return sorted(spans, key=lambda span: (span.start_ns, -span.end_ns, span.span_id))


def _is_under(nodes: Mapping[str, dict[str, Any]], start: str, wanted: str) -> bool:
    """Whether `wanted` is an ancestor of `start`: a loop of parents must not hang us."""
    seen: set[str] = set()
    here: str | None = start
    while here and here in nodes and here not in seen:
        if here == wanted:
            return True
        seen.add(here)
        here = nodes[here]["parent_span_id"]
    return here in seen if here else False


def plain(value: Any) -> Any:
    """`value` with only what JSON has: NaN and infinities as text, bytes as hex, foreign objects as their text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if value - value == 0 else str(value)
        case Mapping():
            return {str(name): plain(inner) for name, inner in value.items()}
        case bytes():
            return value.hex()
        case list() | tuple():
            return [plain(inner) for inner in value]
        case _:
            return str(value)
