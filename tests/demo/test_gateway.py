"""The demo gateway over HTTP: answers, refuses, fails on demand, and says so in metrics, spans and log lines."""

import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from observe.demo.faults import Faults
from observe.demo.gateway import build
from observe.demo.signals import RequestLog, tracer_provider


@pytest.fixture
def gateway(tmp_path):
    provider = tracer_provider(None)
    spans = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with TestClient(build(provider, RequestLog(tmp_path / "gateway.jsonl"), Faults())) as client:
        client.spans, client.log = spans, tmp_path / "gateway.jsonl"
        yield client


def lines(gateway):
    return [json.loads(line) for line in gateway.log.read_text().splitlines()]


def test_a_request_leaves_four_joined_spans_one_log_line_and_its_metrics(gateway):
    answer = gateway.post("/generate", json={"prompt": "hello", "max_tokens": 4})

    assert 200 == answer.status_code
    spans = {span.name: span for span in gateway.spans.get_finished_spans()}
    assert {"POST /generate", "queue", "prefill", "decode"} == set(spans)
    root = spans["POST /generate"]
    assert {root.context.span_id} == {spans[name].parent.span_id for name in ("queue", "prefill", "decode")}
    (line,) = lines(gateway)
    assert f"{root.context.trace_id:032x}" == line["trace_id"]
    assert ("gateway", "/generate", "200", 1) == (line["service"], line["endpoint"], line["status"], line["seq"])
    page = gateway.get("/metrics").text
    assert 'gateway_requests_total{endpoint="/generate",service="gateway",status="200"} 1.0' in page
    assert 'vllm:generation_tokens_total{engine="0",model_name="tiny-transformer"} 4.0' in page


def test_the_same_prompt_is_answered_from_the_cache(gateway):
    first, second = (gateway.post("/generate", json={"prompt": "again", "max_tokens": 4}).json() for _ in range(2))

    assert (False, True, first["answer"]) == (first["cached"], second["cached"], second["answer"])


def test_an_error_burst_fails_requests_and_says_why(gateway):
    gateway.post("/faults/error_burst?seconds=60")
    codes = [gateway.post("/generate", json={"prompt": f"p{n}", "max_tokens": 2}).status_code for n in range(40)]

    failed = codes.count(500)
    assert 4 <= failed <= 24
    said = [line for line in lines(gateway) if line["message"].startswith("decode failed")]
    assert failed == len(said)
    assert all("NaN logits" in line["error_msg"] for line in said)


def test_a_full_queue_refuses_with_429(gateway):
    """As many ask as the gateway has threads for, one prompt after the other, until one of them is refused."""
    gateway.post("/faults/queue_pileup?seconds=600")
    codes, numbers, refused = [], itertools.count(), threading.Event()

    def ask():
        while not refused.is_set():
            answer = gateway.post("/generate", json={"prompt": f"q{next(numbers)}", "max_tokens": 1})
            codes.append(answer.status_code)
            if answer.status_code == 429:
                refused.set()
                gateway.delete("/faults/queue_pileup")

    with ThreadPoolExecutor(39) as pool:
        for asking in [pool.submit(ask) for _ in range(39)]:
            asking.result()

    assert {200, 429} == set(codes)


def test_an_unknown_fault_is_named_with_those_that_exist(gateway):
    answer = gateway.post("/faults/fire")

    assert (404, True) == (answer.status_code, "slow_decode" in answer.json()["detail"])
