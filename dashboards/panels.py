"""The words that a board is written in: all that a `*.dashboard.py` imports."""

from observe.dashboards.board import Row, board, chosen_by, named
from observe.dashboards.document_panels import Search, documents, logs, rows
from observe.dashboards.grafana_json import LOGS, METRICS, SPANS
from observe.dashboards.metric_panels import Band, Query, heatmap, stat, table, timeseries

__all__ = [
    "LOGS",
    "METRICS",
    "SPANS",
    "Band",
    "Query",
    "Row",
    "Search",
    "board",
    "chosen_by",
    "documents",
    "heatmap",
    "logs",
    "named",
    "rows",
    "stat",
    "table",
    "timeseries",
]
