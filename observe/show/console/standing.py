"""An alert as the console tells it: its sentence, its numbers in words, whether someone was paged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from markupsafe import Markup

from observe.model import Alert, Labels
from observe.protocols import OddSeries, RuleStatus
from observe.show import words
from observe.show.chart import sparkline
from observe.show.console.bands import judged_series, split_threshold
from observe.show.console.parts import attempt
from observe.show.console.telling import in_short, statuses
from observe.show.console.templating import severity_of
from observe.show.console.time_range import Range
from observe.show.context import ShowContext
from observe.show.units import unit_of

_ORDER: Final = {"critical": 0, "warning": 1, "info": 2}
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Standing:
    """One row of a list of alerts."""

    alert: Alert
    severity: str
    what: str
    """The rule's name in words."""
    subject: str
    value: str
    expected: str
    """The band in words, or the limit of a rule without one; empty where neither is known."""
    since_ms: int
    paged: str
    """``paged webhook``, ``silenced until 09:00``, ``not paged yet``."""
    silenced: bool
    spark: Markup
    link: str


def rule_of(context: ShowContext, alert: Alert) -> RuleStatus | None:
    if context.alerts is None:
        return None
    return next((r for r in context.alerts.rules() if alert.rule in {f"{r.group}/{r.name}", r.name}), None)


def spoken(name: str) -> str:
    """A rule's name as words.

    >>> spoken("GatewayLatencyOutsideBand"), spoken("GPUTooHot"), spoken("gateway:errors")
    ('Gateway latency outside band', 'GPU too hot', 'gateway:errors')
    """
    if not name.isalnum() or name.islower() or name.isupper():
        return name
    pieces, start = [], 0
    for i in range(1, len(name)):
        lower_before, upper_here = not name[i - 1].isupper(), name[i].isupper()
        ends_acronym = upper_here and i + 1 < len(name) and name[i - 1].isupper() and name[i + 1].islower()
        if upper_here and (lower_before or ends_acronym):
            pieces.append(name[start:i])
            start = i
    pieces.append(name[start:])
    return " ".join([pieces[0], *(p if p.isupper() and len(p) > 1 else p.lower() for p in pieces[1:])])


def stand(context: ShowContext, alert: Alert, now_ms: int, *, with_spark: bool = True) -> Standing:
    unit = unit_for(context, alert.rule, alert.expr)
    silences = context.desk.silenced_by(alert.labels, now_ms) if context.desk else []
    return Standing(
        alert=alert, severity=severity_of(alert.labels), what=spoken(alert.name), subject=words.subject(alert.labels),
        value=words.quantity(alert.value, unit) if alert.value is not None else "",
        expected=expected_of(alert, unit) or limit_of(alert.expr, unit), since_ms=alert.starts_at_ms,
        paged=paged(context, alert, now_ms), silenced=bool(silences),
        spark=small_chart(context, alert.rule, alert.expr, alert.labels, now_ms) if with_spark else Markup(""),
        link=f"/alerts/{alert.fingerprint}",
    )


def expected_of(found: Alert | OddSeries, unit: str) -> str:
    if found.lower is None and found.upper is None:
        return ""
    span = band_of(found, unit)
    return f"back inside {span}" if isinstance(found, Alert) and found.back_inside else f"{span} expected"


def limit_of(expr: str, unit: str) -> str:
    """The fixed limit of a rule without a band, where its expression ends with one.

    >>> limit_of("queue_depth > 20", ""), limit_of("rate(x[5m])", "")
    ('limit 20', '')
    """
    found = split_threshold(expr)[1]
    if found is None:
        return ""
    return f"limit {words.quantity(found[1], unit)}"


def band_of(found: Alert | OddSeries, unit: str) -> str:
    """``420–900 ms``. A band may reach below zero where its values cannot: 0 then."""
    below = found.lower is not None and found.lower < 0
    return words.span_of(0.0 if below and found.value is not None and found.value >= 0 else found.lower,
                         found.upper, unit)


def small_chart(context: ShowContext, rule: str, expr: str, labels: Labels, now_ms: int) -> Markup:
    if not expr:
        return Markup("")
    banded = has_band(context, rule)
    part = attempt(lambda: judged_series(
        context.engine, rule, expr, labels, Range(now_ms - 3_600_000, now_ms), banded=banded, points=120), None)
    if part.value is None:
        return Markup('<span class="spark none">cannot be drawn</span>')
    shown = part.value.trimmed()
    if not np.isfinite(shown.values).any():
        return Markup('<span class="spark none">no samples</span>')
    return sparkline(shown.values, shown.lower, shown.upper, "the last hour")


def unit_for(context: ShowContext, rule: str, expr: str) -> str:
    """The unit of a rule's values: its expression and the templates of its annotations tell."""
    rules = context.alerts.rules() if context.alerts else []
    found = next((r for r in rules if rule in {f"{r.group}/{r.name}", r.name}), None)
    return unit_of(expr, found.annotations if found else None)


def has_band(context: ShowContext, rule: str) -> bool:
    rules = context.alerts.rules() if context.alerts else []
    return any(r.band is not None for r in rules if rule in {f"{r.group}/{r.name}", r.name})


def paged(context: ShowContext, alert: Alert, now_ms: int) -> str:
    """Who was told, or why nobody."""
    if context.desk is None:
        return "sent to Alertmanager"
    return in_short(statuses(context, alert, now_ms), now_ms) or "not known who was paged"


def triage(context: ShowContext, alerts: Sequence[Alert], now_ms: int) -> tuple[list[Alert], list[Alert]]:
    """Those that are nobody's yet, and those that a silence holds back; each the worst first, then the oldest.

    Lists are cut for the eye after this, never before: of five thousand the worst are seen, and all are counted.
    """
    desk = context.desk
    some_silence = desk is not None and any(one.starts_at_ms <= now_ms for one in desk.silences(now_ms))
    loud: list[Alert] = []
    silenced: list[Alert] = []
    for alert in sorted(alerts, key=lambda one: (_ORDER[severity_of(one.labels)], one.starts_at_ms, one.fingerprint)):
        held = some_silence and desk is not None and desk.silenced_by(alert.labels, now_ms)
        (silenced if held else loud).append(alert)
    return loud, silenced


def told_apart(standings: list[Standing]) -> list[Standing]:
    """Where several rows would read the same, the labels that differ are added to what they are about."""
    alike: dict[tuple[str, str], list[Labels]] = {}
    for one in standings:
        alike.setdefault((one.what, one.subject), []).append(one.alert.labels)

    def named(one: Standing) -> str:
        siblings = [labels for labels in alike[one.what, one.subject] if labels.pairs != one.alert.labels.pairs]
        own = one.alert.labels
        differs = {name for other in siblings for name in {*other, *own} if other.get(name) != own.get(name)}
        more = [value for name, value in words.telling(own, siblings) if name in differs][:3]
        return " ".join([one.subject, *more]).strip()

    return [replace(one, subject=named(one)) for one in standings]


def is_quiet(alert: Alert) -> bool:
    """The dead-man alert fires always and is no news."""
    return alert.name.lower() in {"watchdog", "deadmansswitch"}


def recent(context: ShowContext, now_ms: int, days: float = 1) -> list[Alert]:
    """Alerts that ended lately, the newest end first."""
    if context.alerts is None:
        return []
    past = context.alerts.history(now_ms - int(days * _DAY_MS))
    ended = [alert for alert in past if alert.ends_at_ms is not None and not is_quiet(alert)]
    return sorted(ended, key=lambda alert: -(alert.ends_at_ms or 0))
