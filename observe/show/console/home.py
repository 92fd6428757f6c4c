"""Home: one sentence, what fires, what is odd, what changed, whether the eyes are open."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from starlette.routing import BaseRoute

from observe.model import Alert, AlertState
from observe.protocols import OddSeries, RuleStatus, TargetHealth
from observe.show import words
from observe.show.console.changes import changes_of
from observe.show.console.lateness import is_late
from observe.show.console.page import Ask, Desk, Page
from observe.show.console.parts import attempt_list
from observe.show.console.services import known_services, service_rows
from observe.show.console.standing import (
    expected_of,
    is_quiet,
    recent,
    small_chart,
    spoken,
    stand,
    told_apart,
    triage,
)
from observe.show.context import Change
from observe.show.plot import time_ticks
from observe.show.units import unit_of

_MOST_ROWS = 25
_MOST_CALM = 10
_MOST_SERVICES = 60
_PAST_MS = 6 * 3_600_000


@dataclass(frozen=True, slots=True)
class OddRow:
    odd: OddSeries
    what: str
    subject: str
    value: str
    expected: str
    spark: Markup
    explore: str


def routes(desk: Desk) -> list[BaseRoute]:
    context = desk.context

    def home(ask: Ask) -> Page:
        book = context.alerts
        active = attempt_list(lambda: book.active() if book else [])
        loud = [alert for alert in active.value if not is_quiet(alert)]
        firing = [a for a in loud if a.state is AlertState.FIRING]
        pending = [a for a in loud if a.state is AlertState.PENDING]
        odd = attempt_list(lambda: book.odd() if book else [])
        targets = attempt_list(context.targets)
        services = known_services(context, ask.range)
        rules = attempt_list(lambda: book.rules() if book else [])
        ended = attempt_list(lambda: recent(context, ask.now_ms, 0.25))
        changes = attempt_list(lambda: changes_of(context, ask.now_ms - _PAST_MS, ask.now_ms))
        worst, held = triage(context, firing, ask.now_ms)
        waiting = triage(context, pending, ask.now_ms)[0]
        standings = told_apart([stand(context, a, ask.now_ms) for a in [*worst, *held][:_MOST_ROWS]])
        return Page(
            "home.html",
            "Home",
            {
                "firing": standings,
                "more_firing": len(firing) - len(standings),
                "firing_count": len(firing),
                "held_count": len(held),
                "pending": told_apart([stand(context, a, ask.now_ms) for a in waiting[:_MOST_CALM]]),
                "more_pending": max(0, len(waiting) - _MOST_CALM),
                "odd": [_odd_row(desk, row, ask) for row in odd.value[:_MOST_CALM]],
                "odd_count": len(odd.value),
                "services": service_rows(services.value, firing, odd.value),
                "most_services": _MOST_SERVICES,
                "targets": targets.value,
                "up": sum(target.up is True for target in targets.value),
                "down": [target for target in targets.value if target.up is False],
                "newest_ms": newest(targets.value),
                "late": [target for target in targets.value if is_late(target, ask.now_ms)],
                "watched": watched(rules.value),
                "ended": told_apart([stand(context, a, ask.now_ms, with_spark=False) for a in ended.value[:5]]),
                "line": time_line(firing, ended.value, changes.value, ask.now_ms),
                "changes": changes.value,
                "problems": [
                    part.problem for part in (active, odd, targets, services, rules, ended, changes) if part.problem
                ],
                "note": context.settings.watch_note,
            },
            live=True,
        )

    def _odd_row(desk: Desk, odd: OddSeries, ask: Ask) -> OddRow:
        rules = desk.context.alerts.rules() if desk.context.alerts else []
        rule = next((r for r in rules if odd.rule in {f"{r.group}/{r.name}", r.name}), None)
        expr = rule.expr if rule else ""
        unit = unit_of(expr, rule.annotations if rule else None)
        return OddRow(
            odd,
            spoken(odd.rule.rpartition("/")[2]),
            words.subject(odd.labels),
            words.quantity(odd.value, unit),
            expected_of(odd, unit),
            small_chart(desk.context, odd.rule, expr, odd.labels, ask.now_ms),
            ask.link("/explore", query=expr),
        )

    return [desk.page("/", home)]


def newest(targets: Sequence[TargetHealth]) -> int | None:
    """The time of the newest scrape that worked."""
    return max((t.last_scrape_ms for t in targets if t.up and t.last_scrape_ms is not None), default=None)


@dataclass(frozen=True, slots=True)
class Watched:
    """How many series bands watch, how many are ready, and when the rest will be."""

    total: int
    ready: int
    rules: int
    ready_in_ms: int | None
    failing: tuple[RuleStatus, ...]


def watched(rules: Sequence[RuleStatus]) -> Watched:
    banded = [rule for rule in rules if rule.band is not None]
    waits = [rule.ready_in_ms for rule in banded if rule.ready_in_ms]
    return Watched(
        sum(rule.series_total for rule in banded),
        sum(rule.series_ready for rule in banded),
        len(rules),
        max(waits, default=None),
        tuple(rule for rule in rules if rule.health == "err"),
    )


def time_line(firing: Sequence[Alert], ended: Sequence[Alert], changes: Sequence[Change], now_ms: int) -> Markup:
    """The last six hours as one thin line: alerts as bars, changes as flags."""
    if not firing and not ended and not changes:
        return Markup("")
    return Markup("").join(
        _line(firing, ended, changes, now_ms, width, kind) for width, kind in ((1200, "wide"), (400, "narrow"))
    )


def _line(
    firing: Sequence[Alert], ended: Sequence[Alert], changes: Sequence[Change], now_ms: int, width: int, kind: str
) -> Markup:
    start_ms = now_ms - _PAST_MS

    def x(time_ms: int) -> float:
        return 8 + (max(start_ms, min(now_ms, time_ms)) - start_ms) / _PAST_MS * (width - 16)

    parts = [Markup('<path class="grid" d="M8 34H{}"/>').format(width - 8)]
    for kind_of, alerts in (("over", ended), ("on", firing)):
        for first, last, told in _bars([(x(a.starts_at_ms), x(a.ends_at_ms or now_ms), a) for a in alerts]):
            parts.append(Markup(
                '<rect class="episode {}" x="{:.1f}" y="29" width="{:.1f}" height="10" rx="2"><title>{}</title></rect>'
            ).format(kind_of, first, max(3.0, last - first), told))
    taken = flagged = -1e9
    for change in sorted(changes, key=lambda c: c.at_ms):
        if not start_ms <= change.at_ms <= now_ms:
            continue
        place = x(change.at_ms)
        if place - flagged < 1:
            continue  # a thousand restarts at once are one flag
        flagged = place
        parts.append(
            Markup('<path class="flag flag-change" d="M{:.1f} 14V40"><title>{}</title></path>').format(
                place, f"{change.what} · {words.utc(change.at_ms)}"
            )
        )
        label = change.what if len(change.what) < 30 else change.what[:29] + "…"
        size = 6.3 * len(label)
        before = place + size >= width - 8
        start = place - 4 - size if before else place + 4
        if start > taken:
            parts.append(Markup('<text class="flag-name" x="{:.1f}" y="20" text-anchor="{}">{}</text>').format(
                place - 4 if before else start, "end" if before else "start", label
            ))
            taken = start + size + 8
    ticks, form = time_ticks(start_ms, now_ms, 6 if kind == "wide" else 3)
    for tick in ticks:
        if not 24 <= x(tick) <= width - 24:
            continue
        parts.append(
            Markup(
                '<text class="tick" x="{:.1f}" y="56" text-anchor="middle" data-t="{}" data-form="{}">{}</text>'
            ).format(x(tick), tick, form, words.clock(tick, form))
        )
    head = Markup('<svg class="{} timeline" viewBox="0 0 {} 60" role="img" aria-label="the last six hours">').format(
        kind, width
    )
    return head + Markup("").join(parts) + Markup("</svg>")


def _bars(spans: Sequence[tuple[float, float, Alert]]) -> list[tuple[float, float, str]]:
    """Where alerts were on, those that overlap as one bar: of thousands no more is drawn than can be told apart."""
    bars: list[tuple[float, float, list[Alert]]] = []
    for first, last, alert in sorted(spans, key=lambda span: span[:2]):
        if bars and first <= bars[-1][1]:
            before = bars[-1]
            bars[-1] = (before[0], max(before[1], last), [*before[2], alert] if len(before[2]) < 4 else before[2])
        else:
            bars.append((first, last, [alert]))
    return [(first, last, _names(alerts)) for first, last, alerts in bars]


def _names(alerts: Sequence[Alert]) -> str:
    named = [f"{spoken(alert.name)} · {words.subject(alert.labels)}" for alert in alerts[:3]]
    return "\n".join([*named, *(["and more"] if len(alerts) > 3 else [])])
