"""One naming for inference servers, and the table that says what each engine calls it.

Engines rename their metrics; so each row says since about which version it holds, newest first, and the first name that
a server really gives is taken. Sources: vllm/v1/metrics/loggers.py (0.32), sglang's observability/metrics_collector.py
(0.5.23) and production_metrics.md, Triton's docs/user_guide/metrics.md, OpenTelemetry's gen_ai semantic conventions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from observe.exporters.page import Kind, Metric

LABELS: Final = ("server", "engine", "model", "rank")


def _histogram(name: str, unit: str, help_text: str) -> Metric:
    return Metric(name, "histogram", unit, help_text, LABELS)


def _one(name: str, kind: Kind, unit: str, help_text: str, *more: str) -> Metric:
    return Metric(name, kind, unit, help_text, (*LABELS, *more))


TTFT = _histogram("inference_time_to_first_token_seconds", "seconds", "Time from a request to its first token.")
ITL = _histogram("inference_inter_token_latency_seconds", "seconds", "Time between two tokens of an answer.")
E2E = _histogram("inference_request_duration_seconds", "seconds", "Time of the whole request.")
QUEUED = _histogram("inference_queue_time_seconds", "seconds", "Time that a request waited to be run.")
PREFILL = _histogram("inference_prefill_time_seconds", "seconds", "Time that a request's prompt took.")
DECODE = _histogram("inference_decode_time_seconds", "seconds", "Time that a request's answer took.")
PROMPT_LENGTH = _histogram("inference_request_prompt_tokens", "", "Tokens of a prompt.")
ANSWER_LENGTH = _histogram("inference_request_generation_tokens", "", "Tokens of an answer.")
RUNNING = _one("inference_requests_running", "gauge", "", "Requests that are run now.")
WAITING = _one("inference_requests_waiting", "gauge", "", "Requests that wait to be run.")
KV_USAGE = _one("inference_kv_cache_usage_ratio", "gauge", "ratio", "Share of the key-value cache in use.")
PREFIX_QUERIES = _one("inference_prefix_cache_queries_total", "counter", "", "Prompt tokens looked up in the cache.")
PREFIX_HITS = _one("inference_prefix_cache_hits_total", "counter", "", "Prompt tokens found in the cache.")
PREEMPTIONS = _one("inference_preemptions_total", "counter", "", "Requests that lost their place for a while.")
PROMPT_TOKENS = _one("inference_prompt_tokens_total", "counter", "", "Prompt tokens processed.")
GENERATION_TOKENS = _one("inference_generation_tokens_total", "counter", "", "Tokens generated.")
FINISHED = _one("inference_requests_finished_total", "counter", "", "Requests ended, by reason.", "reason")
FAILED = _one("inference_requests_failed_total", "counter", "", "Requests that ended without their answer.", "reason")
RESPONSES = _one("inference_http_responses_total", "counter", "", "HTTP answers by class (2xx, 4xx, 5xx).", "code")

METRICS: Final = (
    TTFT, ITL, E2E, QUEUED, PREFILL, DECODE, PROMPT_LENGTH, ANSWER_LENGTH, RUNNING, WAITING, KV_USAGE, PREFIX_QUERIES,
    PREFIX_HITS, PREEMPTIONS, PROMPT_TOKENS, GENERATION_TOKENS, FINISHED, FAILED, RESPONSES,
)


@dataclass(frozen=True, slots=True)
class Alias:
    """`theirs` of `engine` is `ours`.

    `count` names the counters of a histogram that is given as a bare sum; `extra` is the label of theirs that our last
    one comes from, `fixed` what it is otherwise. Series that fall together are combined by `combine`.
    """

    engine: str
    ours: Metric
    theirs: str
    since: str = ""
    scale: float = 1.0
    where: Mapping[str, str] = field(default_factory=dict)
    extra: str = ""
    fixed: str = ""
    count: tuple[str, ...] = ()
    part: Literal["value", "sum", "count"] = "value"
    """Of a histogram of theirs, for a counter of ours."""
    needs: str = ""
    """Only series on which this label of theirs says something."""
    combine: Literal["sum", "max"] = "sum"

    @property
    def has_extra(self) -> bool:
        """Whether our metric has a label beyond those that all have."""
        return len(self.ours.labels) > len(LABELS)


def _of(engine: str, prefix: str) -> Callable[..., Alias]:
    """Rows of one engine, whose names begin alike."""

    def row(ours: Metric, theirs: str, since: str = "", **more: Any) -> Alias:
        return Alias(engine, ours, prefix + theirs, since, **more)

    return row


_vllm, _sglang, _triton, _otel = (
    _of("vllm", "vllm:"), _of("sglang", "sglang:"), _of("triton", "nv_"), _of("otel", "gen_ai_"),
)
_TRITON_COUNT: Final = ("nv_inference_request_success",)
"""Requests that its sums of durations are of: a failed one adds nothing to them."""

ALIASES: Final = (
    _vllm(TTFT, "time_to_first_token_seconds"),
    _vllm(ITL, "inter_token_latency_seconds", "0.11"),
    _vllm(ITL, "time_per_output_token_seconds", "0.3"),
    _vllm(E2E, "e2e_request_latency_seconds"),
    _vllm(QUEUED, "request_queue_time_seconds", "0.6"),
    _vllm(PREFILL, "request_prefill_time_seconds", "0.6"),
    _vllm(DECODE, "request_decode_time_seconds", "0.6"),
    _vllm(PROMPT_LENGTH, "request_prompt_tokens"),
    _vllm(ANSWER_LENGTH, "request_generation_tokens"),
    _vllm(RUNNING, "num_requests_running"),
    _vllm(WAITING, "num_requests_waiting"),
    _vllm(KV_USAGE, "kv_cache_usage_perc", "0.9", combine="max"),
    _vllm(KV_USAGE, "gpu_cache_usage_perc", "0.3", combine="max"),
    _vllm(PREFIX_QUERIES, "prefix_cache_queries_total", "0.9"),
    _vllm(PREFIX_QUERIES, "gpu_prefix_cache_queries_total", "0.7"),
    _vllm(PREFIX_HITS, "prefix_cache_hits_total", "0.9"),
    _vllm(PREFIX_HITS, "gpu_prefix_cache_hits_total", "0.7"),
    _vllm(PREEMPTIONS, "num_preemptions_total"),
    _vllm(PROMPT_TOKENS, "prompt_tokens_total"),
    _vllm(GENERATION_TOKENS, "generation_tokens_total"),
    _vllm(FINISHED, "request_success_total", extra="finished_reason"),
    _vllm(FAILED, "request_success_total", where={"finished_reason": "abort"}, fixed="abort"),
    _vllm(FAILED, "request_success_total", where={"finished_reason": "error"}, fixed="error"),
    _vllm(FAILED, "admission_rejections_total", "0.32", fixed="rejected"),
    Alias("vllm", RESPONSES, "http_requests_total", extra="status"),

    _sglang(TTFT, "time_to_first_token_seconds"),
    _sglang(ITL, "inter_token_latency_seconds", "0.4.5"),
    _sglang(ITL, "time_per_output_token_seconds", "0.3"),
    _sglang(E2E, "e2e_request_latency_seconds"),
    _sglang(QUEUED, "queue_time_seconds", "0.5"),
    _sglang(PROMPT_LENGTH, "prompt_tokens_histogram", "0.5"),
    _sglang(ANSWER_LENGTH, "generation_tokens_histogram", "0.5"),
    _sglang(RUNNING, "num_running_reqs"),
    _sglang(WAITING, "num_queue_reqs"),
    _sglang(KV_USAGE, "token_usage", combine="max"),
    _sglang(PREFIX_QUERIES, "prompt_tokens_total"),
    _sglang(PREFIX_HITS, "cached_tokens_total", "0.4.7"),
    _sglang(PREEMPTIONS, "num_retracted_requests_total", "0.5.5"),
    _sglang(PROMPT_TOKENS, "prompt_tokens_total"),
    _sglang(GENERATION_TOKENS, "generation_tokens_total"),
    _sglang(FINISHED, "num_requests_total", fixed="any"),
    _sglang(FAILED, "num_aborted_requests_total", "0.4.7", fixed="abort"),
    _sglang(RESPONSES, "http_responses_total", "0.5.5", extra="status_code"),

    _triton(TTFT, "inference_first_response_histogram_ms", "24.12", scale=1e-3),
    _triton(E2E, "inference_request_duration_us", scale=1e-6, count=_TRITON_COUNT),
    _triton(QUEUED, "inference_queue_duration_us", scale=1e-6, count=_TRITON_COUNT),
    _triton(RUNNING, "trt_llm_request_metrics", where={"request_type": "active"}),
    _triton(WAITING, "inference_pending_request_count", "23.12"),
    _triton(WAITING, "trt_llm_request_metrics", where={"request_type": "waiting"}),
    _triton(KV_USAGE, "trt_llm_kv_cache_block_metrics", where={"kv_cache_block_type": "fraction"}, combine="max"),
    _triton(FINISHED, "inference_request_success", fixed="success"),
    _triton(FAILED, "inference_request_failure", extra="reason", fixed="other"),

    _otel(TTFT, "server_time_to_first_token_seconds"),
    _otel(TTFT, "client_inference_time_to_first_chunk_seconds", "2026-10"),
    _otel(TTFT, "client_operation_time_to_first_chunk_seconds"),
    _otel(ITL, "server_time_per_output_token_seconds"),
    _otel(ITL, "client_inference_time_per_output_chunk_seconds", "2026-10"),
    _otel(ITL, "client_operation_time_per_output_chunk_seconds"),
    _otel(E2E, "server_request_duration_seconds"),
    _otel(E2E, "client_inference_duration_seconds", "2026-10"),
    _otel(E2E, "client_operation_duration_seconds"),
    # A service that is a server and calls one gives both: for what falls together the server's own stand, being last.
    _otel(FINISHED, "client_operation_duration_seconds", fixed="any", part="count"),
    _otel(FINISHED, "client_inference_duration_seconds", "2026-10", fixed="any", part="count"),
    _otel(FINISHED, "server_request_duration_seconds", fixed="any", part="count"),
    _otel(FAILED, "client_operation_duration_seconds", extra="error_type", needs="error_type", part="count"),
    _otel(FAILED, "client_inference_duration_seconds", "2026-10", extra="error_type", needs="error_type", part="count"),
    _otel(FAILED, "server_request_duration_seconds", extra="error_type", needs="error_type", part="count"),
    _otel(PROMPT_LENGTH, "client_inference_operation_input_tokens", "2026-09"),
    _otel(ANSWER_LENGTH, "client_inference_operation_output_tokens", "2026-09"),
    _otel(PROMPT_TOKENS, "client_inference_usage_input_tokens_total", "2026-09"),
    _otel(GENERATION_TOKENS, "client_inference_usage_output_tokens_total", "2026-09"),
    _otel(PREFIX_QUERIES, "client_inference_usage_input_tokens_total", "2026-09"),
    _otel(PREFIX_HITS, "client_inference_usage_cache_read_input_tokens_total", "2026-09"),
    _otel(PROMPT_LENGTH, "client_token_usage", where={"gen_ai_token_type": "input"}),
    _otel(ANSWER_LENGTH, "client_token_usage", where={"gen_ai_token_type": "output"}),
    _otel(PROMPT_TOKENS, "client_token_usage", where={"gen_ai_token_type": "input"}, part="sum"),
    _otel(GENERATION_TOKENS, "client_token_usage", where={"gen_ai_token_type": "output"}, part="sum"),
)

PREFIXES: Final = {"vllm": "vllm:", "sglang": "sglang:", "triton": "nv_inference_", "otel": "gen_ai_"}
"""What an engine is known by. Its rows count only where this is seen: `http_requests_total` alone is nobody's."""

MODEL_LABELS: Final = ("model_name", "model", "gen_ai_response_model", "gen_ai_request_model")
RANK_LABELS: Final = ("engine", "dp_rank")
COPY_LABELS: Final = ("pp_rank", "tp_rank", "moe_ep_rank")
"""Parts of one engine of SGLang, each of which tells of the same requests: the first one speaks for all."""
