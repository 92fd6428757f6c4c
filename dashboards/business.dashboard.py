"""Business figures: whatever the business exporter is told to read, by name."""

from observe.dashboards.panels import Query, Row, board, named, table, timeseries

_N = '__name__=~"$figure"'
# A rate drops the name, and two counters may differ in nothing else: keep it as a label.
_EVENTS = f'rate(label_replace({{{_N}, __name__=~".+_total"}}, "figure", "$1", "__name__", "(.+)")[5m:15s])'

dashboard = board(
    "Business figures",
    "observe-business",
    "The figures that the business exporter makes of SQL, HTTP and log lines.",
    [
        Row(
            "Figures",
            (
                timeseries(
                    "Gauges",
                    Query(f'{{{_N}, __name__!~".+_total"}}', "{{__name__}} {{instance}}"),
                    unit="short",
                    least=None,
                    description="Figures that go up and down.",
                ),
                timeseries(
                    "Counters",
                    Query(_EVENTS, "{{figure}} {{instance}}"),
                    unit="cps",
                    description="Events a second.",
                ),
            ),
        ),
        Row(
            "Now",
            (
                table(
                    "Values",
                    Query(f"{{{_N}}}"),
                    unit="short",
                    hide=("job",),
                    description="Every chosen figure as it is now.",
                ),
                timeseries(
                    "Sources",
                    Query('exporter_success{job="business"}', "{{collector}}"),
                    unit="short",
                    most=1,
                    description="1 while the query, address or file behind a figure answers.",
                ),
            ),
        ),
    ],
    variables=[named("figure", "business_.+", title="Figure")],
    tags=("business",),
)
