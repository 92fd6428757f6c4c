"""What the gateway says of itself: Prometheus metrics, OpenTelemetry spans, and one JSON log line a request.

The `vllm:*` families carry vLLM's own names and buckets, so whatever watches a real vLLM watches this gateway as well.
"""

import json
import logging
import logging.handlers
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

SERVICE = "gateway"
ENGINE = ("tiny-transformer", "0")
"""model_name and engine, as vLLM labels its metrics."""

_LATENCY = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_ITL = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_E2E = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0)


class Metrics:
    """The gateway's metrics in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # a second series a metric that nobody asks for
        self.registry = CollectorRegistry()
        where, service = ("service", "endpoint"), ("service",)
        self.requests = self._counter("gateway_requests", "Requests answered, by HTTP status.", (*where, "status"))
        self.duration = self._histogram(
            "gateway_request_duration_seconds", "Time from arrival to the last byte.", _LATENCY, where,
        )
        self.errors = self._counter("gateway_errors", "Requests that failed, by reason.", (*where, "reason"))
        self.queue_depth = self._gauge("gateway_queue_depth", "Requests waiting for a worker.", service)
        self.queue_capacity = self._gauge("gateway_queue_capacity", "Requests that the queue can hold.", service)
        self.cache_hits = self._counter("gateway_cache_hits", "Answers found in the cache.", service)
        self.cache_misses = self._counter("gateway_cache_misses", "Answers not in the cache.", service)
        self.tokens = self._counter("gateway_tokens", "Tokens, read or written.", ("service", "kind"))

        engine = ("model_name", "engine")
        self.running = self._gauge("vllm:num_requests_running", "Requests that a worker runs.", engine)
        self.waiting = self._gauge("vllm:num_requests_waiting", "Requests that wait for a worker.", engine)
        self.kv_usage = self._gauge("vllm:kv_cache_usage_perc", "Share of the key-value cache in use, 0 to 1.", engine)
        self.prompt_tokens = self._counter("vllm:prompt_tokens", "Tokens read.", engine)
        self.generation_tokens = self._counter("vllm:generation_tokens", "Tokens written.", engine)
        self.prefix_queries = self._counter("vllm:prefix_cache_queries", "Tokens looked up in the cache.", engine)
        self.prefix_hits = self._counter("vllm:prefix_cache_hits", "Tokens found in the cache.", engine)
        self.preemptions = self._counter("vllm:num_preemptions", "Requests that lost their place.", engine)
        self.success = self._counter("vllm:request_success", "Requests that ended well.", (*engine, "finished_reason"))
        self.ttft = self._histogram("vllm:time_to_first_token_seconds", "Time to the first token.", _TTFT, engine)
        self.itl = self._histogram("vllm:inter_token_latency_seconds", "Time between two tokens.", _ITL, engine)
        self.e2e = self._histogram("vllm:e2e_request_latency_seconds", "Time of the whole request.", _E2E, engine)
        self.queue_time = self._histogram("vllm:request_queue_time_seconds", "Time in the queue.", _E2E, engine)
        # Counters are there from 0, as vLLM's are: who appears with its first event loses that event to `rate`.
        for counter in (self.cache_hits, self.cache_misses):
            counter.labels(SERVICE)
        for counter in (
            self.prompt_tokens, self.generation_tokens, self.prefix_queries, self.prefix_hits, self.preemptions,
        ):
            counter.labels(*ENGINE)

    def _counter(self, name: str, help_text: str, labels: Sequence[str]) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def _gauge(self, name: str, help_text: str, labels: Sequence[str]) -> Gauge:
        return Gauge(name, help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, buckets: Sequence[float], labels: Sequence[str]) -> Histogram:
        return Histogram(name, help_text, labels, buckets=buckets, registry=self.registry)


def tracer_provider(otlp_url: str | None) -> TracerProvider:
    """Spans in batches at most half a second old, to the receiver at `otlp_url`; None sends them nowhere."""
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE, "service.version": "1.4.2"}))
    if otlp_url:
        exporter = OTLPSpanExporter(endpoint=otlp_url.rstrip("/") + "/v1/traces", timeout=5)
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=400, max_queue_size=8192))
    # A receiver that is restarting is no news for every batch: the exporter tries again by itself.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return provider


class RequestLog:
    """One JSON object a line: timestamp, service, endpoint, latency (ms), status, error_msg, trace_id, span_id.

    `seq` counts the lines, so that a reader can prove that none is missing.
    """

    def __init__(self, path: Path | None) -> None:
        self._logger = logging.getLogger("observe.demo.requests")
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        self._seq = 0
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            handler = logging.handlers.RotatingFileHandler(path, maxBytes=20_000_000, backupCount=2)
            handler.setFormatter(logging.Formatter("%(message)s"))
            self._logger.addHandler(handler)

    def write(self, level: str, message: str, context: trace.SpanContext, **fields: Any) -> None:
        self._seq += 1
        line = {
            "timestamp": round(time.time(), 6), "level": level, "service": SERVICE, "message": message,
            "trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}", "seq": self._seq, **fields,
        }
        self._logger.info(json.dumps(line))
