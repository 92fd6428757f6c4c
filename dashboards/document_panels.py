"""Panels of the documents in an Elasticsearch: log lines, spans as rows, counts and figures over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafanalib import core

from observe.dashboards.grafana_json import LOGS, SPANS, ModernPanel, Panel

_SPAN_COLUMNS: Final = (
    "@timestamp", "attributes", "duration_us", "end_ns", "endpoint", "events", "id", "kind", "name", "parent_span_id",
    "rank", "resource", "seq", "service", "span_id", "start_ns", "status", "status_message", "tags", "trace_id",
    "_id", "_index", "_source", "_type", "highlight", "sort",
)
"""What a document of a span holds, and what Grafana adds."""


def logs(title: str, query: str, *, description: str) -> Panel:
    """Log lines of an Elasticsearch data source, the newest first."""
    return ModernPanel(
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
    return ModernPanel(
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
