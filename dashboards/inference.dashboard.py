"""Inference servers (vLLM, SGLang, Triton, OpenTelemetry gen_ai) under one naming."""

from observe.dashboards.panels import Query, Row, board, chosen_by, heatmap, timeseries

_M = 'server=~"$server", model=~"$model"'
_BY = "server, model"
_LEGEND = "{{server}} {{model}}"


def _quantiles(metric: str) -> list[Query]:
    return [
        Query(
            f"histogram_quantile({q}, sum by ({_BY}, le) (rate({metric}_bucket{{{_M}}}[2m])))", f"{_LEGEND} p{name}"
        )
        for q, name in (("0.5", "50"), ("0.95", "95"))
    ]


dashboard = board(
    "Inference",
    "observe-inference",
    "Latency, load, cache and tokens of model servers, whichever engine they run.",
    [
        Row(
            "What users feel",
            (
                timeseries(
                    "Time to first token",
                    _quantiles("inference_time_to_first_token_seconds"),
                    unit="s",
                    description="From the request to the first token: the median and the 95th percentile.",
                ),
                timeseries(
                    "Between tokens",
                    _quantiles("inference_inter_token_latency_seconds"),
                    unit="s",
                    description="From one token to the next: how fluent an answer reads.",
                ),
                timeseries(
                    "Whole request",
                    _quantiles("inference_request_duration_seconds"),
                    unit="s",
                    description="From the request to the last token.",
                ),
            ),
        ),
        Row(
            "Load",
            (
                timeseries(
                    "Running and waiting",
                    [
                        Query(f"sum by ({_BY}) (inference_requests_running{{{_M}}})", f"{_LEGEND} running"),
                        Query(f"sum by ({_BY}) (inference_requests_waiting{{{_M}}})", f"{_LEGEND} waiting"),
                    ],
                    unit="short",
                    description="Requests in the batch, and those that wait to get in.",
                ),
                timeseries(
                    "Cache in use",
                    Query(f"max by ({_BY}) (inference_kv_cache_usage_ratio{{{_M}}})", _LEGEND),
                    unit="percentunit",
                    most=1,
                    description="Share of the key-value cache in use; near 1 requests are preempted.",
                ),
                timeseries(
                    "Time in the queue",
                    _quantiles("inference_queue_time_seconds"),
                    unit="s",
                    description="How long requests wait before they run.",
                ),
            ),
        ),
        Row(
            "Work",
            (
                timeseries(
                    "Tokens",
                    [
                        Query(f"sum by ({_BY}) (rate(inference_prompt_tokens_total{{{_M}}}[2m]))", f"{_LEGEND} read"),
                        Query(
                            f"sum by ({_BY}) (rate(inference_generation_tokens_total{{{_M}}}[2m]))",
                            f"{_LEGEND} written",
                        ),
                    ],
                    unit="cps",
                    description="Tokens a second, read and written.",
                ),
                timeseries(
                    "Prefix cache",
                    Query(
                        f"sum by ({_BY}) (rate(inference_prefix_cache_hits_total{{{_M}}}[5m])) "
                        f"/ sum by ({_BY}) (rate(inference_prefix_cache_queries_total{{{_M}}}[5m]))",
                        _LEGEND,
                    ),
                    unit="percentunit",
                    most=1,
                    description="Share of prompt tokens found in the cache.",
                ),
                timeseries(
                    "Preemptions",
                    Query(f"sum by ({_BY}) (rate(inference_preemptions_total{{{_M}}}[5m]))", _LEGEND),
                    unit="cps",
                    description="Requests thrown out of the batch a second, to make room in the cache.",
                ),
            ),
        ),
        Row(
            "Shape",
            (
                heatmap(
                    "First tokens",
                    f"sum by (le) (rate(inference_time_to_first_token_seconds_bucket{{{_M}}}[$__rate_interval]))",
                    unit="s",
                    description="Where times to the first token lie.",
                ),
                timeseries(
                    "How requests end",
                    Query(f"sum by (reason) (rate(inference_requests_finished_total{{{_M}}}[5m]))", "{{reason}}"),
                    unit="reqps",
                    stacked=True,
                    description="Requests a second by why they ended: stop, length, abort.",
                ),
            ),
        ),
    ],
    variables=[
        chosen_by("server", "inference_requests_running", title="Server"),
        chosen_by("model", "inference_requests_running", title="Model", within='server=~"$server"'),
    ],
    tags=("inference", "serving"),
)
