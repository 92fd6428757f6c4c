"""Traces: the list, failed first and then slowest, and one trace as a waterfall with its log lines."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from starlette.routing import BaseRoute

from observe.errors import QueryError
from observe.model import Span
from observe.moment import rfc3339
from observe.protocols import AlertBook, SignalStore, TraceQuery
from observe.show import words
from observe.show.console.page import Ask, Desk, Page
from observe.show.console.parts import attempt_list
from observe.show.console.waterfall import Row, Waterfall, lay_out, where_time_went
from observe.show.plot import time_ticks
from observe.show.problems import NotFound
from observe.show.signals_api import trace_of
from observe.trace.lookup import trace_view
from observe.trace.wire import finite

_PAGE_ROWS = 200
_MORE_ROWS = 500
_MOST_ROWS = 20_000
_KEPT = 8
_MOST_LINES = 2000


class _Recent:
    """The last few traces laid out, because a long one is asked for in pieces."""

    def __init__(self, store: SignalStore, alerts: AlertBook | None) -> None:
        self._store = store
        self._alerts = alerts
        self._lock = Lock()
        self._kept: OrderedDict[str, Waterfall] = OrderedDict()

    def load(self, trace_id: str, *, fresh: bool) -> Waterfall:
        with self._lock:
            kept = self._kept.get(trace_id)
        if kept is not None and not fresh:
            return kept
        view = trace_view(trace_id, self._store, self._alerts)
        if not view.rows and not view.logs:
            raise NotFound(
                f"no span and no log line of trace {trace_id} is stored; it may be too old, or not sent yet"
            )
        made = lay_out(view)
        with self._lock:
            self._kept[trace_id] = made
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made


def routes(desk: Desk) -> list[BaseRoute]:
    context = desk.context
    store = context.signals
    if store is None:
        return []
    recent = _Recent(store, context.alerts)

    def traces(ask: Ask) -> Page:
        duration = ask.get("min_ms")
        try:
            least_ms = float(duration) if duration else None
        except ValueError as error:
            raise QueryError(f"{duration[:20]!r} is not a number of milliseconds") from error
        limit = ask.number("limit", 50, 1000)
        query = TraceQuery(
            ask.range.start_ms * 1_000_000,
            ask.range.end_ms * 1_000_000,
            ask.get("service") or None,
            ask.get("endpoint") or None,
            ask.get("failed") == "1",
            least_ms,
            limit,
        )
        found = attempt_list(lambda: store.traces(query))
        longest = max((t.duration_ms for t in found.value), default=1.0) or 1.0
        failed = sum(t.failed for t in found.value)
        services = attempt_list(lambda: store.services(query.start_ns, query.end_ns))
        return Page(
            "traces.html",
            "Traces",
            {
                "found": found,
                "longest": longest,
                "failed": failed,
                "services": services.value,
                "limit": limit,
                "filters": {name: ask.get(name) for name in ("service", "endpoint", "failed", "min_ms")},
            },
            live=True,
        )

    def trace(ask: Ask) -> Page:
        trace_id = str(trace_of(ask.names["trace_id"]))
        fall = recent.load(trace_id, fresh=True)
        view = fall.view
        only = ask.get("show", "all")
        rows = shown_rows(fall.rows, only)
        until = max(_PAGE_ROWS, ask.number("rows", _PAGE_ROWS, _MOST_ROWS))
        return Page(
            "trace.html",
            f"Trace {trace_id[:8]}",
            {
                "trace_id": trace_id,
                "fall": fall,
                "rows": rows[:until],
                "more": more_of(len(rows), until),
                "only": only,
                "sentence": sentence(fall),
                "ticks": _ticks(fall),
                "start_ns": view.start_ns,
                "lines": view.logs[:_MOST_LINES],
                "lines_left_out": max(0, len(view.logs) - _MOST_LINES),
                "chosen": _chosen(ask.get("span"), fall) or next((r.span for r in fall.rows if not r.view.gap), None),
                "details": span_details,
            },
        )

    def rows_of(ask: Ask) -> Page:
        trace_id = str(trace_of(ask.names["trace_id"]))
        fall = recent.load(trace_id, fresh=False)
        offset = ask.number("offset", 0, 10_000_000)
        only = ask.get("show", "all")
        rows = shown_rows(fall.rows, only)
        until = offset + _MORE_ROWS
        return Page("trace_rows.html", "", {
            "rows": rows[offset:until], "trace_id": trace_id, "only": only, "more": more_of(len(rows), until),
        })

    def span_panel(ask: Ask) -> Page:
        trace_id = str(trace_of(ask.names["trace_id"]))
        fall = recent.load(trace_id, fresh=False)
        span = _chosen(ask.names["span_id"], fall)
        if span is None:
            raise NotFound(f"trace {trace_id} has no span {ask.names['span_id'][:16]}")
        return Page(
            "span.html",
            span.name,
            {"span": span, "details": span_details, "start_ns": fall.view.start_ns, "trace_id": trace_id},
        )

    return [
        desk.page("/traces", traces),
        desk.page("/traces/{trace_id}", trace),
        desk.page("/traces/{trace_id}/rows", rows_of),
        desk.page("/traces/{trace_id}/spans/{span_id}", span_panel),
    ]


@dataclass(frozen=True, slots=True)
class More:
    """What a long waterfall leaves out: rows from `offset` on, and how many the next step shows."""

    offset: int
    left: int
    step: int


def more_of(total: int, until: int) -> More | None:
    left = total - until
    return More(until, left, min(left, _MORE_ROWS)) if left > 0 else None


def shown_rows(rows: list[Row], only: str) -> list[Row]:
    match only:
        case "critical":
            return [row for row in rows if row.critical or row.view.gap]
        case "errors":
            return [row for row in rows if row.failed]
        case _:
            return rows


def sentence(fall: Waterfall) -> str:
    """``POST /generate took 2.63 s; 2.2 s in decode on worker-2.``"""
    view = fall.view
    if not fall.rows:
        return f"No span of this trace is stored; {words.plural(len(view.logs), 'log line')} carry its id."
    root = next((row.span for row in fall.rows if not row.view.gap), None)
    more = f"; {where_time_went(view)}" if len(fall.rows) > 1 else ""
    failed = f" {words.plural(fall.failed, 'span')} failed." if fall.failed else ""
    return f"{root.name if root else 'This trace'} took {words.took(fall.duration_ms)}{more}.{failed}"


def _ticks(fall: Waterfall) -> list[tuple[float, str]]:
    whole = max(fall.duration_ms, 1e-6)
    marks, _ = time_ticks(0, int(whole * 1000), 5)  # microseconds as if they were ms: round numbers of any size
    if len(marks) < 3:
        marks = [int(whole * 1000 * i / 4) for i in range(5)]
    return [(mark / (whole * 1000), words.took(mark / 1000) if mark else "0") for mark in marks[:7]]


def _chosen(span_id: str, fall: Waterfall) -> Span | None:
    return next((row.span for row in fall.rows if row.span.span_id == span_id and not row.view.gap), None)


def span_details(span: Span) -> list[tuple[str, list[tuple[str, str]]]]:
    """Attributes, resource and events of a span as (title, rows)."""
    events = [
        (
            event.name,
            ", ".join(f"{k}={finite(v)}" for k, v in event.attributes.items())
            or rfc3339(event.timestamp_ns // 10**6),
        )
        for event in span.events
    ]
    return [
        ("Attributes", [(name, str(finite(value))) for name, value in span.attributes.items()]),
        ("Events", events),
        ("Resource", [(name, str(finite(value))) for name, value in span.resource.items()]),
    ]
