"""Logs and traces in an Elasticsearch that observe fills."""

from observe.dashboards.panels import SPANS, Row, Search, board, documents, logs, rows

_REQUESTS = "tags:entry"
"""Spans in which a service was called: one each request and service."""

dashboard = board(
    "Logs and traces",
    "observe-logs",
    "Log lines by level and service, errors, and how often, how fast and how well requests were answered, from the "
    "Elasticsearch that observe fills. Choose the data source of observe-logs-* and that of observe-spans-*.",
    [
        Row(
            "Requests, from their spans",
            (
                documents(
                    "Requests",
                    Search(_REQUESTS, by="service", every="1m"),
                    unit="reqpm",
                    stacked=True,
                    source=SPANS,
                    description="Calls that each service answered, a minute.",
                ),
                documents(
                    "All and failed",
                    [
                        Search(_REQUESTS, name="all", every="1m"),
                        Search(f"{_REQUESTS} AND tags:failed", name="failed", every="1m"),
                    ],
                    unit="reqpm",
                    source=SPANS,
                    description="Calls a minute, and those of them that failed. Without a second line none did.",
                ),
                documents(
                    "Duration",
                    Search(_REQUESTS, "percentiles", "duration_us", ("50", "95", "99")),
                    unit="µs",
                    source=SPANS,
                    description="Time from call to answer: the median, and what 95 and 99 of 100 calls stay under.",
                ),
            ),
        ),
        Row(
            "Where the time goes",
            (
                documents(
                    "Slowest endpoints",
                    Search(_REQUESTS, "percentiles", "duration_us", ("95",), by="endpoint"),
                    unit="µs",
                    source=SPANS,
                    description="Time that 95 of 100 calls stay under, by route.",
                ),
                documents(
                    "Steps",
                    Search("*", "avg", "duration_us", by="name"),
                    unit="µs",
                    source=SPANS,
                    description="Mean time of the ten most frequent kinds of span.",
                ),
            ),
        ),
        Row(
            "What failed",
            (
                rows(
                    "Failed spans",
                    "tags:failed",
                    columns=("@timestamp", "service", "name", "endpoint", "status_message", "duration_us", "trace_id"),
                    unit="µs",
                    description="Spans that failed, the newest first; empty where none did. A trace_id opens its "
                    "waterfall in observe.",
                ),
            ),
            height=10,
        ),
        Row(
            "Log lines",
            (
                documents(
                    "Lines by level",
                    Search("*", by="level"),
                    unit="short",
                    stacked=True,
                    description="Log lines over time by level.",
                ),
                documents(
                    "Lines by service",
                    Search("*", by="service"),
                    unit="short",
                    stacked=True,
                    description="Log lines over time by service.",
                ),
            ),
        ),
        Row(
            "What went wrong",
            (
                logs(
                    "Errors",
                    "level:(error OR fatal)",
                    description="Lines with level error or fatal, the newest first. Empty where nothing went wrong.",
                ),
            ),
            height=12,
        ),
        Row(
            "Everything",
            (logs("Lines", "*", description="All lines, the newest first; narrow them in the query."),),
            height=14,
        ),
    ],
    with_logs=True,
    tags=("logs", "traces"),
)
