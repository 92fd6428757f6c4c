"""Explore: an expression, its chart, its series."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from markupsafe import Markup
from starlette.routing import BaseRoute

from observe.errors import InvalidInput, Problem
from observe.model import Matrix
from observe.show import words
from observe.show.chart import Chart, Line, draw
from observe.show.console.page import Ask, Desk, Page
from observe.show.plot import LINE_STYLES
from observe.show.problems import explain
from observe.show.units import unit_of

_DRAWN: Final = 12
_LISTED: Final = 500


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One series in the table under the chart."""

    title: str
    labels: list[tuple[str, str]]
    last: str
    least: str
    most: str
    style: int | None
    """Which line it is; None when it is not drawn."""


def routes(desk: Desk) -> list[BaseRoute]:
    engine = desk.context.engine

    def explore(ask: Ask) -> Page:
        expr = ask.get("query").strip()
        fault: Problem | None = None
        problem, chart, total = "", Markup(""), 0
        rows: list[SeriesRow] = []
        unit = unit_of(expr)
        if expr:
            step_ms = ask.range.step_ms()
            try:
                matrix = engine.range(expr, *ask.range.aligned(step_ms), step_ms)
                chart, rows, total = _drawn(matrix, unit, expr)
            except InvalidInput as error:
                fault = error.problems[0] if error.problems else Problem(str(error))
            except Exception as error:
                problem = explain(error)
        return Page("explore.html", "Explore", {
            "expr": expr, "fault": fault, "problem": problem, "chart": chart, "rows": rows, "total": total,
            "examples": _EXAMPLES, "listed": _LISTED, "drawn": _DRAWN,
        }, live=bool(expr))

    return [desk.page("/explore", explore, ("GET", "POST"))]


_EXAMPLES: Final = (
    ("up", "which targets answer"),
    ("sum by (service, endpoint) (rate(gateway_requests_total[1m]))", "requests a second"),
    ("histogram_quantile(0.95, sum by (service, endpoint, le) (rate(gateway_request_duration_seconds_bucket[2m])))",
     "latency, 95 of 100 are faster"),
    ('{__name__=~"observe_band_(upper|lower)"}', "the bands as series"),
)


def _drawn(matrix: Matrix, unit: str, title: str) -> tuple[Markup, list[SeriesRow], int]:
    """The chart of the largest series, and the table of all."""
    total = len(matrix.labels)
    if not total:
        return Markup(""), [], 0
    finite = np.where(np.isfinite(matrix.values), matrix.values, np.nan)
    peaks = np.where(np.isfinite(finite), finite, -np.inf).max(axis=1)
    order = np.argsort(-peaks, kind="stable").tolist()
    siblings = matrix.labels[:200]
    lines = [Line(words.series_title(matrix.labels[i], siblings), finite[i]) for i in order[:_DRAWN]]
    rows = []
    for place, index in enumerate(order[:_LISTED]):
        row = finite[index][np.isfinite(finite[index])]
        labels = matrix.labels[index]
        rows.append(SeriesRow(
            words.series_title(labels, siblings), words.telling(labels, siblings),
            words.quantity(float(row[-1]) if row.size else None, unit),
            words.quantity(float(row.min()) if row.size else None, unit),
            words.quantity(float(row.max()) if row.size else None, unit),
            place % LINE_STYLES if place < _DRAWN else None,
        ))
    return draw(Chart(matrix.times_ms, lines, unit, title=title)), rows, total


