"""The engine behind the gateway: a bounded queue, a pool of workers over the model, an LRU cache of answers."""

import queue
import random
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from opentelemetry import context, trace
from opentelemetry.trace import Status, StatusCode, Tracer

from observe.demo.faults import Faults
from observe.demo.signals import ENGINE, SERVICE, Metrics, RequestLog
from observe.demo.transformer import CONTEXT, Sequence, Transformer

QUEUE_CAPACITY = 32
WORKERS = 3
_CACHE_ENTRIES = 64
_TOKEN_S, _SLOW_TOKEN_S = 0.002, 0.04
"""Pause after each token: slow enough to hurt, quick enough that the queue does not overflow as well."""
_LEAK_NODES, _LEAK_BLOCKS, _BLOCK_BYTES = 40_000, 256, 1 << 20
"""What a leak keeps at most, about 270 MB, so a forgotten fault harms nobody's laptop."""


class Refused(Exception):
    """The queue is full."""


class InferenceFailed(Exception):
    """The model could not answer."""


@dataclass
class Job:
    """One request on its way through queue and worker."""

    prompt: str
    max_tokens: int
    context: context.Context
    arrived: float = field(default_factory=time.perf_counter)
    done: threading.Event = field(default_factory=threading.Event)
    answer: str = ""
    error: Exception | None = None
    queue_span: trace.Span | None = None


class Engine:
    """Takes prompts, gives answers; everything that can be watched is watched."""

    def __init__(self, metrics: Metrics, tracer: Tracer, log: RequestLog, faults: Faults, seed: int = 1) -> None:
        self._model = Transformer()
        self._metrics, self._tracer, self._log, self._faults = metrics, tracer, log, faults
        self._queue: queue.Queue[Job] = queue.Queue(QUEUE_CAPACITY)
        self._cache: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._random = random.Random(seed)
        self._leak: list[list[object]] = []
        self._leaked_blocks: list[bytes] = []
        self._busy = [False] * WORKERS
        metrics.queue_capacity.labels(SERVICE).set(QUEUE_CAPACITY)
        metrics.queue_depth.labels(SERVICE).set_function(self._queue.qsize)
        metrics.waiting.labels(*ENGINE).set_function(self._queue.qsize)
        metrics.running.labels(*ENGINE).set_function(lambda: sum(self._busy))
        metrics.kv_usage.labels(*ENGINE).set_function(lambda: sum(self._busy) / WORKERS)
        metrics.preemptions.labels(*ENGINE)
        for number in range(WORKERS):
            threading.Thread(target=self._work, args=(number,), name=f"worker-{number}", daemon=True).start()

    def generate(self, prompt: str, max_tokens: int) -> tuple[str, bool]:
        """The answer, and whether it came from the cache. Raises Refused or InferenceFailed. Blocks."""
        key = (prompt, max_tokens)
        with self._cache_lock:
            if self._faults.on("cache_wipe"):
                self._cache.clear()
            cached = self._cache.get(key)
            if cached is not None:
                self._cache.move_to_end(key)
        self._metrics.prefix_queries.labels(*ENGINE).inc(len(prompt))
        if cached is not None:
            self._metrics.cache_hits.labels(SERVICE).inc()
            self._metrics.prefix_hits.labels(*ENGINE).inc(len(prompt))
            return cached, True
        self._metrics.cache_misses.labels(SERVICE).inc()
        job = Job(prompt, min(max_tokens, CONTEXT // 2), context.get_current())
        job.queue_span = self._tracer.start_span("queue", attributes={"queue.depth": self._queue.qsize()})
        try:
            self._queue.put_nowait(job)
        except queue.Full:
            job.queue_span.set_status(Status(StatusCode.ERROR, "queue full"))
            job.queue_span.end()
            raise Refused(f"queue full: {QUEUE_CAPACITY} requests wait already") from None
        job.done.wait()
        if job.error is not None:
            raise job.error
        with self._cache_lock:
            self._cache[key] = job.answer
            if len(self._cache) > _CACHE_ENTRIES:
                self._cache.popitem(last=False)
        return job.answer, False

    def embed(self, text: str) -> list[float]:
        with self._tracer.start_as_current_span("encode"):
            return self._model.embed(text.encode())

    def _work(self, number: int) -> None:
        while True:
            if number and self._faults.on("queue_pileup"):
                time.sleep(0.05)
                continue
            try:
                job = self._queue.get(timeout=0.25)
            except queue.Empty:
                continue
            self._busy[number] = True
            try:
                self._run(job, number)
            except InferenceFailed as error:
                job.error = error
            except Exception as error:  # a bug in the model must not end the worker
                job.error = InferenceFailed(str(error))
            finally:
                self._busy[number] = False
                job.done.set()

    def _run(self, job: Job, number: int) -> None:
        assert job.queue_span is not None
        waited = time.perf_counter() - job.arrived
        job.queue_span.end()
        metrics = self._metrics
        metrics.queue_time.labels(*ENGINE).observe(waited)
        if self._faults.on("queue_pileup"):
            time.sleep(0.4)
        with self._tracer.start_as_current_span(
            "prefill", context=job.context, attributes={"gen_ai.usage.input_tokens": len(job.prompt), "worker": number},
        ):
            sequence = self._model.prefill(job.prompt.encode())
        metrics.prompt_tokens.labels(*ENGINE).inc(len(sequence.tokens))
        metrics.tokens.labels(SERVICE, "input").inc(len(sequence.tokens))
        metrics.ttft.labels(*ENGINE).observe(time.perf_counter() - job.arrived)
        with self._tracer.start_as_current_span(
            "decode", context=job.context, attributes={"gen_ai.request.max_tokens": job.max_tokens, "worker": number},
        ) as span:
            self._decode(job, sequence, span, number)

    def _decode(self, job: Job, sequence: Sequence, span: trace.Span, number: int) -> None:
        metrics, said = self._metrics, bytearray()
        doomed = self._faults.on("error_burst") and self._random.random() < 1 / 3
        for position in range(job.max_tokens):
            began = time.perf_counter()
            said.append(self._model.decode(sequence))
            time.sleep(_SLOW_TOKEN_S if self._faults.on("slow_decode") else _TOKEN_S)
            metrics.itl.labels(*ENGINE).observe(time.perf_counter() - began)
            if doomed and position == job.max_tokens // 2:
                message = f"decode failed on worker-{number}: device returned NaN logits at token {position}"
                span.set_status(Status(StatusCode.ERROR, message))
                self._log.write("error", message, span.get_span_context(), worker=number, error_msg=message)
                raise InferenceFailed(message)
        if self._faults.on("memory_leak"):
            self._leak_some()
        elif self._leak:
            self._leak.clear()
            self._leaked_blocks.clear()
        span.set_attribute("gen_ai.usage.output_tokens", len(said))
        metrics.generation_tokens.labels(*ENGINE).inc(len(said))
        metrics.tokens.labels(SERVICE, "output").inc(len(said))
        metrics.success.labels(*ENGINE, "length").inc()
        job.answer = said.hex()

    def _leak_some(self) -> None:
        for _ in range(2_000):
            node: list[object] = [bytes(64)]
            node.append(node)  # a cycle: only the collector can free it
            if len(self._leak) < _LEAK_NODES:
                self._leak.append(node)
        if len(self._leaked_blocks) < _LEAK_BLOCKS:
            self._leaked_blocks.append(b"\1" * _BLOCK_BYTES)  # written, so that the memory is really taken
