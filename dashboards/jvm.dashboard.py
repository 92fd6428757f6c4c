"""JVMs: heap, garbage collection, pauses and threads, read without an agent."""

from observe.dashboards.panels import Query, Row, board, chosen_by, heatmap, timeseries

_I = 'instance=~"$instance", main_class=~"$main_class"'
_LEGEND = "{{main_class}} {{pid}}"

dashboard = board(
    "JVMs",
    "observe-jvm",
    "Heap, garbage collection, pauses and threads of every JVM found on the watched machines.",
    [
        Row(
            "Heap",
            (
                timeseries(
                    "In use",
                    Query(f"jvm_memory_heap_used_bytes{{{_I}}}", _LEGEND),
                    unit="bytes",
                    description="Heap in use, as of the last collection.",
                ),
                timeseries(
                    "Of its limit",
                    Query(f"jvm_memory_heap_used_bytes{{{_I}}} / (jvm_memory_heap_max_bytes{{{_I}}} > 0)", _LEGEND),
                    unit="percentunit",
                    most=1,
                    description="Heap in use as a share of what it may grow to (-Xmx).",
                ),
                timeseries(
                    "By pool",
                    Query(f"sum by (pool) (jvm_memory_pool_used_bytes{{{_I}}})", "{{pool}}"),
                    unit="bytes",
                    stacked=True,
                    description="Memory in use by pool.",
                ),
            ),
        ),
        Row(
            "Garbage collection",
            (
                timeseries(
                    "Time",
                    Query(f"sum without (collector) (rate(jvm_gc_time_seconds_total{{{_I}}}[2m]))", _LEGEND),
                    unit="percentunit",
                    description="Share of time spent collecting.",
                ),
                timeseries(
                    "Collections",
                    Query(f"rate(jvm_gc_collections_total{{{_I}}}[2m])", "{{main_class}} {{collector}}"),
                    unit="cps",
                    description="Collections a second by collector.",
                ),
                timeseries(
                    "Time stopped",
                    Query(f"rate(jvm_safepoint_time_seconds_total{{{_I}}}[2m])", _LEGEND),
                    unit="percentunit",
                    description="Share of time in which all threads stood still, for any reason.",
                ),
            ),
        ),
        Row(
            "From the GC log",
            (
                heatmap(
                    "Pauses",
                    f"sum by (le) (rate(jvm_gc_pause_seconds_bucket{{{_I}}}[$__rate_interval]))",
                    unit="s",
                    description="How long single pauses took; needs -Xlog:gc*.",
                ),
                timeseries(
                    "Full GCs",
                    Query(f"increase(jvm_gc_full_collections_total{{{_I}}}[5m])", "{{main_class}} {{cause}}"),
                    unit="short",
                    description="Full collections in five minutes by cause.",
                ),
            ),
        ),
        Row(
            "Process",
            (
                timeseries(
                    "Threads", Query(f"jvm_threads_live{{{_I}}}", _LEGEND), unit="short", description="Threads alive."
                ),
                timeseries(
                    "CPU",
                    Query(f"rate(jvm_process_cpu_seconds_total{{{_I}}}[2m])", _LEGEND),
                    unit="short",
                    description="CPUs in use.",
                ),
                timeseries(
                    "Memory",
                    Query(f"jvm_process_resident_memory_bytes{{{_I}}}", _LEGEND),
                    unit="bytes",
                    description="Resident memory: heap and everything beside it.",
                ),
            ),
        ),
    ],
    variables=[
        chosen_by("instance", "jvm_uptime_seconds", title="Host"),
        chosen_by("main_class", "jvm_uptime_seconds", title="Program", within='instance=~"$instance"'),
    ],
    tags=("jvm",),
)
