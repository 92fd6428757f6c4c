"""The list of alerts: firing, pending, silenced, lately ended; and the silences."""

from collections import Counter
from collections.abc import Sequence

from starlette.routing import BaseRoute

from observe.model import Alert, AlertState
from observe.protocols import PageState
from observe.show.console.page import Ask, Desk, Page
from observe.show.console.parts import attempt_list
from observe.show.console.standing import Standing, is_quiet, recent, stand, told_apart, triage
from observe.show.console.telling import statuses
from observe.show.context import ShowContext

_MOST = 200
_SPARKS = 25
_CROWD = 12
_MOST_SHARED = 8


def routes(desk: Desk) -> list[BaseRoute]:
    context = desk.context

    def alerts(ask: Ask) -> Page:
        wanted = ask.get("q").lower()
        active = attempt_list(lambda: context.alerts.active() if context.alerts else [])
        ended = attempt_list(lambda: recent(context, ask.now_ms))
        chosen = [a for a in active.value if not wanted or wanted in str(a.labels).lower()]
        loud = [a for a in chosen if not is_quiet(a)]
        firing, silenced = triage(context, [a for a in loud if a.state is AlertState.FIRING], ask.now_ms)
        pending, _ = triage(context, [a for a in loud if a.state is AlertState.PENDING], ask.now_ms)
        return Page("alerts.html", "Alerts", {
            "wanted": ask.get("q"),
            "firing": rows(context, firing, ask.now_ms), "firing_count": len(firing),
            "shared": shared(firing),
            "silenced": rows(context, silenced, ask.now_ms), "silenced_count": len(silenced),
            "pending": rows(context, pending, ask.now_ms), "pending_count": len(pending),
            "watchdog": watchdog_words(context, [a for a in active.value if is_quiet(a)], ask.now_ms),
            "ended": [
                stand(context, a, ask.now_ms, with_spark=False) for a in ended.value
                if not wanted or wanted in str(a.labels).lower()
            ][:50],
            "silences": context.desk.silences(ask.now_ms) if context.desk else [],
            "problems": [part.problem for part in (active, ended) if part.problem],
        }, live=True)

    return [desk.page("/alerts", alerts)]


def shared(alerts: Sequence[Alert]) -> list[tuple[str, list[tuple[str, int]]]]:
    """What many alerts have in common, by rule and by service, the most first; nothing where a glance tells.

    Five thousand alerts of one rule are one incident, and this is where it shows.
    """
    if len(alerts) < _CROWD:
        return []
    counted = [(name, Counter(alert.labels.get(name, "") for alert in alerts)) for name in ("alertname", "service")]
    return [
        (name, [(value, number) for value, number in found.most_common(_MOST_SHARED) if value])
        for name, found in counted if name == "alertname" or len(found) > 1
    ]


def rows(context: ShowContext, alerts: Sequence[Alert], now_ms: int) -> list[Standing]:
    """The first of them as a page lists them; curves stand beside the very first, for they cost a query each."""
    return told_apart([stand(context, a, now_ms, with_spark=i < _SPARKS) for i, a in enumerate(alerts[:_MOST])])


def watchdog_words(context: ShowContext, found: Sequence[Alert], now_ms: int) -> str:
    """What the dead-man alert proves, or that nobody listens to it; empty without one."""
    if not found:
        return ""
    nobody = [one for one in statuses(context, found[0], now_ms) if one.state is PageState.NO_RECEIVER]
    if nobody:
        return f"The watchdog fires all the time, as it must, but nobody would notice its end: {nobody[0].detail}."
    return "The watchdog fires all the time, as it must: while it arrives, paging works."
