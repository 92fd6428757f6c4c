"""One service: its alerts, its slow and failed requests, its errors, its series."""

import re
from dataclasses import replace

import numpy as np
from markupsafe import Markup
from starlette.routing import BaseRoute

from observe.model import Labels, Matrix
from observe.protocols import LogQuery, RuleStatus, TraceQuery
from observe.show.chart import Chart, Line, draw
from observe.show.console.bands import judged_series
from observe.show.console.logs import draw_bars
from observe.show.console.page import Ask, Desk, Page
from observe.show.console.parts import attempt, attempt_list
from observe.show.console.services import known_services, service_rows
from observe.show.console.standing import has_band, is_quiet, recent, spoken, stand, told_apart, triage
from observe.show.console.time_range import Range
from observe.show.context import ShowContext
from observe.show.units import unit_of
from observe.show.words import series_title
from observe.trace.patterns import LOUD, new_patterns

_MOST_PATTERNS = 8
_MOST_ALERTS = 20
_POINTS = 160
_BAND = re.compile(r"(Outside|Below|Above)Band")
"""In a rule's name: on this page everything is judged by its band."""


def routes(desk: Desk) -> list[BaseRoute]:
    context = desk.context
    store = context.signals

    def service(ask: Ask) -> Page:
        name = ask.names["name"]
        over = ask.range
        mine = attempt_list(
            lambda: [
                a
                for a in (context.alerts.active() if context.alerts else [])
                if name in {a.labels.get("service"), a.labels.get("job")} and not is_quiet(a)
            ]
        )
        others = known_services(context, over)
        worst, held = triage(context, mine.value, ask.now_ms)
        query = LogQuery(over.start_ms * 1_000_000, over.end_ms * 1_000_000, service=name)
        traces = TraceQuery(query.start_ns, query.end_ns, name, limit=8)
        return Page(
            "service.html",
            name,
            {
                "name": name,
                "others": service_rows(others.value, [], []),
                "known": name in others.value or bool(mine.value) or any(
                    name in {t.job, t.labels.get("service")} for t in attempt_list(context.targets).value),
                "firing": told_apart([stand(context, a, ask.now_ms) for a in [*worst, *held][:_MOST_ALERTS]]),
                "firing_count": len(mine.value),
                "ended": [
                    stand(context, a, ask.now_ms, with_spark=False)
                    for a in recent(context, ask.now_ms)
                    if name in {a.labels.get("service"), a.labels.get("job")}
                ][:5],
                "found": attempt_list(lambda: store.traces(traces) if store else []),
                "bars": attempt(
                    lambda: draw_bars(store.histogram(query, 60), over.end_ms) if store else Markup(""), Markup("")
                ),
                "patterns": attempt_list(
                    lambda: new_patterns(
                        store, over.start_ms, over.end_ms, name, levels=LOUD, limit=_MOST_PATTERNS
                    ) if store else []
                ),
                "charts": _charts(ask, name),
                "targets": [
                    t for t in attempt_list(context.targets).value if name in {t.job, t.labels.get("service")}
                ],
            },
            live=True,
        )

    def _charts(ask: Ask, name: str) -> list[tuple[str, Markup, str, list[str]]]:
        """A chart of each rule's expression that has series of this service: what we already watch is what matters."""
        made: list[tuple[str, Markup, str, list[str]]] = []
        for rule in (context.alerts.rules() if context.alerts else [])[:60]:
            if rule.kind != "alerting" or not has_band(context, f"{rule.group}/{rule.name}") or len(made) >= 6:
                continue
            matrix = _matrix(context, rule.expr, ask.range)
            chosen = [i for i, labels in enumerate(matrix.labels) if _of(labels, name)][:6] if matrix else []
            if matrix and chosen:
                names = [matrix.labels[i] for i in chosen]
                lines = [Line(series_title(matrix.labels[i], names), matrix.values[i]) for i in chosen]
                chart = draw(_with_band(ask, rule, matrix, chosen, lines))
                title = spoken(_BAND.sub("", rule.name) or rule.name)
                made.append((title, chart, ask.link("/explore", query=rule.expr), [line.name for line in lines]))
        return made

    def _with_band(ask: Ask, rule: RuleStatus, matrix: Matrix, chosen: list[int], lines: list[Line]) -> Chart:
        """The lines from their first sample on; a line that stands alone with the band that it is judged by."""
        unit = unit_of(rule.expr, rule.annotations)
        if len(chosen) == 1:
            judged = attempt(lambda: judged_series(
                context.engine, f"{rule.group}/{rule.name}", rule.expr, matrix.labels[chosen[0]], ask.range,
                points=_POINTS,
            ), None).value
            if judged is not None:
                one = judged.trimmed()
                return Chart(
                    one.times_ms, [Line(lines[0].name, one.values)], unit, one.lower, one.upper, one.baseline,
                    title=rule.name,
                )
        known = np.flatnonzero(np.isfinite(matrix.values[chosen]).any(axis=0))
        first = int(known[0]) if known.size and known[0] * 4 > len(matrix.times_ms) else 0
        lines = [replace(line, values=line.values[first:]) for line in lines]
        return Chart(matrix.times_ms[first:], lines, unit, title=rule.name)

    return [desk.page("/services/{name:path}", service)]


def _matrix(context: ShowContext, expr: str, over: Range) -> Matrix | None:
    step_ms = over.step_ms(_POINTS)
    return attempt(lambda: context.engine.range(expr, *over.aligned(step_ms), step_ms), None).value


def _of(labels: Labels, name: str) -> bool:
    return name in {labels.get("service"), labels.get("job")}
