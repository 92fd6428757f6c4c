"""One alert: what is wrong, since when, how bad, why it fired, who knows, what to do, and the evidence."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import numpy as np
from markupsafe import Markup
from starlette.routing import BaseRoute

from observe.model import Alert, AlertState
from observe.protocols import RuleStatus, TraceQuery, TraceSummary
from observe.show import words
from observe.show.chart import Chart, Flag, Line, draw
from observe.show.console.bands import judged_series
from observe.show.console.changes import changes_of
from observe.show.console.find import find_alert
from observe.show.console.page import Ask, Desk, Page, Part, Range, attempt, attempt_list
from observe.show.console.standing import has_band, is_quiet, limit_of, rule_of, stand, unit_for
from observe.show.console.telling import needs_somebody, statuses, tell
from observe.show.console.waterfall import where_time_went
from observe.show.context import ShowContext
from observe.trace.join import join
from observe.trace.patterns import LOUD, Pattern, new_patterns, strongest

_LEAST_BEFORE_MS = 1_200_000
_MOST_BEFORE_MS = 6 * 3_600_000
_MOST_TRACES = 5
_MOST_PATTERNS = 8
_HAPPENS = ("At ", "It ends", "It fires", "If it stays", "Until then")


@dataclass(frozen=True, slots=True)
class Request:
    """A trace that shows the alert: where its time went."""

    summary: TraceSummary
    share: float
    """Of the slowest one's duration, for its bar."""
    where: str
    services: tuple[str, ...]


def routes(desk: Desk) -> list[BaseRoute]:
    context = desk.context

    def alert_page(ask: Ask) -> Page:
        alert = find_alert(context, ask.names["fingerprint"], ask.now_ms)
        rule = rule_of(context, alert)
        unit = unit_for(context, alert.rule, alert.expr)
        over = ask.range if ask.get("start") or ask.get("range") else around(alert, ask.now_ms)
        changes = attempt_list(lambda: changes_of(context, over.start_ms, over.end_ms))
        chart = attempt(
            lambda: alert_chart(context, alert, over, [Flag(change.at_ms, change.what) for change in changes.value]),
            Markup(""),
        )
        window = Range(alert.starts_at_ms - 300_000, alert.ends_at_ms or ask.now_ms)
        told = attempt_list(
            lambda: context.desk.deliveries(alert.fingerprint, alert.starts_at_ms - 60_000) if context.desk else []
        )
        silences = attempt_list(
            lambda: (
                [
                    silence
                    for silence in context.desk.silences(ask.now_ms)
                    if silence.id in context.desk.silenced_by(alert.labels, ask.now_ms)
                ]
                if context.desk
                else []
            )
        )
        past = attempt_list(
            lambda: context.alerts.history(ask.now_ms - 7 * 86_400_000, alert.fingerprint) if context.alerts else []
        )
        requests = attempt_list(lambda: requests_of(context, alert, window))
        pages = statuses(context, alert, ask.now_ms)
        explained = attempt_list(lambda: band_words(context, alert, rule, unit))
        return Page(
            "alert.html",
            alert.name,
            {
                "alert": alert,
                "rule": rule,
                "standing": stand(context, alert, ask.now_ms, with_spark=False),
                "sentence": sentence(alert, unit, ask.now_ms),
                "summary": alert.annotations.get("summary", ""),
                "description": alert.annotations.get("description", ""),
                "chart": chart,
                "over": over,
                "banded": has_band(context, alert.rule),
                "limited": bool(limit_of(alert.expr, unit)),
                "why": why(alert, rule, unit, briefly=bool(explained.value)),
                "band_words": explained,
                "lead": lead_of(explained.value),
                "pages": [tell(one, ask.now_ms) for one in pages],
                "unheard": pages[0].detail.rstrip(".") if alert.ends_at_ms is None and needs_somebody(pages) else "",
                "told": told,
                "silences": silences.value,
                "can_silence": context.desk is not None,
                "runbook": safe_link(alert.annotations.get("runbook_url") or alert.annotations.get("runbook") or ""),
                "runbook_text": alert.annotations.get("runbook") or "",
                "requests": requests,
                "requests_reason": alert.annotations.get("trace_ids_reason", ""),
                "patterns": attempt_list(
                    lambda: patterns_for(
                        context, alert, window, [name for r in requests.value for name in r.services]
                    )
                ),
                "related": related(context, alert),
                "changes": changes.value,
                "past": replace(past, value=[a for a in past.value if a.starts_at_ms != alert.starts_at_ms]),
                "window": window,
                "labels": words.telling(alert.labels),
                "said": ask.get("said"),
                "open_exploration": ask.link("/explore", query=alert.expr, **_texts(over)),
                "open_logs": ask.link("/logs", service=alert.labels.get("service"), **_texts(window)),
                "open_traces": ask.link(
                    "/traces",
                    service=alert.labels.get("service"),
                    endpoint=alert.labels.get("endpoint"),
                    **_texts(window),
                ),
            },
            live=alert.ends_at_ms is None,
        )

    return [desk.page("/alerts/{fingerprint}", alert_page)]


def _texts(over: Range) -> dict[str, str | None]:
    return {"range": None, **over.query}


def around(alert: Alert, now_ms: int) -> Range:
    """The time that shows an alert: as long before it as it lasted twice over, up to now or a little after its end."""
    end_ms = alert.ends_at_ms or now_ms
    before_ms = min(max(2 * (end_ms - alert.starts_at_ms), _LEAST_BEFORE_MS), _MOST_BEFORE_MS)
    return Range(alert.starts_at_ms - before_ms, min(now_ms, end_ms + before_ms // 4) if alert.ends_at_ms else now_ms)


def sentence(alert: Alert, unit: str, now_ms: int) -> str:
    """``Firing for 4 min. It is 2.41 s; 0.38–0.61 s is expected.``"""
    match alert.state:
        case AlertState.FIRING:
            head = f"Firing for {words.duration(now_ms - alert.starts_at_ms)}."
        case AlertState.PENDING:
            head = f"Pending for {words.duration(now_ms - alert.starts_at_ms)}: nobody is paged yet."
        case _:
            end_ms = alert.ends_at_ms or alert.updated_at_ms
            head = (
                f"Over since {words.duration(now_ms - end_ms)} ({alert.reason.value}); "
                f"it fired for {words.duration(end_ms - alert.starts_at_ms)}."
            )
    if alert.value is None:
        return head
    value = words.quantity(alert.value, unit)
    verb = "It is" if alert.ends_at_ms is None else "It was"
    if alert.lower is None and alert.upper is None:
        limit = limit_of(alert.expr, unit)
        return f"{head} {verb} {value}{'; the ' + limit.replace(' ', ' is ', 1) if limit else ''}."
    floor = 0.0 if alert.lower is not None and alert.lower < 0 <= alert.value else alert.lower
    return f"{head} {verb} {value}; {words.span_of(floor, alert.upper, unit)} is expected."


def why(alert: Alert, rule: RuleStatus | None, unit: str, *, briefly: bool = False) -> list[str]:
    """Why it fired, a short sentence each. `briefly`: without what the detector says itself."""
    said = []
    band = rule.band if rule and rule.band is not None else None
    if band is not None:
        said.append(f"At least {band.get('trigger', '3 of 5')} points were outside the band.")
    if alert.score is not None and np.isfinite(alert.score) and not briefly:
        said.append(
            f"The last one lies {words.digits(abs(alert.score))} times the band's half-width from its middle."
        )
    if alert.value is not None and alert.baseline is not None and np.isfinite(alert.baseline) and alert.baseline:
        change = alert.value / alert.baseline - 1
        much = (
            f"{words.digits(abs(change) * 100)} %" if abs(change) < 10 else f"{words.digits(abs(change) + 1)} times"
        )
        where = ("above" if change > 0 else "below") if abs(change) < 10 else "of"
        if not briefly:
            said.append(f"That is {much} {where} the {words.quantity(alert.baseline, unit)} expected just then.")
    if band is not None and not briefly:
        said += _least(band, unit)
    if rule is not None and rule.for_ms:
        said.append(f"It held for {words.duration(rule.for_ms)} before anyone was paged.")
    if not said and rule is not None:
        limit = limit_of(alert.expr, unit)
        said.append(
            f"It has been beyond its {limit} at every evaluation since." if limit
            else "Its expression has had a result at every evaluation since."
        )
    return said


def _least(band: Mapping[str, str], unit: str) -> list[str]:
    least = [words.quantity(float(band["min_abs"]), unit)] if _positive(band.get("min_abs")) else []
    least += [f"{band['min_rel'].rstrip('% ')} % of the expected value"] if _positive(band.get("min_rel")) else []
    return [f"Deviations under {' and '.join(least)} do not count."] if least else []


def band_words(context: ShowContext, alert: Alert, rule: RuleStatus | None, unit: str = "") -> list[str]:
    """What the detector itself says of the band, sentence by sentence."""
    if context.alerts is None or rule is None or rule.band is None:
        return []
    told = context.alerts.explain_alert(alert, lambda value: words.quantity(value, unit))
    # The headline has said for how long.
    return [re.sub(r"^Firing (for|since) [^.]*\. ", "", sentence) for sentence in told]


def lead_of(sentences: Sequence[str]) -> int:
    """How many of the detector's sentences tell what happens; those after them tell what is normal."""
    first = next((i for i, one in enumerate(sentences) if not one.startswith(_HAPPENS)), len(sentences))
    return first or min(3, len(sentences))


def _positive(text: str | None) -> bool:
    try:
        return float((text or "0").rstrip("% ")) > 0
    except ValueError:
        return bool(text)


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


def safe_link(text: str) -> str:
    """A link that may stand in a page: http(s) or our own path; anything else (javascript:) is no link."""
    if urlsplit(text).scheme in {"http", "https"} or (text.startswith("/") and not text.startswith("//")):
        return text
    return ""
