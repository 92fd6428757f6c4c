"""Python services: garbage collection, event loop, threads, memory."""

from observe.dashboards.panels import Query, Row, board, chosen_by, heatmap, timeseries

_J = 'job=~"$job"'
_LEGEND = "{{job}} {{instance}}"

dashboard = board(
    "Python services",
    "observe-python",
    "Garbage collection, event loop, threads and memory of Python services.",
    [
        Row(
            "Garbage collection",
            (
                timeseries(
                    "Time stopped",
                    Query(f"sum by (job, instance) (rate(python_gc_pause_seconds_sum{{{_J}}}[1m]))", _LEGEND),
                    unit="percentunit",
                    description="Share of time in which a collection stopped the interpreter.",
                ),
                heatmap(
                    "Pauses",
                    f"sum by (le) (rate(python_gc_pause_seconds_bucket{{{_J}}}[$__rate_interval]))",
                    unit="s",
                    description="How long single collections took.",
                ),
                timeseries(
                    "Collections",
                    Query(
                        f"sum by (job, instance, generation) (rate(python_gc_collections_total{{{_J}}}[1m]))",
                        "{{job}} generation {{generation}}",
                    ),
                    unit="cps",
                    description="Collections a second by generation.",
                ),
            ),
        ),
        Row(
            "Event loop",
            (
                timeseries(
                    "Lag",
                    Query(
                        "histogram_quantile(0.99, sum by (job, instance, loop, le) "
                        f"(rate(python_event_loop_lag_seconds_bucket{{{_J}}}[2m])))",
                        "{{job}} {{loop}}",
                    ),
                    unit="s",
                    description="How late timers run: 99 of 100 are earlier than this.",
                ),
                timeseries(
                    "Blocked now",
                    Query(f"python_event_loop_blocked_seconds{{{_J}}}", "{{job}} {{loop}}"),
                    unit="s",
                    description="How overdue the loop's timer is: something blocks it while this grows.",
                ),
            ),
        ),
        Row(
            "Process",
            (
                timeseries(
                    "Memory",
                    Query(f"process_resident_memory_bytes{{{_J}}}", _LEGEND),
                    unit="bytes",
                    description="Resident memory of the process.",
                ),
                timeseries(
                    "CPU",
                    Query(f"rate(process_cpu_seconds_total{{{_J}}}[1m])", _LEGEND),
                    unit="short",
                    description="CPUs in use.",
                ),
                timeseries(
                    "Threads",
                    Query(f"python_threads{{{_J}}}", _LEGEND),
                    unit="short",
                    description="Python threads alive.",
                ),
            ),
        ),
    ],
    variables=[chosen_by("job", "python_gc_collections_total", title="Service")],
    tags=("python",),
)
