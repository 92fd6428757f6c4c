"""What shows an alert: its chart, traces and where their time went, new log patterns, other alerts beside it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from markupsafe import Markup

from observe.model import Alert, AlertState
from observe.protocols import TraceQuery, TraceSummary
from observe.show import words
from observe.show.chart import Chart, Flag, Line, draw
from observe.show.console.bands import judged_series
from observe.show.console.parts import Part, attempt_list
from observe.show.console.standing import has_band, is_quiet, unit_for
from observe.show.console.time_range import Range
from observe.show.console.waterfall import where_time_went
from observe.show.context import ShowContext
from observe.trace.join import join
from observe.trace.patterns import LOUD, Pattern, new_patterns, strongest

_MOST_TRACES = 5
_MOST_PATTERNS = 8


@dataclass(frozen=True, slots=True)
class Request:
    """A trace that shows the alert: where its time went."""

    summary: TraceSummary
    share: float
    """Of the slowest one's duration, for its bar."""
    where: str
    services: tuple[str, ...]


def alert_chart(context: ShowContext, alert: Alert, over: Range, flags: list[Flag]) -> Markup:
    if not alert.expr:
        return Markup('<p class="empty">This alert came without an expression, so there is nothing to draw.</p>')
    banded = has_band(context, alert.rule)
    found = judged_series(context.engine, alert.rule, alert.expr, alert.labels, over, banded=banded)
    shown = found.trimmed()
    if len(shown.times_ms) * 2 < len(found.times_ms):  # a young server: look closer at what there is
        close = Range(int(shown.times_ms[0]), over.end_ms)
        shown = judged_series(context.engine, alert.rule, alert.expr, alert.labels, close, banded=banded)
    found = shown
    since = (found.times_ms >= alert.starts_at_ms - 600_000) & (found.times_ms <= (alert.ends_at_ms or over.end_ms))
    own = [Flag(alert.starts_at_ms, "fired" if alert.state is not AlertState.PENDING else "pending", "fired")]
    if alert.ends_at_ms is not None:
        own.append(Flag(alert.ends_at_ms, "resolved", "resolved"))
    return draw(
        Chart(
            found.times_ms,
            [Line(words.subject(alert.labels) or alert.name, found.values)],
            unit_for(context, alert.rule, alert.expr),
            found.lower,
            found.upper,
            found.baseline,
            found.outside & since,
            [*flags, *own],
            alert.name,
        ),
        860,
        320,
    )


def requests_of(context: ShowContext, alert: Alert, window: Range) -> list[Request]:
    """Up to five traces: slow ones where time is judged; else those that the page named, then failed ones."""
    store = context.signals
    if store is None:
        return []
    query = TraceQuery(
        window.start_ms * 1_000_000,
        window.end_ms * 1_000_000,
        alert.labels.get("service") or alert.labels.get("job"),
        alert.labels.get("endpoint"),
        limit=50,
    )
    about_time = unit_for(context, alert.rule, alert.expr) in {"s", "ms"}
    found = {t.trace_id: t for t in store.traces(query)}
    if about_time and alert.value:
        factor = 1000 if unit_for(context, alert.rule, alert.expr) == "s" else 1
        for share in (0.9, 0.3):  # a store gives the failed first: many quick failures must not hide the slow ones
            slow = replace(query, min_duration_ms=alert.value * factor * share)
            found |= {t.trace_id: t for t in store.traces(slow)}
    named = [name.strip() for name in alert.annotations.get("trace_ids", "").split(",") if name.strip()]

    def rank(one: TraceSummary) -> tuple[bool, bool, float]:
        first = one.trace_id not in named
        return (False, False, -one.duration_ms) if about_time else (first, not one.failed, -one.duration_ms)

    chosen = sorted(found.values(), key=rank)[:_MOST_TRACES]
    longest = max((t.duration_ms for t in chosen), default=0.0) or 1.0
    views = [(t, join(t.trace_id, store.trace(t.trace_id))) for t in chosen]
    return [Request(t, t.duration_ms / longest, where_time_went(view), view.services) for t, view in views]


def patterns_for(context: ShowContext, alert: Alert, window: Range, through: Iterable[str]) -> list[Pattern]:
    """Of the alert's service, and of those that its requests went through."""
    if context.signals is None:
        return []
    service = alert.labels.get("service") or alert.labels.get("job")
    others = [s for s in dict.fromkeys(through) if s and s != service][:3]
    start_ms, end_ms, store = window.start_ms, window.end_ms, context.signals
    found = [
        p for name in [service, *others]
        for p in new_patterns(store, start_ms, end_ms, name, levels=LOUD, limit=_MOST_PATTERNS)
    ]
    return strongest(found)[:_MOST_PATTERNS]


def related(context: ShowContext, alert: Alert) -> Part[list[Alert]]:
    """Others that are on and share a service, a host or a job with it."""

    def read() -> list[Alert]:
        on = context.alerts.active() if context.alerts else []
        shared = [
            (n, v) for n, v in alert.labels.pairs if n in {"service", "instance", "job", "host", "queue", "gpu"}
        ]
        return [
            other
            for other in on
            if other.fingerprint != alert.fingerprint
            and not is_quiet(other)
            and any(other.labels.get(n) == v for n, v in shared)
        ][:10]

    return attempt_list(read)
