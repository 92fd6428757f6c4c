"""The demo gateway: what its users feel, beside what is expected, and what it costs."""

from observe.dashboards.panels import Band, Query, Row, board, chosen_by, heatmap, stat, timeseries

_ONE = 'service="$service", endpoint="$endpoint"'
_ALL = 'service="$service"'
_BUCKETS = f"gateway_request_duration_seconds_bucket{{{_ALL}}}[1m]"

dashboard = board(
    "Gateway",
    "observe-gateway",
    "Requests, latency, errors, queue and tokens of a model-serving gateway, with the bands of its rules.",
    [
        Row(
            "Now",
            (
                stat(
                    "Requests",
                    Query(f"sum(rate(gateway_requests_total{{{_ALL}}}[1m]))"),
                    unit="reqps",
                    description="Requests answered a second, all endpoints.",
                ),
                stat(
                    "Failed",
                    Query(
                        f'(sum(rate(gateway_requests_total{{{_ALL}, status=~"5.."}}[1m])) or vector(0)) '
                        f"/ sum(rate(gateway_requests_total{{{_ALL}}}[1m]))"
                    ),
                    unit="percentunit",
                    description="Share of requests that end with a 5xx status.",
                    steps=(("text", None), ("orange", 0.01), ("red", 0.05)),
                ),
                stat(
                    "p95",
                    Query(f"histogram_quantile(0.95, sum by (le) (rate({_BUCKETS})))"),
                    unit="s",
                    description="95 of 100 requests are faster than this.",
                ),
                stat(
                    "Queue",
                    Query(f"max(gateway_queue_depth{{{_ALL}}} / gateway_queue_capacity{{{_ALL}}})"),
                    unit="percentunit",
                    description="How full the queue is.",
                    steps=(("text", None), ("orange", 0.5), ("red", 0.9)),
                ),
                stat(
                    "Tokens",
                    Query(f"sum(rate(gateway_tokens_total{{{_ALL}}}[1m]))"),
                    unit="cps",
                    description="Tokens read and written a second.",
                ),
            ),
            height=4,
        ),
        Row(
            "What users feel",
            (
                timeseries(
                    "Latency of $endpoint, and what is expected",
                    Query(
                        f"histogram_quantile(0.95, sum by (service, endpoint, le) "
                        f"(rate(gateway_request_duration_seconds_bucket{{{_ONE}}}[1m])))",
                        "p95",
                    ),
                    unit="s",
                    description="The 95th percentile of one endpoint. The soft area is its learned band: "
                    "above it, LatencyOutsideBand fires, or LatencyOutsideBandLowTraffic where requests are few.",
                    band=Band("inference/LatencyOutsideBand", _ONE, "inference/LatencyOutsideBandLowTraffic"),
                ),
                heatmap(
                    "Where requests lie",
                    f"sum by (le) (rate(gateway_request_duration_seconds_bucket{{{_ONE}}}[$__rate_interval]))",
                    unit="s",
                    description="Durations of all requests of the endpoint: two bands are two kinds of request.",
                ),
            ),
            height=10,
        ),
        Row(
            "All endpoints",
            (
                timeseries(
                    "Requests",
                    Query(
                        f"sum by (endpoint, status) (rate(gateway_requests_total{{{_ALL}}}[1m]))",
                        "{{endpoint}} {{status}}",
                    ),
                    unit="reqps",
                    description="Requests a second by endpoint and status.",
                    stacked=True,
                ),
                timeseries(
                    "Latency",
                    [
                        Query(
                            f"histogram_quantile({q}, sum by (endpoint, le) (rate({_BUCKETS})))",
                            f"{{{{endpoint}}}} p{p}",
                        )
                        for q, p in (("0.5", "50"), ("0.95", "95"), ("0.99", "99"))
                    ],
                    unit="s",
                    description="The median, the 95th and the 99th percentile by endpoint.",
                ),
                timeseries(
                    "Failed, and what is expected",
                    Query(
                        f'(sum by (service, endpoint) (rate(gateway_requests_total{{{_ONE}, status=~"5.."}}[1m])) '
                        f"or 0 * sum by (service, endpoint) (rate(gateway_requests_total{{{_ONE}}}[1m]))) "
                        f"/ sum by (service, endpoint) (rate(gateway_requests_total{{{_ONE}}}[1m]))",
                        "failed",
                    ),
                    unit="percentunit",
                    description="Share of requests of $endpoint with a 5xx status.",
                    band=Band("inference/ErrorShareOutsideBand", _ONE),
                ),
            ),
        ),
        Row(
            "Queue, cache, tokens",
            (
                timeseries(
                    "Queue",
                    [
                        Query(f"gateway_queue_depth{{{_ALL}}}", "waiting"),
                        Query(f"gateway_queue_capacity{{{_ALL}}}", "room"),
                    ],
                    unit="short",
                    description="Requests that wait for a worker, and how many may.",
                ),
                timeseries(
                    "Cache hits",
                    Query(
                        f"sum by (service) (rate(gateway_cache_hits_total{{{_ALL}}}[2m])) / "
                        f"(sum by (service) (rate(gateway_cache_hits_total{{{_ALL}}}[2m])) "
                        f"+ sum by (service) (rate(gateway_cache_misses_total{{{_ALL}}}[2m])))",
                        "hits",
                    ),
                    unit="percentunit",
                    most=1,
                    description="Share of requests answered from the cache.",
                ),
                timeseries(
                    "Tokens",
                    Query(f"sum by (kind) (rate(gateway_tokens_total{{{_ALL}}}[1m]))", "{{kind}}"),
                    unit="cps",
                    description="Tokens a second, read and written.",
                    stacked=True,
                ),
            ),
        ),
        Row(
            "Underneath",
            (
                timeseries(
                    "Python pauses",
                    Query("sum by (job, instance) (rate(python_gc_pause_seconds_sum[1m]))", "{{job}} {{instance}}"),
                    unit="percentunit",
                    description="Share of time in which garbage collection stopped the interpreter.",
                ),
                timeseries(
                    "Memory",
                    Query("process_resident_memory_bytes", "{{job}} {{instance}}"),
                    unit="bytes",
                    description="Resident memory of each watched process.",
                ),
                timeseries(
                    "CPU of the hosts",
                    Query("instance:host_cpu_busy:ratio_rate2m", "{{instance}}"),
                    unit="percentunit",
                    most=1,
                    description="Share of CPU time that is neither idle nor waiting for a disk.",
                ),
            ),
        ),
    ],
    variables=[
        chosen_by("service", "gateway_requests_total", title="Service", every=False),
        chosen_by("endpoint", "gateway_requests_total", title="Endpoint", every=False, within='service="$service"'),
    ],
    tags=("serving",),
)
