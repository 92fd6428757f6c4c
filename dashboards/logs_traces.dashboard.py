"""Logs and traces in an Elasticsearch that observe fills."""

from observe.dashboards.panels import Row, board, counts, logs

dashboard = board(
    "Logs and traces",
    "observe-logs",
    "Log lines by level and service, errors, and spans, from the Elasticsearch that observe fills.",
    [
        Row(
            "How many",
            (
                counts("Lines by level", "*", by="level", unit="short", description="Log lines over time by level."),
                counts(
                    "Lines by service", "*", by="service", unit="short", description="Log lines over time by service."
                ),
            ),
        ),
        Row(
            "What went wrong",
            (
                logs(
                    "Errors",
                    "level:(error OR fatal)",
                    description="Lines with level error or fatal, the newest first.",
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
    tags=("logs",),
)
