"""observe watching itself: collection, store, rules, pages, API."""

from observe.dashboards.panels import Query, Row, board, stat, timeseries

dashboard = board(
    "observe",
    "observe-self",
    "The stack itself: does it see, keep, judge and tell?",
    [
        Row(
            "Now",
            (
                stat(
                    "Targets up",
                    Query("sum(up) / count(up)"),
                    unit="percentunit",
                    description="Share of targets that answer.",
                    steps=(("red", None), ("orange", 0.9), ("text", 1)),
                ),
                stat(
                    "Samples",
                    Query("sum(rate(observe_scrape_samples_total[1m]))"),
                    unit="cps",
                    description="Samples read from targets a second.",
                ),
                stat("Alerts", Query("observe_alerts_open"), unit="short", description="Alerts that are firing."),
                stat(
                    "Dropped",
                    Query("sum(increase(observe_dropped_total[10m])) or vector(0)"),
                    unit="short",
                    description="Items refused, lost or cut at a bound in ten minutes.",
                    steps=(("text", None), ("orange", 1)),
                ),
            ),
            height=4,
        ),
        Row(
            "Collect",
            (
                timeseries(
                    "Targets",
                    Query("sum by (job) (up)", "{{job}}"),
                    unit="short",
                    stacked=True,
                    description="Targets up by job.",
                ),
                timeseries(
                    "Scrape time",
                    Query("scrape_duration_seconds", "{{job}} {{instance}}"),
                    unit="s",
                    description="How long each target takes to answer.",
                ),
                timeseries(
                    "Logs and spans",
                    Query("sum by (signal) (rate(observe_otlp_records_total[1m]))", "{{signal}}"),
                    unit="cps",
                    description="Records received by OTLP a second.",
                ),
            ),
        ),
        Row(
            "Keep",
            (
                timeseries(
                    "Samples by outcome",
                    Query("sum by (outcome) (rate(observe_store_samples_total[1m]))", "{{outcome}}"),
                    unit="cps",
                    stacked=True,
                    description="What became of the samples offered to the store.",
                ),
                timeseries(
                    "Searchable",
                    Query("sum by (kind) (rate(observe_signals_indexed_total[1m]))", "{{kind}}"),
                    unit="cps",
                    description="Log lines and spans that became searchable a second.",
                ),
                timeseries(
                    "Disk",
                    Query("observe_spool_disk_bytes", "{{spool}}"),
                    unit="bytes",
                    description="Disk taken by logs and spans, index included.",
                ),
            ),
        ),
        Row(
            "Judge",
            (
                timeseries(
                    "Rule time",
                    Query(
                        "histogram_quantile(0.99, sum by (group, le) "
                        "(rate(observe_rule_group_duration_seconds_bucket[5m])))",
                        "{{group}}",
                    ),
                    unit="s",
                    description="Time of one evaluation of a group: 99 of 100 are faster.",
                ),
                timeseries(
                    "Failures",
                    Query(
                        "sum by (group) (increase(observe_rule_evaluation_failures_total[5m])) or vector(0)",
                        "{{group}}",
                    ),
                    unit="short",
                    description="Rule evaluations that failed in five minutes.",
                ),
                timeseries(
                    "Transitions",
                    Query(
                        "sum by (after, reason) (increase(observe_alert_transitions_total[5m]))",
                        "{{after}}: {{reason}}",
                    ),
                    unit="short",
                    description="Alerts that changed their state.",
                ),
            ),
        ),
        Row(
            "Tell and show",
            (
                timeseries(
                    "Pages",
                    Query(
                        "sum by (receiver, result) (increase(observe_notifications_total[5m])) or vector(0)",
                        "{{receiver}} {{result}}",
                    ),
                    unit="short",
                    description="Messages to receivers by result.",
                ),
                timeseries(
                    "API time",
                    Query(
                        "histogram_quantile(0.95, sum by (handler, le) "
                        "(rate(observe_http_request_duration_seconds_bucket[2m])))",
                        "{{handler}}",
                    ),
                    unit="s",
                    description="Time of requests by route: 95 of 100 are faster.",
                ),
                timeseries(
                    "Dropped",
                    Query(
                        "sum by (stage, reason) (increase(observe_dropped_total[5m])) or vector(0)",
                        "{{stage}}: {{reason}}",
                    ),
                    unit="short",
                    description="What was refused, lost or cut at a bound, and why.",
                ),
            ),
        ),
    ],
    tags=("observe",),
)
