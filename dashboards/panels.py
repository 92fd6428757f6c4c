"""Panels and boards in few words: the only file that knows grafanalib.

grafanalib is quiet and writes an old schema version with empty fields: here the version is raised and what is empty or
unknown to Grafana today is left out. A board is rows of panels; widths share the 24 columns of a row.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from grafanalib import core
from grafanalib._gen import DashboardEncoder

SCHEMA_VERSION: Final = 41
"""Grafana 12; older ones read what they know, newer ones migrate it."""

METRICS: Final = {"type": "prometheus", "uid": "${datasource}"}
LOGS: Final = {"type": "elasticsearch", "uid": "${logs}"}
SPANS: Final = {"type": "elasticsearch", "uid": "${spans}"}
_SPAN_COLUMNS: Final = (
    "@timestamp", "attributes", "duration_us", "end_ns", "endpoint", "events", "id", "kind", "name", "parent_span_id",
    "rank", "resource", "seq", "service", "span_id", "start_ns", "status", "status_message", "tags", "trace_id",
    "_id", "_index", "_source", "_type", "highlight", "sort",
)
"""What a document of a span holds, and what Grafana adds."""
_ROW_HEIGHT: Final = 8
_OLD_KEYS: Final = frozenset(
    {
        "rows",
        "style",
        "hideControls",
        "sharedCrosshair",
        "gnetId",
        "inputs",
        "cacheTimeout",
        "error",
        "height",
        "minSpan",
        "span",
        "hideTimeOverride",
        "useTags",
        "tagsQuery",
        "tagValuesQuery",
        "auto",
        "auto_min",
        "auto_count",
        "step",
        "intervalFactor",
        "metric",
        "target",
        "__inputs",
        "repeatDirection",
        "maxPerRow",
    }
)
_KEPT_EMPTY: Final = frozenset({"steps", "list", "panels", "options", "values", "calcs", "bucketAggs"})

Panel: TypeAlias = Any
"""A grafanalib panel; it publishes no types."""


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


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]
    height: int = _ROW_HEIGHT


class _Modern(core.Panel):  # type: ignore[misc]  # grafanalib publishes no types
    """A panel of a type that grafanalib does not know in its present form."""

    def __init__(
        self,
        kind: str,
        options: dict[str, Any],
        defaults: dict[str, Any],
        overrides: Sequence[dict[str, Any]] = (),
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self._body = {
            "type": kind,
            "options": options,
            "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        }

    def to_json_data(self) -> Any:
        return self.panel_json(self._body)


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
    return _Modern(
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
    return _Modern(
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


def logs(title: str, query: str, *, description: str) -> Panel:
    """Log lines of an Elasticsearch data source, the newest first."""
    return _Modern(
        "logs",
        {
            "showTime": True,
            "wrapLogMessage": True,
            "enableLogDetails": True,
            "sortOrder": "Descending",
            "dedupStrategy": "none",
            "prettifyLogMessage": False,
            "showLabels": False,
            "showCommonLabels": False,
        },
        {"unit": "short"},
        title=title,
        dataSource=LOGS,
        description=description,
        maxDataPoints=None,
        targets=[_documents(LOGS, query, {"type": "logs", "settings": {"limit": "500"}})],
    )


def rows(title: str, query: str, *, columns: Sequence[str], unit: str, description: str) -> Panel:
    """Spans of their data source as a table, the newest first; a `trace_id` leads to its waterfall.

    `unit` is that of ``duration_us``.
    """
    shown = {name: place for place, name in enumerate(columns)}
    hidden = {name: True for name in _SPAN_COLUMNS if name not in shown}
    return _Modern(
        "table",
        {"showHeader": True, "cellHeight": "sm"},
        {"unit": "none"},
        title=title,
        dataSource=SPANS,
        description=description,
        maxDataPoints=None,
        targets=[_documents(SPANS, query, {"type": "raw_data", "settings": {"size": "200"}})],
        transformations=[
            {"id": "organize", "options": {"excludeByName": hidden, "indexByName": shown, "renameByName": {}}}
        ],
        overrides=[
            {
                "matcher": {"id": "byName", "options": "duration_us"},
                "properties": [{"id": "unit", "value": unit}],
            },
            {
                "matcher": {"id": "byName", "options": "trace_id"},
                "properties": [
                    {"id": "links", "value": [{"title": "Waterfall", "url": "${console}/traces/${__value.raw}"}]}
                ],
            }
        ],
    )


@dataclass(frozen=True, slots=True)
class Search:
    """One search of a panel over documents: how many they are, or a figure of one of their fields."""

    query: str
    figure: str = "count"
    """``count``, ``avg``, ``max``, ``percentiles`` …; an aggregation of Elasticsearch."""
    field: str = ""
    percents: tuple[str, ...] = ()
    by: str = ""
    """A keyword field: one series each of its ten most frequent values."""
    name: str = ""
    """The series' name; empty: Grafana's own."""
    every: str = "auto"
    """Length of a step; ``1m`` makes a count a rate."""


def documents(
    title: str,
    searches: Sequence[Search] | Search,
    *,
    unit: str,
    description: str,
    source: dict[str, str] = LOGS,
    stacked: bool = False,
) -> Panel:
    """Documents of an Elasticsearch data source over time: bars where they are stacked, else lines."""
    chosen = [searches] if isinstance(searches, Search) else list(searches)
    return core.TimeSeries(
        title=title,
        dataSource=source,
        unit=unit,
        description=description,
        drawStyle="bars" if stacked else "line",
        fillOpacity=60 if stacked else 0,
        lineWidth=1,
        showPoints="never" if not stacked else "auto",
        valueMin=0,
        maxDataPoints=None,
        stacking={"mode": "normal" if stacked else "none", "group": "A"},
        tooltipMode="multi",
        legendCalcs=["lastNotNull", "max"],
        overrides=[],
        targets=[_search(source, one, chr(65 + i)) for i, one in enumerate(chosen)],
    )


def _search(source: dict[str, str], one: Search, ref: str) -> dict[str, Any]:
    metric: dict[str, Any] = {"type": one.figure}
    if one.field:
        metric["field"] = one.field
    if one.percents:
        metric["settings"] = {"percents": list(one.percents)}
    terms = {
        "id": "3",
        "type": "terms",
        "field": one.by,
        "settings": {"size": "10", "order": "desc", "orderBy": "_count", "min_doc_count": "1"},
    }
    steps = {
        "id": "2",
        "type": "date_histogram",
        "field": "@timestamp",
        "settings": {"interval": one.every, "min_doc_count": "0" if one.figure == "count" else "1"},
    }
    return {
        **_documents(source, one.query, metric, ref),
        "alias": one.name,
        "bucketAggs": [*([terms] if one.by else []), steps],
    }


def _documents(source: dict[str, str], query: str, metric: dict[str, Any], ref: str = "A") -> dict[str, Any]:
    return {
        "refId": ref,
        "datasource": source,
        "query": query,
        "timeField": "@timestamp",
        "metrics": [{"id": "1", **metric}],
        "bucketAggs": [],
    }


# ---------------------------------------------------------------- variables and boards


def chosen_by(label: str, metric: str, *, title: str = "", every: bool = True, within: str = "") -> core.Template:
    """A variable: the values of a label of a metric."""
    query = f"label_values({metric}{{{within}}}, {label})" if within else f"label_values({metric}, {label})"
    return core.Template(
        name=label,
        label=title or label,
        query=query,
        dataSource=METRICS,
        includeAll=every,
        multi=every,
        refresh=2,
        allValue=".+" if every else None,
        default="All" if every else None,
        sort=1,
    )


def named(name: str, pattern: str, *, title: str) -> core.Template:
    """A variable: the names of metrics that match."""
    return core.Template(
        name=name,
        label=title,
        query=f"metrics({pattern})",
        dataSource=METRICS,
        includeAll=True,
        multi=True,
        refresh=2,
        allValue=pattern,
        default="All",
        sort=1,
    )


def board(
    title: str,
    uid: str,
    description: str,
    rows: Sequence[Row],
    *,
    variables: Sequence[core.Template] = (),
    tags: Sequence[str] = (),
    with_logs: bool = False,
) -> dict[str, Any]:
    """The board as Grafana's JSON, ready to be written."""
    sources = [
        core.Template(name="datasource", label="Metrics", query="prometheus", type="datasource", dataSource=None)
    ]
    if with_logs:
        sources = [
            core.Template(name="logs", label="Logs", query="elasticsearch", type="datasource", dataSource=None),
            core.Template(name="spans", label="Spans", query="elasticsearch", type="datasource", dataSource=None),
            core.Template(
                name="console",
                label="Console of observe",
                query="http://localhost:9900",
                type="textbox",
                dataSource=None,
            ),
            *sources,
        ]
    made = core.Dashboard(
        title=title,
        uid=uid,
        description=description,
        tags=["observe", *tags],
        schemaVersion=SCHEMA_VERSION,
        refresh="30s",
        time=core.Time("now-1h", "now"),
        timezone="browser",
        panels=_placed(rows),
        graphTooltip=1,
        editable=True,
        templating=core.Templating(list=[*sources, *variables]),
        annotations=core.Annotations(list=_alerts()),
    )
    body: dict[str, Any] = _pruned(json.loads(json.dumps(made.to_json_data(), cls=DashboardEncoder, sort_keys=True)))
    for variable in body["templating"]["list"]:
        chosen = {"selected": True, "text": ["All"], "value": ["$__all"]} if variable["includeAll"] else {}
        if variable["name"] in {"logs", "spans"}:  # who has no source with this uid gets the first one to choose from
            chosen = {"selected": False, "text": variable["label"], "value": f"observe-{variable['name']}"}
        variable["current"] = chosen  # grafanalib writes a value "All", which Grafana takes for a label's value
    return body


def _placed(rows: Sequence[Row]) -> list[Panel]:
    placed, y, number = [], 0, 1
    for row in rows:
        placed.append(
            core.RowPanel(title=row.title, gridPos=core.GridPos(h=1, w=24, x=0, y=y), id=number, collapsed=False)
        )
        y, number, x = y + 1, number + 1, 0
        width = 24 // len(row.panels)
        for panel in row.panels:
            panel.gridPos, panel.id = core.GridPos(h=row.height, w=width, x=x, y=y), number
            placed.append(panel)
            x, number = x + width, number + 1
        y += row.height
    return placed


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


def _alerts() -> list[dict[str, Any]]:
    """Firing bands as marks over every panel."""
    return [
        {
            "name": "Alerts",
            "datasource": METRICS,
            "enable": True,
            "iconColor": "red",
            "titleFormat": "{{alertname}}",
            "expr": 'ALERTS{alertstate="firing", alertname!="Watchdog"}',
            "step": "30s",
            "textFormat": "{{service}} {{endpoint}}",
            "target": {"expr": 'ALERTS{alertstate="firing", alertname!="Watchdog"}', "refId": "Anno"},
        }
    ]


def _pruned(value: Any, name: str = "") -> Any:
    """Without nulls, keys of old schemas, and lists that say nothing."""
    if isinstance(value, dict):
        kept = {
            key: _pruned(inner, key) for key, inner in value.items() if inner is not None and key not in _OLD_KEYS
        }
        return {
            key: inner
            for key, inner in kept.items()
            if not (isinstance(inner, list) and not inner and key not in _KEPT_EMPTY) and inner not in ("", {})
        }
    if isinstance(value, list):
        if name == "steps":
            return [{"color": step["color"], "value": step.get("value")} for step in value]
        return [_pruned(inner) for inner in value]
    return value
