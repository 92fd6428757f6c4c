"""Panels of PromQL: lines with the band of their rule, single numbers, heatmaps, tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafanalib import core

from observe.dashboards.grafana_json import METRICS, ModernPanel, Panel


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel and the name of its series."""

    expr: str
    legend: str = "__auto"
    instant: bool = False
    format: str = "time_series"


@dataclass(frozen=True, slots=True)
class Band:
    """The band of a rule over a panel: drawn as a soft area between its two series."""

    rule: str
    """``group/alert``."""
    select: str
    """More matchers that leave one series, such as ``service="$service"``."""
    otherwise: str = ""
    """A second rule, whose band is drawn for a series that the first one does not judge."""

    def edge(self, part: str) -> str:
        """The expression of one edge, ``upper`` or ``lower``."""
        first, *second = (
            f'observe_band_{part}{{rule="{rule}", {self.select}}}' for rule in (self.rule, self.otherwise) if rule
        )
        return f"{first} or ignoring (rule) {second[0]}" if second else first


def timeseries(
    title: str,
    queries: Sequence[Query] | Query,
    *,
    unit: str,
    description: str,
    band: Band | None = None,
    stacked: bool = False,
    least: float | None = 0,
    most: float | None = None,
) -> Panel:
    """Lines over time, with the expected band of a rule where it has one."""
    chosen = _listed(queries)
    bands = (
        []
        if band is None
        else [
            Query(band.edge(part), name)
            for part, name in (("upper", "expected, at most"), ("lower", "expected, at least"))
        ]
    )
    return core.TimeSeries(
        title=title,
        dataSource=METRICS,
        targets=_targets([*chosen, *bands]),
        unit=unit,
        description=description,
        fillOpacity=30 if stacked else 0,
        lineWidth=1,
        showPoints="never",
        tooltipMode="multi",
        tooltipSort="desc",
        valueMin=least,
        valueMax=most,
        maxDataPoints=None,
        legendCalcs=["lastNotNull", "max"],
        legendDisplayMode="table",
        stacking={"mode": "normal" if stacked else "none", "group": "A"},
        overrides=_band_look() if band else [],
    )


def stat(
    title: str, query: Query, *, unit: str, description: str, steps: Sequence[tuple[str, float | None]] = ()
) -> Panel:
    """One number. `steps` are (colour, from value); the first has no value."""
    return core.Stat(
        title=title,
        dataSource=METRICS,
        targets=_targets([query]),
        format=unit,
        description=description,
        reduceCalc="lastNotNull",
        graphMode="area",
        noValue="no data",
        maxDataPoints=None,
        colorMode="value" if steps else "none",
        thresholds=[{"color": colour, "value": value} for colour, value in steps or (("text", None),)],
    )


def heatmap(title: str, expr: str, *, unit: str, description: str) -> Panel:
    """Where the observations of a histogram lie over time; `expr` is by ``le``."""
    return ModernPanel(
        "heatmap",
        {
            "calculate": False,
            "yAxis": {"unit": unit},
            "cellGap": 1,
            "color": {"mode": "scheme", "scheme": "Blues", "steps": 32},
            "tooltip": {"mode": "single", "yHistogram": False},
            "legend": {"show": False},
        },
        {"unit": "reqps"},
        title=title,
        dataSource=METRICS,
        description=description,
        maxDataPoints=None,
        targets=_targets([Query(expr, "{{le}}", format="heatmap")]),
    )


def table(title: str, query: Query, *, unit: str, description: str, hide: Sequence[str] = ()) -> Panel:
    """The series of now, a row each; label columns in `hide` are left out."""
    gone = dict.fromkeys(["Time", "__name__", *hide], True)
    return ModernPanel(
        "table",
        {"showHeader": True, "cellHeight": "sm"},
        {"unit": unit},
        title=title,
        dataSource=METRICS,
        description=description,
        maxDataPoints=None,
        targets=_targets([Query(query.expr, query.legend, instant=True, format="table")]),
        transformations=[
            {"id": "organize", "options": {"excludeByName": gone, "indexByName": {}, "renameByName": {}}}
        ],
    )


def _listed(queries: Sequence[Query] | Query) -> list[Query]:
    return [queries] if isinstance(queries, Query) else list(queries)


def _targets(queries: Sequence[Query]) -> list[dict[str, Any]]:
    return [
        {
            "refId": chr(65 + i),
            "datasource": METRICS,
            "expr": q.expr,
            "legendFormat": q.legend,
            "instant": q.instant,
            "range": not q.instant,
            "format": q.format,
            "editorMode": "code",
        }
        for i, q in enumerate(queries)
    ]


def _band_look() -> list[dict[str, Any]]:
    """The upper edge is filled down to the lower one; neither edge is a line that catches the eye."""
    plain = [
        {"id": "color", "value": {"mode": "fixed", "fixedColor": "#8AB8FF"}},
        {"id": "custom.lineWidth", "value": 0},
    ]
    fill = [{"id": "custom.fillBelowTo", "value": "expected, at least"}, {"id": "custom.fillOpacity", "value": 18}]
    return [
        {"matcher": {"id": "byName", "options": "expected, at most"}, "properties": [*plain, *fill]},
        {"matcher": {"id": "byName", "options": "expected, at least"}, "properties": plain},
    ]
