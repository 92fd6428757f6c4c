"""Traces: the list, failed first and then slowest, and one trace as a waterfall with its log lines."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from starlette.routing import BaseRoute

from observe.errors import QueryError
from observe.model import LogRecord, Span
from observe.protocols import SignalStore, TraceQuery, TraceSignals
from observe.show import words
from observe.show.chart import time_ticks
from observe.show.console.page import Ask, Desk, Page, attempt
from observe.show.console.waterfall import Row, Waterfall, lay_out, slowest_span
from observe.show.problems import NotFound
from observe.show.signals_api import overlapping_alerts, trace_of
from observe.show.signals_json import plain

_PAGE_ROWS = 200
_KEPT = 8
_MOST_LINES = 2000


@dataclass(frozen=True, slots=True)
class _Loaded:
    signals: TraceSignals
    waterfall: Waterfall


class _Recent:
    """The last few traces laid out, because a long one is asked for in pieces."""

    def __init__(self, store: SignalStore) -> None:
        self._store = store
        self._lock = Lock()
        self._kept: OrderedDict[str, _Loaded] = OrderedDict()

    def load(self, trace_id: str, *, fresh: bool) -> _Loaded:
        with self._lock:
            kept = self._kept.get(trace_id)
        if kept is not None and not fresh:
            return kept
        signals = self._store.trace(trace_id)
        if not signals.spans and not signals.logs:
            raise NotFound(f"no span and no log line of trace {trace_id} is stored; it may be too old, or not sent yet")
        loaded = _Loaded(signals, lay_out(signals.spans, signals.logs))
        with self._lock:
            self._kept[trace_id] = loaded
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return loaded


def routes(desk: Desk) -> list[BaseRoute]:
    context = desk.context
    store = context.signals
    if store is None:
        return []
    recent = _Recent(store)

    def traces(ask: Ask) -> Page:
        duration = ask.get("min_ms")
        try:
            least_ms = float(duration) if duration else None
        except ValueError as error:
            raise QueryError(f"{duration[:20]!r} is not a number of milliseconds") from error
        limit = ask.number("limit", 50, 1000)
        query = TraceQuery(
            ask.range.start_ms * 1_000_000, ask.range.end_ms * 1_000_000, ask.get("service") or None,
            ask.get("endpoint") or None, ask.get("failed") == "1", least_ms, limit,
        )
        found = attempt(lambda: store.traces(query), [])
        longest = max((t.duration_ms for t in found.value), default=1.0) or 1.0
        failed = sum(t.failed for t in found.value)
        services = attempt(lambda: store.services(query.start_ns, query.end_ns), [])
        return Page("traces.html", "Traces", {
            "found": found, "longest": longest, "failed": failed, "services": services.value, "limit": limit,
            "filters": {name: ask.get(name) for name in ("service", "endpoint", "failed", "min_ms")},
        }, live=True)

    def trace(ask: Ask) -> Page:
        trace_id = str(trace_of(ask.names["trace_id"]))
        loaded = recent.load(trace_id, fresh=True)
        fall, signals = loaded.waterfall, loaded.signals
        only = ask.get("show", "all")
        rows = shown_rows(fall.rows, only)
        lines = sorted(signals.logs, key=lambda line: line.timestamp_ns)
        start_ns = fall.start_ns or (lines[0].timestamp_ns if lines else 0)
        ticks = _ticks(fall)
        return Page("trace.html", f"Trace {trace_id[:8]}", {
            "trace_id": trace_id, "fall": fall, "rows": rows[:_PAGE_ROWS], "row_count": len(rows), "only": only,
            "chunks": list(range(_PAGE_ROWS, len(rows), _PAGE_ROWS)), "chunk_rows": _PAGE_ROWS, "offset": 0,
            "sentence": sentence(fall, signals.spans, signals.logs), "ticks": ticks, "start_ns": start_ns,
            "root": next((row.span for row in fall.rows if row.span is not None), None),
            "lines": lines[:_MOST_LINES], "lines_left_out": max(0, len(lines) - _MOST_LINES),
            "names": {span.span_id: span.name for span in signals.spans},
            "alerts": attempt(lambda: overlapping_alerts(context, signals), []),
            "chosen": _chosen(ask.get("span"), signals.spans), "details": span_details,
        })

    def rows_of(ask: Ask) -> Page:
        trace_id = str(trace_of(ask.names["trace_id"]))
        loaded = recent.load(trace_id, fresh=False)
        offset = ask.number("offset", 0, 10_000_000)
        rows = shown_rows(loaded.waterfall.rows, ask.get("show", "all"))
        return Page("trace_rows.html", "", {
            "rows": rows[offset : offset + _PAGE_ROWS], "fall": loaded.waterfall, "offset": offset, "trace_id": trace_id,
            "only": ask.get("show", "all"),
        })

    def span_panel(ask: Ask) -> Page:
        trace_id = str(trace_of(ask.names["trace_id"]))
        loaded = recent.load(trace_id, fresh=False)
        span = _chosen(ask.names["span_id"], loaded.signals.spans)
        if span is None:
            raise NotFound(f"trace {trace_id} has no span {ask.names['span_id'][:16]}")
        return Page("span.html", span.name, {
            "span": span, "details": span_details(span), "start_ns": loaded.waterfall.start_ns, "trace_id": trace_id,
        })

    return [
        desk.page("/traces", traces),
        desk.page("/traces/{trace_id}", trace),
        desk.page("/traces/{trace_id}/rows", rows_of),
        desk.page("/traces/{trace_id}/spans/{span_id}", span_panel),
    ]


def shown_rows(rows: list[Row], only: str) -> list[Row]:
    match only:
        case "critical":
            return [row for row in rows if row.critical or row.span is None]
        case "errors":
            return [row for row in rows if row.failed]
        case _:
            return rows


def sentence(fall: Waterfall, spans: tuple[Span, ...], logs: tuple[LogRecord, ...]) -> str:
    """``POST /generate took 2.63 s; 2.2 s in decode on worker-2.``"""
    if not fall.rows:
        return f"No span of this trace is stored; {words.plural(len(logs), 'log line')} carry its id."
    root = next((row.span for row in fall.rows if row.span is not None), None)
    name = root.name if root else "This trace"
    failed = f" {words.plural(fall.failed, 'span')} failed." if fall.failed else ""
    more = f"; {slowest_span(spans)}" if len(spans) > 1 else ""
    return f"{name} took {words.took(fall.duration_ms)}{more}.{failed}"


def _ticks(fall: Waterfall) -> list[tuple[float, str]]:
    whole = max(fall.duration_ms, 1e-6)
    marks, _ = time_ticks(0, int(whole * 1000), 5)  # microseconds as if they were ms: round numbers of any size
    if len(marks) < 3:
        marks = [int(whole * 1000 * i / 4) for i in range(5)]
    return [(mark / (whole * 1000), words.took(mark / 1000) if mark else "0") for mark in marks[:7]]


def _chosen(span_id: str, spans: tuple[Span, ...]) -> Span | None:
    return next((span for span in spans if span.span_id == span_id), None) if span_id else None


def span_details(span: Span) -> list[tuple[str, list[tuple[str, str]]]]:
    """Attributes, resource and events of a span as (title, rows)."""
    events = [
        (event.name, ", ".join(f"{k}={plain(v)}" for k, v in event.attributes.items()) or words.iso(event.timestamp_ns // 10**6))
        for event in span.events
    ]
    return [
        ("Attributes", [(name, str(plain(value))) for name, value in span.attributes.items()]),
        ("Events", events),
        ("Resource", [(name, str(plain(value))) for name, value in span.resource.items()]),
    ]


