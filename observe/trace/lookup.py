"""Everything about one trace, asked of the stores: its spans and lines, and the alerts that overlap it."""

from collections.abc import Sequence
from typing import Final

from observe.model import Alert, valid_trace_id
from observe.protocols import AlertBook, SignalStore
from observe.trace.join import join
from observe.trace.view import TraceView

LEAD_MS: Final = 300_000
"""An alert fires after what it judges: one that began this long after a trace may still be about it."""


def trace_view(trace_id: str, store: SignalStore, alerts: AlertBook | None = None) -> TraceView:
    """Everything about one trace. An id that is none gives an empty view."""
    known = valid_trace_id(trace_id)
    if known is None:
        return TraceView(trace_id)
    view = join(known, store.trace(known))
    if alerts is None or not (view.rows or view.logs):
        return view
    start_ms, end_ms = view.start_ns // 1_000_000, view.end_ns // 1_000_000
    found = [*alerts.active(), *alerts.history(start_ms - 86_400_000)]
    return TraceView(view.trace_id, view.rows, view.logs, _overlapping(found, view, start_ms, end_ms), view.notes)


def _overlapping(alerts: Sequence[Alert], view: TraceView, start_ms: int, end_ms: int) -> tuple[Alert, ...]:
    """Alerts on at that time about one of the trace's services, or that name the trace as their evidence."""
    services = set(view.services)
    kept: dict[tuple[str, int], Alert] = {}
    for alert in alerts:
        about = alert.labels.get("service") or alert.labels.get("job")
        in_time = alert.starts_at_ms - LEAD_MS <= end_ms and (alert.ends_at_ms is None or alert.ends_at_ms >= start_ms)
        if view.trace_id in alert.annotations.get("trace_ids", "") or (in_time and about in services):
            kept.setdefault((alert.fingerprint, alert.starts_at_ms), alert)
    return tuple(sorted(kept.values(), key=lambda alert: alert.starts_at_ms))
