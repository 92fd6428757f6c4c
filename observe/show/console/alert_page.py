"""One alert: what is wrong, since when, how bad, why it fired, who knows, what to do, and the evidence."""

from dataclasses import replace
from urllib.parse import urlsplit

from markupsafe import Markup
from starlette.routing import BaseRoute

from observe.model import Alert
from observe.show import words
from observe.show.chart import Flag
from observe.show.console.alert_evidence import alert_chart, patterns_for, related, requests_of
from observe.show.console.alert_words import band_words, lead_of, sentence, why
from observe.show.console.changes import changes_of
from observe.show.console.find import find_alert
from observe.show.console.page import Ask, Desk, Page
from observe.show.console.parts import attempt, attempt_list
from observe.show.console.standing import has_band, limit_of, rule_of, stand, unit_for
from observe.show.console.telling import needs_somebody, statuses, tell
from observe.show.console.time_range import Range

_LEAST_BEFORE_MS = 1_200_000
_MOST_BEFORE_MS = 6 * 3_600_000


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
                "sentence": sentence(alert, rule, unit, ask.now_ms),
                "summary": alert.annotations.get("summary", ""),
                "description": alert.annotations.get("description", ""),
                "chart": chart,
                "over": over,
                "banded": has_band(context, alert.rule),
                "limited": bool(limit_of(alert.expr, unit)),
                "why": why(alert, rule, unit, briefly=bool(explained.value)),
                "band_words": explained,
                "told_ms": alert.ends_at_ms or ask.now_ms,
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


def safe_link(text: str) -> str:
    """A link that may stand in a page: http(s) or our own path; anything else (javascript:) is no link."""
    if urlsplit(text).scheme in {"http", "https"} or (text.startswith("/") and not text.startswith("//")):
        return text
    return ""
